"""Every editing system, by name: one paper, one file, one line here."""

from tgim.model import Model
from tgim.models.attngan import AttnGAN
from tgim.models.gan_int_cls import GanIntCls
from tgim.models.sisgan import SISGAN
from tgim.models.stackgan import StackGAN1, StackGAN2
from tgim.models.stackgan_v2 import StackGANv2
from tgim.models.style_encoder import StyleEncoder
from tgim.models.tagan import TAGAN
from tgim.models.tagrid import TAGrid

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
