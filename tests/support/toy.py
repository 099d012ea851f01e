"""A small editor and a small data set for the tests of the loop; also a script: `toy.py RECIPE OUT [resume]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.models.base import Config, Editing, Terms
from tgim.text.vocabulary import Tokens

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (30, 40, 210), "white": (230, 230, 230)}


class ToyConfig(Config):
    image_size: int = Field(16, ge=8)
    width: int = Field(4, ge=1)
    weight: float = 1.0
    fail_at: int = -1  # call of `steps` whose loss is not finite


class Painter(nn.Module):
    """A convolution, batch normalisation, dropout, a word table, and a parameter that no loss sees."""

    def __init__(self, config: ToyConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, config.width)
        self.body = nn.Sequential(nn.Conv2d(3 + config.width, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.2))
        self.out = nn.Conv2d(8, 3, 1)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, image: Tensor, text: Tokens) -> Tensor:
        code = (self.words(text.ids) * text.mask[..., None]).sum(1)[:, :, None, None]
        seen = torch.cat([image, code.expand(-1, -1, *image.shape[2:])], 1)
        return torch.tanh(image + self.out(self.body(seen)))


@register("toy")
class Toy(Editing):
    Config: ClassVar[type[Config]] = ToyConfig
    networks: ClassVar[tuple[str, ...]] = ("generator", "discriminator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: ToyConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.generator = Painter(config, vocabulary_size)
        self.discriminator = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 1, 4, 2))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def edit(self, image: Tensor, text: Tokens) -> Tensor:
        return self.generator(image, text)

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        self.calls += 1
        edited = self.generator(batch.image, batch.text.roll())
        judge = self.discriminator
        yield (
            "discriminator",
            {
                "real": F.softplus(-judge(batch.image)).mean(),
                "fake": F.softplus(judge(edited.detach())).mean(),
            },
        )
        noise = 0.01 * torch.randn_like(edited)
        terms = {
            "adversarial": F.softplus(-judge(edited + noise)).mean(),
            "keep": self.config.weight * (edited - batch.image).abs().mean(),
        }
        if int(self.calls) == self.config.fail_at:
            terms["keep"] = terms["keep"] / 0.0
        yield "generator", terms


def write_dataset(root: Path, *, count: int = 12, size: int = 20) -> Path:
    """Coloured squares with a caption each, as a folder data set."""
    (root / "images").mkdir(parents=True)
    source = np.random.default_rng(0)
    lines = []
    for i in range(count):
        colour = list(COLOURS)[i % len(COLOURS)]
        pixels = np.clip(np.array(COLOURS[colour]) + source.integers(-20, 20, (size, size, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{i}.png")
        lines.append({"file_name": f"{i}.png", "captions": [f"a {colour} square", f"this one is {colour}"]})
    (root / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


if __name__ == "__main__":
    from tgim.training import recipe
    from tgim.training import run as train

    train.fit(recipe.load(sys.argv[1]), out=sys.argv[2], resume="resume" in sys.argv[3:], progress=False)
