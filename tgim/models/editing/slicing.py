"""Slicing of a bilateral grid at the pixels of photographs, in arrays: what `tagrid` does with a grid, without torch.

Gharbi et al., "Deep Bilateral Learning", SIGGRAPH 2017, sections 3.3 and 3.4. Training, which needs slopes, has its
own in `tgim.nn.bilateral`.

Shapes: G cells each way, S side of the small picture, N pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tgim.images.matting import subject_mask
from tgim.images.resample import Floats

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
STRIP = 2**15  # pixels that are worked on at a time
UNLIKELY, LIKELY = 0.05, 0.35  # probabilities of the subject that become 0 and 1 in a small picture, as in training
Ints = npt.NDArray[np.int64]


class GuideWeights(NamedTuple):
    """Weights of `tgim.models.editing.tagrid_head.Guide`."""

    first: Floats  # (8, 3)
    first_bias: Floats  # (8,)
    last: Floats  # (8,)
    last_bias: Floats  # (1,)

    @classmethod
    def of(cls, tensors: Mapping[str, Any], *, prefix: str = "") -> GuideWeights:
        """The guide's weights among those of a checkpoint, by name."""
        names = ("correct.0.weight", "correct.0.bias", "correct.2.weight", "correct.2.bias")
        first, first_bias, last, last_bias = (np.asarray(tensors[prefix + name], np.float32) for name in names)
        return cls(first.reshape(-1, 3), first_bias, last.ravel(), last_bias)


def guide_of(pixels: Floats, weights: GuideWeights) -> Floats:
    """Guide (N,) in [0, 1] of pixels (3, N) in [-1, 1]: brightness plus a learned correction."""
    hidden = weights.first @ pixels
    hidden += weights.first_bias[:, None]
    hidden /= 1 + np.exp(-hidden.clip(-80, 80))
    guide = np.tanh(weights.last @ hidden + weights.last_bias)
    guide *= 0.5
    guide += LUMA @ pixels * np.float32(0.5) + np.float32(0.5)
    return np.clip(guide, 0, 1, out=guide)


def sliced(grid: Floats, pixels: Floats, rows: Ints, columns: Ints, guide: Floats, *, size: tuple[int, int]) -> Floats:
    """Transform pixels by a grid, read between its cells linearly: y = A [r g b 1].

    Args:
        grid: (12, bins, G, G), coefficients row by row of the 3x4 matrix A.
        pixels: (3, N) of a picture.
        rows: (N,) places of the pixels, in rising order.
        columns: (N,).
        guide: (N,) 0 at the centre of the first bin, 1 at that of the last.
        size: height and width of the picture.

    Returns:
        (3, N).
    """
    bins, cells = grid.shape[1:3]
    first = int(rows[0])
    table = _by_row(grid, (np.arange(first, int(rows[-1]) + 1) + 0.5) / size[0] * cells - 0.5)
    left, across = _between(((np.arange(size[1]) + 0.5) / size[1] * cells - 0.5).astype(np.float32), cells)
    dark, bright = _between(guide * np.float32(bins - 1), bins)
    place = ((rows - first) * bins + dark) * cells + left[columns]
    right = across[columns]
    weights = [(1 - right) * (1 - bright), right * (1 - bright), (1 - right) * bright, right * bright]
    corners = [place, place + 1, place + cells, place + cells + 1]
    result, homogeneous = np.empty((3, len(place)), np.float32), (*pixels, np.float32(1))
    weighted = np.empty((4, len(place), 4), np.float32)
    for each, weight in zip(weighted, weights, strict=True):
        for k, value in enumerate(homogeneous):
            np.multiply(weight, value, out=each[:, k])
    ones = np.ones(4, np.float32)
    for channel, own in zip(result, table, strict=True):
        total = weighted[0] * _taken(own, corners[0])
        for each, corner in zip(weighted[1:], corners[1:], strict=True):
            found = _taken(own, corner)
            found *= each
            total += found
        np.matmul(total, ones, out=channel)
    return result


def _by_row(grid: Floats, places: npt.NDArray[np.floating]) -> npt.NDArray[np.complex128]:
    """Grids at places (R,) from top to bottom: (3, R * bins * G), four coefficients of 32 bits in each number."""
    bins, cells = grid.shape[1:3]
    above, down = _between(places.astype(np.float32), cells)
    own = np.ascontiguousarray(grid.reshape(3, 4, bins, cells, cells).transpose(0, 3, 2, 4, 1))  # 3, G, bins, G, 4
    upper = own[:, above]
    upper += down[:, None, None, None] * (own[:, above + 1] - upper)
    return upper.reshape(3, -1).view(np.complex128)


def _taken(table: npt.NDArray[np.complex128], places: Ints) -> Floats:
    """Coefficients (N, 4) at places of a table."""
    found: Floats = np.take(table, places).view(np.float32).reshape(-1, 4)
    return found


def _between(places: Floats, count: int) -> tuple[Ints, Floats]:
    """The first of two neighbours among `count` for places (N,), and how far each is on the way to the second."""
    places = places.clip(0, count - 1)
    first = places.astype(np.int64).clip(max=count - 2)
    return first, (places - first).astype(np.float32)


def recoloured(photo: Floats, grid: Floats, probability: Floats, guide: GuideWeights) -> Floats:
    """Recolour a photograph by a grid where its subject is; other pixels stay bit-identical.

    Args:
        photo: (3, H, W) in [-1, 1].
        grid: (12, bins, G, G), what is added.
        probability: (S, S) that the subject is there; refined by the photograph's own colours and edges.
        guide: weights.

    Returns:
        (3, H, W) in [-1, 1].
    """
    mask, result = subject_mask(photo, probability), photo.copy()
    height, width = mask.shape
    step = max(1, STRIP // width)
    for start in range(0, height, step):
        rows, columns = np.nonzero(mask[start : start + step])
        if not len(rows):
            continue
        rows += start
        pixels = photo[:, rows, columns]
        change = sliced(grid, pixels, rows, columns, guide_of(pixels, guide), size=(height, width))
        change += pixels
        np.clip(change, -1, 1, out=change)
        change -= pixels
        change *= mask[rows, columns]
        result[:, rows, columns] = pixels + change
    return result


def weakened(
    picture: Floats, full: Floats, weak: Floats, probability: Floats, guide: GuideWeights, strength: float
) -> Floats:
    """The grid of a weaker edit, which costs `strength` times what the full one does (root mean square of the change).

    Args:
        picture: (3, S, S) in [-1, 1].
        full: (12, bins, G, G), grid of the full edit.
        weak: of one that the network was asked to make weaker; it is weakened further where it costs too much.
        probability: (S, S) of the subject.
        guide: weights.
        strength: 0 to 1.
    """
    rows, columns = (each.ravel() for each in np.indices(picture.shape[1:]))
    pixels = np.ascontiguousarray(picture.reshape(3, -1))
    mask = ((probability - UNLIKELY) / (LIKELY - UNLIKELY)).clip(0, 1).ravel()
    own = guide_of(pixels, guide)
    changes = [mask * sliced(grid, pixels, rows, columns, own, size=picture.shape[1:]) for grid in (full, weak)]
    most, cost = (float(np.sqrt(np.square(change).mean() + 1e-6)) for change in changes)  # as `tagrid_targets.rmse`
    return np.float32(min(1.0, strength * most / cost)) * weak
