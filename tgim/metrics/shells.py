"""The figures with `update`, `compute` and `reset`: fed in chunks, gathered over processes by torchmetrics.

Each gives what the pure function gives on all that was fed, in whatever chunks, on whatever process; a process that was
fed nothing does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from tgim.errors import UserError
from tgim.metrics.checks import Numbers, array
from tgim.metrics.distributions import fid, kid
from tgim.metrics.retrieval import median_rank, mrr, ranks, recall_at

try:
    from torchmetrics import Metric
except ImportError:
    raise UserError('the metrics with update and compute need torchmetrics; run pip install "tgim[eval]"') from None


class PictureMean(Metric):
    """Mean over pictures of a figure that is computed for each: `rmse`, `ssim`, `manipulative_precision`, ...

    Args:
        function: takes tensors, returns one value for each picture (N,).
        options: keyword arguments of `function` at every update, such as ``range="unit"``.
        settings: of `torchmetrics.Metric`.

    >>> from tgim.metrics import rmse
    >>> mean = PictureMean(rmse, options={"range": "unit"})
    >>> mean.update(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4))
    >>> mean.update(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    >>> round(float(mean.compute()), 6)
    0.333333
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(
        self,
        function: Callable[..., Tensor],
        *,
        options: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.function = function
        self.options = dict(options or {})
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, *tensors: Tensor) -> None:
        """Take some pictures; the arguments are those of the function."""
        values = self.function(*tensors, **self.options).detach()
        self.total += values.to(self.total.device, torch.float64).sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """The mean over all pictures so far; a scalar of 64 bits."""
        if not int(self.count):
            raise UserError("no picture was given; call update first")
        return self.total / self.count


class Retrieval(Metric):
    """`recall_at` each of `ks`, `mrr` and `median_rank` over all queries.

    >>> figures = Retrieval(ks=(1, 2))
    >>> figures.update(torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.3, 0.1]]))  # the right candidate is the first
    >>> {name: float(value) for name, value in figures.compute().items()}
    {'recall@1': 0.5, 'recall@2': 1.0, 'mrr': 0.75, 'median_rank': 1.5}
    """

    is_differentiable = False
    full_state_update = False
    ranks: list[Tensor]

    def __init__(self, *, ks: tuple[int, ...] = (1, 5, 10), **settings: Any) -> None:
        super().__init__(**settings)
        self.ks = ks
        self.add_state("ranks", [], dist_reduce_fx="cat")  # whole numbers in 32-bit floats, exact up to 2^24

    def update(self, scores: Tensor, right: int | Numbers = 0) -> None:
        """Take scores (N, K) of some queries; `right` as in `tgim.metrics.ranks`."""
        self.ranks.append(torch.from_numpy(ranks(scores, right)).to(self.device, torch.float32))

    def compute(self) -> dict[str, Tensor]:
        """The figures over all queries so far, by name; scalars of 64 bits."""
        found = _joined(self.ranks)
        if not found.numel():
            raise UserError("no query was given; call update first")
        figures = {f"recall@{k}": recall_at(found, k) for k in self.ks}
        figures |= {"mrr": mrr(found), "median_rank": median_rank(found)}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in figures.items()}


class FeatureDistance(Metric):
    """`fid` or `kid` of all real and all fake features, which are kept until the end (4 N D bytes).

    The subsets of `kid` are sampled by row, so that they depend on the order in which the rows came; where both sets
    are taken whole they do not.

    Args:
        figure: "fid" or "kid".
        options: keyword arguments of `kid`.
        settings: of `torchmetrics.Metric`.

    >>> distance = FeatureDistance("fid")
    >>> x = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    >>> distance.update(x, real=True)
    >>> distance.update(x + 1, real=False)
    >>> round(float(distance.compute()), 6)
    2.0
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False
    real: list[Tensor]
    fake: list[Tensor]
    width: Tensor

    def __init__(
        self, figure: Literal["fid", "kid"], *, options: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        if figure not in ("fid", "kid"):
            raise UserError(f"figure is {figure!r}, expected 'fid' or 'kid'")
        self.figure = figure
        self.options = dict(options or {})
        # flat, so that a process without rows joins the others without knowing their width
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("fake", [], dist_reduce_fx="cat")
        self.add_state("width", torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")

    def update(self, features: Tensor, *, real: bool) -> None:
        """Take features (N, D) of some real or some fake pictures."""
        rows = array("features", features, shape="(N, D)")
        if int(self.width) not in (0, rows.shape[1]):
            raise UserError(
                f"features are {rows.shape[1]} wide, those before were {int(self.width)}; use one extractor"
            )
        self.width.fill_(rows.shape[1])
        (self.real if real else self.fake).append(features.detach().to(self.device, torch.float32).flatten())

    def compute(self) -> Tensor:
        """The distance over all features so far; a scalar of 64 bits."""
        width = max(1, int(self.width))
        real, fake = (_joined(rows).reshape(-1, width) for rows in (self.real, self.fake))
        value = fid(real, fake) if self.figure == "fid" else kid(real, fake, **self.options)
        return torch.tensor(value, dtype=torch.float64)


def _joined(parts: list[Tensor] | Tensor) -> Tensor:
    """Join kept pieces, or take what torchmetrics joined; empty where there was nothing."""
    if isinstance(parts, Tensor):
        return parts
    return torch.cat(parts) if parts else torch.zeros(0)
