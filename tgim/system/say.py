"""Output of the command: any name and any text, on any stream, in any state of that stream.

All that `tgim` prints goes through `say`, a picture through `say_bytes`, and every progress bar is one of `bar`. Signs
that a stream cannot encode are escaped, bytes of file names that are no text are replaced. A stream that is closed
takes nothing, and a stream for errors that is broken stops nothing.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

SURROGATE = re.compile("[\ud800-\udfff]")  # of a str: bytes of a name, or half of a pair
LINE_END = re.compile("[\x85\u2028\u2029]")  # may stand in JSON, but programs that read lines cut there
STDERR = threading.RLock()  # held while the process's error stream is turned away, and by those who write to it
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # could break a line, or steer a terminal


class OutputError(Exception):
    """The standard output cannot be written; `closed` where its reader has gone, as `head -1` does."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the standard output cannot be written: {error.strerror or error}")
        self.closed = error.errno in (errno.EPIPE, errno.EINVAL, errno.ECONNRESET)  # Windows has EINVAL


def say(text: object = "", *, err: bool = False) -> None:
    """Print `text` and a line end on stdout, or with `err` on stderr, at once.

    Raises:
        OutputError: stdout cannot be written. Nothing is raised where stderr cannot.
    """
    stream = sys.stderr if err else sys.stdout
    if stream is None:
        return
    try:
        with STDERR if err else nullcontext():
            stream.write(printable(str(text), stream) + "\n")
            stream.flush()
    except (OSError, ValueError) as error:  # ValueError: the stream object has been closed
        _abandon(stream)
        if not err:
            raise OutputError(error if isinstance(error, OSError) else OSError(str(error))) from None


def say_bytes(content: bytes) -> None:
    """Write bytes, those of a picture say, on stdout and nothing else; `OutputError` as of `say`."""
    stream = sys.stdout
    if stream is None:
        return
    try:
        stream.flush()
        rest = memoryview(content)
        while rest:
            rest = rest[stream.buffer.write(rest) :]
        stream.buffer.flush()
    except (OSError, ValueError) as error:
        _abandon(stream)
        raise OutputError(error if isinstance(error, OSError) else OSError(str(error))) from None


def say_json(value: Any) -> None:
    """Print a JSON value as one line on stdout; `OutputError` as of `say`."""
    text = SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False))
    if LINE_END.search(text) or printable(text, sys.stdout) != text:
        text = json.dumps(json.loads(text))  # escaped
    say(text)


def one_line(text: object) -> str:
    """`text` on one line, and without control characters.

    >>> one_line("a\\n  b\\x1b[31m")
    'a b?[31m'
    """
    return CONTROL.sub("?", " ".join(str(text).split()))


def printable(text: str, stream: TextIO | None) -> str:
    r"""`text` as `stream` can encode it: what is no text becomes U+FFFD, and what has no code is escaped.

    >>> printable("caf\u00e9 \udcf6 \u2764", io.TextIOWrapper(io.BytesIO(), "latin-1"))
    'caf\xe9 \\ufffd \\u2764'
    """
    text = SURROGATE.sub("\ufffd", text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except (LookupError, UnicodeError):
        return text.encode("ascii", "backslashreplace").decode()


def prepare_streams() -> None:
    """Give this process the standard streams that it was started without, so that no file takes their numbers.

    With `2>&-` the next file that is opened would be number 2, and get what C libraries say on stderr. What others
    print is escaped, too, where it cannot be encoded.
    """
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(nowhere, True)
    os.close(nowhere)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def heard_bytes(limit: int) -> bytes:
    """Read all bytes of stdin, or `limit` and one more where there are more.

    Raises:
        OSError: stdin is a terminal, is closed or cannot be read.
    """
    stream = sys.stdin
    if stream is None or stream.closed or stream.isatty():
        raise OSError("it is a terminal, or closed")
    parts: list[bytes] = []
    size = 0
    while size <= limit and (part := stream.buffer.read(min(2**20, limit + 1 - size))):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def to_terminal() -> bool:
    """Tell whether stdout is a terminal."""
    return sys.stdout is not None and not sys.stdout.closed and sys.stdout.isatty()


def on_terminal() -> bool:
    """Tell whether stderr, where bars are shown, is a terminal."""
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def bar(*, show: bool | None = None, **options: Any) -> tqdm[Any]:
    """Make a progress bar on stderr, with tqdm's options; by default on a terminal only."""
    from tqdm import tqdm

    shown = on_terminal() if show is None else show and sys.stderr is not None
    return tqdm(disable=not shown, file=_Errors(), dynamic_ncols=True, **options)


class _Errors(io.TextIOBase):
    """Stderr as it is now, for bars: what cannot be written is left out."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of stderr: of those that lack the blocks of a bar, tqdm takes others."""
        return getattr(sys.stderr, "encoding", None) or "ascii"

    def fileno(self) -> int:
        return sys.stderr.fileno()  # for the width of the terminal

    def isatty(self) -> bool:
        return on_terminal()

    def write(self, text: str) -> int:
        if sys.stderr is not None:
            try:
                with STDERR:
                    sys.stderr.write(printable(text, sys.stderr))
            except (OSError, ValueError):
                _abandon(sys.stderr)
        return len(text)

    def flush(self) -> None:
        if sys.stderr is not None:
            try:
                sys.stderr.flush()
            except (OSError, ValueError):
                _abandon(sys.stderr)


def _abandon(stream: TextIO) -> None:
    """Let a broken standard stream go nowhere: Python would complain of what is still in its buffer when it ends."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    if number in (1, 2):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
