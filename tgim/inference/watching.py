"""Pictures that come into a folder: each is taken once its size and time have not changed for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tgim.errors import ImageError
from tgim.images.folder import pictures_among, walk

STILL = 1.0  # seconds without a change after which a file is taken to be whole
POLL = 0.5  # seconds between two looks at the folder, or
SHARE = 5  # so many times as long as a look takes

State = tuple[int, int]  # size in bytes, and time of the last change in nanoseconds


def arriving(
    folder: Path,
    *,
    recursive: bool = False,
    without: Path | None = None,
    still: float = STILL,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str | None]:
    """Names of the pictures of a folder, relative to it, as they come, without end: each once for each of its states.

    What is there at first is taken at once, unless it has just been written.

    Args:
        folder: which may be away for a time.
        recursive: pictures in folders below, too.
        without: a folder below that is not read.
        still: seconds that a picture must not have changed for.
        clock: tells seconds that never go back.
        now: tells seconds since 1970, as files have them.
        sleep: waits.

    Yields:
        A name, or None where there is no picture to take now; the next call waits then.
    """
    taken: dict[str, State] = {}
    waiting: dict[str, tuple[State, float]] = {}  # with the second in which it was first seen
    first = True
    while True:
        start = clock()
        states = _states(folder, recursive=recursive, without=without)
        looked = clock() - start
        for name, state in states.items():
            if taken.get(name) == state:
                waiting.pop(name, None)
                continue
            if name not in waiting or waiting[name][0] != state:
                age = min(still, max(0.0, now() - state[1] / 1e9)) if first else 0.0
                waiting[name] = state, start - age
            if start - waiting[name][1] >= still:
                taken[name] = waiting.pop(name)[0]
                yield name
        first = False
        yield None
        sleep(max(POLL, SHARE * looked))


def _states(folder: Path, *, recursive: bool, without: Path | None) -> dict[str, State]:
    """The pictures that are there now; those that go meanwhile are left out."""
    found: dict[str, State] = {}
    with suppress(ImageError):  # it comes back, or ctrl-C is pressed
        for name in pictures_among(walk(folder, recursive=recursive, without=without)[0]):
            with suppress(OSError, ValueError):
                status = (folder / name).stat()
                found[name] = status.st_size, status.st_mtime_ns
    return found
