"""Models by what they do, a room for each; `tgim.checkpoints.registry` knows all of them by name."""
