"""Editing by rules: captions parsed to parts and colours, part masks, and recolouring inside them."""

from tgim.models.editing.painting.captions import ColourTarget, ParsedCaption, parse_caption
from tgim.models.editing.painting.painter import Painter

__all__ = ["ColourTarget", "Painter", "ParsedCaption", "parse_caption"]
