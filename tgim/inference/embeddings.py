"""Embeddings of pictures, kept on disk: what a model sees of a picture is computed once, whatever texts come after.

They lie in the folder `embeddings` of the cache, two files (`tgim.system.rows`) for each model and way of computing.
A picture is known by its path, size and times, so that it is not even opened; where these differ, by the SHA-256 of its
file, so that it may be moved and renamed. Numbers are kept as they are, float32: scores are the same bits with a cache
and without one.

All files together take at most `LIMIT` bytes, and leave `SPARE` on the disk. Files of models that nobody asked for
longest go first, those of `OLD` days without use always; deleting the folder empties it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray

from tgim._version import __version__
from tgim.environment import cpu_name
from tgim.images.photo import Source
from tgim.system.files import sha256_of
from tgim.system.rows import KEY, NONE, SUFFIXES, Entry, Place, Rows
from tgim.system.threads import count as default_threads

VERSION = 1  # part of the name: raise it when the same files would give other numbers
LIMIT, SPARE = 20 * 2**30, 2 * 2**30  # bytes
OLD = 90  # days
FRESH = 2.0  # seconds after a change in which another could leave size and times as they are
FOLDER = "embeddings"
AT_ONCE = 512  # pictures that are looked up
Row = NDArray[np.float32]
log = logging.getLogger(__name__)


class Known(NamedTuple):
    """A picture's file, as its size and times tell, and its content where it was read."""

    state: bytes  # 16 bytes of path, size and times
    fresh: bool  # changed just now: its state does not count
    content: bytes = b""  # 16 bytes of its SHA-256


class Embeddings:
    """Rows of a model for pictures that are files.

    Args:
        rows: the files.
        folder: that they lie in.
        name: of the files, without their suffixes.
    """

    def __init__(self, rows: Rows, folder: Path, name: str) -> None:
        self._rows, self.folder, self._name = rows, folder, name
        self._new: dict[bytes, Place] = {}  # by content, of this process
        self._pending: dict[str, Known] = {}  # pictures that were not found
        self._others = sum(size for other, (size, _) in stores(folder).items() if other != name)
        self._full = False
        self.found, self.added = 0, 0  # pictures

    @classmethod
    def open(cls, folder: str | Path, *, model: str, made_by: str, width: int) -> Embeddings | None:
        """Open what is kept of a model; None where nothing can be, which is warned of.

        Args:
            folder: of the cache.
            model: fingerprint of the model, and what of it is kept.
            made_by: what the bits of a row depend on beside the model and the picture.
            width: numbers in a row.
        """
        folder = Path(folder) / FOLDER
        told = [VERSION, __version__, PIL.__version__, model, made_by, width]
        name = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:20]
        try:
            tidy(folder, keep=name, most=LIMIT)
            rows = Rows(folder, name, width=width)
        except OSError as error:
            _warn_of(folder, error)
            return None
        with suppress(OSError):
            os.utime(folder / (name + SUFFIXES[1]))
        return cls(rows, folder, name)

    def find(self, images: Sequence[Source], *, each: Callable[..., Iterable[Any]] = map) -> dict[int, Row]:
        """The rows that are there, by the number of their picture in `images`.

        Args:
            images: pictures; those that are no paths are not found.
            each: `map`, or that of a pool, for files that have to be read.
        """
        states = {i: known for i, image in enumerate(images) if (known := _known(image)) is not None}
        told = zip(states, _places(self._rows, states.values()), strict=True)
        found = self._read({i: place for i, place in told if place is not None})
        unread = [i for i in states if i not in found]
        contents = each(_content, [images[i] for i in unread])
        read = {i: content for i, content in zip(unread, contents, strict=True) if content}
        kept = zip(read.items(), self._rows.by_second(list(read.values())), strict=True)
        places = {i: self._new.get(content, place) for (i, content), place in kept}
        moved = self._read({i: place for i, place in places.items() if place is not None})
        self._enter(
            [
                Entry(states[i].state, read[i], place)
                for i, place in places.items()
                if i in moved and place is not None and not states[i].fresh and _known(images[i]) == states[i]
            ]
        )
        self._pending = {
            _name(images[i]): states[i]._replace(content=content) for i, content in read.items() if i not in moved
        }
        found |= moved
        self.found += len(found)
        return found

    def add(self, rows: Mapping[int, Row], images: Sequence[Source]) -> None:
        """Keep rows of pictures that the last `find` did not find; a file that changed since then is left out."""
        known: list[tuple[Known, Row]] = []
        for i, row in rows.items():
            pending = self._pending.get(_name(images[i])) if isinstance(images[i], str | os.PathLike) else None
            now = _known(images[i])
            if pending is not None and now is not None and now.state == pending.state:
                known.append((pending, row))
        if not known or self._is_full(len(known)):
            return
        try:
            places = self._rows.write(np.stack([row for _, row in known]))
        except OSError as error:
            self._stop(error)
            return
        self._enter(
            [
                Entry(NONE if each.fresh else each.state, each.content, place)
                for (each, _), place in zip(known, places, strict=True)
            ]
        )
        self._new |= {each.content: place for (each, _), place in zip(known, places, strict=True)}
        self.added += len(known)

    def close(self) -> None:
        """Close the files; those that are full of pictures which were not asked for are emptied."""
        stale = self._rows.writable and self._full and self.found + self.added < len(self._rows) / 2
        self._rows.close()
        if stale:
            _remove(self.folder, self._name)

    def __enter__(self) -> Embeddings:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, places: Mapping[int, Place]) -> dict[int, Row]:
        rows = self._rows.read(list(places.values()))
        return {i: row for i, row in zip(places, rows, strict=True) if row is not None}

    def _enter(self, entries: Sequence[Entry]) -> None:
        if not entries or self._full or not self._rows.writable:
            return
        try:
            self._rows.enter(entries)
        except OSError as error:
            self._stop(error)

    def _is_full(self, count: int) -> bool:
        """Tell whether so many rows more are too many, after what others keep has made room where it can."""
        if not self._rows.writable and not self._full:
            self._stop(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
        if self._full:
            return True
        more = count * self._rows.size
        if self._others and self._rows.held + self._others + more > LIMIT:
            self._others = tidy(self.folder, keep=self._name, most=LIMIT - more)
        self._full = self._rows.held + more > LIMIT or shutil.disk_usage(self.folder).free < SPARE + more
        if self._full:
            log.warning("%s is full: no more pictures are kept; delete it to empty it", self.folder)
        return self._full

    def _stop(self, error: OSError) -> None:
        self._full = True
        _warn_of(self.folder, error)


def made_by(engine: str, version: str, device: str, threads: int | None = None) -> str:
    """Write down what computes: the same bits come of the same engine, release, processor and number of threads."""
    return f"{engine} {version} on {device}, {cpu_name()}, {threads or default_threads()} threads"


def stores(folder: Path) -> dict[str, tuple[int, float]]:
    """For each model's files their bytes, and when they were last asked for in seconds since 1970."""
    found: dict[str, tuple[int, float]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name, suffix = os.path.splitext(entry.name)
                if suffix in SUFFIXES:
                    with suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        size, used = found.get(name, (0, 0.0))
                        found[name] = size + status.st_size, max(used, status.st_mtime)
    except OSError:
        pass  # there is none yet
    return found


def tidy(folder: Path, *, keep: str, most: int) -> int:
    """Delete files of other models: old ones, and until all take at most `most` bytes; returns what the others take.

    Those who have them open keep what they have.
    """
    found, now = stores(folder), time.time()
    own, _ = found.pop(keep, (0, 0.0))
    for name in sorted(found, key=lambda name: found[name][1]):
        total = sum(size for size, _ in found.values())
        if own + total > most or now - found[name][1] > OLD * 86400:
            _remove(folder, name)
            del found[name]
    return sum(size for size, _ in found.values())


def known_rows(rows: Rows, images: Sequence[Source]) -> NDArray[np.int64]:
    """(N,) the numbers of pictures' rows by path, size and times, -1 where there is none; no picture is opened."""
    missing, found = Known(NONE, True), np.full(len(images), -1)
    for first in range(0, len(images), AT_ONCE):  # few objects at a time: Python looks through all that are there
        part = [_known(image) or missing for image in images[first : first + AT_ONCE]]
        found[first : first + AT_ONCE] = [-1 if place is None else place.row for place in _places(rows, part)]
    return found


def _places(rows: Rows, known: Collection[Known]) -> list[Place | None]:
    return rows.by_first([NONE if each.fresh else each.state for each in known])


def _remove(folder: Path, name: str) -> None:
    for suffix in reversed(SUFFIXES):  # records first: rows without them are nothing
        with suppress(OSError):
            (folder / (name + suffix)).unlink()


def _name(image: Any) -> str:
    return os.path.abspath(os.fsdecode(image))


def _known(image: Any) -> Known | None:
    """A picture's file as it is now; None where it is no ordinary file."""
    if not isinstance(image, str | Path | os.PathLike):  # in this order: the last is slow to tell
        return None
    try:
        path = os.fsdecode(image)
        found, now = os.stat(path), time.time()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    changed = found.st_mtime_ns, found.st_ctime_ns
    told = f"{found.st_size} {changed[0]} {changed[1]} {os.path.abspath(path)}"
    digest = hashlib.blake2b(told.encode("utf-8", "surrogateescape"), digest_size=KEY).digest()
    return Known(digest, now - max(changed) / 1e9 < FRESH)


def _content(image: Any) -> bytes:
    """16 bytes of the SHA-256 of a file; none where it cannot be read."""
    try:
        return bytes.fromhex(sha256_of(image))[:KEY]
    except (OSError, ValueError):
        return b""


def _warn_of(folder: Path, error: OSError) -> None:
    log.warning(
        "embeddings are not kept: %s cannot be written (%s); set TGIM_CACHE to another folder, or give --no-cache",
        folder,
        error.strerror or error,
    )
