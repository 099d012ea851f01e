"""Scores of a matching model to figures of retrieval, and directions in its space.

Ties always count against: of candidates with equal scores the right one is taken to come last, so that a model which
scores all alike is not rewarded for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.errors import UserError
from tgim.metrics.checks import Floats, Numbers, array, check_finite

Ints = npt.NDArray[np.int64]


def ranks(scores: Numbers, right: int | Numbers = 0) -> Ints:
    """Rank of the right candidate of each query, 1 is best; (N,) from 1 to K. Ties count against (pessimistic).

    Args:
        scores: (N, K) of N queries and K candidates each; higher fits better.
        right: column of the right candidate, one for all or (N,).

    >>> ranks(np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.2]]))
    array([1, 3])
    """
    table = array("scores", scores, shape="(N, K)")
    n, k = table.shape
    column = np.full(n, right) if isinstance(right, int) else array("right", right, shape="(N,)")
    if column.shape != (n,) or column.dtype.kind not in "iu" or (n and not 0 <= column.min() <= column.max() < k):
        raise UserError(f"right must hold {n} whole numbers from 0 to {k - 1}, the right columns of scores {n} x {k}")
    own = np.take_along_axis(table, column[:, None].astype(np.int64), 1)
    return np.asarray((table >= own).sum(1), dtype=np.int64)  # it is itself among them


def recall_at(ranks: Numbers, k: int) -> float:
    """Share of queries whose rank is at most `k`; 0 to 1, higher is better. For one query: ``ranks <= k``.

    >>> recall_at(np.array([1, 3, 6]), 5)
    0.6666666666666666
    """
    if k < 1:
        raise UserError(f"k is {k}, expected at least 1")
    return float((_ranks(ranks) <= k).mean())


def mrr(ranks: Numbers) -> float:
    """Mean reciprocal rank; above 0 to 1, higher is better. For one query: ``1 / ranks``.

    >>> mrr(np.array([1, 4]))
    0.625
    """
    return float((1 / _ranks(ranks)).mean())


def median_rank(ranks: Numbers) -> float:
    """Median rank, the mean of the middle two for an even number; 1 is best, lower is better.

    >>> median_rank(np.array([9, 1, 2]))
    2.0
    """
    return float(np.median(_ranks(ranks)))


def _ranks(values: Numbers) -> Floats:
    found = array("ranks", values, shape="(N,)").astype(np.float64)
    if not len(found) or found.min() < 1:
        raise UserError(
            f"ranks are {len(found)} numbers, expected one or more, each at least 1; see tgim.metrics.ranks"
        )
    return found


def r_precision(scores: Numbers, relevant: Numbers) -> float:
    """Share of a query's R relevant candidates among its first R, mean over queries; 0 to 1, higher is better.

    With one relevant candidate among 100 it is the R-precision of Xu et al., AttnGAN, CVPR 2018, and `recall_at` 1.

    Args:
        scores: (N, K); higher fits better.
        relevant: (N, K) bool; at least one in each row.

    >>> scores = np.array([[0.9, 0.8, 0.1], [0.1, 0.2, 0.3]])
    >>> r_precision(scores, np.array([[True, False, True], [False, False, True]]))
    0.75
    """
    table = array("scores", scores, shape="(N, K)")
    wanted = array("relevant", relevant, shape="(N, K)").astype(bool)
    if wanted.shape != table.shape:
        raise UserError(f"relevant has shape {wanted.shape}, expected that of scores, {table.shape}")
    count = wanted.sum(1)
    if not len(table) or not count.all():
        raise UserError("a query without relevant candidates has no R-precision; leave it out")
    first = np.arange(table.shape[1]) < count[:, None]  # N, K
    found = np.take_along_axis(wanted, _descending(table, wanted), 1)
    return float(((found & first).sum(1) / count).mean())


def precision_at(scores: Numbers, labels: Numbers, k: int = 50) -> float:
    """Share of the right class among the first `k` of each class's query, mean over classes; 0 to 1, higher is better.

    Reed et al., "Learning deep representations of fine-grained visual descriptions", CVPR 2016: the query of a class is
    the mean embedding of its captions, the candidates are all pictures of the test classes, k = 50 ("AP@50"). A class
    of fewer than `k` pictures cannot reach 1.

    Args:
        scores: (C, N) of C classes' queries and N pictures; higher fits better.
        labels: (N,) class of each picture, 0 to C - 1: the row of its query.
        k: how many pictures are looked at, at most N.

    >>> precision_at(np.array([[0.9, 0.8, 0.1], [0.1, 0.9, 0.8]]), np.array([0, 1, 1]), k=2)
    0.75
    """
    table = array("scores", scores, shape="(C, N)")
    classes, n = table.shape
    own = array("labels", labels, shape="(N,)")
    if (
        own.shape != (n,)
        or not classes
        or not n
        or own.dtype.kind not in "iu"
        or not 0 <= own.min() <= own.max() < classes
    ):
        raise UserError(
            f"labels must be {n} whole numbers from 0 to {classes - 1}, the classes of scores {table.shape}"
        )
    if not 1 <= k <= n:
        raise UserError(f"k is {k}, expected 1 to {n}, the number of pictures")
    right = own[None] == np.arange(classes)[:, None]  # C, N
    found = np.take_along_axis(right, _descending(table, right), 1)
    return float(found[:, :k].mean())


def _descending(scores: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Order of each row from the highest score to the lowest; of equal scores the right ones come last."""
    return np.lexsort((right, -scores.astype(np.float64)), axis=-1)


def directional_similarity(
    image_before: Tensor, image_after: Tensor, text_before: Tensor, text_after: Tensor
) -> Tensor:
    """Cosine of the picture's change and the caption's change in one embedding space; (N,), -1 to 1, higher is better.

    Gal et al., "StyleGAN-NADA: CLIP-guided domain adaptation of image generators", 2022, as a measure of edits. It is 0
    where the picture or the caption does not change: where the change is below 1e-5 of the embeddings' length, which is
    rounding and points nowhere.

    Args:
        image_before: (N, D), embedding of the unedited picture.
        image_after: (N, D), of the edited one.
        text_before: (N, D), of a caption of the unedited picture.
        text_after: (N, D), of the target caption.

    >>> zero, right, up = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> directional_similarity(zero, right, up, up + right), directional_similarity(right, right, zero, up)
    (tensor([1.]), tensor([0.]))
    """
    given = {"image_before": image_before, "image_after": image_after}
    given |= {"text_before": text_before, "text_after": text_after}
    for name, value in given.items():
        if value.ndim != 2 or value.shape != image_before.shape:
            raise UserError(f"{name} has shape {tuple(value.shape)}, expected (N, D) as image_before")
        check_finite(name, value)
    image, text = _change(image_before, image_after), _change(text_before, text_after)
    return (image * text).sum(1).clamp(-1, 1)


def _change(before: Tensor, after: Tensor) -> Tensor:
    """Unit vectors (N, D) from `before` to `after`; zero where they are equal but for rounding."""
    before, after = before.float(), after.float()
    change = after - before
    length = torch.maximum(before.square().sum(1), after.square().sum(1)).sqrt()
    moved = change.square().sum(1).sqrt() > 1e-5 * length
    return F.normalize(change, dim=1) * moved[:, None]
