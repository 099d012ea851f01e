"""The command `tgim`: a module for each group of verbs."""
