"""Sets of pictures against sets of pictures, by their features (N, D); one float out. Computed in 64 bits.

What the figures mean depends on the extractor: they are comparable only under one label of `tgim.evaluation.features`.
"""

from __future__ import annotations

import numpy as np

from tgim.errors import UserError
from tgim.metrics.checks import Floats, Numbers, array

TABLE = 8192  # rows of both sets up to which all kernel values are kept at once, half a GiB


def fid(real: Numbers, fake: Numbers) -> float:
    """Frechet distance of two sets of features, each taken for a Gaussian; 0 to infinity, lower is better.

    ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``, Heusel et al., "GANs trained by a two time-scale update rule",
    NeurIPS 2017, where the features are the 2048 of Inception-v3. The trace of the root is the sum of the singular
    values of A B^T, with S1 = A^T A and S2 = B^T B, so that fewer rows than features (singular covariances) do no harm.

    Small sets are biased upwards: two halves of one set of a thousand pictures are far from 0. Compare only figures of
    equal n, and print that of two disjoint real halves beside them.

    Args:
        real: (N, D), N at least 2.
        fake: (M, D), M at least 2.

    >>> real = np.array([[-1.0, 0.0], [1.0, 0.0]])
    >>> round(fid(real, real + [3.0, 4.0]), 6)  # moved by 5
    25.0
    >>> round(fid(real, 2 * real), 6)  # variances 2 and 8: (8^0.5 - 2^0.5)^2
    2.0
    """
    a, b = _pair(real, fake)
    left, right = _root(a), _root(b)
    cross = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    gap = np.square(a.mean(0) - b.mean(0)).sum()
    return max(0.0, float(gap + np.square(left).sum() + np.square(right).sum() - 2 * cross))


def _root(x: Floats) -> Floats:
    """A with A^T A the covariance of the rows of `x` (N, D); min(N, D) rows."""
    centred = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(x) > x.shape[1] else centred


def kid(real: Numbers, fake: Numbers, *, subsets: int = 100, subset_size: int | None = None, seed: int = 0) -> float:
    """Kernel distance: mean of `kid_subsets`; around 0 for sets of one source (below it, too), lower is better.

    Unbiased, unlike `fid`, so that small sets can be compared.

    >>> source = np.random.default_rng(0)
    >>> real, fake = source.normal(size=(2, 60, 8))
    >>> abs(kid(real, fake)) < 0.1 < kid(real, fake + 1)
    True
    """
    return float(kid_subsets(real, fake, subsets=subsets, subset_size=subset_size, seed=seed).mean())


def kid_subsets(
    real: Numbers, fake: Numbers, *, subsets: int = 100, subset_size: int | None = None, seed: int = 0
) -> Floats:
    """Squared maximum mean discrepancy of random subsets, unbiased, with the kernel (x y / D + 1)^3; (subsets,).

    Bińkowski et al., "Demystifying MMD GANs", ICLR 2018.

    Args:
        real: (N, D), N at least 2.
        fake: (M, D), M at least 2.
        subsets: how many are sampled.
        subset_size: rows of each set in one subset, sampled without replacement; by default 1000, or the smaller of the
            two sets. Where both sets are taken whole all subsets are the same.
        seed: of the choice of rows.

    >>> kid_subsets(np.zeros((4, 2)), np.zeros((5, 2)), subsets=3).tolist()
    [0.0, 0.0, 0.0]
    """
    a, b = _pair(real, fake)
    n, m = len(a), len(b)
    size = min(1000, n, m) if subset_size is None else subset_size
    if subsets < 1 or not 2 <= size <= min(n, m):
        raise UserError(
            f"{subsets} subsets of {size} rows cannot be drawn from {n} and {m}; expected some of 2 to {min(n, m)} rows"
        )
    if size == n == m:
        return np.full(subsets, _discrepancy(_kernel(a, a), _kernel(b, b), _kernel(a, b)))
    table = (_kernel(a, a), _kernel(b, b), _kernel(a, b)) if n + m <= TABLE else None
    source = np.random.default_rng(seed)
    values = np.empty(subsets)
    for index in range(subsets):
        i, j = source.choice(n, size, replace=False), source.choice(m, size, replace=False)
        if table is None:
            values[index] = _discrepancy(_kernel(a[i], a[i]), _kernel(b[j], b[j]), _kernel(a[i], b[j]))
        else:
            values[index] = _discrepancy(table[0][np.ix_(i, i)], table[1][np.ix_(j, j)], table[2][np.ix_(i, j)])
    return values


def _kernel(x: Floats, y: Floats) -> Floats:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def _discrepancy(xx: Floats, yy: Floats, xy: Floats) -> float:
    """Unbiased: the rows' kernel with themselves is left out."""
    n = len(xx)
    within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (n * (n - 1))
    return float(within - 2 * xy.mean())


def inception_score(probabilities: Numbers, *, splits: int = 10, seed: int = 0) -> float:
    """Mean of `inception_scores` over splits; 1 to the number of classes, higher is better.

    Says nothing of the source pictures or the captions, and little of pictures unlike the classifier's own.

    >>> round(inception_score(np.eye(4), splits=1), 6)  # sure of each, all four alike often
    4.0
    >>> inception_score(np.full((4, 2), 0.5), splits=2)
    1.0
    """
    return float(inception_scores(probabilities, splits=splits, seed=seed).mean())


def inception_scores(probabilities: Numbers, *, splits: int = 10, seed: int = 0) -> Floats:
    """exp of the mean of KL(p(class | picture) || p(class)), once for each split; (splits,).

    Salimans et al., "Improved techniques for training GANs", NeurIPS 2016. The rows are shuffled before they are split,
    because data sets are sorted by class; a split of few rows has a low score whatever is in it.

    Args:
        probabilities: (N, C), each row sums to 1.
        splits: into how many parts of nearly equal size the rows are split, at most N.
        seed: of the shuffle.

    >>> inception_scores(np.full((4, 2), 0.5), splits=2).tolist()
    [1.0, 1.0]
    """
    p = array("probabilities", probabilities, shape="(N, C)").astype(np.float64)
    if not p.size or p.min() < 0 or np.abs(p.sum(1) - 1).max() > 1e-3:
        raise UserError(f"probabilities {p.shape} must be rows that sum to 1, none negative; apply a softmax to logits")
    if not 1 <= splits <= len(p):
        raise UserError(f"splits is {splits}, expected 1 to {len(p)}, the number of rows")
    order = np.random.default_rng(seed).permutation(len(p)) if splits > 1 else np.arange(len(p))
    scores = []
    for part in np.array_split(p[order], splits):
        mean = np.broadcast_to(part.mean(0), part.shape)
        ratio = np.divide(part, mean, out=np.ones_like(part), where=part > 0)
        scores.append(np.exp((part * np.log(ratio)).sum(1).mean()))
    return np.array(scores)


def _pair(real: Numbers, fake: Numbers) -> tuple[Floats, Floats]:
    """Convert both sets to 64 bits."""
    found = []
    for name, value in (("real", real), ("fake", fake)):
        rows = array(name, value, shape="(N, D)").astype(np.float64)
        if len(rows) < 2 or not rows.shape[1]:
            raise UserError(f"{name} has shape {rows.shape}, expected features (N, D) of at least 2 pictures")
        found.append(rows)
    if found[0].shape[1] != found[1].shape[1]:
        raise UserError(
            f"real has {found[0].shape[1]} features and fake {found[1].shape[1]}; take both from one extractor"
        )
    return found[0], found[1]
