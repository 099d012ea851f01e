"""A small text-to-image model for the tests: a smooth picture that follows caption, noise and variation."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints import checkpoint
from tgim.checkpoints.registry import register
from tgim.models.base import Codes, Config, Generating
from tgim.text.vocabulary import Tokens, Vocabulary

VOCABULARY = Vocabulary.build(
    ["this bird has a red head and breast", "a small blue bird with a white belly", "yellow black wings"]
)


class ToyGeneratorConfig(Config):
    image_size: int = Field(16, ge=8)
    noise_size: int = Field(6, ge=1)
    variation_size: int = Field(4, ge=0)


@register("toy_generator")
class ToyGenerator(Generating):
    Config: ClassVar[type[Config]] = ToyGeneratorConfig
    networks: ClassVar[tuple[str, ...]] = ("generator",)
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: ToyGeneratorConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.generator = nn.ModuleDict(
            {
                "words": nn.Embedding(vocabulary_size, 8),
                "vary": nn.Linear(max(1, config.variation_size), 8, bias=False),
                "paint": nn.Linear(8 + config.noise_size, 3 * 16),
            }
        )

    @property
    def noise_size(self) -> int:
        return self.config.noise_size

    @property
    def variation_size(self) -> int:
        return self.config.variation_size

    def condition(self, text: Tokens, *, variation: Tensor | None = None) -> Codes:
        sentence = (self.generator["words"](text.ids) * text.mask[..., None]).sum(1) / text.lengths[:, None]
        sample = sentence if variation is None else sentence + 0.3 * self.generator["vary"](variation)
        return sample, text.mask

    def generate_from(self, condition: Codes, noise: Tensor) -> Tensor:
        coarse = self.generator["paint"](torch.cat([condition[0], noise], 1)).view(-1, 3, 4, 4)
        return torch.tanh(F.interpolate(coarse, (self.image_size,) * 2, mode="bilinear", align_corners=False))

    def steps(self, batch):
        noise = torch.randn(len(batch.image), self.noise_size, device=batch.image.device)
        yield "generator", {"copy": (self.generate(batch.text, noise) - batch.image).square().mean()}


def toy_generator(**sizes: int) -> ToyGenerator:
    """Equal calls give equal models."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return ToyGenerator(ToyGeneratorConfig(**sizes), vocabulary_size=len(VOCABULARY)).eval()


def save_toy(path: Path, **sizes: int) -> Path:
    """A checkpoint of it, which completes phrases."""
    return checkpoint.save(path, toy_generator(**sizes), vocabulary=VOCABULARY, template="this bird has a {}")
