"""Check of a data set on disk: its contents, and what is missing or broken in it, picture by picture."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tgim.data import cub, folder, oxford102
from tgim.data.base import CaptionedImages, Item, Problem, Split, existing, relative
from tgim.data.cache import Progress, fault_of
from tgim.data.points import read_points
from tgim.errors import DataError, ImageError
from tgim.images.decode import decode_small
from tgim.images.tags import SIDEWAYS
from tgim.system.runtime import usable_cores

Kind = Literal["cub", "oxford102", "folder"]
LAYOUTS: dict[Kind, tuple[str, ...]] = {
    "folder": ("images", "metadata.jsonl"),
    "oxford102": ("jpg", "text"),
    "cub": ("images", "text"),
}  # what a root must hold; the first that fits is taken
PARTS: tuple[Split, ...] = ("train", "val", "test")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # of names: they would break lines
EXAMPLES = 3  # of each kind of problem in the text


@dataclass(frozen=True)
class Report:
    """The findings of `check`: counts are of usable pictures unless they say otherwise."""

    kind: str
    root: Path
    licence: str
    pictures: int
    captions: int
    classes: int
    splits: dict[str, dict[str, int]]  # split -> pictures, captions, classes
    smallest: tuple[int, int]  # (width, height) in pixels of the smallest picture by area; (0, 0) without pictures
    largest: tuple[int, int]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    points: dict[str, int] = field(default_factory=dict)  # part -> pictures that have points of it
    verbs: dict[str, str] = field(default_factory=dict)  # verb -> "yes", or why not (`tgim.training.prospects`)

    @property
    def usable(self) -> bool:
        """True when a model can be trained on it: two pictures or more, with captions, in "train"."""
        return self.splits.get("train", {}).get("pictures", 0) >= 2

    @property
    def counts(self) -> dict[str, int]:
        """Number of problems of each kind, most frequent first."""
        return dict(Counter(problem.kind for problem in self.problems).most_common())

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain types, for JSON."""
        return {
            "kind": self.kind,
            "root": str(self.root),
            "licence": self.licence,
            "usable": self.usable,
            "pictures": self.pictures,
            "captions": self.captions,
            "classes": self.classes,
            "splits": self.splits,
            "smallest": list(self.smallest),
            "largest": list(self.largest),
            "counts": self.counts,
            "notes": list(self.notes),
            "points": self.points,
            "verbs": self.verbs,
            "problems": [{"path": p.path, "kind": p.kind, "message": p.message} for p in self.problems],
        }

    def __str__(self) -> str:
        lines = [
            f"{self.root}: {self.kind} layout, {'usable' if self.usable else 'NOT USABLE'}",
            f"  {self.pictures:,} pictures, {self.captions:,} captions, {self.classes:,} classes",
        ]
        for name, part in self.splits.items():
            counts = f"{part['pictures']:>8,} pictures {part['captions']:>9,} captions {part['classes']:>5,} classes"
            lines.append(f"  {name:<6}{counts}")
        if self.pictures:
            lines.append(f"  sizes from {_size(self.smallest)} to {_size(self.largest)} pixels")
        if self.points:
            most = ", ".join(f"{part} {count:,}" for part, count in self.points.items())
            lines.append(f"  pictures with points of parts: {most}")
        lines.append(f"  licence: {self.licence}")
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  tgim {verb}: {answer}" for verb, answer in self.verbs.items()]
        count = len(self.problems)
        lines.append(f"  {count:,} problem{'s' if count > 1 else ''}" if count else "  no problems")
        for kind, count in self.counts.items():
            lines.append(f"    {kind}: {count:,}")
            some = [problem for problem in self.problems if problem.kind == kind][:EXAMPLES]
            lines += [f"      {problem.path}: {problem.message}" for problem in some]
            if count > len(some):
                lines.append(f"      ... and {count - len(some):,} more")
        return "\n".join(_CONTROL.sub(lambda found: ascii(found[0])[1:-1], line) for line in lines)


def check(root: str | Path, *, kind: Kind | None = None, progress: Progress | None = None) -> Report:
    """Look at every picture and caption of a data set.

    Faults of single pictures are found and counted, never raised; `Report.usable` says whether enough is left.

    Args:
        root: the data set's folder.
        kind: its layout; recognised by its files when not given.
        progress: called with (done, total) while pictures are decoded.

    Raises:
        DataError: `root` is no folder, or has none of the known layouts.
    """
    root = existing(root)
    kind = kind or detect(root)
    if kind not in LAYOUTS:
        raise DataError(f"data kind {kind!r} is unknown; choose one of {', '.join(LAYOUTS)}")
    parts: dict[str, CaptionedImages] = {}
    notes: list[str] = []
    problems: dict[Problem, None] = {}
    for split in ("all", *PARTS):
        try:
            parts[split] = load_split(root, kind, split)
        except DataError as error:
            if split == "all":  # of the others it is said, too, which need not be
                problems[Problem(".", "no data set", str(error))] = None
                break
            if str(error) not in notes:
                notes.append(str(error))
            continue
        if split == "all":
            problems |= dict.fromkeys(parts[split].problems)
        notes += [note for note in parts[split].notes if note not in notes]
    items = parts["all"].items if "all" in parts else ()
    sizes, broken = measure(items, root, progress)
    problems |= dict.fromkeys(broken)
    whole = [item for item in items if item.path in sizes]
    if kind == "cub":
        notes += _about_boxes(whole, sizes)
    points = _points(root, kind, notes, {problem.message for problem in problems})
    areas = sorted(sizes.values(), key=lambda size: size[0] * size[1]) or [(0, 0)]
    return Report(
        kind=kind,
        root=root,
        licence=parts["all"].licence if "all" in parts else "unknown",
        pictures=len(whole),
        captions=sum(len(item.captions) for item in whole),
        classes=_count(whole)["classes"],
        splits={name: _count([i for i in parts[name].items if i.path in sizes]) for name in PARTS if name in parts},
        smallest=areas[0],
        largest=areas[-1],
        problems=tuple(problems),
        notes=tuple(notes),
        points=points,
    )


def detect(root: Path) -> Kind:
    """Recognise the layout of a data set by what its root holds.

    Raises:
        DataError: none of the known ones.
    """
    if (root / "metadata.jsonl").is_file() and not (root / "images").exists():
        return "folder"  # with the pictures beside it
    for kind, needed in LAYOUTS.items():
        if all((root / name).exists() for name in needed):
            return kind
    known = "; ".join(f"{kind}: {' + '.join(needed)}" for kind, needed in sorted(LAYOUTS.items()))
    raise DataError(f"{root} has none of the known layouts ({known}); arrange it like one of them")


def measure(
    items: Sequence[Item], root: Path, progress: Progress | None = None
) -> tuple[dict[Path, tuple[int, int]], list[Problem]]:
    """(width, height), upright, of each picture that decodes to its end, and a problem for each that does not."""

    def eighth(size: tuple[int, int]) -> tuple[int, int]:
        return max(1, size[0] // 8), max(1, size[1] // 8)  # still reads the whole stream of a JPEG

    def look(item: Item) -> tuple[int, int] | str:
        try:
            found = decode_small(os.fspath(item.path), wanted=eighth)
        except ImageError as error:
            return fault_of(item.path, error)
        width, height = found.full
        return (height, width) if found.turn in SIDEWAYS else (width, height)

    sizes: dict[Path, tuple[int, int]] = {}
    problems = []
    with ThreadPoolExecutor(min(4, usable_cores())) as pool:
        for done, (item, found) in enumerate(zip(items, pool.map(look, items), strict=True), 1):
            if isinstance(found, str):
                problems.append(Problem(relative(item.path, root), "unreadable picture", found))
            else:
                sizes[item.path] = found
            if progress is not None:
                progress(done, len(items))
    return sizes, problems


def load_split(root: Path, kind: str, split: Split, *, captions: bool = True) -> CaptionedImages:
    """Read a split of a data set of a known layout, whole photographs of CUB with their boxes.

    Args:
        root: the data set's folder.
        kind: its layout.
        split: of its pictures.
        captions: of a folder, leave out pictures without captions.

    Raises:
        DataError: the split has no pictures, or a list or file is missing.
    """
    if kind == "oxford102":
        return oxford102.load(root, split=split)
    if kind == "folder":
        return folder.load(root, split=split, captions=captions)
    boxed = split == "all" and (root / "bounding_boxes.txt").is_file() and (root / "images.txt").is_file()
    return cub.load(root, split=split, crop="box" if boxed else "none")


def _points(root: Path, kind: Kind, notes: list[str], known: Collection[str]) -> dict[str, int]:
    """Count the pictures that have points of each part, most frequent first; faults not `known` go to `notes`."""
    home = {"cub": root / "parts", "oxford102": root / "points.jsonl"}.get(kind)
    if home is not None and not home.exists():
        return {}
    try:
        data = load_split(root, kind, "all", captions=False)
        found = read_points(data)
    except DataError as error:
        if str(error) not in known:
            notes.append(str(error))
        return {}
    captioned = {item.path for item in data.items if item.captions}
    if bare := sum(path not in captioned for path in found):
        notes.append(
            f"{bare} pictures have points but no caption; a part localiser takes them by data.captions.pick=none"
        )
    return dict(Counter(part for points in found.values() for part in points.spots).most_common())


def _count(items: Sequence[Item]) -> dict[str, int]:
    return {
        "pictures": len(items),
        "captions": sum(len(item.captions) for item in items),
        "classes": len({item.label for item in items if item.label is not None}),
    }


def _about_boxes(items: Sequence[Item], sizes: dict[Path, tuple[int, int]]) -> list[str]:
    """Advise which `crop` fits the pictures, by whether their bounding boxes lie inside them."""
    boxed = [(item.box, sizes[item.path]) for item in items if item.box is not None]
    if not boxed:
        return ["no bounding boxes at hand; train with crop=none"]
    outside = sum(box[0] + box[2] > size[0] + 1 or box[1] + box[3] > size[1] + 1 for box, size in boxed)
    share = outside / len(boxed)
    if share > 0.5:
        return [
            f"{share:.0%} of the bounding boxes reach out of their pictures, which seem cropped; train with crop=none"
        ]
    notes = ["pictures hold their bounding boxes, so they are whole photographs; crop=box crops them to the bird"]
    return notes + ([f"{outside} bounding boxes reach out of their pictures"] if outside else [])


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
