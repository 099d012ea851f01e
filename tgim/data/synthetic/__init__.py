"""Synthetic birds and flowers whose parts and true edits are known."""
