"""Rows of numbers on disk, found again by keys: several processes add to them, and each may be killed at any moment.

Two files: `NAME.rows` holds the rows one after the other, `NAME.index` a record for each, of six words of 64 bits: two
of a first key, two of a second one, the row's number and checksum, and the record's own. A row is written before its
record, under a lock, and neither is ever changed. What was torn, or was damaged later, does not fit its checksum and
counts as absent, so nothing waits for the disk.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tgim.system.locks import locked

Words = NDArray[np.uint64]
WORDS = 6  # of a record
KEY = 16  # bytes
NONE = bytes(KEY)  # as a first key: the row is found by the second alone
MIX = np.array(  # odd numbers
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], np.uint64
)
NO_PLACE = np.uint64(2**64 - 1)
SUFFIXES = (".rows", ".index")


class Place(NamedTuple):
    """The place of a row in its file, and the CRC-32 of its bytes."""

    row: int
    checksum: int


class Entry(NamedTuple):
    """A record that is to be added."""

    first: bytes  # key of `KEY` bytes
    second: bytes  # as long
    place: Place


class Rows:
    """Rows of `width` float32 in a folder, which is made.

    Keys are hashes: of two with the same first 8 bytes one is found. What other processes add after this was made is
    not.

    Args:
        folder: of the files.
        name: of the files, without their suffixes.
        width: numbers in a row.

    Raises:
        OSError: the files can be neither read nor made.
    """

    def __init__(self, folder: Path, name: str, *, width: int) -> None:
        self.size = 4 * width
        paths = [folder / (name + suffix) for suffix in SUFFIXES]
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._rows, self._index = _opened(stack, paths, "ab+")
                self.writable = True
            except OSError:
                self._rows, self._index = _opened(stack, paths, "rb")
                self.writable = False
            self._records = self._read_index()
            self._first, self._second = (_Sorted(self._records[:, column : column + 2]) for column in (0, 2))
            self._stack = stack.pop_all()

    def __len__(self) -> int:
        """Number of rows that the file has room for now."""
        return os.fstat(self._rows.fileno()).st_size // self.size

    @property
    def held(self) -> int:
        """Bytes of both files now."""
        return sum(os.fstat(each.fileno()).st_size for each in (self._rows, self._index))

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def by_first(self, keys: Sequence[bytes]) -> list[Place | None]:
        """The places of rows by their first keys; of several the one that was added last."""
        return self._places(self._first.find(keys))

    def by_second(self, keys: Sequence[bytes]) -> list[Place | None]:
        """The places of rows by their second keys; of several the one that was added last."""
        return self._places(self._second.find(keys))

    def read(self, places: Sequence[Place]) -> list[NDArray[np.float32] | None]:
        """The rows at some places; None for those that are not there or not what was written."""
        found = []
        for place in places:
            content = b""
            with suppress(OSError):
                self._rows.seek(place.row * self.size)
                content = self._rows.read(self.size) or b""
            whole = len(content) == self.size and zlib.crc32(content) == place.checksum
            found.append(np.frombuffer(content, np.float32) if whole else None)
        return found

    def write(self, rows: NDArray[np.float32]) -> list[Place]:
        """Append rows (N, width); their records are added by `enter`.

        Raises:
            OSError: the file cannot be written; nothing of them is left then.
        """
        content = np.ascontiguousarray(rows, np.float32)
        with locked(self._rows.fileno()):
            end = self._rows.seek(0, os.SEEK_END)
            first = -(-end // self.size)  # what a killed process left of a row is filled up
            _append(self._rows, bytes(first * self.size - end) + content.tobytes())
        return [Place(first + i, zlib.crc32(row.tobytes())) for i, row in enumerate(content)]

    def enter(self, entries: Sequence[Entry]) -> None:
        """Append records.

        Raises:
            OSError: the file cannot be written.
        """
        words = np.array(
            [
                [*np.frombuffer(first + second, "<u8"), place.row << 32 | place.checksum, 0]
                for first, second, place in entries
            ],
            "<u8",
        )
        words[:, -1] = _marks(words)
        with locked(self._index.fileno()):
            end = self._index.seek(0, os.SEEK_END)
            _append(self._index, bytes(-end % (8 * WORDS)) + words.tobytes())

    def _read_index(self) -> Words:
        """The records that are whole and whose rows are there, (N, 6)."""
        self._index.seek(0)
        content = self._index.readall()
        words = np.frombuffer(content[: len(content) // (8 * WORDS) * 8 * WORDS], "<u8").reshape(-1, WORDS)
        good = (words[:, -1] == _marks(words)) & (words[:, 4] >> np.uint64(32) < len(self))
        found: Words = words[good]
        return found

    def _places(self, records: NDArray[np.int64]) -> list[Place | None]:
        if not len(self._records):
            return [None] * len(records)
        told = np.where(records >= 0, self._records[records, 4], NO_PLACE).tolist()
        return [None if number == NO_PLACE else Place(number >> 32, number & 0xFFFFFFFF) for number in told]


class _Sorted:
    """Keys (N, 2) in order, each with the number of its record."""

    def __init__(self, keys: Words) -> None:
        self.keys = keys
        self.order = np.argsort(keys[:, 0], kind="stable")
        self.heads = keys[self.order, 0]

    def find(self, keys: Sequence[bytes]) -> NDArray[np.int64]:
        """(N,) the last record of each key; -1 where there is none."""
        wanted = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)
        if not len(self.heads) or not len(wanted):
            return np.full(len(wanted), -1)
        place = np.searchsorted(self.heads, wanted[:, 0], side="right") - 1
        record = self.order[place]
        there = (place >= 0) & (self.keys[record] == wanted).all(1) & wanted.any(1)
        found: NDArray[np.int64] = np.where(there, record, -1)
        return found


def _marks(words: Words) -> Words:
    """Checksums (N,) of records; of zeros it is not zero."""
    mixed: Words = (words[:, :-1] ^ (words[:, :-1] >> np.uint64(29))) * MIX
    marks: Words = mixed.sum(1, dtype=np.uint64) + np.uint64(1)
    return marks


def _append(file: Any, content: bytes) -> None:
    """Write at a file's end; after an error nothing of it is left."""
    end = file.seek(0, os.SEEK_END)
    try:
        rest = memoryview(content)
        while rest:  # a disk that is nearly full takes a part
            rest = rest[file.write(rest) :]
    except OSError:
        with suppress(OSError):
            file.truncate(end)
        raise


def _opened(stack: ExitStack, paths: Sequence[Path], mode: str) -> list[Any]:
    return [stack.enter_context(open(path, mode, buffering=0, opener=_opener)) for path in paths]


def _opener(path: str, flags: int) -> int:
    """Open a file that is no link: a cache may be shared, and a link lead elsewhere."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
