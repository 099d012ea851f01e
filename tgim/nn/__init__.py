"""Layers, text encoders and losses that the models share."""
