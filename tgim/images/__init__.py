"""Pictures: reading, writing, resampling, and carrying an edit to a photograph's own pixels."""
