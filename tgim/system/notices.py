"""Warnings about one edit: heard by the thread that makes it, given as Python's warnings where nobody listens.

Python's own filters and records belong to the whole process, in which other pictures may be read at the same time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_HEARD: ContextVar[list[Warning] | None] = ContextVar("heard", default=None)


def notify(message: str, category: type[Warning], *, stacklevel: int = 1) -> None:
    """Tell those who listen in this thread (`hearing`), else warn as `warnings.warn` called in the same place does."""
    heard = _HEARD.get()
    if heard is None:
        warnings.warn(message, category, stacklevel=stacklevel + 1)
    else:
        heard.append(category(message))


@contextmanager
def hearing() -> Iterator[list[Warning]]:
    """Collect what this thread is told of within the block.

    >>> with hearing() as heard:
    ...     notify("no head", UserWarning)
    >>> heard
    [UserWarning('no head')]
    """
    heard: list[Warning] = []
    token = _HEARD.set(heard)
    try:
        yield heard
    finally:
        _HEARD.reset(token)
