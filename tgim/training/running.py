"""What surrounds the steps of the training loop: batches made ahead, learning rates, seeds, signals."""

from __future__ import annotations

import contextlib
import ctypes
import math
import platform
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from tqdm import tqdm

from tgim.data.base import random_source
from tgim.data.batch import Batch, BatchSource
from tgim.training.recipe import OptimizerConfig

LOOP = 100  # stream of `random_source`
MALLOC_OPTIONS = {-4: 0, -1: 2**31 - 1, -2: 2**28}  # M_MMAP_MAX: none, M_TRIM_THRESHOLD and M_TOP_PAD: bytes


class Prefetch:
    """Batches, each made in a thread while the step before is computed."""

    def __init__(self, batches: BatchSource, *, last: int) -> None:
        self._batches, self._last = batches, last
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[int, Future[Batch]] | None = None

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self, step: int) -> Batch:
        """The batch of `step`; the next one is begun."""
        waiting = self._next
        future = waiting[1] if waiting and waiting[0] == step else self._pool.submit(self._batches.batch, step)
        batch = future.result()
        self._next = (step + 1, self._pool.submit(self._batches.batch, step + 1)) if step + 1 < self._last else None
        return batch


def schedule(settings: OptimizerConfig, step: int, total: int) -> float:
    """Factor of the learning rate at `step` (0, 1, ...) of `total`.

    "one_cycle" is that of Smith and Topin (2018) as torch has it: cosines from 1/25 up to 1 and down to 1/250000.

    >>> [schedule(OptimizerConfig(warm_up=4), step, 10) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    >>> [schedule(OptimizerConfig(schedule="halve", halve_every=2), step, 10) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    if settings.schedule == "one_cycle":
        peak = (settings.warm_up or 0.3 * total) - 1
        if step <= peak:
            return _cosine(1 / 25, 1.0, step / peak if peak else 1.0)
        return _cosine(1.0, 1 / 25e4, min(1.0, (step - peak) / max(1e-9, total - 1 - peak)))
    warm = min(1.0, (step + 1) / settings.warm_up) if settings.warm_up else 1.0
    if settings.schedule == "cosine":
        left = max(1, total - settings.warm_up)
        return warm * _cosine(1.0, 0.0, min(1.0, max(0, step - settings.warm_up) / left))
    if settings.schedule == "halve":
        return float(warm * 0.5 ** (step // settings.halve_every))
    return warm


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def seed_step(seed: int, step: int) -> None:
    """Seed torch's random numbers for one step, so that no state of them has to be kept."""
    number = int(random_source(seed, LOOP, step + 1).integers(2**62))
    torch.default_generator.manual_seed(number)  # torch.manual_seed formats a stack trace when CUDA is not in use
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(number)


def keep_memory() -> bool:
    """Tell glibc's allocator to keep a training step's memory, and not to give it back and fault it in again.

    It holds for the whole process, so it is for programs that train; `tgim train` does it. Returns whether there is
    such an allocator and it took the settings.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    taken = [mallopt(option, value) for option, value in MALLOC_OPTIONS.items()]  # each is to be told
    return all(taken)


@contextlib.contextmanager
def decoding(show: bool) -> Iterator[Any]:
    """A progress callback that opens its bar when it is first called."""
    with contextlib.ExitStack() as stack:
        bars: list[Any] = []

        def tell(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(tqdm(total=total, desc="decoding", unit="picture", dynamic_ncols=True)))
            bars[0].update(done - bars[0].n)

        yield tell if show else None


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that fills when SIGINT or SIGTERM arrives; the second of them acts at once, as usual."""
    received: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def note(number: int, _: object) -> None:
        received.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    with contextlib.suppress(ValueError):  # handlers can be set in the main thread only
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
