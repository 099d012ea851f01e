"""Points that are clicked on one's own pictures, written into `metadata.jsonl`; all else in the file stays as it is.

Of a line only the value of "points" is replaced, other bytes and lines stay, whatever they hold, and a picture that no
line tells of gets one at the end. The file is written whole or not at all. It may be edited by another program in the
meantime: it is read again where it has changed, and a picture whose own points have changed is not written over.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tgim.data.base import existing, relative
from tgim.data.folder import METADATA, fault_of, named_in, pictures_folder
from tgim.data.names import FilesByName, leads_out
from tgim.data.points import BACKGROUND, faults_of
from tgim.errors import DataError
from tgim.images.kinds import suffixes
from tgim.system import lines
from tgim.system.files import replacing, write_file

KEPT = ".tgim-label.json"  # names of parts, for the next start
MOST_PARTS, LONGEST_NAME, MOST_PLACES = 60, 60, 1000
TRIES = 5  # to write while another program writes, too
_HEAD = 4096  # bytes of a line by which its encoding, or the picture that it names, is known
_SPACE = re.compile(r"[ \t\r\n]*")
_VALUES = json.JSONDecoder(strict=False)


class Conflict(DataError):
    """Points of a picture that another program has changed since they were read."""


@dataclass
class _Line:
    """A line of the file that tells of a picture."""

    number: int  # from 0
    raw: Any = None  # value of "points"
    version: str = ""
    broken: str = ""  # why nothing can be written into it


@dataclass
class _Content:
    """The file as it was read, or written, last."""

    stamp: tuple[int, ...] | None = None  # None: it is not there
    rows: list[bytes] = field(default_factory=list)  # without line feeds
    known: dict[Path, _Line] = field(default_factory=dict)


class Labels:
    """The pictures of a folder and the points on them; several threads may use one.

    Args:
        root: the folder that holds the pictures, in `images/` where there is one; no picture is opened.

    Attributes:
        names: of the pictures, relative to that folder, in alphabetical order; their places are their numbers.
        left_out: links to files outside of the folder.

    Raises:
        DataError: there is no such folder, no picture in it, or `metadata.jsonl` cannot be read.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = existing(root)
        self.images = pictures_folder(self.root)
        self.file = self.root / METADATA
        if self.file.exists() and not self.file.is_file():
            raise DataError(f"{self.file} is not a file; expected one JSON object a line")
        self._files = FilesByName(self.images)
        self._homes = (os.path.realpath(self.images), os.path.realpath(self.root))
        opened = suffixes()
        paths = sorted(path for path in self._files.paths if path.suffix.lower() in opened)
        kept = [path for path in paths if not (path.is_symlink() and self._outside(path))]
        self.left_out = len(paths) - len(kept)
        self._names = {path: path.relative_to(self.images).as_posix() for path in kept}
        self._paths = [path for path in kept if not leads_out(self._names[path])]
        self.names = [lines.whole(self._names[path]) for path in self._paths]
        if not self._paths:
            raise DataError(f"{self.images} holds no picture; put those there that points are to be clicked on")
        self._turn = threading.RLock()
        self._added: set[Path] = set()  # pictures whose line was added here
        self._content = _Content()
        with self._turn:
            self._read()

    def path(self, number: int) -> Path:
        """The file of a picture.

        Raises:
            IndexError: there is no such number.
            DataError: it has become a link out of the folder.
        """
        if not 0 <= number < len(self._paths):
            raise IndexError(number)
        path = self._paths[number]
        if self._outside(path):
            raise DataError(f"{relative(path, self.root)} leads out of the folder; copy the picture into it")
        return path

    def points(self, number: int) -> tuple[dict[str, Any], str, str]:
        """The points of a picture by part, their version, which `write` takes, and a fault where they cannot be read.

        Raises:
            DataError: the file, or the picture's line in it, is broken.
        """
        with self._turn:
            line = self._line(number)
        if line is None or line.raw is None:
            return {}, "", ""
        if faults := faults_of(line.raw):
            return {}, line.version, faults[0]
        return line.raw, line.version, ""

    def marks(self) -> list[int]:
        """For each picture 0 without points, 1 with some, 2 where parts are not in view and nothing else is said."""
        with self._turn:
            self._read()
            return [self._mark(self._content.known.get(path)) for path in self._paths]

    def write(self, number: int, points: Mapping[str, Any], *, version: str) -> str:
        """Replace the points of a picture.

        Args:
            number: of the picture.
            points: by part, as in the file; an empty list says that a part is not in view. Without any part the key
                goes, and so does the line if `write` has added it.
            version: that of the points that they replace.

        Returns:
            The new version.

        Raises:
            Conflict: another program has changed this picture's points.
            DataError: `points` are faulty, or the file, or the picture's line in it, is broken or cannot be written.
        """
        wanted = dict(points)
        check_parts(wanted)
        if faults := faults_of(wanted):
            raise DataError(faults[0])
        if max(map(len, wanted.values()), default=0) > MOST_PLACES:
            raise DataError(f"a part has more than {MOST_PLACES:,} points; remove some")
        with self._turn:
            for _ in range(TRIES):
                line = self._line(number) or _Line(-1)
                if line.raw == wanted or not (line.version or wanted):
                    return line.version  # nothing is left to do, as after an answer that was lost
                if line.version != version:
                    raise Conflict(
                        f"the points of {self.names[number]} in {METADATA} were changed by another program; "
                        "load the page again to see them"
                    )
                rows, place = self._edited(self._paths[number], line, wanted)
                if self._save(rows):
                    return self._remember(self._paths[number], before=line.number, after=place)
        raise DataError(f"{METADATA} is being written by another program; try again")

    def parts(self) -> list[str]:
        """Names of the parts: those that are kept, and others that points have, the background last; none at first."""
        found = dict.fromkeys(self._kept_parts())
        with self._turn:
            self._read()
            for line in self._content.known.values():
                if line.raw and not faults_of(line.raw):
                    found |= dict.fromkeys(line.raw)
        if not found:
            return []
        found.pop(BACKGROUND, None)
        return [*found, BACKGROUND]

    def keep_parts(self, names: Sequence[str]) -> list[str]:
        """Keep names of parts for the next start, and return those of `parts`.

        Raises:
            DataError: a name that cannot be one, too many, or the file cannot be written.
        """
        wanted = list(dict.fromkeys(name.strip() for name in names if name.strip()))
        if not set(wanted) - {BACKGROUND}:
            raise DataError("no part is named; name some, as head, wings, tail")
        check_parts(wanted)
        try:
            write_file(self.root / KEPT, json.dumps({"parts": wanted}, ensure_ascii=False) + "\n")
        except OSError as error:
            raise DataError(
                f"{self.root / KEPT} cannot be written ({error.strerror}); make the folder writable"
            ) from None
        return self.parts()

    def _kept_parts(self) -> list[str]:
        try:
            found = lines.parse((self.root / KEPT).read_bytes()[: 2**16].decode())["parts"]
            check_parts(found)
        except (OSError, ValueError, KeyError, TypeError):  # not there, or not as it was written
            return []
        return list(found)

    def _outside(self, path: Path) -> bool:
        real = os.path.realpath(path)
        return not any(real.startswith(home.rstrip(os.sep) + os.sep) for home in self._homes)

    def _mark(self, line: _Line | None) -> int:
        if line is None or not line.raw or faults_of(line.raw):
            return 0
        return 1 if any(line.raw.values()) else 2

    def _line(self, number: int) -> _Line | None:
        """The line of a picture, of the file as it is now."""
        path = self.path(number)
        self._read()
        line = self._content.known.get(path)
        if line is not None and line.broken:
            raise DataError(f"line {line.number + 1} of {METADATA} is broken ({line.broken}); mend it, then load again")
        return line

    def _read(self) -> None:
        """Read the file where it has changed."""
        stamp = _stamp(self.file)
        if stamp == self._content.stamp:
            return
        try:
            content = b"" if stamp is None else self.file.read_bytes()
        except OSError as error:
            raise DataError(f"{self.file} cannot be read ({error.strerror}); make it readable") from None
        if name := lines.encoding_of(content[:_HEAD].removeprefix(codecs.BOM_UTF8)):
            raise DataError(f"{self.file} is {name} text, expected UTF-8; save it as UTF-8")
        rows = content.split(b"\n") if content else []
        known: dict[Path, _Line] = {}
        for number, row in enumerate(rows):
            name, line = _told(row, number)
            path = self._files.find(name) if name else None
            if path is not None:
                known.setdefault(path, line)  # of several lines of a picture the first counts
        self._content = _Content(stamp, rows, known)

    def _edited(self, path: Path, line: _Line, points: Mapping[str, Any]) -> tuple[list[bytes], int]:
        """The lines of the file with these points of a picture, and the number of its line; -1 where it has gone."""
        rows = list(self._content.rows)
        if line.number >= 0:
            row = rows[line.number]
            text = with_points(row.decode("latin-1"), points, ascii_only=bool(lines.decoded(row)[1]))
            if path in self._added and not points and [key for key, *_ in _members(text)] == ["file_name"]:
                del rows[line.number]
                return rows, -1
            rows[line.number] = text.encode("latin-1")
            return rows, line.number
        name = self._names[path]
        new = json.dumps({"file_name": name, "points": points}, ensure_ascii=lines.whole(name) != name).encode()
        if len(rows) > 1 and rows[0].endswith(b"\r"):
            new += b"\r"
            rows[-1] += b"\r" * (rows[-1] != b"" and not rows[-1].endswith(b"\r"))
        if not rows or rows[-1] == b"":  # as it should, the file ends with a line feed
            return [*rows[:-1], new, b""], max(0, len(rows) - 1)
        return [*rows, new], len(rows)

    def _save(self, rows: list[bytes]) -> bool:
        """Write the lines; False where the file has changed since it was read."""
        try:
            with replacing(self.file) as temporary:
                with temporary.open("wb") as file:
                    file.write(b"\n".join(rows))
                    file.flush()
                    os.fsync(file.fileno())
                stamp = _stamp(temporary)
                if _stamp(self.file) != self._content.stamp:
                    raise _Changed
        except _Changed:
            return False
        except OSError as error:
            raise DataError(f"{self.file} cannot be written ({error.strerror}); the point is not saved") from None
        self._content.stamp, self._content.rows = stamp, rows
        return True

    def _remember(self, path: Path, *, before: int, after: int) -> str:
        """Know the line of a picture that was just written, and return the version of its points."""
        known = self._content.known
        if after < 0:
            known.pop(path)
            self._added.discard(path)
            for line in known.values():
                line.number -= line.number > before
            return ""
        if before < 0:
            self._added.add(path)
        known[path] = _told(self._content.rows[after], after)[1]
        return known[path].version


class _Changed(Exception):
    """A file that another program has written in the meantime."""


def check_parts(names: Any) -> None:
    """Raise DataError where names of parts are too many, or one is no name."""
    names = list(names)
    if len(names) > MOST_PARTS:
        raise DataError(f"{len(names)} parts are named, {MOST_PARTS} at most can be")
    for name in names:
        if (
            not isinstance(name, str)
            or not 0 < len(name) <= LONGEST_NAME
            or name != name.strip()
            or not name.isprintable()
        ):
            raise DataError(f"{str(name)[:LONGEST_NAME]!r} is no name of a part; use a word of captions, as head")


def with_points(line: str, points: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    r"""The line of a picture with other points; all other characters stay.

    Args:
        line: a JSON object, its bytes read as Latin-1, so that those of any encoding stay.
        points: by part; without any the key goes.
        ascii_only: write signs of other languages as escapes, and not in UTF-8.

    >>> with_points('{"file_name":"a.jpg",  "n": 1.50}', {"head": [[0.5, 0.25]]})
    '{"file_name":"a.jpg",  "n": 1.50, "points": {"head": [[0.5, 0.25]]}}'
    >>> with_points('{"points":  {"head": []} , "file_name": "a.jpg"}', {})
    '{"file_name": "a.jpg"}'
    """
    value = json.dumps(points, ensure_ascii=ascii_only).encode().decode("latin-1")
    members = list(_members(line))
    place = next((i for i, (key, *_) in enumerate(members) if key == "points"), None)
    if place is None:
        end = members[-1][3]
        return f'{line[:end]}, "points": {value}{line[end:]}' if points else line
    _, begin, start, end = members[place]
    if points:
        return f"{line[:start]}{value}{line[end:]}"
    if place:
        return line[: members[place - 1][3]] + line[end:]
    return line[:begin] + line[members[1][1] if len(members) > 1 else end :]


def _members(line: str) -> Iterator[tuple[str, int, int, int]]:
    """Yield for each member of a JSON object its key, and where key, value and the value's end are."""

    def after_space(place: int) -> int:
        found = _SPACE.match(line, place)
        return found.end() if found else place

    place = line.index("{") + 1
    while line[begin := after_space(place)] != "}":
        key, place = _VALUES.raw_decode(line, begin)
        start = after_space(after_space(place) + 1)  # past the colon
        _, end = _VALUES.raw_decode(line, start)
        yield key, begin, start, end
        place = after_space(end)
        if line[place] == ",":
            place += 1


def _told(row: bytes, number: int) -> tuple[str, _Line]:
    """The picture that a line names, an empty string without one, and the line."""
    body = row.removesuffix(b"\r")
    body = body.removeprefix(codecs.BOM_UTF8) if number == 0 else body
    if len(body) > lines.LONGEST:
        return named_in(lines.decoded(body[:_HEAD])[0]), _Line(number, broken=f"longer than {lines.LONGEST:,} bytes")
    text = lines.decoded(body)[0]
    if not text.strip():
        return "", _Line(number)
    try:
        record = lines.parse(text)
        if fault := fault_of(record):
            raise ValueError(fault)
    except ValueError as error:
        return named_in(text), _Line(number, broken=str(error))
    raw = record.get("points")
    version = "" if raw is None else hashlib.sha256(json.dumps(raw).encode()).hexdigest()[:16]
    return record["file_name"], _Line(number, raw, version)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Another one whenever a file was written; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); make it readable") from None
    return found.st_mtime_ns, found.st_size, found.st_ino
