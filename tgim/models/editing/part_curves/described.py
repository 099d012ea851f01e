"""Description of the parts of a picture, in arrays: what the head of `part_curves` knows of each, caption aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tgim.images.resample import Floats, interpolated
from tgim.models.editing.painting.brush import tones_of
from tgim.models.editing.painting.lab import to_lab
from tgim.models.editing.painting.masks import outline_mask
from tgim.models.editing.painting.outline import refined
from tgim.models.editing.painting.palette import nearest
from tgim.models.parsing.part_maps import PartMaps, framed
from tgim.text.lexicon.colours import PLAIN as NAMED

SHARPNESS = 3  # power of the parts' probabilities: each pixel is nearly all of one part
LEAST = 0.002  # share of the picture below which a part is not in view
STATISTICS = 10 + len(NAMED)  # of a part's colours, beside the backbone's features
VIEW = -len(NAMED) - 1  # place among a part's features that says whether it is in view
TONES = 5  # darkest, middle and lightest lightness of a part, mean a and b


class DescribedParts(NamedTuple):
    """Parts of one picture; the first is the whole subject."""

    features: Floats  # (P, F)
    tones: Floats  # (P, TONES) in Lab units
    shares: Floats  # (P, H, W) in [0, 1], of each pixel; the first is the sum of the others

    @property
    def hidden(self) -> npt.NDArray[np.bool_]:
        """(P,) parts that are not in view; the whole subject always is."""
        hidden: npt.NDArray[np.bool_] = self.shares.mean((1, 2)) < LEAST
        hidden[0] = False
        return hidden


def describe(picture: Floats, maps: Floats, seen: Sequence[Floats]) -> DescribedParts:
    """Describe the parts of a picture.

    Args:
        picture: (3, S, S) in [-1, 1], S a multiple of 32.
        maps: (P, s, s) probabilities of the parts, the first of which is the background.
        seen: the backbone's maps (C, S / stride, S / stride) of the picture.
    """
    shares = part_shares(maps, picture)
    smaller = {len(shares[0]): shares}
    while len(smaller) < 6:  # strides to 32
        last = smaller[min(smaller)]
        smaller[min(smaller) // 2] = halved(last)
    pooled = []
    for each in seen:
        small = smaller[each.shape[-1]].reshape(len(shares), -1)
        pooled.append(small / small.sum(1, keepdims=True).clip(min=1e-6) @ each.reshape(len(each), -1).T)
    statistics, tones = _colours(halved(picture), smaller[picture.shape[-1] // 2], shares.mean((1, 2)))
    return DescribedParts(np.concatenate([*pooled, statistics], 1, dtype=np.float32), tones, shares)


def describe_found(
    photo: Floats, found: PartMaps, *, size: int, see: Callable[[Floats], Sequence[Floats]]
) -> DescribedParts:
    """Describe the parts that were found in a photograph.

    Args:
        photo: (3, H, W) in [-1, 1].
        found: its parts.
        size: S, of the localiser.
        see: gives the backbone's maps (C, h, w) of a picture (3, S, S).
    """
    x, y, w, h = (round(v) for v in found.frame)
    picture = framed(photo, (x, y, w, h), size)
    return describe(picture, found.maps, see(picture))


def halved(x: Floats) -> Floats:
    """Means of squares of 2 by 2 pixels: (..., H, W) -> (..., H / 2, W / 2)."""
    total = x[..., ::2, ::2] + x[..., 1::2, ::2]
    total += x[..., ::2, 1::2]
    total += x[..., 1::2, 1::2]
    total *= 0.25
    return total


def part_shares(maps: Floats, picture: Floats) -> Floats:
    """Divide the pixels of a picture (3, S, S) among its parts, by their probabilities (P, s, s): (P, S, S)."""
    large = interpolated(maps, picture.shape[1:])
    outline = outline_mask(refined(picture, 1 - large[0]))
    sharp = large[1:] ** SHARPNESS
    parts = sharp / sharp.sum(0).clip(min=1e-6) * outline
    return np.concatenate([parts.sum(0, keepdims=True), parts])


def _colours(picture: Floats, shares: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Statistics (P, STATISTICS) and tones (P, TONES) of a picture (3, h, w) over shares (P, h, w) of means `size`."""
    part = shares.reshape(len(shares), -1)
    lab = to_lab(picture).reshape(3, -1)
    weight = part / part.sum(1, keepdims=True).clip(min=1e-6)
    name = nearest(lab)[0]
    mean = weight @ lab.T
    deviation = np.sqrt((weight @ (lab**2).T - mean**2).clip(min=0))
    own = np.array([tones_of(lab[0], each) for each in weight], np.float32)
    named = np.stack([np.bincount(name, each, len(NAMED)) for each in weight])
    tones = np.concatenate([own, mean[:, 1:]], 1)
    shown = np.stack([np.sqrt(size), size > LEAST], 1)
    statistics = [own / 50 - 1, mean[:, 1:] / 40, deviation / 20, shown, named]
    return np.concatenate(statistics, 1), tones
