"""Editing by rules: which part a caption names, in which colour, and how to put the one on the other."""

from tgim.models.editing.painting.painter import Painter
from tgim.models.editing.painting.reading import Reading, Wish, read

__all__ = ["Painter", "Reading", "Wish", "read"]
