"""Image-text matching models, trained by the same loop as the editors."""

from tgim.matching.damsm import DAMSM
from tgim.matching.dual_encoder import DualEncoder
from tgim.matching.late_interaction import LateInteraction
from tgim.matching.sje import SJE
from tgim.matching.vse import VSE
from tgim.model import Matching

MATCHERS: dict[str, type[Matching]] = {
    "dual_encoder": DualEncoder,
    "late_interaction": LateInteraction,
    "vse": VSE,
    "damsm": DAMSM,
    "sje": SJE,
}
