"""A generator whose units are known, and a localiser that sees what it paints: units light squares, colours show them.

Unit 0 lights the red square that is the head, unit 1 one at a place of its own that is not painted, unit 2 the green
one that is the tail, unit 3 nothing. Noise says where squares are and how bright they are.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from support.small import VOCABULARY
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.inference.generator import Generator
from tgim.models.base import Config, Generating, Localising

SIDE, SQUARE, UNITS = 16, 4, 4


class Lit(Config):
    image_size: int = SIDE


class Squares(nn.Module):
    """Noise (B, 8) to maps (B, 4, 16, 16), each a square of ones."""

    def forward(self, noise):
        place = (torch.sigmoid(1.7 * noise.view(-1, UNITS, 2)) * (SIDE - SQUARE)).round()
        axis = torch.arange(SIDE)
        inside = (axis >= place[..., None]) & (axis < place[..., None] + SQUARE)  # B, 4, 2, 16
        maps = (inside[:, :, 0, :, None] & inside[:, :, 1, None]).float()
        return maps * torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None, None]


class Flat(nn.Module):
    """Noise (B, 8) to maps (B, 8, 4, 4) that are it everywhere."""

    def forward(self, noise):
        return noise[..., None, None].expand(-1, -1, 4, 4).clone()


class Paint(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights))

    def forward(self, maps):
        return torch.einsum("pc,bchw->bphw", self.weights, maps)


class Lights(Generating):
    Config: ClassVar[type[Config]] = Lit
    networks: ClassVar[tuple[str, ...]] = ("units",)

    def __init__(self, units, weights):
        super().__init__()
        self.config, self.units, self.paint = Lit(), units, Paint(weights)

    @property
    def noise_size(self):
        return 8

    @property
    def reads(self):
        return False

    def condition(self, text, *, variation=None):
        return (torch.zeros(len(text.ids), 1),)

    def generate_from(self, condition, noise):
        return torch.tanh(self.paint(self.units(noise)))


class Sees(Localising):
    """Head where it is red, tail where it is green; a subject where there is either."""

    def __init__(self):
        super().__init__()
        self.config = Lit()

    @property
    def parts(self):
        return ("background", "head", "tail", "beak")

    def look(self, image):
        head, tail = (image[:, i] > 0.2 for i in (0, 1))
        labels = torch.where(head, 1, torch.where(tail, 2, 0))
        maps = nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()
        return maps, (labels > 0).flatten(1).any(1).float()


def holding(model):
    """The generator of a model that reads no captions."""
    return Generator(Checkpoint(model.eval(), VOCABULARY, "{}"))


def squares():
    return holding(Lights(Squares(), [[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 0]]))


def flat():
    """Red by the difference of the first two numbers of the noise, green by the third."""
    weights = torch.zeros(3, 8)
    weights[0, 0], weights[0, 1], weights[1, 2] = 0.3, -0.3, 0.3
    return holding(Lights(Flat(), weights.tolist()))
