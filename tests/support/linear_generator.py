"""A generator whose walks are known, and a matching model that sees light: what is learned can be told beforehand."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tgim.checkpoints.checkpoint import Checkpoint
from tgim.inference.generator import Generator
from tgim.inference.steer import Assessor
from tgim.models.base import Codes, Config, Generating, Matching
from tgim.text.vocabulary import Tokens, Vocabulary

GAIN = 0.1  # that the first number of the noise brightens by
WORDS = Vocabulary(["light", "dark"])


class LinearConfig(Config):
    image_size: int = 16
    reads: bool = True


class Linear(Generating):
    """Its first number of noise is brightness, the others are patterns of mean zero; "light" starts lighter."""

    name: ClassVar[str] = "linear"
    Config: ClassVar[type[Config]] = LinearConfig
    networks: ClassVar[tuple[str, ...]] = ()
    noise_size = 5

    def __init__(self, config: LinearConfig = LinearConfig(), *, vocabulary_size: int = len(WORDS)) -> None:  # noqa: B008
        super().__init__()
        self.config = config
        patterns = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        self.register_buffer("patterns", 0.05 * (patterns - patterns.mean((2, 3), keepdim=True)))

    @property
    def reads(self) -> bool:
        return self.config.reads

    def condition(self, text: Tokens, *, variation: Tensor | None = None) -> Codes:
        return (0.1 * (text.ids[:, :1] == 2).float(),)

    def generate_from(self, condition: Codes, noise: Tensor) -> Tensor:
        light = (condition[0] + GAIN * noise[:, :1])[:, :, None, None]
        return light + torch.einsum("bp,pchw->bchw", noise[:, 1:], self.patterns)


class Light(Matching):
    """Its score is how light a picture is, times `scale`; captions change nothing."""

    name: ClassVar[str] = "light"
    Config: ClassVar[type[Config]] = LinearConfig
    networks: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, scale: float = 3.0) -> None:
        super().__init__()
        self.config, self.scale = LinearConfig(), torch.nn.Parameter(torch.tensor(scale))

    def embed_images(self, image: Tensor) -> Tensor:
        return self.scale * image.mean((1, 2, 3))[:, None]

    def embed_captions(self, text: Tokens) -> Tensor:
        return torch.ones(len(text.ids), 1)


def linear_generator(**options: bool) -> Generator:
    return Generator(Checkpoint(model=Linear(LinearConfig(**options)), vocabulary=WORDS, template="{}"))


def light(label: str = "light", scale: float = 3.0) -> Assessor:
    return Assessor(Light(scale), WORDS, "{}", label)
