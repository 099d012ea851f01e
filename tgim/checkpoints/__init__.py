"""Checkpoint files, their cards, and the registry of systems."""
