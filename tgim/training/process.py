"""Settings of the process of a training run: seeded random numbers, an allocator that keeps memory, orderly stops."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import signal
from collections.abc import Iterator
from typing import Any

import torch

from tgim.data.base import Stream, random_source

MALLOC_OPTIONS = {-4: 0, -1: 2**31 - 1, -2: 2**28}  # M_MMAP_MAX: none, M_TRIM_THRESHOLD and M_TOP_PAD: bytes


def seed_step(seed: int, step: int) -> None:
    """Seed torch's random numbers for one step, so that no state of them has to be kept."""
    number = int(random_source(seed, Stream.LOOP, step + 1).integers(2**62))
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
    taken = [mallopt(option, value) for option, value in MALLOC_OPTIONS.items()]  # all are set, even after one failed
    return all(taken)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Give a list that gets the number of SIGINT or SIGTERM when it arrives; a second signal acts at once, as usual."""
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
