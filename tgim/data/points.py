"""Points that people clicked on the parts of subjects: read from each data set's own files into one shape.

CUB-200-2011 has `parts/parts.txt` and `parts/part_locs.txt` (pixels of the uncropped pictures). Oxford-102 has
`points.jsonl`, one picture a line. A folder of one's own has them under the key "points" of `metadata.jsonl`:

    {"file_name": "finch.jpg", "captions": ["a finch"], "points": {"head": [[0.4, 0.2]], "background": [[0.9, 0.1]]}}

All places are fractions of a picture's width and height. A third number is a radius, as a fraction of the width: all
within it is that part. An empty list says that someone looked, and the part is not in view: nothing is learned from it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tgim.data import cub
from tgim.data.base import BoundingBox, CaptionedImages, Split, existing, read_lines, split_classes
from tgim.errors import DataError, ImageError
from tgim.images.decode import upright_size
from tgim.system import lines
from tgim.text.lexicon.parts import CUB_PARTS

BACKGROUND = "background"
OXFORD_PARTS = {"center": "center", "petals": "petals", "background": BACKGROUND, "other": BACKGROUND}
LOCATIONS, POINTS = "parts/part_locs.txt", "points.jsonl"
LOOKED_AT = 50  # pictures by whose sizes one sees whether a copy of CUB is cropped


@dataclass(frozen=True)
class Grouping:
    """Parts that the points of data sets count to."""

    cub: Mapping[str, str]  # of CUB's own names, without "left" and "right"
    oxford: Mapping[str, str]  # of the keys of Oxford-102's points


LEARNED = Grouping(CUB_PARTS, OXFORD_PARTS)  # as part localisers learn them
ASKED = Grouping({**CUB_PARTS, "eye": "eyes"}, {**OXFORD_PARTS, "other": "other"})  # as `parts@1` is frozen with them


@dataclass(frozen=True)
class Spot:
    """A labelled place of a picture."""

    x: float  # 0 to 1, from the left
    y: float  # 0 to 1, from the top
    radius: float = 0.0  # of the picture's width: all within it is the same part


@dataclass(frozen=True)
class Points:
    """Known places of the parts of one picture's subject, and its box."""

    spots: Mapping[str, tuple[Spot, ...]]  # by part; "background" is one
    box: BoundingBox | None = None  # fractions: the subject lies within, all else is background


def has_points(data: CaptionedImages) -> bool:
    """Test whether a data set comes with points; of a folder, whether one of its pictures has some."""
    files = {"cub": LOCATIONS, "oxford102": POINTS}
    if data.name in files:
        return (data.root / files[data.name]).is_file()
    return any(any((item.points or {}).values()) for item in data.items)


def read_points(data: CaptionedImages, *, grouping: Grouping = LEARNED) -> dict[Path, Points]:
    """Read the points of a data set's pictures; pictures without any are left out.

    Args:
        data: "cub", "oxford102" or a folder.
        grouping: which parts the points of the first two count to; a folder's are as it names them.

    Raises:
        DataError: the files are not there, or broken.
    """
    if data.name == "cub":
        return _of_cub(data, grouping)
    return _of_oxford(data, grouping) if data.name == "oxford102" else _of_folder(data)


def photographs(
    folder: Path, root: Path, *, split: Split, seed: int = 0, grouping: Grouping = LEARNED
) -> list[tuple[Path, Points]]:
    """Read the points of whole photographs of CUB, known by their file names, in alphabetical order.

    Args:
        folder: of the photographs.
        root: CUB's folder.
        split: take those of its classes alone.
        seed: of the split.
        grouping: which parts the points count to.
    """
    boxes, places = cub.read_boxes(root), read_part_locations(root, grouping)
    known = {name.rpartition("/")[2]: name for name in boxes if name in places}
    kept = split_classes(root, split=split, seed=seed)
    found = []
    for path in sorted(existing(folder).iterdir()):
        name = known.get(path.name)
        if name is not None and (kept is None or name.partition("/")[0] in kept):
            found.append((path, of_photograph(places[name], boxes[name], (0.0, 0.0, *size_of(path)))))
    return found


def _of_cub(data: CaptionedImages, grouping: Grouping) -> dict[Path, Points]:
    boxes, places = cub.read_boxes(data.root), read_part_locations(data.root, grouping)
    names = {item.path: f"{item.path.parent.name}/{item.path.name}" for item in data.items}
    known = {path: name for path, name in names.items() if name in boxes and name in places}
    if not known:
        return {}
    cropped = is_cropped({path: boxes[name] for path, name in list(known.items())[:LOOKED_AT]})
    found = {}
    for path, name in known.items():
        box = boxes[name]
        found[path] = of_photograph(places[name], box, box if cropped else (0.0, 0.0, *size_of(path)))
    return found


def of_photograph(places: Mapping[str, list[tuple[float, float]]], box: BoundingBox, shown: BoundingBox) -> Points:
    """CUB's part locations and box (pixels of the photograph) as fractions of the region `shown` of it (pixels)."""
    left, top, width, height = shown
    spots = {
        part: tuple(
            Spot((x - left) / width, (y - top) / height)
            for x, y in found
            if 0 <= x - left < width and 0 <= y - top < height
        )
        for part, found in places.items()
    }
    fraction = ((box[0] - left) / width, (box[1] - top) / height, box[2] / width, box[3] / height)
    return Points({part: each for part, each in spots.items() if each}, fraction)


def is_cropped(boxes: Mapping[Path, BoundingBox]) -> bool:
    """Test whether pictures were cropped to their boxes: most boxes reach out of them, or have their proportions."""
    return sum(_cut_out(size_of(path), box) for path, box in boxes.items()) > 0.5 * len(boxes)


def _cut_out(size: tuple[int, int], box: BoundingBox) -> bool:
    """Test whether a picture must be, or looks like, the inside of its box, scaled, but for a rounded pixel."""
    (width, height), (left, top, w, h) = size, box
    if left + w > width + 1 or top + h > height + 1:
        return True
    return abs(width * h - height * w) <= max(1.0, width / w) * (w + h)


def read_part_locations(root: Path, grouping: Grouping = LEARNED) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Pixels (x, y) of the visible parts in the uncropped pictures, by `<class>/<file>` and part.

    Raises:
        DataError: `parts/part_locs.txt` or a list that it needs is not there or broken.
    """
    names = cub.read_table(root / "images.txt")
    parts = {
        number: grouping.cub[text.split()[-1]] for number, text in cub.read_table(root / "parts" / "parts.txt").items()
    }
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    file = root / LOCATIONS
    for line in read_lines(file):
        try:
            picture, part, x, y, visible = line.split()
            name, where, place = names.get(int(picture)), parts[int(part)], (float(x), float(y))
        except (ValueError, KeyError):
            raise DataError(
                f"{file} has the line {line[:60]!r} where '<picture> <part> <x> <y> <visible>' was expected"
            ) from None
        if name is not None and visible == "1":
            found.setdefault(name, {}).setdefault(where, []).append(place)
    return found


def _of_oxford(data: CaptionedImages, grouping: Grouping) -> dict[Path, Points]:
    file = data.root / POINTS
    by_name = {item.path.stem: item.path for item in data.items}
    found = {}
    for number, line in enumerate(read_lines(file), 1):
        try:
            record = lines.parse(line)
            name = str(record["file"])
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{file}:{number} is not a JSON object with a key 'file'") from None
        raw = {key: value for key, value in record.items() if key in grouping.oxford}
        if faults := faults_of(raw):
            raise DataError(f"{file}:{number}: {faults[0]}")
        if name in by_name:
            spots: dict[str, tuple[Spot, ...]] = {}
            for key, each in parse(raw).spots.items():
                part = grouping.oxford[key]
                spots[part] = spots.get(part, ()) + each
            found[by_name[name]] = Points(spots)
    return found


def _of_folder(data: CaptionedImages) -> dict[Path, Points]:
    found = {item.path: parse(item.points) for item in data.items if item.points}
    return {path: points for path, points in found.items() if points.spots}


def parse(raw: Mapping[str, Any]) -> Points:
    """The points of a record that has no `faults_of` it."""
    return Points({part: tuple(Spot(*map(float, place)) for place in places) for part, places in raw.items() if places})


def faults_of(raw: Any) -> list[str]:
    """Describe the faults of the value of a "points" key; empty when there are none.

    >>> faults_of({"head": [[0.4, 1.2]]})
    ["points of 'head' has [0.4, 1.2]: places are fractions of width and height, 0 to 1"]
    """
    if not isinstance(raw, dict):
        return [f'points is not of the shape {{"head": [[x, y], ...]}}, got {json.dumps(raw)[:60]}']
    faults = []
    for part, places in raw.items():
        if not isinstance(places, list):
            faults.append(f"points of {part!r} is not a list of [x, y], got {json.dumps(places)[:60]}")
            continue
        for place in places:
            fault = _fault(place)
            if fault:
                faults.append(f"points of {part!r} has {json.dumps(place)[:60]}: {fault}")
    return faults


def _fault(place: Any) -> str:
    if not isinstance(place, list) or len(place) not in (2, 3):
        return "[x, y] was expected, or [x, y, radius]"
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in place):
        return "not numbers"
    return "" if all(0 <= v <= 1 for v in place) else "places are fractions of width and height, 0 to 1"


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an upright picture in pixels, from its header; (1, 1) where it cannot be read."""
    try:
        return upright_size(os.fspath(path))
    except ImageError:
        return 1, 1
