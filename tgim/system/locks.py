"""Locks between processes: on a file that several write to, and on a folder that belongs to one of them.

They are the system's own (`flock`), leave no file, and end with the process, however it ends. Where there are none, on
Windows and on some network drives, nothing is locked.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


class BusyError(OSError):
    """A folder that another process has for itself."""


@contextmanager
def locked(handle: int) -> Iterator[None]:
    """Wait until no other process has the open file `handle` locked, and lock it within the block."""
    if fcntl is not None:
        with suppress(OSError):  # of a drive without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)


@contextmanager
def own_folder(path: Path) -> Iterator[None]:
    """Have the folder `path` for this process alone within the block; it is made where it is not there.

    Of the folders that were made none is left when the block fails and has put nothing into them.

    Raises:
        BusyError: another process has it.
        OSError: it cannot be made or read.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_RDONLY) if fcntl is not None else None
        try:
            if handle is not None:
                _claim(handle, path)
            yield
        finally:
            if handle is not None:
                os.close(handle)
    except BaseException:
        for folder in made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
        raise


def _claim(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(errno.EBUSY, "another process is writing to it", str(path)) from None
    except OSError:
        pass  # a drive without locks
