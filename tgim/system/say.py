"""Output of the command: any name and any text, on any stream, in any state of that stream.

All that `tgim` prints goes through `say`, a picture through `say_bytes`, and all progress is shown by a `bar`: on a
terminal one that moves, elsewhere a line now and then. Signs that a stream cannot encode are escaped, bytes of file
names that are no text are replaced. A stream that is closed takes nothing, and a stream for errors that is broken stops
nothing.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, TextIO

SURROGATE = re.compile("[\ud800-\udfff]")  # of a str: bytes of a name, or half of a pair
LINE_END = re.compile("[\x85\u2028\u2029]")  # may stand in JSON, but programs that read lines cut there
STDERR = threading.RLock()  # held while the process's error stream is turned away, and by those who write to it
PATIENCE = 5.0  # seconds before the first line of progress where there is no terminal
PAUSE, LONGEST, SHARE = 10.0, 300.0, 0.05  # seconds between two, at least and at most; share of the time expected
BARS: weakref.WeakSet[Any] = weakref.WeakSet()  # that may stand on a terminal
WIDTH = 80  # columns of a terminal that does not tell
_shown = True  # progress, at all
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
        with _beside_bars(stream), STDERR if err else nullcontext():
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


class Bar(Protocol):
    """Progress that is shown."""

    n: float
    total: float | None

    def __enter__(self) -> Bar: ...

    def __exit__(self, kind: Any, error: Any, trace: Any, /) -> None: ...

    def update(self, n: float | None = 1) -> object:
        """Count `n` more."""

    def reset(self, total: float | None = None) -> None:
        """Begin anew with something else."""

    def set_description_str(self, desc: str | None = None, *, refresh: bool = True) -> None:
        """Name what is done from now on."""

    def set_postfix(self, values: Mapping[str, object] | None = None, *, refresh: bool = True, **more: object) -> None:
        """Show these beside the progress."""


def show_progress(wanted: bool) -> None:
    """Let this process show progress from now on, or show none whatever `bar` is asked for."""
    global _shown
    _shown = wanted


def bar(*, show: bool | None = None, **options: Any) -> Bar:
    """Show progress on stderr unless `show` is False, with tqdm's options: by tqdm on a terminal, else by `Lines`."""
    if not _shown or show is False or not on_terminal():
        return Lines(muted=not _shown or show is False, **options)
    from tqdm import tqdm

    width = {"dynamic_ncols": True} if _width() else {"ncols": WIDTH}  # a terminal may not know how wide it is
    shown: Any = tqdm(file=_Errors(), delay=1e-9, **width, **options)  # shows nothing before it is known to `end_bars`
    BARS.add(shown)
    shown.refresh()
    found: Bar = shown
    return found


def end_bars() -> None:
    """Take bars off the terminal that nobody will end: of work that an error or ctrl-C broke off."""
    shown = [each for each in BARS if not each.disable]
    for each in shown:
        each.leave = False
        each.close()
    if shown and on_terminal():  # one that was broken off while it was written does not know what it wrote
        _Errors().write("\r" + " " * (_width() or WIDTH) + "\r")


def _width() -> int:
    """Characters in a line of the terminal of stderr; 0 where nobody knows."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0


class Lines:
    """Progress as plain lines on stderr, for pipes and files: none of what is done within `PATIENCE` seconds.

    A line comes each twentieth of the time that all is expected to take, but no sooner than after `PAUSE` seconds and
    no later than after `LONGEST`. What had a line and comes to its end has a last one.

    Args:
        total: of what is done, where that is known.
        desc: what is done.
        unit: of what is counted, in the singular, or "".
        initial: so much was done before.
        muted: say nothing.
        others: options of tqdm's bars, which lines do not have.
    """

    def __init__(
        self,
        *,
        total: float | None = None,
        desc: str | None = None,
        unit: str = "step",
        initial: int = 0,
        muted: bool = False,
        **others: Any,
    ) -> None:
        self._desc, self._unit, self._muted, self._more = desc or "", f" {unit}s" if unit else "", muted, ""
        self._next = 0.0
        self._start(total, initial)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any, /) -> None:
        if kind is None:
            self._end()

    def update(self, n: float | None = 1) -> None:
        """Count `n` more, and say so where it is time."""
        self.n += n or 0
        now = time.monotonic()
        if self._muted or now < self._next or self.n <= self._first:
            return
        spent = now - self._begun
        left = spent / (self.n - self._first) * max(0, self.total - self.n) if self.total else 0.0
        self._next = now + min(LONGEST, max(PAUSE, SHARE * (spent + left)))
        if self.total is None or self.n < self.total:
            self._said = True
            say(f"tgim: {self._told(spent, left)}", err=True)

    def reset(self, total: float | None = None) -> None:
        """Begin anew with something else."""
        self._end()
        self._start(total, 0)

    def set_description_str(self, desc: str | None = None, *, refresh: bool = True) -> None:
        """Name what is done from now on."""
        self._end()
        self._desc = desc or ""

    def set_postfix(self, values: Mapping[str, object] | None = None, *, refresh: bool = True, **more: object) -> None:
        """Show these beside the progress."""
        self._more = "".join(f"; {name} {value}" for name, value in {**(values or {}), **more}.items())

    def _start(self, total: float | None, first: int) -> None:
        self.total, self.n, self._first = total, float(first), first
        self._begun, self._said = time.monotonic(), False
        self._next = self._begun + PATIENCE

    def _end(self) -> None:
        """Say that all is done, where there was a line before."""
        if self._said and self.n >= (self.total or 0):
            self._said = False
            took = duration(time.monotonic() - self._begun)
            say(f"tgim: {one_line(f'{self._named()}{self.n:,.0f}{self._unit} in {took}{self._more}')}", err=True)

    def _told(self, spent: float, left: float) -> str:
        rate = (self.n - self._first) / max(spent, 1e-9)
        pace = f"{rate:.3g} a second" if rate >= 1 else f"{1 / rate:.3g} s each"
        if self.total is None:
            return one_line(f"{self._named()}{self.n:,.0f}{self._unit}, {pace}{self._more}")
        share = f"{self.n:,.0f} of {self.total:,.0f}{self._unit} ({100 * self.n / self.total:.0f} %)"
        return one_line(f"{self._named()}{share}, {pace}, about {duration(left)} to go{self._more}")

    def _named(self) -> str:
        return f"{self._desc}: " if self._desc else ""


def duration(seconds: float) -> str:
    """Write seconds as hours and minutes, as minutes, or as seconds.

    >>> duration(4.2), duration(90), duration(7300)
    ('4 s', '2 min', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def _beside_bars(stream: TextIO) -> Iterator[None]:
    """Take the bars off the terminal while a line is written to it."""
    shown = [each for each in BARS if not each.disable] if BARS and stream.isatty() else []
    for each in shown:
        each.clear()
    yield
    for each in shown:
        each.refresh()


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
