"""Any folder of captioned pictures: `images/` and a `metadata.jsonl` beside it, one JSON object a line.

    {"file_name": "finch.jpg", "captions": ["a small yellow bird", "this bird has black wings"], "class": "goldfinch"}

`file_name` is relative to `images/`; `captions` is a list or one string; `class` may be left out, and so may `points`,
the places of parts that a part localiser learns from (`tgim.data.points`). With classes the split is by class, so that
"test" shows kinds never trained on; without, by picture. Either way it is 4 : 1 and seeded.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
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
    relative,
    split_names,
    subfolder,
)
from tgim.data.points import faults_of
from tgim.errors import DataError

TEST_SHARE = 0.2
METADATA = "metadata.jsonl"
_KEYS = {"file_name", "captions", "class", "points"}


def load(root: str | Path, *, split: Split = "train", seed: int = 0, captions: bool = True) -> CaptionedImages:
    """Read `metadata.jsonl` of one split; no picture is opened.

    Args:
        root: the folder that holds `images/` and `metadata.jsonl`.
        split: "train", "val" and "test" hold about 72, 8 and 20 % of the classes (of the pictures without classes).
        seed: of the split.
        captions: leave out pictures without captions; otherwise those with points are kept.

    Raises:
        DataError: `root` or one of the two is not there, or no usable picture is left.
    """
    root = existing(root)
    images = subfolder(root, "images")
    try:
        lines = (root / METADATA).read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{root / METADATA} cannot be read ({error.strerror}); it holds the captions") from None
    items: dict[Path, Item] = {}
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            item, faults = _read_line(line, f"{METADATA}:{number}", root, images, captions)
            problems += faults
            if item is not None and item.path in items:
                problems.append(Problem(relative(item.path, root), "listed twice", f"line {number} is left out"))
            elif item is not None:
                items[item.path] = item
    files = {path for path in images.rglob("*") if path.suffix.lower() in PICTURES}
    listed = set(items) | {root / problem.path for problem in problems}
    extra = sorted(files - listed)
    problems += [Problem(relative(path, root), "missing captions", f"not in {METADATA}") for path in extra]
    by = {item.path: item.label or relative(item.path, root) for item in items.values()}
    names = frozenset(by.values())
    test = held_out(names, fraction=TEST_SHARE, seed=seed + 1)  # not the order that "val" is chosen by
    wanted = split_names(names - test, test, split=split, seed=seed)
    data = CaptionedImages("folder", root, tuple(items.values()), tuple(problems))
    return finish(data, split=split, by=by, wanted=wanted)


def _read_line(line: str, where: str, root: Path, images: Path, needed: bool) -> tuple[Item | None, list[Problem]]:
    """The picture that one line of the metadata tells of, if it is of use, and its faults."""
    try:
        record = json.loads(line)
    except ValueError as error:
        return None, [Problem(where, "broken line", f"not JSON ({error}); left out")]
    fault = _fault(record)
    if fault:
        return None, [Problem(where, "broken line", f"{fault}; left out")]
    problems = []
    if unknown := sorted(set(record) - _KEYS):
        problems.append(
            Problem(where, "unknown key", f"{', '.join(unknown)} ignored; known: {', '.join(sorted(_KEYS))}")
        )
    path = images / record["file_name"]
    if not path.is_file():
        return None, [*problems, Problem(relative(path, root), "missing picture", f"named in {where} but not there")]
    captions = record.get("captions", [])
    kept, faults = clean_captions([captions] if isinstance(captions, str) else captions, relative(path, root))
    label, points = record.get("class"), record.get("points")
    wrong = faults_of(points) if points is not None else []
    faults += [Problem(relative(path, root), "faulty points", f"{fault}; its points are left out") for fault in wrong]
    known = points if points and not wrong else None
    if known and not kept and not needed:
        faults = [fault for fault in faults if fault.kind != "empty captions"]
    used = kept or (known and not needed)
    item = Item(path, kept, None if label is None else str(label), points=known) if used else None
    return item, problems + faults


def _fault(record: Any) -> str:
    """Describe the fault of a metadata record; empty when there is none."""
    if not isinstance(record, dict):
        return f"a JSON object was expected, got {type(record).__name__}"
    name, captions = record.get("file_name"), record.get("captions", [])
    if not isinstance(name, str) or not name:
        return "file_name is not a string" if "file_name" in record else "file_name is missing"
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
        return f"file_name {name!r} leads out of images/"
    if not isinstance(captions, str) and not (isinstance(captions, list) and all(isinstance(c, str) for c in captions)):
        return "captions is neither a string nor a list of strings"
    if not isinstance(record.get("class"), (str, int, type(None))):
        return "class is not a string"
    return ""
