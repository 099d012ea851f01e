"""Opening of picture files: an ordinary file or a line that says why not; decoders raise nothing but `ImageError`."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from typing import BinaryIO

from tgim.errors import ImageError
from tgim.images.kinds import KINDS
from tgim.system.say import STDERR

_QUIET = threading.Lock()  # held while the two below change
_inside = 0  # threads within `quiet`
_outside = contextlib.ExitStack()  # puts back what the first of them changed


@contextlib.contextmanager
def ordinary_file(path: str) -> Iterator[BinaryIO]:
    """Open a file for reading; folders, pipes and devices are refused before they can block.

    Raises:
        ImageError: whatever keeps it from being read.
    """
    name = one_line(path) or "an empty path"
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{name} is a folder, expected {KINDS}; name a file in it")
        if not stat.S_ISREG(mode):
            raise ImageError(f"{name} is a device or pipe, expected an ordinary file that is {KINDS}")
        with open(path, "rb") as file:
            yield file
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name} is not there; expected the path of {KINDS}") from error
    except PermissionError as error:
        raise ImageError(
            f"{name} may not be read (permission denied); make it readable, e.g. with chmod u+r"
        ) from error
    except (OSError, ValueError) as error:  # a name that is too long or holds a null byte, a failing disk
        raise ImageError(f"{name} cannot be read ({reason(error)}); expected the path of {KINDS}") from error


@contextlib.contextmanager
def guarded(name: str, blame: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one `ImageError`; hostile headers and pixels make them raise anything."""
    try:
        with quiet():
            yield
    except ImageError as error:
        raise ImageError(f"{name} {error}") from error
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory; make it smaller") from error
    except Exception as error:
        raise ImageError(f"{name} is {blame} ({reason(error)}); fetch or export it again") from error


def check_size(size: tuple[int, int], *, name: str, max_pixels: int) -> None:
    """Refuse a picture by its width and height before it is decoded.

    Raises:
        ImageError: no pixels, or more than `max_pixels`.
    """
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width}x{height} = {width * height:,} pixels, at most {max_pixels:,} are allowed; "
            "make it smaller"
        )
    if width < 1 or height < 1:
        raise ImageError(f"{name} is {width}x{height} and has no pixels; expected at least 1x1")


def one_line(text: str) -> str:
    """A file's name for a message: without control characters, which could break the line, and not over 200 long."""
    text = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", "?", text)
    return text if len(text) <= 200 else f"{text[:90]}...{text[-100:]}"


def reason(error: BaseException) -> str:
    """Shorten an error to one line."""
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return one_line(text.strip().partition("\n")[0])[:120] or type(error).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings and log lines from the user: what matters becomes an `ImageError`.

    Filters of warnings belong to the process, so the first thread inside sets them and the last one puts them back.
    """
    global _inside
    with _QUIET:
        if not _inside:
            pillow = logging.getLogger("PIL")
            _outside.enter_context(warnings.catch_warnings())
            _outside.callback(pillow.setLevel, pillow.level)
            warnings.simplefilter("ignore")
            pillow.setLevel(logging.CRITICAL + 1)
        _inside += 1
    try:
        yield
    finally:
        with _QUIET:
            _inside -= 1
            if not _inside:
                _outside.close()


@contextlib.contextmanager
def silent_libtiff() -> Iterator[None]:
    """Turn away file descriptor 2: libtiff writes its complaints there, past Python, and Pillow cannot stop it."""
    with STDERR, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a process without an error stream
            kept = os.dup(2)
            stack.callback(os.close, kept)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, nowhere)
            os.dup2(nowhere, 2)
            stack.callback(os.dup2, kept, 2)
        yield
