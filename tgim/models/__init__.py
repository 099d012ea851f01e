"""Every editing system, by name: one paper, one file, one line here."""

from tgim.models.base import Model
from tgim.models.editing.sisgan import SISGAN
from tgim.models.editing.style_encoder import StyleEncoder
from tgim.models.editing.tagan import TAGAN
from tgim.models.editing.tagrid import TAGrid
from tgim.models.generation.attngan import AttnGAN
from tgim.models.generation.gan_int_cls import GanIntCls
from tgim.models.generation.stackgan import StackGAN1, StackGAN2
from tgim.models.generation.stackgan_v2 import StackGANv2

MODELS: dict[str, type[Model]] = {
    "tagrid": TAGrid,
    "tagan": TAGAN,
    "sisgan": SISGAN,
    "attngan": AttnGAN,
    "gan_int_cls": GanIntCls,
    "style_encoder": StyleEncoder,
    "stackgan1": StackGAN1,
    "stackgan2": StackGAN2,
    "stackgan_v2": StackGANv2,
}
