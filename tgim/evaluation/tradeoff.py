"""Recall against error over the strengths of an editor, and the area under that curve.

Any editor can raise recall by changing more, at the extreme by returning another photograph; so one figure ranks
editors: at each error e (RMSE in [-1, 1], mean over pictures) the best recall@1 reached at an error of at most e,
averaged over e from 0 to 0.25. The curve starts at error 0 with the recall of the unedited photographs, is linear
between the measured strengths, and level beyond the last; it never falls, since a weaker edit may always be chosen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tgim.evaluation import catalogue
from tgim.evaluation.bench import Bench
from tgim.evaluation.contenders import Contender
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.records import Measured, percentiles, resampled_means
from tgim.evaluation.retrieval import candidates, target_ranks
from tgim.metrics import rmse

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
LARGEST = 0.25  # RMSE in [-1, 1] up to which the area is taken
Numbers = NDArray[np.float64]


def measure(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """Error and recall at each strength, then the area; its interval resamples pictures through the whole curve."""
    pictures = bench.pictures
    found = [(target_ranks(bench, pictures) <= 1).astype(float)]
    errors = []
    for strength in STRENGTHS:
        edited = bench.edits(contender, bench.target, strength)
        errors.append(rmse(edited, pictures).double().numpy())
        found.append((target_ranks(bench, edited) <= 1).astype(float))
        yield Measured("rmse", errors[-1], strength, higher_is_better=False)
        yield Measured("recall@1", found[-1], strength, options=candidates(bench))
    table = np.stack([*errors, *found], 1)  # n, 2 * strengths + 1
    count = len(STRENGTHS)
    value = area(table[:, :count].mean(0)[None], table[:, count:].mean(0)[None])[0]
    resampled = resampled_means(table, seed=bench.seed)
    low, high = percentiles(area(resampled[:, :count], resampled[:, count:]))
    yield Measured("area", interval=(float(value), low, high), options=candidates(bench))


def area(errors: Numbers, recalls: Numbers) -> Numbers:
    """Mean over errors from 0 to 0.25 of the best recall at that error or less.

    Args:
        errors: (R, M) of R curves at M strengths.
        recalls: (R, 1 + M), the first of the unedited pictures.

    Returns:
        (R,), from 0 to 1.

    >>> area(np.array([[0.125, 0.25]]), np.array([[0.0, 1.0, 0.5]]))
    array([0.75])
    """
    errors = np.concatenate([np.zeros_like(errors[:, :1]), errors], 1)
    order = np.argsort(errors, 1, kind="stable")
    x = np.take_along_axis(errors, order, 1)
    y = np.maximum.accumulate(np.take_along_axis(recalls, order, 1), 1)
    width = np.diff(x, axis=1)
    inside = (LARGEST - x[:, :-1]).clip(0, width)  # of each piece, what lies below the largest error
    slope = np.diff(y, axis=1) / np.where(width > 0, width, 1)
    pieces = inside * (y[:, :-1] + slope * inside / 2)
    rest = (LARGEST - x[:, -1]).clip(0) * y[:, -1]
    return np.asarray((pieces.sum(1) + rest) / LARGEST)


TRADEOFF = Protocol(catalogue.TRADEOFF, ("rmse", "recall@1", "area"), measure, needs_judge=True)
