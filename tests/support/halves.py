"""A world of three colours on two sides: "left red" makes the left side red and leaves the right."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional as F

from tgim.checkpoints.registry import find_model
from tgim.data.batch import Batch, SyntheticPairs
from tgim.images.photo import to_uint8
from tgim.models.base import Config, Matching
from tgim.models.retrieval.base import ComposerConfig
from tgim.text.vocabulary import Vocabulary

PALETTE = torch.eye(3) * 2 - 1
SIDES, NAMES = ("left", "right"), ("red", "green", "blue")
WORDS = Vocabulary([*SIDES, *NAMES])


class HalvesConfig(Config):
    image_size: int = 16


class Halves(Matching):
    """Sees the mean colour of both halves, and reads a side and a colour."""

    name: ClassVar[str] = "halves"
    Config: ClassVar[type[Config]] = HalvesConfig
    networks: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, config, *, vocabulary_size):
        super().__init__()
        self.config, self.weight = config, torch.nn.Parameter(torch.ones(6))

    def embed_images(self, image):
        left, right = image.chunk(2, 3)
        return self.weight * torch.cat([left.mean((2, 3)), right.mean((2, 3))], 1)

    def embed_captions(self, text):
        said = F.one_hot(text.ids, len(WORDS))[..., 2:].sum(1).float()  # B, 5
        return F.pad(said, (0, 1))


def pictures(left, right):
    """(B, 3, 16, 16) of colours by number."""
    sides = [PALETTE[side][:, :, None, None].expand(-1, -1, 16, 8) for side in (left, right)]
    return torch.cat(sides, 3)


def triples():
    """All 36 wishes that change something: sources, texts and targets."""
    rows = [(a, b, s, c) for a in range(3) for b in range(3) for s in range(2) for c in range(3) if (a, b)[s] != c]
    a, b, s, c = torch.tensor(rows).T
    text = WORDS.encode([f"{SIDES[side]} {NAMES[colour]}" for side, colour in zip(s, c, strict=True)])
    return pictures(a, b), text, pictures(torch.where(s == 0, c, a), torch.where(s == 1, c, b))


def batch_of_triples():
    image, text, target = triples()
    blank = torch.zeros(len(image), 1, 16, 16)
    pairs = SyntheticPairs(image, text, text, target, blank, blank)
    return Batch(image, text, torch.arange(len(image)), synthetic=pairs)


def as_pixels(image):
    return to_uint8(image).permute(0, 2, 3, 1).numpy()


def composer(name, **options):
    torch.manual_seed(0)
    config = ComposerConfig(system="halves", **options)
    return find_model(name)(config, vocabulary_size=len(WORDS))
