"""Settings of the process of a training run: seeded random numbers, orderly stops."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import torch

from tgim.data.base import Stream, random_source


def seed_step(seed: int, step: int) -> None:
    """Seed torch's random numbers for one step, so that no state of them has to be kept."""
    number = int(random_source(seed, Stream.LOOP, step + 1).integers(2**62))
    torch.default_generator.manual_seed(number)  # torch.manual_seed formats a stack trace when CUDA is not in use
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(number)


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
