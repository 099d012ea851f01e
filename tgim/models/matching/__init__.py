"""Image-text matching models, trained by the same loop as the editors."""

from tgim.models.base import Matching
from tgim.models.matching.damsm import DAMSM
from tgim.models.matching.dual_encoder import DualEncoder
from tgim.models.matching.late_interaction import LateInteraction
from tgim.models.matching.sje import SJE
from tgim.models.matching.vse import VSE

MATCHERS: dict[str, type[Matching]] = {
    "dual_encoder": DualEncoder,
    "late_interaction": LateInteraction,
    "vse": VSE,
    "damsm": DAMSM,
    "sje": SJE,
}
