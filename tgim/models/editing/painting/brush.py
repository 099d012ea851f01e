"""Recolouring of one part of a photograph that keeps its light, shade and texture.

Lightness goes through one monotone curve, which brings the part's own tones into those that the colour may have
(`palette.RANGES`); chroma and hue are those of the colour at the new lightness (`palette.ramp`), with a little of the
photograph's own variation, and no more than sRGB has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tgim.images.matting import window_mean
from tgim.images.resample import Floats, part_of
from tgim.models.editing.painting.lab import Values, limited, namespace, to_lab, to_rgb
from tgim.models.editing.painting.palette import Ramp, chroma_of
from tgim.system import threads

BINS = 256  # of lightness
ENDS = 0.04  # share of a part's pixels beyond the ends of a colour's range on either side
STEEPEST, FLATTEST = 4.5, 0.25  # slopes of the curve between the ends
LIVELY, LIVELIEST = 0.6, 1.3  # share of a colour's range that the tones of a part should fill, up to what slope
OWN = 0.22  # share of the photograph's own variation of a and b that stays
OWN_MOST = 9.0  # of it, in units of Lab
DETAIL = 1 / 70  # of a subject's longer side: what is finer is texture
FINE = 0.42  # of a colour's range of lightness: fine detail that is put back at the most


class Tones(NamedTuple):
    """Lightness of a part."""

    low: float  # all but `ENDS` of the pixels are lighter
    middle: float
    high: float  # all but `ENDS` are darker


def tones_of(light: Floats, weight: Floats) -> Tones:
    """Quantiles of lightness (N,), 0 to 100, by weights (N,)."""
    return quantiles(counted(light, weight))


def counted(light: Floats, weight: Floats) -> Floats:
    """Weights (BINS,) of lightness (N,), 0 to 100, by weights (N,)."""
    return np.bincount((light * (BINS / 100)).astype(np.int64).clip(0, BINS - 1), weight, BINS).astype(np.float64)


def quantiles(counts: Floats) -> Tones:
    """Quantiles of lightness by the weights of its bins."""
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


def fine_radius(longer: float) -> int:
    """Pixels within which detail is fine, of a subject whose longer side is so many."""
    return max(1, round(DETAIL * longer))


def fine_detail(light: Floats, weight: Floats, radius: int) -> Floats:
    """Lightness (H, W), which is overwritten, less its mean over a window of the part alone."""
    coarser = max(1, radius // 3)
    window = 2 * (radius // coarser) + 1
    if window * coarser > min(light.shape) or radius < 1:
        return np.zeros_like(light)
    means = window_mean(_pooled(light, weight, coarser), window)
    mean, (height, width) = means[0] / means[1].clip(min=1e-4), light.shape

    def subtract(rows: slice) -> None:
        light[rows] -= part_of(mean, (height, width), (rows, slice(0, width)))

    threads.shared(subtract, threads.strips(height, threads.PIXELS // width))
    return light


def _pooled(light: Floats, weight: Floats, size: int) -> Floats:
    """Means (2, h, w) of light times weight, and of weight, over squares of `size` pixels, smaller ones at the ends."""
    rows, columns = (np.arange(0, length, size) for length in light.shape)
    high = np.diff(rows, append=light.shape[0]).astype(np.float32)
    wide = np.diff(columns, append=light.shape[1]).astype(np.float32)
    means = np.empty((2, len(rows), len(columns)), np.float32)

    def pool(some: slice) -> None:
        here = slice(some.start * size, min(len(light), some.stop * size))
        both = np.stack([light[here] * weight[here], weight[here]])
        sums = np.add.reduceat(np.add.reduceat(both, rows[some] - here.start, -2), columns, -1)
        means[:, some] = sums / (high[some, None] * wide)

    threads.shared(pool, threads.strips(len(rows), threads.PIXELS // (size * light.shape[1])))
    return means


class Stroke:
    """Recolouring of one part to one colour.

    Args:
        tones: of the part.
        mean: (2, 1), its mean a and b.
        wanted: the colour.
    """

    def __init__(self, tones: Tones, mean: Floats, wanted: Ramp) -> None:
        self._wanted, self._curve, self._mean = wanted, tone_curve(tones, wanted), mean
        self._lost = min(1.2, (wanted.usual + 16) / (tones.middle + 16)) - _middle_slope(self._curve, tones)

    def __call__(self, lab: Floats, detail: Floats) -> Floats:
        """Recolour pixels in Lab: (3, M) of some of the part's and (M,) fine detail of lightness, to (3, M)."""
        wanted = self._wanted
        light = look_up(self._curve, lab[0])
        if self._lost > 0:  # a dark thing shows less contrast under the same light, but no less than that
            most = FINE * (wanted.high - wanted.low)
            light = light + np.float32(most) * np.tanh(np.float32(self._lost / most) * detail)
        light = bent(bent(light, wanted.low, -1.0), wanted.high, 1.0).clip(0.5, 99.8)
        ab = chroma_of(wanted, light) + (OWN * (lab[1:] - self._mean)).clip(-OWN_MOST, OWN_MOST)
        return limited(np.stack([light, *ab]))


def _middle_slope(curve: Floats, own: Tones) -> float:
    low, high = look_up(curve, np.array([own.low, own.high], np.float32)).tolist()
    return float(high - low) / max(own.high - own.low, 1.0)


class _Pixels(NamedTuple):
    """Pixels of a part."""

    places: npt.NDArray[np.int64]  # (N,), in the flat region; numbers are looked up faster than a mask
    in_photo: npt.NDArray[np.int64]  # (N,), in the flat photograph
    weight: Floats  # (N,)
    values: Floats  # (3, N), to be filled in


def paint(
    photo: Floats, masks: Floats, ramps: Sequence[Ramp], *, radius: int, strength: float = 1.0,
    corner: tuple[int, int] = (0, 0), spare: bool = False,
) -> Floats:  # fmt: skip
    """Recolour parts of a photograph.

    Args:
        photo: (3, H, W) in [-1, 1].
        masks: (N, h, w) in [0, 1] of the parts in a region of it, their sum at most 1; pixels where all are 0, and
            those outside, stay bit-identical.
        ramps: N, the tones of each.
        radius: pixels within which detail is fine.
        strength: 0 to 1.
        corner: row and column at which the region begins.
        spare: `photo` may be overwritten.

    Returns:
        (3, H, W) in [-1, 1].
    """
    result = np.ascontiguousarray(photo) if spare else np.array(photo, order="C")
    if strength == 0 or not masks.any():
        return result
    union = masks.sum(0) if len(masks) > 1 else masks[0]
    flat, light = result.reshape(3, -1), np.zeros_like(union)
    first, around = corner[0] * photo.shape[2] + corner[1], photo.shape[2] - masks.shape[2]

    def pixels_of(mask: Floats) -> _Pixels:
        places = np.flatnonzero(mask != 0)
        in_photo = places + (places // masks.shape[2] * around + first)
        return _Pixels(places, in_photo, mask.take(places), np.empty((3, len(places)), np.float32))

    parts = threads.shared(pixels_of, masks.reshape(len(masks), -1))
    pieces = [(i, strip) for i, part in enumerate(parts) for strip in threads.strips(len(part.places), threads.PIXELS)]

    def convert(piece: tuple[int, slice]) -> tuple[Floats, Floats]:
        part, strip = parts[piece[0]], piece[1]
        lab, weight = to_lab(flat.take(part.in_photo[strip], 1)), part.weight[strip]
        part.values[:, strip], light.ravel()[part.places[strip]] = lab, lab[0]
        return counted(lab[0], weight), (lab[1:] * weight).sum(1)

    known = threads.shared(convert, pieces)
    detail = fine_detail(light, union, radius).ravel()
    strokes = []
    for i, wanted in enumerate(ramps):
        own = [each for (of, _), each in zip(pieces, known, strict=True) if of == i]
        counts, ab = sum((each for each, _ in own), np.zeros(BINS)), sum((each for _, each in own), np.zeros(2))
        mean = (ab / max(1e-6, counts.sum())).astype(np.float32)
        strokes.append(Stroke(quantiles(counts), mean[:, None], wanted))

    def recolour(piece: tuple[int, slice]) -> None:
        part, strip = parts[piece[0]], piece[1]
        values = part.values[:, strip]
        new = to_rgb(strokes[piece[0]](values, detail.take(part.places[strip]))).clip(-1, 1)
        new -= flat.take(part.in_photo[strip], 1)
        np.multiply(new, np.float32(strength) * part.weight[strip], out=values)

    threads.shared(recolour, pieces)

    def apply(piece: tuple[int, slice]) -> None:
        part, strip = parts[piece[0]], piece[1]
        for channel, change in zip(flat, part.values[:, strip], strict=True):
            channel[part.in_photo[strip]] += change

    for i in range(len(parts)):  # one after the other: a pixel may belong to several
        threads.shared(apply, [piece for piece in pieces if piece[0] == i])
    return result
