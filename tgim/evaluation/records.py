"""Results: figures with their intervals and all that they depend on, one JSON line each."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from tgim.data.base import Stream, random_source
from tgim.errors import UserError
from tgim.system.files import write_file
from tgim.system.locks import locked

log = logging.getLogger(__name__)
RESAMPLES = 1000  # of the bootstrap
BLOCK = 2**20  # resampled rows that are held at a time
DIGITS = 6  # significant; the last bits of a float differ between machines
VOLATILE = frozenset({"value", "low", "high", "commit", "tgim", "torch", "machine", "seconds"})  # not in a line's key
Kind = Literal["model", "baseline", "reference"]
Options = dict[str, int | float | str]


class Line(BaseModel):
    """One figure; one line of a results file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str  # "retrieval@1"
    model: str  # name of the contender or of the reference row: "birds", "identity", "real"
    kind: Kind
    checkpoint: str | None  # `tgim.checkpoints.checkpoint.fingerprint`, 16 hex digits
    data: str
    split: str
    content: str  # hash (16 hex digits) of the pictures' names and bytes and of their captions
    size: int  # pixels, side of the pictures that were compared; 0 where each has its own
    n: int  # pictures that the figure is a mean over
    seed: int
    judge: str | None  # "judge-birds:0123456789abcdef"
    extractor: str | None  # label of a feature extractor
    strength: float | None
    metric: str  # "recall@1", "rmse", "area"
    higher_is_better: bool
    options: Options = {}  # what else the figure depends on: {"candidates": 100}, {"limit": 200}
    value: float
    low: float  # 95 % bootstrap interval over pictures
    high: float
    commit: str | None
    tgim: str
    torch: str
    machine: str
    seconds: float  # since the protocol began on this contender

    @property
    def key(self) -> str:
        """JSON of all fields but the measured ones: equal keys are measurements of the same thing."""
        return json.dumps(self.model_dump(exclude=set(VOLATILE)), sort_keys=True)


@dataclass(frozen=True)
class Measured:
    """One figure of one contender: the mean of `values`, or `interval` where the figure is no mean over pictures."""

    metric: str
    values: NDArray[np.float64] | None = None  # (n,), one for each picture
    strength: float | None = None
    higher_is_better: bool = True
    interval: tuple[float, float, float] | None = None  # value, low, high; instead of `values`
    n: int | None = None  # pictures; needed with `interval` only, and then the bench's by default
    options: Options = field(default_factory=dict)

    def figures(self, *, seed: int) -> tuple[float, float, float]:
        """Value and interval, rounded to six digits."""
        found = interval(self.values, seed=seed) if self.values is not None else self.interval
        if found is None:
            raise ValueError(f"{self.metric} was measured without values or an interval")
        value, low, high = (float(f"{float(number):.{DIGITS}g}") for number in found)
        return value, low, high


def resampled_means(table: NDArray[Any], *, seed: int) -> NDArray[np.float64]:
    """Column means of `table` (n, M) over 1000 bootstrap resamples of its rows; (1000, M). Repeats by `seed`."""
    source = random_source(seed, Stream.BOOTSTRAP)
    count = len(table)
    step = max(1, BLOCK // count)
    blocks = []
    for first in range(0, RESAMPLES, step):
        rows = source.integers(count, size=(min(step, RESAMPLES - first), count))
        blocks.append(np.stack([column[rows].mean(1) for column in table.T.astype(np.float64)], 1))
    return np.concatenate(blocks)


def percentiles(resampled: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of resampled figures (R,)."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(low), float(high)


def interval(values: NDArray[Any], *, seed: int) -> tuple[float, float, float]:
    """Mean of `values` (n,) and its 95 % percentile bootstrap interval over pictures.

    >>> interval(np.ones(5), seed=0)
    (1.0, 1.0, 1.0)
    """
    return (float(np.mean(values, dtype=np.float64)), *percentiles(resampled_means(values[:, None], seed=seed)[:, 0]))


def read_lines(path: Path) -> list[Line]:
    """The figures of a results file, in its order; a last line that was cut off is left out.

    Raises:
        UserError: the file cannot be read, or has a line that is no figure.
    """
    return [Line.model_validate_json(line) for line in _whole_lines(path)]


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a results file without their ends, checked; a torn last one is left out."""
    try:
        return _whole(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"results {path} cannot be read ({error.strerror}); name another file") from None


def _whole(text: bytes, path: Path, *, after: int = 0) -> list[bytes]:
    """The lines of the text of a results file, which follows so many others; see `_whole_lines`."""
    lines = text.split(b"\n")
    torn = len(lines)
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                Line.model_validate_json(line)
        except ValidationError:
            if number < len(lines):  # what follows the last line end may be torn
                raise UserError(
                    f"{path} line {after + number} is no figure that this tgim evaluates; "
                    "name a file of its own for results"
                ) from None
            torn = number - 1
    return [line for line in lines[:torn] if line.strip()]


class Results:
    """The lines of a run: those that its file holds already, and those that are added, each on disk at once.

    Args:
        path: of the file, or None to keep nothing. A torn last line is cut off.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lines: dict[str, Line] = {}
        self._read = 0  # bytes of the file
        if path is None:
            return
        if path.exists():
            _whole_lines(path)  # a file of another kind is refused before it is opened to be written
        with self._open():
            pass

    def add(self, line: Line) -> Line:
        """Keep `line` unless the same was measured before, by this process or another; returns the one that is kept."""
        if line.key not in self.lines:
            if self.path is None:
                self.lines[line.key] = line
            else:
                with self._open() as file:
                    if line.key not in self.lines:
                        _append(file, line.model_dump_json().encode() + b"\n")
                        self.lines[line.key] = line
                        self._read = file.seek(0, os.SEEK_END)
        return self.lines[line.key]

    def of(self, like: Line) -> list[Line]:
        """Lines of the protocol, contender, data, size, seed, judge, extractor and limit of `like`."""
        wanted = _group(like)
        return [line for line in self.lines.values() if _group(line) == wanted]

    def complete(self, like: Line, metrics: Collection[str]) -> bool:
        """True if there is a line of each of `metrics` in the group of `like`; see `of`."""
        return set(metrics) <= {line.metric for line in self.of(like)}

    @contextmanager
    def _open(self) -> Iterator[FileIO]:
        """Open the file for this process alone; what others have added is in `lines` then, a torn last line is cut."""
        if self.path is None:
            raise ValueError("results without a file")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+", buffering=0) as file, locked(file.fileno()):
                if file.seek(0, os.SEEK_END) < self._read:  # another file has taken its name
                    self.lines, self._read = {}, 0
                file.seek(self._read)
                text = file.read()
                lines = _whole(text, self.path, after=len(self.lines))
                self.lines |= {line.key: line for line in map(Line.model_validate_json, lines)}
                if text and not text.endswith(b"\n"):
                    torn = text.rpartition(b"\n")[2]
                    if lines and lines[-1] == torn:
                        _append(file, b"\n")
                    else:
                        file.truncate(self._read + len(text) - len(torn))
                        log.warning("the last line of %s was cut off; its figure is measured again", self.path)
                self._read = file.seek(0, os.SEEK_END)
                yield file
        except OSError as error:
            raise UserError(f"results {self.path} cannot be written ({error.strerror}); name another file") from None


def _append(file: FileIO, text: bytes) -> None:
    """Add `text` to a file, on the disk; none of it is left where that fails."""
    size = file.seek(0, os.SEEK_END)
    try:
        rest = memoryview(text)
        while rest:  # a disk that is nearly full takes a part
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            file.truncate(size)
        raise


def _group(line: Line) -> tuple[Any, ...]:
    same = (line.protocol, line.model, line.kind, line.checkpoint, line.data, line.split, line.content, line.size)
    return (*same, line.seed, line.judge, line.extractor, line.options.get("limit"))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file by renaming a finished one; UserError when that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); choose another folder") from None
