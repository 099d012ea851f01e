"""Metrics of edits: tensors, scores or features in, numbers out; no model, file or setting is involved.

- pictures (N, 3, H, W) in [-1, 1] to a tensor (N,), one value for each picture: `mse`, `rmse`, `psnr`, `ssim`, `lpips`,
  `stage_distance`, `preservation`, `manipulative_precision`, and for embeddings (N, D) `directional_similarity`;
- scores (N, K) to ranks (N,), and from those one float: `recall_at`, `mrr`, `median_rank`, `r_precision`,
  `precision_at`;
- features (N, D) of two sets of pictures to one float: `fid`, `kid`, `inception_score`.

`METRICS` says of each its range, its direction and its meaning. `PictureMean`, `Retrieval` and `FeatureDistance` are
the same figures with `update`, `compute` and `reset`, gathered over processes; they need torchmetrics (``tgim[eval]``).
What is wrong with an input ends as one `tgim.errors.UserError` line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgim.metrics.distributions import fid, inception_score, inception_scores, kid, kid_subsets
from tgim.metrics.perceptual import lpips, lpips_network, stage_distance
from tgim.metrics.pictures import manipulative_precision, mse, preservation, psnr, rmse, ssim
from tgim.metrics.retrieval import (
    directional_similarity,
    median_rank,
    mrr,
    precision_at,
    r_precision,
    ranks,
    recall_at,
)
from tgim.metrics.table import METRICS, Metric

if TYPE_CHECKING:
    from tgim.metrics.shells import FeatureDistance, PictureMean, Retrieval

__all__ = [
    "METRICS",
    "FeatureDistance",
    "Metric",
    "PictureMean",
    "Retrieval",
    "directional_similarity",
    "fid",
    "inception_score",
    "inception_scores",
    "kid",
    "kid_subsets",
    "lpips",
    "lpips_network",
    "manipulative_precision",
    "median_rank",
    "mrr",
    "mse",
    "precision_at",
    "preservation",
    "psnr",
    "r_precision",
    "ranks",
    "recall_at",
    "rmse",
    "ssim",
    "stage_distance",
]


def __getattr__(name: str) -> Any:
    """The shells are imported when they are first used: torchmetrics is an extra, and slow to import."""
    if name not in ("FeatureDistance", "PictureMean", "Retrieval"):
        raise AttributeError(f"module 'tgim.metrics' has no attribute {name!r}")
    from tgim.metrics import shells

    return getattr(shells, name)


def __dir__() -> list[str]:
    return sorted(__all__)
