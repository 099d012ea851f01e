"""Opening of picture files: what is said of one that cannot be read, and what decoders may not say by themselves."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator

ERROR_STREAM = threading.Lock()  # held while the process's error stream is turned away


def too_large(name: str, what: str, pixels: int, limit: int | None = None) -> str:
    """Say that a picture has more pixels than are allowed."""
    allowed = f", at most {limit:,} are allowed" if limit is not None else ""
    return f"{name} has {what} {pixels:,} pixels{allowed}; make it smaller"


def one_line(text: str) -> str:
    """A file's name for a message: without control characters, which could break the line, and not over 200 long."""
    text = re.sub(r"[\x00-\x1f\x7f]", "?", text)
    return text if len(text) <= 200 else f"{text[:90]}...{text[-100:]}"


def reason(error: BaseException) -> str:
    """Shorten an error to one line."""
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return one_line(text.strip().partition("\n")[0])[:120] or type(error).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings and log lines from the user: what matters becomes an `ImageError`."""
    pillow = logging.getLogger("PIL")
    level = pillow.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pillow.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            pillow.setLevel(level)


@contextlib.contextmanager
def silent_libtiff() -> Iterator[None]:
    """Turn away file descriptor 2: libtiff writes its complaints there, past Python, and Pillow cannot stop it."""
    with ERROR_STREAM, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a process without an error stream
            kept = os.dup(2)
            stack.callback(os.close, kept)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, nowhere)
            os.dup2(nowhere, 2)
            stack.callback(os.dup2, kept, 2)
        yield
