"""Arithmetic on arrays by several threads: numpy, Pillow and onnxruntime compute without holding Python's lock.

What is shared is cut so that each value is computed as by one thread: results do not depend on the number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import cache
from typing import TypeVar

from tgim.system.runtime import THREADS, usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
STRIP = 2**14  # numbers: what is made on the way to a result stays in a core's cache, and BLAS takes one thread
PIXELS = 2**16  # of a picture that are worked on at a time: more leave the cache, fewer cost Python's own time
_local = threading.local()
_making = threading.Lock()


@cache
def count() -> int:
    """Number of threads that compute: as `THREADS` says where it is set, and no more than cores that may be used."""
    own = os.environ.get(THREADS, "")
    return min(usable_cores(), int(own)) if own.isdigit() and int(own) else usable_cores()


def shared(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do work on each of some items, on all threads at once; results in order, or the first exception.

    The thread that calls works, too. Within work that is shared already, and on one thread, it is done one item after
    the other.

    >>> shared(len, ["a", "bc"])
    [1, 2]
    """
    items = list(items)
    helpers = min(count(), len(items)) - 1
    if helpers < 1 or getattr(_local, "inside", False):
        return [work(item) for item in items]
    left, results = iter(enumerate(items)), dict[int, Result]()  # a builtin iterator gives each of its items once

    def help_out() -> None:
        for index, item in left:
            results[index] = work(item)

    others = [_pool().submit(copy_context().run, help_out) for _ in range(helpers)]
    _local.inside = True
    try:
        help_out()
    finally:
        _local.inside = False
        for _ in left:  # after an error
            pass
        wait([other for other in others if not other.cancel()])
    for other in others:
        if not other.cancelled():
            other.result()
    return [results[index] for index in range(len(items))]


def strips(length: int, size: int = STRIP) -> Iterator[slice]:
    """Cut a length into slices of `size`, at least 1; the last may be shorter.

    >>> list(strips(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, size)
    return (slice(start, min(length, start + size)) for start in range(0, length, size))


def _pool() -> ThreadPoolExecutor:
    """The threads of this process, which are made when they are first needed."""
    with _making:
        return _made()


@cache
def _made() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count(), "tgim-compute", initializer=setattr, initargs=(_local, "inside", True))


def _forget() -> None:
    """Make the threads anew in a forked process, which has none of those before it."""
    global _making
    _making = threading.Lock()
    _made.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
