"""Models that say where the parts of a subject are, trained by the same loop as the editors."""

from tgim.models.parsing.lifting import lift
from tgim.models.parsing.localiser import PartLocaliser
from tgim.models.parsing.part_maps import PartMaps, find_parts

__all__ = ["PartLocaliser", "PartMaps", "find_parts", "lift"]
