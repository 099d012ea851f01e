"""Points that `parts@1` looks at: CUB's part locations, labelled flowers, a folder's own, grouped as it is frozen.

CUB: `parts/part_locs.txt` (picture, part, x, y, visible; pixels of the uncropped picture) with `images.txt` and
`bounding_boxes.txt`. Oxford-102: `points.jsonl`, one object a line, such as
`{"file": "image_00001", "petals": [[x, y], ...], "center": [[x, y, radius], ...], "background": [[x, y], ...]}`.
A folder: the optional key `"points": {"head": [[x, y], ...], "background": [...]}` of its `metadata.jsonl`. Except for
CUB's own, all coordinates are fractions of the picture's width and height; what follows x and y is not read here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from tgim.data.base import BoundingBox, read_lines
from tgim.data.cub import read_boxes, read_table
from tgim.data.folder import METADATA
from tgim.errors import DataError

Point = tuple[float, float]  # x, y: fractions of the picture's width and height
CUB_PARTS = {  # number in parts.txt -> part: several of CUB's points belong to the head, the wings, the eyes, the legs
    1: "back", 2: "beak", 3: "belly", 4: "breast", 5: "head", 6: "head", 7: "eyes", 8: "legs", 9: "wings", 10: "head",
    11: "eyes", 12: "legs", 13: "wings", 14: "tail", 15: "throat",
}  # fmt: skip
LOCATIONS, POINTS = "parts/part_locs.txt", "points.jsonl"
WHOLE: BoundingBox = (0.0, 0.0, 1.0, 1.0)
SLACK = 2.0  # pixels by which a cropped picture's sides may differ from those of its box, scaled


@dataclass(frozen=True)
class Pointed:
    """A picture with points: those of each part, and its subject's box."""

    path: Path
    points: Mapping[str, tuple[Point, ...]]  # part -> points inside the picture; parts without one are left out
    box: BoundingBox | None = None  # fractions; WHOLE where the picture is cropped to it, None if unknown


def has_points(name: str, root: Path) -> bool:
    """Whether a data set ("cub", "oxford102", "folder") has points."""
    if name == "cub":
        return (root / LOCATIONS).is_file()
    if name == "oxford102":
        return (root / POINTS).is_file()
    return name == "folder" and any("points" in record for _, record in _records(root / METADATA))


def read_points(name: str, root: Path, files: Sequence[Path]) -> tuple[Pointed, ...]:
    """Those of `files`, pictures of a data set, that have points, in their order.

    Args:
        name: "cub", "oxford102" or "folder".
        root: the data set's folder.
        files: paths of pictures.

    Raises:
        DataError: a list is not there or broken.
    """
    if name == "cub":
        return cub_points(root, files)
    if name == "oxford102":
        key = {path.stem: path for path in files}
        found = {key[record["file"]]: record for _, record in _records(root / POINTS) if record.get("file") in key}
        told = {path: {part: v for part, v in record.items() if part != "file"} for path, record in found.items()}
    else:
        key = {path.as_posix(): path for path in files}
        images = root / "images"
        named = ((images / str(record.get("file_name", "")), record) for _, record in _records(root / METADATA))
        told = {key[path.as_posix()]: record["points"] for path, record in named
                if path.as_posix() in key and "points" in record}  # fmt: skip
    pointed = (Pointed(path, _fractions(told[path], root, path)) for path in files if path in told)
    return tuple(each for each in pointed if each.points)


def cub_points(root: Path, files: Sequence[Path], *, whole: bool | None = None) -> tuple[Pointed, ...]:
    """Those of `files`, pictures of CUB by their file names, that have a visible point, in their order.

    Args:
        root: CUB's folder, with `images.txt`, `bounding_boxes.txt` and `parts/part_locs.txt`.
        files: pictures, anywhere.
        whole: whether they are uncropped photographs (True) or cropped to their boxes (False). Unless it is said, they
            are cropped if most of them have their boxes' proportions.

    Raises:
        DataError: a list is not there or broken, or the size of a picture cannot be read.
    """
    names = read_table(root / "images.txt")
    boxes = {name.rpartition("/")[2]: box for name, box in read_boxes(root).items()}
    numbers = {name.rpartition("/")[2]: number for number, name in names.items()}
    files = [path for path in files if path.name in numbers and path.name in boxes]
    places = _locations(root / LOCATIONS, {numbers[path.name] for path in files})
    sizes = [_size(path) for path in files]
    if whole is None:
        cropped = sum(_like(size, boxes[path.name]) for path, size in zip(files, sizes, strict=True))
        whole = 2 * cropped <= len(files)
    found = []
    for path, (width, height) in zip(files, sizes, strict=True):
        left, top, w, h = box = boxes[path.name]
        frame = (0.0, 0.0, float(width), float(height)) if whole else box
        points = _inside(places.get(numbers[path.name], ()), frame)
        if points:
            place = (left / width, top / height, w / width, h / height) if whole else WHOLE
            found.append(Pointed(path, points, place))
    return tuple(found)


def _locations(file: Path, wanted: set[int]) -> dict[int, list[tuple[str, float, float]]]:
    """Picture -> (part, x, y) in pixels of its visible points."""
    found: dict[int, list[tuple[str, float, float]]] = {}
    for line in read_lines(file):
        try:
            number, part, x, y, visible = line.split()
            if int(number) in wanted and int(float(visible)):
                found.setdefault(int(number), []).append((CUB_PARTS[int(part)], float(x), float(y)))
        except (ValueError, KeyError):
            raise DataError(
                f"{file} has the line {line[:60]!r} where '<picture> <part> <x> <y> <visible>' was expected; "
                "download it again"
            ) from None
    return found


def _inside(places: Sequence[tuple[str, float, float]], frame: BoundingBox) -> dict[str, tuple[Point, ...]]:
    """Points as fractions of a frame (left, top, width, height), part by part; those outside it are left out."""
    left, top, width, height = frame
    found: dict[str, tuple[Point, ...]] = {}
    for part, x, y in places:
        point = (x - left) / width, (y - top) / height
        if min(point) >= 0 and max(point) < 1:
            found[part] = (*found.get(part, ()), point)
    return found


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path} cannot be read ({error}); run tgim data check") from None


def _like(size: tuple[int, int], box: BoundingBox) -> bool:
    """Whether a picture has the proportions of a box, but for rounded pixels."""
    (width, height), (w, h) = size, box[2:]
    scale = max(1.0, width / w)
    return abs(width * h - height * w) <= SLACK * scale * (w + h)


def _records(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a file of JSON lines with the numbers of their lines; those that are no objects are passed over."""
    for number, line in enumerate(read_lines(file), 1):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield number, record


def _fractions(told: Any, root: Path, path: Path) -> dict[str, tuple[Point, ...]]:
    """Points of one picture as a file tells them, checked; those outside the picture are left out."""
    wrong = DataError(
        f"{root}: the points of {path.name} are broken; expected parts, each with a list of [x, y] in fractions of "
        "width and height"
    )
    if not isinstance(told, dict):
        raise wrong
    found = {}
    for part, rows in told.items():
        try:
            points = [(float(row[0]), float(row[1])) for row in rows]
        except (TypeError, ValueError, IndexError, KeyError):
            raise wrong from None
        if kept := tuple(point for point in points if min(point) >= 0 and max(point) < 1):
            found[str(part)] = kept
    return found
