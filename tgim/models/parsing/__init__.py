"""Models that say where the parts of a subject are, trained by the same loop as the editors."""

from tgim.model import Localising
from tgim.parsing.lifting import lift
from tgim.parsing.localiser import PartLocaliser
from tgim.parsing.look import PartMaps, find_parts

PARSERS: dict[str, type[Localising]] = {"part_localiser": PartLocaliser}

__all__ = ["PARSERS", "PartLocaliser", "PartMaps", "find_parts", "lift"]
