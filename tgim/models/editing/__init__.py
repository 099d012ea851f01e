"""Systems that edit photographs."""
