"""Every editing system, by name: one paper, one file, one line here."""

from tgim.model import Model
from tgim.models.gan_int_cls import GanIntCls
from tgim.models.sisgan import SISGAN
from tgim.models.style_encoder import StyleEncoder
from tgim.models.tagan import TAGAN
from tgim.models.tagrid import TAGrid

MODELS: dict[str, type[Model]] = {
    "tagrid": TAGrid,
    "tagan": TAGAN,
    "sisgan": SISGAN,
    "gan_int_cls": GanIntCls,
    "style_encoder": StyleEncoder,
}
