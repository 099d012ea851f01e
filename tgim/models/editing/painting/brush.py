"""Recolouring of one part of a photograph that keeps its light, shade and texture.

Lightness goes through one monotone curve, which brings the part's own tones into those that the colour may have
(`palette.RANGES`); chroma and hue are those of the colour at the new lightness (`palette.ramp`), with a little of the
photograph's own variation, and no more than sRGB has.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.images.matting import window_mean
from tgim.models.editing.painting.lab import limited, to_lab, to_rgb
from tgim.models.editing.painting.palette import Ramp, chroma_of

BINS = 256  # of lightness
ENDS = 0.04  # share of a part's pixels beyond the ends of a colour's range on either side
STEEPEST, FLATTEST = 4.5, 0.25  # slopes of the curve between the ends
LIVELY, LIVELIEST = 0.6, 1.3  # share of a colour's range that the tones of a part should fill, up to what slope
OWN = 0.22  # share of the photograph's own variation of a and b that stays
OWN_MOST = 9.0  # of it, in units of Lab
FINE = 0.42  # of a colour's range of lightness: fine detail that is put back at the most


class Tones(NamedTuple):
    """Lightness of a part."""

    low: float  # all but `ENDS` of the pixels are lighter
    middle: float
    high: float  # all but `ENDS` are darker


def tones_of(light: Tensor, weight: Tensor) -> Tones:
    """Quantiles of lightness (N,), 0 to 100, by weights (N,)."""
    counts = torch.bincount((light * (BINS / 100)).long().clamp(0, BINS - 1), weight, BINS)
    share = counts.cumsum(0) / counts.sum().clamp(min=1e-6)
    places = torch.searchsorted(share, share.new_tensor([ENDS, 0.5, 1 - ENDS])).clamp(max=BINS - 1)
    low, middle, high = ((places + 0.5) * (100 / BINS)).tolist()
    return Tones(low, middle, high)


def tone_curve(own: Tones, wanted: Ramp) -> Tensor:
    """Monotone curve (BINS + 1,) of new lightness over lightness 0, ..., 100; it ends inside the wanted tones."""
    light = torch.linspace(0, 100, BINS + 1)
    natural = (wanted.usual + 16) / (own.middle + 16)
    down = _slope(own.middle - own.low, wanted.usual - wanted.low, natural)
    up = _slope(own.high - own.middle, wanted.high - wanted.usual, natural)
    offset = light - own.middle
    curve = wanted.usual + torch.where(offset < 0, down * offset, up * offset)
    curve = bent(curve, wanted.low, -1.0)
    curve = bent(curve, wanted.high, 1.0)
    smooth = F.avg_pool1d(F.pad(curve[None, None], (8, 8), mode="replicate"), 17, 1)[0, 0]
    return smooth.clamp(0, 100)


def _slope(own: float, room: float, natural: float) -> float:
    """Slope of half of the curve that fits a range of `own` tones into a range `room`, both in lightness.

    `natural` is the slope of a thing of another colour under the same light: contrast is in proportion to lightness
    + 16 (L* + 16 grows as the cube root of luminance).
    """
    fit = room / max(own, 1e-3)
    return min(max(min(fit, max(natural, min(LIVELY * fit, LIVELIEST))), FLATTEST), STEEPEST)


def bent(curve: Tensor, end: float | Tensor, side: float) -> Tensor:
    """Compress the part of a curve beyond `end`: slope 0.4 there, falling to 0 (`side` 1 above, -1 below)."""
    over = (side * (curve - end)).clamp(min=0)
    return torch.where(over > 0, end + side * 4 * (1 - torch.exp(-over / 10)), curve)


def look_up(curve: Tensor, light: Tensor) -> Tensor:
    """Interpolate a curve (BINS + 1,) at lightness (N,), 0 to 100."""
    place = (light * (BINS / 100)).clamp(0, BINS)
    first = place.long().clamp(max=BINS - 1)
    curve = curve.to(light)
    return torch.lerp(curve[first], curve[first + 1], place - first)


def fine_detail(light: Tensor, weight: Tensor, radius: int) -> Tensor:
    """Lightness (H, W) less its mean over a window of the part alone."""
    coarser = max(1, radius // 3)
    window = 2 * (radius // coarser) + 1
    if window * coarser > min(light.shape) or radius < 1:
        return torch.zeros_like(light)
    sums = F.avg_pool2d(torch.stack([light * weight, weight])[None], coarser, ceil_mode=True)
    means = window_mean(sums, window)
    usual = means[:, :1] / means[:, 1:].clamp(min=1e-4)
    return light - F.interpolate(usual, light.shape, mode="bilinear", align_corners=False)[0, 0]


def painted(lab: Tensor, weight: Tensor, detail: Tensor, wanted: Ramp) -> Tensor:
    """Recolour the pixels of a part in Lab: (3, N) to (3, N).

    Args:
        lab: (3, N) of the photograph.
        weight: (N,) how much each pixel belongs to the part, which says what its usual tones are.
        detail: (N,) fine detail of lightness.
        wanted: the colour.
    """
    own = tones_of(lab[0], weight)
    curve = tone_curve(own, wanted)
    light = look_up(curve, lab[0])
    lost = min(1.2, (wanted.usual + 16) / (own.middle + 16)) - _middle_slope(curve, own)
    if lost > 0:  # a dark thing shows less contrast under the same light, but no less than that
        most = FINE * (wanted.high - wanted.low)
        light = light + most * torch.tanh(lost * detail / most)
    light = bent(bent(light, wanted.low, -1.0), wanted.high, 1.0).clamp(0.5, 99.8)
    ab = chroma_of(wanted, light)
    mean = (lab[1:] * weight).sum(1, keepdim=True) / weight.sum().clamp(min=1e-6)
    ab = ab + (OWN * (lab[1:] - mean)).clamp(-OWN_MOST, OWN_MOST)
    return limited(torch.stack([light, *ab]))


def _middle_slope(curve: Tensor, own: Tones) -> float:
    low, high = look_up(curve, torch.tensor([own.low, own.high])).tolist()
    return float(high - low) / max(own.high - own.low, 1.0)


def paint(photo: Tensor, weight: Tensor, wanted: Ramp, *, radius: int, strength: float = 1.0) -> Tensor:
    """Recolour a part of a photograph.
    Args:
        photo: (3, H, W) in [-1, 1].
        weight: (H, W) in [0, 1], the part; pixels where it is 0 stay bit-identical.
        wanted: the colour.
        radius: pixels within which detail is fine.
        strength: 0 to 1.

    Returns:
        (3, H, W) in [-1, 1].
    """
    there = weight > 0
    result = photo.clone()
    if strength == 0 or not there.any():
        return result
    pixels, share = photo[:, there], weight[there]
    lab = to_lab(pixels)
    light = weight.new_zeros(weight.shape)
    light[there] = lab[0]
    detail = fine_detail(light, weight, radius)[there]
    new = to_rgb(painted(lab, share, detail, wanted)).clamp(-1, 1)
    result[:, there] = pixels + strength * share * (new - pixels)
    return result
