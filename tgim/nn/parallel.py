"""Several processes that train as one: each works on its share of a batch, and what joins pictures joins those of all.

Process r of W has rows r, r + W, r + 2 W, ... of a batch of B pictures. So the share of two tensors side by side is the
shares side by side, and that of the first half is the first half of the share. A model computes losses of its share;
the loss of the batch is their mean over processes, and `tgim.training.parallel` takes the mean of their gradients.

Functions of this file join the processes within `together`. Elsewhere, and in one process, they do nothing: `gathered`
returns its input, `rand` is that of torch. All processes must call them in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from tgim.errors import UserError

_T = TypeVar("_T", bound=NamedTuple)


class LostProcess(UserError):
    """A process of the run that ended, or was not heard of for too long."""


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those of a run."""

    rank: int = 0
    size: int = 1
    words: Any = None  # group of processes for what is no tensor; it waits longer


ALONE = Ranks()
_now = ALONE


@contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Join the processes `ranks` within the block, which each of them must run."""
    global _now
    before, _now = _now, ranks
    try:
        yield
    finally:
        _now = before


def collective(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return what a function of `torch.distributed` returns.

    Raises:
        LostProcess: it failed, because another process is not there.
    """
    try:
        return call(*arguments, **options)
    except RuntimeError as error:
        raise LostProcess(
            "another process of this run has ended or does not answer, so this one stops; "
            "see what that one said, then go on by the same command and --resume"
        ) from error


# Joining rows


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        plain = x.detach().contiguous()
        if plain.dtype == torch.bool:
            sent = plain.to(torch.uint8)
        else:
            sent = plain.view(torch.int16) if plain.dtype in (torch.bfloat16, torch.float16) else plain
        parts = [torch.empty_like(sent) for _ in range(ranks.size)]
        collective(torch.distributed.all_gather, parts, sent)
        whole = torch.stack(parts, 1).flatten(0, 1)
        return whole.to(x.dtype) if plain.dtype == torch.bool else whole.view(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        ranks = ctx.ranks
        total = gradient.detach().float().clone(memory_format=torch.contiguous_format)
        collective(torch.distributed.all_reduce, total)
        return total[ranks.rank :: ranks.size].to(gradient.dtype), None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone(memory_format=torch.contiguous_format)
        collective(torch.distributed.all_reduce, total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.detach().clone(memory_format=torch.contiguous_format)
        collective(torch.distributed.all_reduce, total)
        return total


def gathered(x: Tensor) -> Tensor:
    """Rows of the whole batch, (W b, ...) in its order, from the share (b, ...) of each process; gradients pass."""
    if _now.size == 1:
        return x
    found: Tensor = _Gather.apply(x, _now)
    return found


def gathered_all(code: _T) -> _T:
    """`gathered` of each tensor of a named tuple."""
    return code if _now.size == 1 else type(code)(*map(gathered, code))  # type: ignore[call-overload]


def own_share(x: Any) -> Any:
    """The share of this process of the rows of a whole batch."""
    return x if _now.size == 1 else x[_now.rank :: _now.size]


def own_rows(count: int, device: torch.device) -> Tensor:
    """Places (count,) in the whole batch of the first `count` rows of this process's share.

    >>> own_rows(3, torch.device("cpu"))
    tensor([0, 1, 2])
    """
    return _now.rank + _now.size * torch.arange(count, device=device)


def rolled(x: Tensor, shift: int = 1) -> Tensor:
    """Rows (b, ...) of the pictures that are `shift` places before in the whole batch, cyclically.

    >>> rolled(torch.tensor([1, 2, 3]))
    tensor([3, 1, 2])
    """
    if _now.size == 1:
        return x.roll(shift, 0)
    found: Tensor = own_share(gathered(x).roll(shift, 0))
    return found


def rolled_all(code: _T, shift: int = 1) -> _T:
    """`rolled` of each tensor of a named tuple."""
    return type(code)(*(rolled(each, shift) for each in code))  # type: ignore[call-overload, no-any-return]


def has_last_row() -> bool:
    """Tell whether the last row of the whole batch is the last one of this process."""
    return _now.rank == _now.size - 1


def split(count: int, what: str) -> int:
    """Share of this process of the first `count` rows of a batch, which `what` names.

    Raises:
        UserError: they cannot be shared evenly.
    """
    if count % _now.size:
        raise UserError(
            f"{what}: {count} pictures of a batch cannot be shared evenly by {_now.size} processes; "
            "take another train.batch_size or another number of processes"
        )
    return count // _now.size


def whole(count: int) -> int:
    """Number of rows of the whole batch of which a share has `count`."""
    return count * _now.size


# Joining sums


def summed(x: Tensor) -> Tensor:
    """Sum over processes of a tensor, of equal shape in all; gradients pass."""
    if _now.size == 1:
        return x
    found: Tensor = _Sum.apply(x)
    return found


def ratio(total: Tensor, count: Tensor, *, least: float = 1.0) -> Tensor:
    """Loss of this process by which the mean over processes is sum of `total` over sum of `count`, at least `least`.

    >>> ratio(torch.tensor(6.0), torch.tensor(3.0))
    tensor(2.)
    """
    return total * _now.size / summed(count).clamp(min=least) if _now.size > 1 else total / count.clamp(min=least)


# Random numbers: those of the whole batch are sampled, and the share taken


def rand(*shape: int, device: Any = None, dim: int = 0, each: int = 1) -> Tensor:
    """`torch.rand`, where `dim` is that of the pictures; with `each`, so many rows of the first are of one picture."""
    if each > 1:
        return _sampled(torch.rand, (shape[0] // each, each, *shape[1:]), 0, device=device).flatten(0, 1)
    return _sampled(torch.rand, shape, dim, device=device)


def randn(*shape: int, generator: torch.Generator | None = None) -> Tensor:
    """`torch.randn`, where the first dimension is that of the pictures; with a `generator`, torch's own."""
    if generator is not None:
        return torch.randn(*shape, generator=generator)
    return _sampled(torch.randn, shape, 0)


def randn_like(x: Tensor) -> Tensor:
    """`torch.randn_like`, where the first dimension of `x` is that of the pictures."""
    return torch.randn_like(x) if _now.size == 1 else own_share(torch.randn_like(_whole(x)))


def _sampled(call: Callable[..., Tensor], shape: Sequence[int], dim: int, **options: Any) -> Tensor:
    if _now.size == 1:
        return call(*shape, **options)
    whole = [_now.size * length if i == dim else length for i, length in enumerate(shape)]
    return call(*whole, **options)[(*([slice(None)] * dim), slice(_now.rank, None, _now.size))]


def _whole(x: Tensor) -> Tensor:
    """An empty tensor of the whole batch, in the memory layout of the share `x`."""
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty((_now.size * len(x), *x.shape[1:]), dtype=x.dtype, device=x.device, memory_format=layout)


# Layers


def synchronise(model: nn.Module) -> None:
    """Let batch normalisation of `model` normalise by the whole batch, and dropout leave out what it would of that.

    It holds in training, within `together`; weights, keys and what an edit computes stay as they are.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = MethodType(_batch_norm, module)  # type: ignore[method-assign]
        elif isinstance(module, _DropoutNd):
            module.forward = MethodType(_dropout, module)


class _Normalise(torch.autograd.Function):
    """Batch normalisation by the statistics of all processes: one exchange forward, one backward.

    Ioffe and Szegedy, ICML 2015, algorithm 1; variances of parts are joined after Chan et al., 1979.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        dims, values = [0, *range(2, x.ndim)], x.float()
        count = x.numel() // x.shape[1]  # of a process, which may have no row; torch.var_mean is ten times slower
        mean = values.sum(dims) / max(1, count)
        centred = values - mean.view(1, -1, *[1] * (x.ndim - 2))
        variance = centred.square_().sum(dims) / max(1, count)
        sent = torch.cat([mean, variance, mean.new_tensor([count])])
        parts = [torch.empty_like(sent) for _ in range(_now.size)]
        collective(torch.distributed.all_gather, parts, sent)
        each = torch.stack(parts).double()
        means, variances, counts = torch.tensor_split(each, [len(mean), 2 * len(mean)], 1)
        total = counts.sum()
        joined = (counts * means).sum(0) / total
        variance = ((counts * (variances + (means - joined).square())).sum(0) / total).to(mean)
        mean = joined.to(mean)
        ctx.eps, ctx.total = eps, total
        ctx.save_for_backward(x, weight, mean, variance)
        unbiased = variance * (total / (total - 1)).to(variance)
        ctx.mark_non_differentiable(mean, unbiased)
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, variance = ctx.saved_tensors
        scale, shape = (variance + ctx.eps).rsqrt(), [1, -1, *[1] * (x.ndim - 2)]
        _, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, torch.ones_like(mean), mean, variance, None, None, False, ctx.eps, [False, True, True]
        )
        sums = torch.stack([by_weight.float(), by_bias.float()])
        collective(torch.distributed.all_reduce, sums)
        slope, level = sums / ctx.total
        wide = scale if weight is None else scale * weight.float()
        # wide (gradient - level - slope (x - mean) scale), as three numbers of each channel
        at_x, rest = -wide * slope * scale, wide * (slope * scale * mean - level)
        back = torch.addcmul(rest.view(shape), x.float(), at_x.view(shape))
        back = back.addcmul_(gradient.float(), wide.view(shape)).to(x.dtype)
        return (
            back,
            None if weight is None else by_weight.to(weight),
            None if weight is None else by_bias.to(weight),
            None,
        )


def _batch_norm(module: _BatchNorm, x: Tensor) -> Tensor:
    """Normalise by the mean and the variance over all processes, as `F.batch_norm` does by those of one."""
    if not module.training or _now.size == 1:
        found: Tensor = type(module).forward(module, x)
        return found
    result: Tensor
    result, mean, unbiased = _Normalise.apply(x, module.weight, module.bias, module.eps)
    if module.track_running_stats and module.running_mean is not None and module.running_var is not None:
        with torch.no_grad():
            if module.num_batches_tracked is not None:
                module.num_batches_tracked.add_(1)
            share = module.momentum if module.momentum is not None else 1 / float(module.num_batches_tracked or 1)
            module.running_mean.lerp_(mean, share)
            module.running_var.lerp_(unbiased, share)
    return result


def _dropout(module: _DropoutNd, x: Tensor) -> Tensor:
    if not module.training or not module.p or _now.size == 1:
        found: Tensor = type(module).forward(module, x)
        return found
    kept: Tensor = own_share(type(module).forward(module, _whole(x).fill_(1)))
    return x.mul(kept)
