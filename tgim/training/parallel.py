"""Training by several processes, started by `torchrun` or `accelerate launch`: meeting, deciding alike, averaging.

Every process makes the batches of the whole run and works on its share (`tgim.nn.parallel` says which), gradients are
averaged before each step of an optimiser, and process 0 alone writes. A process that ends is noticed at once by the
others, one that does not answer after `ANSWER`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from tgim.environment import pick_device
from tgim.errors import UserError
from tgim.nn.parallel import LostProcess, Ranks, collective
from tgim.system.runtime import THREADS, usable_cores

ANSWER = timedelta(minutes=10)  # in a step; process 0 may write a checkpoint and samples in between
PREPARATION = timedelta(hours=12)  # while process 0 decodes pictures, or writes a report
PATIENCE = timedelta(seconds=5)  # for the error of process 0, which may be the same
ERROR, LOST = "tgim/error", "tgim/lost"  # keys of the processes' common store

_T = TypeVar("_T")
_joined = Ranks()


def launched() -> int:
    """Number of processes that this one was started as one of, by their environment; 1 without a launcher."""
    size = os.environ.get("WORLD_SIZE", "1") if "RANK" in os.environ else "1"
    return int(size) if size.isdigit() and int(size) else 1


def join(device: str) -> Ranks:
    """Meet the other processes of the run, if there are any; once they have met, return the same again.

    Args:
        device: `train.device`. On GPUs each process takes that of its number on its machine.

    Raises:
        UserError: they do not come, or there are too few GPUs.
    """
    global _joined
    if launched() == 1 or _joined.size > 1:
        return _joined
    local, beside = (int(os.environ.get(name, least)) for name, least in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1)))
    on_gpu = pick_device(device) == "cuda"
    if on_gpu and local >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UserError(
            f"{beside} processes need a GPU each, torch sees {count}; start {count}, or use train.device=cpu"
        )
    if on_gpu:
        torch.cuda.set_device(local)
    elif os.environ.get(THREADS, "1") == "1":  # torchrun's own choice, which leaves cores idle
        torch.set_num_threads(max(1, usable_cores() // beside))
    try:
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=ANSWER)
        words = distributed.new_group(backend="gloo", timeout=PREPARATION)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the {launched()} processes of the run do not meet ({error}); start them by torchrun or accelerate launch"
        ) from None
    _joined = Ranks(distributed.get_rank(), distributed.get_world_size(), words)
    if _joined.rank:  # process 0 says what all would
        for name in ("tgim", "tgim.doing"):
            logging.getLogger(name).setLevel(logging.ERROR)
    return _joined


def leave() -> None:
    """Take leave of the other processes, at the end of a run that has gone well."""
    global _joined
    if _joined.size > 1:
        _joined = Ranks()
        distributed.destroy_process_group()


def alone(what: str) -> None:
    """Raise UserError where this is one of several processes: `what` is done by one."""
    if launched() > 1:
        raise UserError(f"{what} is for one process; start it without torchrun or accelerate launch")


def agreed(ranks: Ranks, decide: Callable[[], _T]) -> _T:
    """Return in all processes what `decide` returns in process 0, which alone calls it; its error is one of all."""
    if ranks.size == 1:
        return decide()
    told: list[Any] = [None, None]
    if ranks.rank == 0:
        try:
            told[0] = decide()
        except BaseException as error:
            _tell(ranks, [None, str(error) or type(error).__name__])
            raise
    value, problem = _tell(ranks, told)
    if problem == KeyboardInterrupt.__name__:
        raise KeyboardInterrupt
    if problem is not None:
        raise UserError(problem)
    return value  # type: ignore[no-any-return]


@contextmanager
def first(ranks: Ranks) -> Iterator[None]:
    """Let process 0 run the block before the others do, who find in the cache what it has made."""
    if ranks.size == 1:
        yield
    elif ranks.rank == 0:
        try:
            yield
        except BaseException as error:
            _tell(ranks, [None, str(error) or type(error).__name__])
            raise
        _tell(ranks, [None, None])
    else:
        agreed(ranks, lambda: None)
        yield


def _tell(ranks: Ranks, told: list[Any]) -> list[Any]:
    collective(distributed.broadcast_object_list, told, src=0, group=ranks.words)
    return told


@torch.no_grad()
def spread(ranks: Ranks, model: nn.Module) -> None:
    """Give all processes the weights that process 0 has; they were sampled by one seed, maybe on unlike processors."""
    if ranks.size > 1:
        for value in model.state_dict().values():
            sent = value.detach().clone(memory_format=torch.contiguous_format)
            collective(distributed.broadcast, sent, src=0)
            value.copy_(sent)


def adding(ranks: Ranks, numbers: Callable[[], list[float]]) -> Callable[[], list[float]]:
    """Begin to add what `numbers` gives over all processes; returns a function that gives the sums.

    GPUs are not waited for. In one process the numbers are asked for when the sums are.
    """
    if ranks.size == 1:
        return numbers
    sums = torch.tensor(numbers(), dtype=torch.float64)
    work = collective(distributed.all_reduce, sums, group=ranks.words, async_op=True)

    def wait() -> list[float]:
        collective(work.wait)
        return sums.tolist()

    return wait


@torch.no_grad()
def average(ranks: Ranks, parameters: Sequence[nn.Parameter], terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace the gradients of `parameters` by their means over processes; returns the means of the terms.

    One sum of one flat tensor. A parameter that has a gradient in some processes gets one in all, and where a process
    has none its gradient counts as zero.
    """
    device = parameters[0].device
    numbers = torch.stack([term.detach().float().to(device) for term in terms.values()])
    has = torch.tensor([float(each.grad is not None) for each in parameters], device=device)
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    flat = torch.cat([numbers, has, *(each.float().reshape(-1) for each in gradients)])
    collective(distributed.all_reduce, flat)
    flat /= ranks.size
    means, some, *parts = torch.split(flat, [len(numbers), len(has), *(each.numel() for each in gradients)])
    here = all(each.grad is not None for each in parameters)  # a GPU is asked only where one has none
    known = [True] * len(parameters) if here else (some > 0).tolist()
    for parameter, gradient, part, kept in zip(parameters, gradients, parts, known, strict=True):
        parameter.grad = gradient.copy_(part.view_as(gradient)) if kept else None
    return dict(zip(terms, means, strict=True))


def told_elsewhere(error: Exception, *, alike: bool = False) -> bool:
    """Tell whether another process says this error, so that this one need not.

    Args:
        error: that this process ends with.
        alike: all processes end with it.
    """
    rank = int(os.environ.get("RANK", 0))
    if launched() == 1 or _joined.size == 1 or alike:
        return launched() > 1 and int(os.environ.get("LOCAL_RANK" if _joined.size == 1 else "RANK", 0)) > 0
    with suppress(Exception):  # the store has gone with the process that kept it
        store = distributed.distributed_c10d._get_default_store()
        if rank == 0:
            store.set(ERROR, str(error))
            return False
        lost = isinstance(error, LostProcess)
        if not lost:
            store.wait([ERROR], PATIENCE)
        if store.check([ERROR]):
            return lost or store.get(ERROR).decode() == str(error)
        return lost and store.add(LOST, 1) > 1
    return False
