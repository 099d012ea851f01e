"""Figures with their 95 % intervals over pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tgim.data.base import Stream, random_source

RESAMPLES = 1000
NORMAL = 1.959964  # 97.5 % quantile of the standard normal


class Figure(NamedTuple):
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def mean(values: ArrayLike, *, seed: int) -> Figure:
    """Mean of `values` (N,), with the percentile bootstrap interval over them.

    >>> mean([2.0, 2.0], seed=0)
    Figure(value=2.0, low=2.0, high=2.0)
    """
    return ratio(values, np.ones(len(np.asarray(values))), seed=seed)


def ratio(above: ArrayLike, below: ArrayLike, *, seed: int) -> Figure:
    """Sum of `above` (N,) over the sum of `below` (N,), 0 where that is 0; its bootstrap interval over the N pairs.

    >>> ratio([1.0, 3.0], [2.0, 6.0], seed=0)
    Figure(value=0.5, low=0.5, high=0.5)
    """
    pairs = np.stack([np.asarray(above, np.float64), np.asarray(below, np.float64)], 1)  # N, 2
    n = len(pairs)
    counts = random_source(seed, Stream.DISSECTION_BOOTSTRAP).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    sums = np.concatenate([pairs.sum(0)[None], counts @ pairs])
    found = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] != 0)
    low, high = np.percentile(found[1:], [2.5, 97.5])
    return Figure(float(found[0]), float(low), float(high))


def proportion(hits: int, n: int) -> Figure:
    """Share of `hits` among `n`, with Wilson's interval (Wilson, JASA 1927).

    >>> [round(each, 3) for each in proportion(5, 10)]
    [0.5, 0.237, 0.763]
    """
    share, z = hits / n, NORMAL**2 / n
    middle = (share + z / 2) / (1 + z)
    half = NORMAL / (1 + z) * (share * (1 - share) / n + z / (4 * n)) ** 0.5
    return Figure(share, max(0.0, middle - half), min(1.0, middle + half))
