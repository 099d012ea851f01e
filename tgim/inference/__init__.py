"""Using trained models: editing, generating, interpolating, ranking and searching."""
