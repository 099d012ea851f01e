"""Image-text matching models, trained by the same loop as the editors."""

from tgim.matching.dual_encoder import DualEncoder
from tgim.model import Model

MATCHERS: dict[str, type[Model]] = {"dual_encoder": DualEncoder}
