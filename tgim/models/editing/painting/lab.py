"""CIE Lab (D65) of pictures, and how much chroma sRGB has at each lightness and hue.

Lightness L runs from 0 to 100; a is green to red, b blue to yellow; chroma is hypot(a, b), hue atan2(b, a).
Formulas: IEC 61966-2-1 (sRGB) and CIE 15 (Lab). Tensors have the three channels first.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

_TO_XYZ = (  # rows are divided by the white of D65
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
_LINEAR_END = 6 / 29  # of Lab's cube root
LIGHTS, HUES = 129, 361  # places of the gamut's table
_SAFE = 0.985  # of the chroma that the gamut allows: the table is read between its places


def to_lab(rgb: Tensor) -> Tensor:
    """Lab (3, ...) of sRGB (3, ...) in [-1, 1].

    >>> to_lab(torch.ones(3, 1)).round()[:, 0].abs().tolist()
    [100.0, 0.0, 0.0]
    """
    x = (rgb + 1) / 2
    linear = torch.where(x > 0.04045, ((x + 0.055) / 1.055).clamp(min=0).pow(2.4), x / 12.92)
    xyz = torch.einsum("ij,j...->i...", _matrix(rgb), linear)
    f = torch.where(xyz > _LINEAR_END**3, xyz.clamp(min=1e-9).pow(1 / 3), xyz / (3 * _LINEAR_END**2) + 4 / 29)
    return torch.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def to_rgb(lab: Tensor) -> Tensor:
    """sRGB (3, ...) of Lab (3, ...); in [-1, 1] only for colours that sRGB has (`limited`)."""
    fy = (lab[0] + 16) / 116
    f = torch.stack([fy + lab[1] / 500, fy, fy - lab[2] / 200])
    xyz = torch.where(f > _LINEAR_END, f**3, 3 * _LINEAR_END**2 * (f - 4 / 29))
    linear = torch.einsum("ij,j...->i...", torch.linalg.inv(_matrix(lab)), xyz)
    x = torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=1e-9).pow(1 / 2.4) - 0.055, 12.92 * linear)
    return 2 * x - 1


def _matrix(like: Tensor) -> Tensor:
    return torch.tensor(_TO_XYZ, dtype=like.dtype, device=like.device)


def limited(lab: Tensor) -> Tensor:
    """The colours (3, ...) with no more chroma than sRGB has at their lightness and hue, both of which stay."""
    light = lab[0].clamp(0, 100)
    chroma = torch.hypot(lab[1], lab[2]).clamp(min=1e-6)
    share = (most_chroma(light, torch.atan2(lab[2], lab[1])) / chroma).clamp(max=1)
    return torch.stack([light, lab[1] * share, lab[2] * share])


def most_chroma(light: Tensor, hue: Tensor) -> Tensor:
    """The chroma that sRGB has at a lightness (0 to 100) and hue (radians), of any one shape."""
    table = _gamut().to(light)
    y, x = light * ((LIGHTS - 1) / 100), (hue / (2 * math.pi) % 1) * (HUES - 1)
    row, column = y.long().clamp(0, LIGHTS - 2), x.long().clamp(0, HUES - 2)
    y, x, place = y - row, x - column, row * HUES + column
    flat = table.flatten()
    above = torch.lerp(flat[place], flat[place + 1], x)
    below = torch.lerp(flat[place + HUES], flat[place + HUES + 1], x)
    return _SAFE * torch.lerp(above, below, y)


@cache
def _gamut() -> Tensor:
    """The greatest chroma (LIGHTS, HUES) that is inside sRGB, by bisection."""
    light, hue = torch.meshgrid(torch.linspace(0, 100, LIGHTS), torch.linspace(0, 2 * math.pi, HUES), indexing="ij")
    low, high = torch.zeros_like(light), torch.full_like(light, 140.0)
    for _ in range(14):
        middle = (low + high) / 2
        rgb = to_rgb(torch.stack([light, middle * hue.cos(), middle * hue.sin()]))
        inside = (rgb.abs() <= 1).all(0)
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return low
