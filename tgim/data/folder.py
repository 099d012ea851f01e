"""Any folder of captioned pictures: `images/`, or pictures in the folder itself, and a `metadata.jsonl` beside them.

    {"file_name": "finch.jpg", "captions": ["a small yellow bird", "this bird has black wings"], "class": "goldfinch"}

One JSON object a line; `file_name` is relative to `images/`, or to the folder where there is none. `captions` is a list
or one string; `class` may be left out, and so may `points`, the places of parts that a part localiser learns from
(`tgim.data.points`). With classes the split is by class, so that "test" shows kinds never trained on; without, or with
fewer than five, by picture. Either way it is 4 : 1 and seeded.
Links are followed; hidden files, such as macOS and Windows leave behind, do not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tgim.data.base import (
    PICTURES,
    CaptionedImages,
    Item,
    Problem,
    Split,
    clean_captions,
    existing,
    finish,
    held_out,
    is_file,
    relative,
    split_names,
)
from tgim.data.names import FilesByName, leads_out
from tgim.data.points import faults_of
from tgim.errors import DataError
from tgim.system.lines import ForeignText, Row, parse, read_rows, whole

TEST_SHARE = 0.2
FEWEST = 5  # classes, or pictures, of which two are held out for "test": an edit needs the caption of another
METADATA = "metadata.jsonl"
_KEYS = {"file_name", "captions", "class", "points"}
_NAME = re.compile(r'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')  # in a line that is no JSON


def load(root: str | Path, *, split: Split = "train", seed: int = 0, captions: bool = True) -> CaptionedImages:
    """Read `metadata.jsonl` of one split; no picture is opened.

    Args:
        root: the folder that holds `metadata.jsonl`, and pictures or `images/`.
        split: "train", "val" and "test" hold about 72, 8 and 20 % of the classes (of the pictures without classes).
        seed: of the split.
        captions: leave out pictures without captions; otherwise those with points are kept.

    Raises:
        DataError: `root` or one of the two is not there, or no usable picture is left.
    """
    root = existing(root)
    reader = _Reader(root, pictures_folder(root), needed=captions)
    file = root / METADATA
    if file.exists() and not file.is_file():
        raise DataError(f"{file} is not a file; expected one JSON object a line")
    try:
        for row in read_rows(file):
            if row.fault or row.text.strip():
                reader.read(row)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); it holds the captions") from None
    except ForeignText as error:
        raise DataError(f"{file} {error}") from None
    names = reader.files
    extra = sorted(path for path in names.paths if path.suffix.lower() in PICTURES and path not in reader.named)
    unlisted = [path for path in extra if is_file(path)]
    reader.problems += [Problem(relative(path, root), "missing captions", f"not in {METADATA}") for path in unlisted]
    by, note = _divided(reader.items, root)
    known = frozenset(by.values())
    # not the order that "val" is chosen by
    test = held_out(known, fraction=TEST_SHARE, seed=seed + 1, least=2 if len(known) >= FEWEST else 1)
    wanted = split_names(known - test, test, split=split, seed=seed)
    data = CaptionedImages("folder", root, tuple(reader.items.values()), tuple(reader.problems), notes=note)
    return finish(data, split=split, by=by, wanted=wanted)


def pictures_folder(root: Path) -> Path:
    """The folder of the pictures of a data set at `root`: `images/`, or without that `root` itself."""
    return root / "images" if (root / "images").is_dir() else root


def _divided(items: Mapping[Path, Item], root: Path) -> tuple[dict[Path, str], tuple[str, ...]]:
    """Names that pictures are split by, their classes or their own, and a note where classes are too few for that."""
    alone = {path: relative(path, root) for path in items}
    by = {path: item.label or alone[path] for path, item in items.items()}
    classes = {item.label for item in items.values() if item.label is not None}
    if not classes or len(set(by.values())) >= FEWEST:
        return by, ()
    count = f"{len(classes)} class{'es' if len(classes) > 1 else ''}"
    return alone, (f"{root} has {count}, too few to split by ({FEWEST} or more); it is split by picture",)


@dataclass
class _Reader:
    """Reader of the lines of one file."""

    root: Path
    images: Path
    needed: bool  # leave out pictures without captions
    items: dict[Path, Item] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    named: set[Path] = field(default_factory=set)  # pictures that some line tells of, be it broken

    def __post_init__(self) -> None:
        self.files = FilesByName(self.images)

    def read(self, row: Row) -> None:
        """Take the picture that a line tells of, if it is of use, and the faults of the line."""
        where = f"{METADATA}:{row.number}"
        try:
            if row.start:
                raise ValueError(row.fault)
            given = parse(row.text)
            if fault := fault_of(given):
                raise ValueError(fault)
        except ValueError as error:
            self._name(named_in(row.text or row.start))
            self.problems.append(Problem(where, "broken line", f"{error}; left out"))
            return
        record = whole(given)
        if row.fault:
            self.problems.append(Problem(where, "not UTF-8", row.fault))
        elif record != {**given, "file_name": record["file_name"]}:
            self.problems.append(Problem(where, "odd characters", "halves of characters (surrogates) are read as �"))
        if unknown := sorted(key[:60] for key in set(record) - _KEYS):
            told = f"{', '.join(unknown[:10])} ignored; known: {', '.join(sorted(_KEYS))}"
            self.problems.append(Problem(where, "unknown key", told))
        name = record["file_name"]
        path = self.files.find(given["file_name"])  # of bytes that are not UTF-8, too, as Python writes them
        if path is None:
            self._miss(name, where)
        elif path in self.named:
            told = f"line {row.number} is left out"
            self.problems.append(Problem(relative(path, self.root), "listed twice", told))
        else:
            self.named.add(path)
            self._take(path, record)

    def _take(self, path: Path, record: Mapping[str, Any]) -> None:
        """Make an item of a picture that is there."""
        shown, captions, points = relative(path, self.root), record.get("captions", []), record.get("points")
        kept, faults = clean_captions([captions] if isinstance(captions, str) else captions, shown)
        wrong = faults_of(points) if points is not None else []
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            faults.append(Problem(shown, "faulty points", f"{wrong[0]}{more}; its points are left out"))
        known = points if points and not wrong else None
        if known and not kept and not self.needed:
            faults = [fault for fault in faults if fault.kind != "empty captions"]
        self.problems += faults
        if kept or (known and not self.needed):
            given = record.get("class")
            label = None if given is None else unicodedata.normalize("NFC", str(given)) or None
            self.items[path] = Item(path, kept, label, points=known)

    def _miss(self, name: str, where: str) -> None:
        """Tell of a picture that is not there, and of one that may be meant."""
        told = f"named in {where} but not there"
        if near := self.files.near(name):
            self.named.add(near)
            told += f"; {relative(near, self.root)} differs in upper and lower case"
        elif self.files.holds(name):
            told = f"named in {where} but is no file"
        shown = name if len(name) <= 100 else f"{name[:100]}..."
        self.problems.append(Problem(f"{self.images.name}/{shown}", "missing picture", told))

    def _name(self, name: str) -> None:
        """Remember the picture that a broken line names: it is not also missing from the metadata."""
        path = self.files.find(name) if name else None
        if path is not None:
            self.named.add(path)


def named_in(line: str) -> str:
    """The `file_name` in a line that is no JSON; empty where none can be read."""
    found = _NAME.search(line)
    try:
        return str(parse(found[1])) if found else ""
    except ValueError:
        return ""


def fault_of(record: Any) -> str:
    """Describe the fault of a metadata record; empty when there is none."""
    if not isinstance(record, dict):
        return f"a JSON object was expected, got {type(record).__name__}"
    name, captions = record.get("file_name"), record.get("captions", [])
    if not isinstance(name, str) or not name:
        return "file_name is not a string" if "file_name" in record else "file_name is missing"
    if leads_out(name):
        return f"file_name {name[:100]!r} leads out of the folder of pictures"
    if not isinstance(captions, str) and not (isinstance(captions, list) and all(isinstance(c, str) for c in captions)):
        return "captions is neither a string nor a list of strings"
    if not isinstance(record.get("class"), (str, int, type(None))):
        return "class is not a string"
    return ""
