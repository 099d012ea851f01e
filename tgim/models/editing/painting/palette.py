"""Tones of named colours on plumage or petals: for each colour a range of lightness, and chroma and hue along it.

A red thing in the shade is dark red, in the light a lighter and paler red. A `Ramp` describes this for one colour, from
the darkest to the lightest tone that it may have. The tones are set by hand so that on the ramp the named colour is the
nearest of eleven (CIE Lab, differences of lightness count half), as `tests/models/editing/test_painting.py` checks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from tgim.images.resample import Floats
from tgim.models.editing.painting.words import Colour
from tgim.system import threads
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
_LIGHTS = np.arange(STEPS, dtype=np.float32)
_TOWARDS = 0.38  # share of the other colour in "reddish brown"


@dataclass(frozen=True, eq=False)
class Ramp:
    """The tones of one colour."""

    ab: Floats  # (2, STEPS) of each lightness
    low: float  # darkest tone of nearly all of a part
    usual: float
    high: float  # lightest


@cache
def ramp(colour: Colour) -> Ramp:
    """Build the tones of a colour as captions say it, shade and mixture included."""
    ab, (low, usual, high) = _named(colour.name), RANGES[colour.name]
    tones = np.array([low, usual, high], np.float32)
    if colour.towards and colour.towards in RAMPS:
        other = np.array(RANGES[colour.towards], np.float32)
        mixed = tones + _TOWARDS * (other - tones)
        moved = _at(_named(colour.towards), _LIGHTS + (other[1] - mixed[1]))
        ab = _at(ab, _LIGHTS + (tones[1] - mixed[1]))
        ab = ab + _TOWARDS * (moved - ab)
        tones = mixed
    if colour.light:
        shift = colour.light * (_LIGHTER if colour.light > 0 else _DARKER)
        tones = tones + shift
        ab = _at(ab, _LIGHTS - shift * 0.6) * (1 - 0.15 * abs(colour.light))
    strength = 1 + (0.15 if colour.strong > 0 else 0.45) * colour.strong
    low, usual, high = tones.clip(1, 99.5).tolist()
    return Ramp(np.float32(strength) * ab, low, usual, high)


@cache
def _named(name: str) -> Floats:
    """Interpolate a and b (2, STEPS) over lightness between the tones of `RAMPS`; beyond the ends they stay."""
    light, chroma, hue = np.array(RAMPS[name], np.float32).T
    ab = chroma * np.stack([np.cos(hue * np.float32(math.pi / 180)), np.sin(hue * np.float32(math.pi / 180))])
    return np.stack([np.interp(_LIGHTS, light, each) for each in ab]).astype(np.float32)


def _at(ab: Floats, light: Floats) -> Floats:
    """Interpolate a table (2, STEPS) at lightness (N,): (2, N)."""
    light = light.clip(0, STEPS - 1)
    first = light.astype(np.int64).clip(max=STEPS - 2)
    before = ab[:, first]
    found: Floats = before + (light - first).astype(np.float32) * (ab[:, first + 1] - before)
    return found


def chroma_of(tones: Ramp, light: Floats) -> Floats:
    """a and b (2, N) of a ramp at lightness (N,)."""
    return _at(tones.ab, light)


def nearest(lab: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Find for each Lab (3, ...) the index in `NAMED` of the nearest colour, and how much farther the next one is.

    Differences of lightness count half: light and shade change a colour's name less than its hue does.
    """
    flat = lab.reshape(3, -1)
    chosen, lead = np.empty(flat.shape[1], np.int64), np.empty(flat.shape[1], np.float32)

    def compare(part: slice) -> None:
        light, a, b = flat[:, part]
        index = np.zeros(light.shape, np.int64)
        least, second = np.full_like(light, np.inf), np.full_like(light, np.inf)
        for i, name in enumerate(NAMED):
            usual = RANGES[name][1]
            own_a, own_b = _named(name)[:, usual]
            far = 0.5 * (light - usual) ** 2 + (a - own_a) ** 2 + (b - own_b) ** 2
            index[far < least] = i
            np.minimum(second, np.maximum(far, least), out=second)
            np.minimum(least, far, out=least)
        chosen[part], lead[part] = index, np.sqrt(second) - np.sqrt(least)

    threads.shared(compare, threads.strips(flat.shape[1]))
    return chosen.reshape(lab.shape[1:]), lead.reshape(lab.shape[1:])
