"""Recolouring of one part of a photograph that keeps its light, shade and texture.

Lightness goes through one monotone curve, which brings the part's own tones into those that the colour may have
(`palette.RANGES`); chroma and hue are those of the colour at the new lightness (`palette.ramp`), with a little of the
photograph's own variation, and no more than sRGB has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tgim.images.matting import window_mean
from tgim.images.resample import Floats, interpolated
from tgim.models.editing.painting.lab import Values, limited, namespace, to_lab, to_rgb
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


def tones_of(light: Floats, weight: Floats) -> Tones:
    """Quantiles of lightness (N,), 0 to 100, by weights (N,)."""
    counts = np.bincount((light * (BINS / 100)).astype(np.int64).clip(0, BINS - 1), weight, BINS)
    share = counts.cumsum() / max(1e-6, counts.sum())
    places = np.searchsorted(share, [ENDS, 0.5, 1 - ENDS]).clip(max=BINS - 1)
    low, middle, high = ((places + 0.5) * (100 / BINS)).tolist()
    return Tones(low, middle, high)


def tone_curve(own: Tones, wanted: Ramp) -> Floats:
    """Monotone curve (BINS + 1,) of new lightness over lightness 0, ..., 100; it ends inside the wanted tones."""
    natural = (wanted.usual + 16) / (own.middle + 16)
    down = _slope(own.middle - own.low, wanted.usual - wanted.low, natural)
    up = _slope(own.high - own.middle, wanted.high - wanted.usual, natural)
    offset = np.linspace(0, 100, BINS + 1) - own.middle
    curve = wanted.usual + np.where(offset < 0, down * offset, up * offset)
    curve = bent(bent(curve, wanted.low, -1.0), wanted.high, 1.0)
    smooth = np.convolve(np.pad(curve, 8, mode="edge"), np.full(17, 1 / 17), "valid")
    return smooth.clip(0, 100).astype(np.float32)


def _slope(own: float, room: float, natural: float) -> float:
    """Slope of half of the curve that fits a range of `own` tones into a range `room`, both in lightness.

    `natural` is the slope of a thing of another colour under the same light: contrast is in proportion to lightness
    + 16 (L* + 16 grows as the cube root of luminance).
    """
    fit = room / max(own, 1e-3)
    return min(max(min(fit, max(natural, min(LIVELY * fit, LIVELIEST))), FLATTEST), STEEPEST)


def bent(curve: Values, end: float | Values, side: float) -> Values:
    """Compress the part of a curve beyond `end`: slope 0.4 there, falling to 0 (`side` 1 above, -1 below)."""
    xp = namespace(curve)
    over = (side * (curve - end)).clip(min=0)
    return xp.where(over > 0, end + side * 4 * (1 - xp.exp(-over / 10)), curve)


def look_up(curve: Floats, light: Floats) -> Floats:
    """Interpolate a curve (BINS + 1,) at lightness (N,), 0 to 100."""
    place = (light * np.float32(BINS / 100)).clip(0, BINS)
    first = place.astype(np.int64).clip(max=BINS - 1)
    before = curve[first]
    found: Floats = before + (place - first).astype(np.float32) * (curve[first + 1] - before)
    return found


def fine_detail(light: Floats, weight: Floats, radius: int) -> Floats:
    """Lightness (H, W) less its mean over a window of the part alone."""
    coarser = max(1, radius // 3)
    window = 2 * (radius // coarser) + 1
    if window * coarser > min(light.shape) or radius < 1:
        return np.zeros_like(light)
    means = window_mean(_pooled(np.stack([light * weight, weight]), coarser), window)
    return light - interpolated(means[0] / means[1].clip(min=1e-4), light.shape)


def _pooled(x: Floats, size: int) -> Floats:
    """Means of (C, H, W) over squares of `size` pixels; those at the end are smaller where they must be."""
    rows, columns = (np.arange(0, length, size) for length in x.shape[-2:])
    sums = np.add.reduceat(np.add.reduceat(x, rows, -2), columns, -1)
    high = np.diff(rows, append=x.shape[-2]).astype(np.float32)
    return sums / (high[:, None] * np.diff(columns, append=x.shape[-1]).astype(np.float32))


def painted(lab: Floats, weight: Floats, detail: Floats, wanted: Ramp) -> Floats:
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
        light = light + np.float32(most) * np.tanh(np.float32(lost / most) * detail)
    light = bent(bent(light, wanted.low, -1.0), wanted.high, 1.0).clip(0.5, 99.8)
    ab = chroma_of(wanted, light)
    mean = (lab[1:] * weight).sum(1, keepdims=True) / max(np.float32(1e-6), weight.sum())
    ab = ab + (OWN * (lab[1:] - mean)).clip(-OWN_MOST, OWN_MOST)
    return limited(np.stack([light, *ab]))


def _middle_slope(curve: Floats, own: Tones) -> float:
    low, high = look_up(curve, np.array([own.low, own.high], np.float32)).tolist()
    return float(high - low) / max(own.high - own.low, 1.0)


def paint(photo: Floats, weight: Floats, wanted: Ramp, *, radius: int, strength: float = 1.0) -> Floats:
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
    result = photo.copy()
    if strength == 0 or not there.any():
        return result
    pixels, share = photo[:, there], weight[there]
    lab = to_lab(pixels)
    light = np.zeros_like(weight)
    light[there] = lab[0]
    detail = fine_detail(light, weight, radius)[there]
    new = to_rgb(painted(lab, share, detail, wanted)).clip(-1, 1)
    result[:, there] = pixels + strength * share * (new - pixels)
    return result
