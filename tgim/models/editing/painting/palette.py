"""Tones of named colours on plumage or petals: for each colour a range of lightness, and chroma and hue along it.

A red thing in the shade is dark red, in the light a lighter and paler red. A `Ramp` describes this for one colour, from
the darkest to the lightest tone that it may have. The tones are set by hand so that on the ramp the named colour is the
nearest of eleven (CIE Lab, differences of lightness count half), as `tests/models/editing/test_painting.py` checks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from tgim.models.editing.painting.words import Colour
from tgim.text.lexicon.colours import PLAIN as NAMED

STEPS = 101  # lightness 0, 1, ..., 100
RAMPS = {  # (lightness, chroma, hue in degrees) from dark to light
    "red": ((16, 46, 32), (28, 60, 34), (42, 73, 37), (52, 76, 35), (62, 66, 32)),
    "orange": ((38, 52, 56), (52, 64, 60), (65, 73, 62), (74, 64, 66), (82, 48, 71)),
    "yellow": ((46, 50, 86), (60, 63, 89), (72, 73, 92), (84, 78, 94), (96, 66, 100)),
    "green": ((14, 30, 132), (30, 42, 132), (42, 50, 135), (54, 54, 138), (68, 52, 138), (82, 44, 136)),
    "blue": ((14, 54, 303), (26, 66, 300), (36, 71, 297), (48, 68, 292), (58, 55, 286), (66, 45, 280)),
    "purple": ((10, 40, 318), (24, 52, 322), (35, 58, 320), (50, 56, 322), (64, 50, 323), (74, 42, 323)),
    "pink": ((30, 46, 0), (50, 46, 359), (64, 44, 358), (74, 39, 357), (86, 27, 346)),
    "brown": ((8, 22, 46), (22, 30, 56), (34, 30, 60), (48, 34, 60), (60, 34, 62), (74, 30, 66)),
    "gray": ((30, 2, 250), (54, 1, 250), (76, 1, 250)),
    "black": ((0, 0, 270), (8, 1, 270), (32, 2, 270)),
    "white": ((72, 3, 260), (90, 1, 260), (100, 0, 260)),
}
RANGES = {  # darkest, usual and lightest tone of nearly all of a part
    "red": (27, 42, 57), "orange": (47, 64, 76), "yellow": (58, 79, 92), "green": (24, 48, 74),
    "blue": (27, 39, 54), "purple": (16, 38, 64), "pink": (44, 70, 83), "brown": (14, 36, 60),
    "gray": (38, 54, 69), "black": (2, 11, 26), "white": (80, 91, 98.5),
}  # fmt: skip
_LIGHTER, _DARKER = 15.0, 13.0  # lightness that "light" and "dark" add and take
_TOWARDS = 0.38  # share of the other colour in "reddish brown"


@dataclass(frozen=True, eq=False)
class Ramp:
    """The tones of one colour."""

    ab: Tensor  # (2, STEPS) of each lightness
    low: float  # darkest tone of nearly all of a part
    usual: float
    high: float  # lightest


@cache
def ramp(colour: Colour) -> Ramp:
    """Build the tones of a colour as captions say it, shade and mixture included."""
    ab, (low, usual, high) = _named(colour.name), RANGES[colour.name]
    tones = torch.tensor([float(low), float(usual), float(high)])
    if colour.towards and colour.towards in RAMPS:
        other = torch.tensor([float(each) for each in RANGES[colour.towards]])
        mixed = torch.lerp(tones, other, _TOWARDS)
        moved = _at(_named(colour.towards), torch.arange(STEPS) + float(other[1] - mixed[1]))
        ab = torch.lerp(_at(ab, torch.arange(STEPS) + float(tones[1] - mixed[1])), moved, _TOWARDS)
        tones = mixed
    if colour.light:
        shift = colour.light * (_LIGHTER if colour.light > 0 else _DARKER)
        tones = tones + shift
        ab = _at(ab, torch.arange(STEPS) - shift * 0.6) * (1 - 0.15 * abs(colour.light))
    strength = 1 + (0.15 if colour.strong > 0 else 0.45) * colour.strong
    low, usual, high = tones.clamp(1, 99.5).tolist()
    return Ramp(strength * ab, low, usual, high)


@cache
def _named(name: str) -> Tensor:
    """Interpolate a and b (2, STEPS) over lightness between the tones of `RAMPS`; the ends are extrapolated."""
    places = torch.arange(STEPS, dtype=torch.float32)
    tones = torch.tensor(RAMPS[name], dtype=torch.float32)
    light = tones[:, 0].contiguous()
    ab = torch.stack(
        [tones[:, 1] * (tones[:, 2] * math.pi / 180).cos(), tones[:, 1] * (tones[:, 2] * math.pi / 180).sin()]
    )
    after = torch.searchsorted(light, places).clamp(1, len(light) - 1)
    part = ((places - light[after - 1]) / (light[after] - light[after - 1])).clamp(0, 1)
    return torch.lerp(ab[:, after - 1], ab[:, after], part)


def _at(ab: Tensor, light: Tensor) -> Tensor:
    """Interpolate a table (2, STEPS) at lightness (N,): (2, N)."""
    light = light.clamp(0, STEPS - 1)
    first = light.long().clamp(max=STEPS - 2)
    return torch.lerp(ab[:, first], ab[:, first + 1], light - first)


def chroma_of(tones: Ramp, light: Tensor) -> Tensor:
    """a and b (2, N) of a ramp at lightness (N,)."""
    return _at(tones.ab.to(light), light)


def nearest(lab: Tensor) -> tuple[Tensor, Tensor]:
    """Find for each Lab (3, ...) the index in `NAMED` of the nearest colour, and how much farther the next one is.

    Differences of lightness count half: light and shade change a colour's name less than its hue does.
    """
    usual = [RANGES[name][1] for name in NAMED]
    centres = torch.stack(
        [torch.cat([torch.tensor([float(v)]), _named(c)[:, v]]) for v, c in zip(usual, NAMED, strict=True)]
    )
    weights = lab.new_tensor([0.5, 1.0, 1.0]).sqrt()
    shape = lab.shape[1:]
    far = torch.cdist((lab.flatten(1).T * weights), centres.to(lab) * weights)
    two = far.topk(2, largest=False)
    return two.indices[:, 0].view(shape), (two.values[:, 1] - two.values[:, 0]).view(shape)
