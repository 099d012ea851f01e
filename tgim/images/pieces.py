"""Pieces of masks: which pixels hang together, and how far they reach.

For masks of a few hundred pixels a side; an image library does the same, at the price of loading it.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)


def labelled(mask: npt.NDArray[np.bool_], *, corners: bool = True) -> npt.NDArray[np.int64]:
    """Number the pieces of a mask (H, W) that hang together, by corners, too, unless told otherwise.

    Pieces are numbered from 1 in the order of their first pixels, row by row; what is not in the mask is 0. Runs of
    each row are joined to those that they touch in the row above (two-pass labelling, Rosenfeld and Pfaltz 1966).

    >>> labelled(np.array([[True, False, True], [False, True, False]])).tolist()
    [[1, 0, 1], [0, 1, 0]]
    >>> labelled(np.array([[True, False, True], [False, True, False]]), corners=False).tolist()
    [[1, 0, 2], [0, 3, 0]]
    """
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    reach = 1 if corners else 0
    first = np.searchsorted(rows, np.arange(mask.shape[0] + 1)).tolist()
    left, right = starts.tolist(), ends.tolist()
    for row in range(1, mask.shape[0]):
        above, here = first[row - 1], first[row]
        while above < first[row] and here < first[row + 1]:
            if left[above] < right[here] + reach and left[here] < right[above] + reach:
                one, two = root(above), root(here)
                parent[max(one, two)] = min(one, two)
            if right[above] < right[here]:
                above += 1
            else:
                here += 1
    roots = np.array([root(i) for i in range(len(rows))], np.int64)
    numbers = np.unique(roots, return_inverse=True)[1] + 1 if len(roots) else roots
    steps = np.zeros(mask.shape[0] * (mask.shape[1] + 1), np.int64)
    np.add.at(steps, rows * (mask.shape[1] + 1) + starts, numbers)
    np.add.at(steps, rows * (mask.shape[1] + 1) + ends, -numbers)
    return np.cumsum(steps).reshape(mask.shape[0], -1)[:, :-1]


def widest(x: npt.NDArray[Scalar], radius: int) -> npt.NDArray[Scalar]:
    """Dilate (..., H, W): the greatest value within `radius` pixels, a square.

    >>> widest(np.eye(3)[:1], 1).tolist()
    [[1.0, 1.0, 0.0]]
    """
    for axis in (-2, -1):
        padded = np.pad(x, [(radius, radius) if i == x.ndim + axis else (0, 0) for i in range(x.ndim)], mode="edge")
        length = x.shape[axis]
        result = np.take(padded, range(length), axis)
        for first in range(1, 2 * radius + 1):
            np.maximum(result, np.take(padded, range(first, first + length), axis), out=result)
        x = result
    return x
