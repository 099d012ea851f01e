"""Types and rules that all data sets share: items, captions, splits, randomness."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tgim.errors import DataError
from tgim.system.lines import ForeignText, read_rows
from tgim.text.vocabulary import MAX_WORDS, tokenize

Split = Literal["train", "val", "trainval", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "val", "trainval", "test", "all")
BoundingBox = tuple[float, float, float, float]  # left, top, width, height in pixels
HELD_OUT = 0.1  # share of the trainval classes that makes "val"
_ODD = re.compile("(?!\\s)[\\x00-\\x1f\\x7f-\\x9f\ufffd]")  # control characters, and the mark of a lost one
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True)
class Item:
    """A picture: its path, captions and class, and the box of its subject when it is to be cropped."""

    path: Path
    captions: tuple[str, ...]
    label: str | None = None
    box: BoundingBox | None = None
    points: Mapping[str, Any] | None = None  # of its parts, as the data set's own metadata give them


@dataclass(frozen=True)
class Problem:
    """A fault of a data set; `path` is relative to its root, `kind` a few words that faults can be counted by."""

    path: str
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {self.message}"


@dataclass(frozen=True)
class CaptionedImages:
    """The usable pictures of one split, and the faults that were met on the way to them."""

    name: str
    root: Path
    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()
    licence: str = "unknown"
    notes: tuple[str, ...] = ()  # on how it was split, each a sentence

    @property
    def classes(self) -> list[str]:
        """Names of the classes that have pictures, sorted."""
        return sorted({item.label for item in self.items if item.label is not None})

    @property
    def captions(self) -> list[str]:
        """Captions of all pictures, picture by picture."""
        return [caption for item in self.items for caption in item.captions]

    def __len__(self) -> int:
        return len(self.items)


class Stream(IntEnum):
    """Streams of random numbers, one for each use: what is sampled for one never depends on another.

    A number is part of what was published with it: another one gives other pictures, figures or weights under the same
    seed. Take a new number for a new use. `POOL` has that of `SCENES` because published weights were trained on both,
    and published figures are of the pool's pictures.
    """

    EPOCH = 0  # order of a training's pictures; then the epoch
    STEP = 1  # captions and augmentation of a training step; then the step
    SCENES = 2  # backgrounds and sizes of a step's subjects; then the step
    POOL = 2  # pairs of a synthetic pool; then the pair
    SOURCES = 3  # source pictures of a step of caption differences; then the step
    VIEWS = 5  # views of a step of part localisers, and order of their pictures; then the step, or the round
    PARTS_ORDER = 6  # order of a part localiser's photographs; then the epoch
    BACKGROUND_POINTS = 7  # places outside of subjects that a part localiser is asked for; then the picture
    MAPS = 8  # views that a frozen backbone sees; then the view, the first picture of a chunk, and 0 or 1; or the step
    FRAMES = 9  # frames of the pictures of `part_curves`; then the picture
    LESSONS = 10  # texts of a step of `part_curves`; then the step
    STEER = 11  # noises that a direction is learned on, or measured on; then what for
    LOOP = 100  # torch's own generators in a training step; then the step and one
    BOOTSTRAP = 900  # resamples of a figure's pictures
    TRUTH = 901  # synthetic pictures of `truth@1`; then the pair
    FEATURE_BOOTSTRAP = 902  # resamples of sets of features in `realism@1`
    TRIPLES = 903  # synthetic triples; then the part of the stream that a split has, and the group
    COMPOSE = 904  # triples of photographs in `compose@1`; then the picture
    SHOWN = 905  # pictures of a report's contact sheet
    DISSECTION = 906  # control units, places and other pictures of a dissection; then the use, and the layer
    DISSECTION_BOOTSTRAP = 907  # resamples of a figure of a dissection's pictures
    BOUNDARIES = 908  # held-out rows, shuffled labels and random directions of boundaries; then the use, and the layer


def random_source(seed: int, *purpose: int) -> np.random.Generator:
    """Begin randomness, in this one place: a generator for a `purpose` (a `Stream` and, say, a step) under `seed`.

    >>> one, same = (random_source(0, Stream.STEP, 5).integers(100, size=3).tolist() for _ in range(2))
    >>> one == same
    True
    """
    return np.random.default_rng([seed, *purpose])


def held_out(names: Iterable[str], *, fraction: float, seed: int = 0, least: int = 1) -> frozenset[str]:
    """Choose `fraction` of `names` (`least` of three or more) by a seeded hash, whatever order they come in.

    >>> held_out("abcd", fraction=0.25) == held_out("dcba", fraction=0.25)
    True
    """
    ranked = sorted(
        set(names), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
    )
    count = max(round(fraction * len(ranked)), least) if len(ranked) > 2 else 0  # two are needed to train on
    return frozenset(ranked[:count])


def split_names(trainval: Iterable[str], test: Iterable[str], *, split: Split, seed: int = 0) -> frozenset[str]:
    """Names (of classes, or of pictures where there are no classes) that belong to `split`.

    "val" is a seeded tenth of `trainval`, "train" the rest of it, so that "test" is never looked at while tuning.
    """
    known, unseen = frozenset(trainval), frozenset(test)
    if both := sorted(known & unseen):
        raise DataError(
            f"{both[0]} and {len(both) - 1} more are in both the trainval and the test list; list each once"
        )
    tuning = held_out(known, fraction=HELD_OUT, seed=seed)
    parts = {"train": known - tuning, "val": tuning, "trainval": known, "test": unseen, "all": known | unseen}
    if split not in parts:
        raise DataError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}")
    return parts[split]


def read_captions(file: Path, root: Path) -> tuple[tuple[str, ...], list[Problem]]:
    """Usable captions of a text file with one a line, and what was wrong with it.

    Repeated captions and captions of one word are counted and left out; bytes that are not UTF-8 are read otherwise.
    """
    where = relative(file, root)
    if not is_file(file):
        return (), [Problem(where, "missing captions", "not a file" if file.exists() else "no such file")]
    try:
        rows = list(read_rows(file))
    except OSError as error:
        return (), [Problem(where, "missing captions", str(error.strerror))]
    except ForeignText as error:
        return (), [Problem(where, "not UTF-8", f"{error}; the picture is left out")]
    problems = [
        Problem(where, "broken line" if row.start else "not UTF-8", f"line {row.number}: {row.fault}")
        for row in rows
        if row.fault
    ]
    captions, faults = clean_captions((row.text for row in rows), where)
    return captions, problems + faults


def clean_captions(lines: Iterable[str], where: str) -> tuple[tuple[str, ...], list[Problem]]:
    """Captions without blanks, repeats and single words; `where` names their file in the problems."""
    kept: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        words = tokenize(line)
        key = " ".join(words)
        if odd := _ODD.search(line):
            problems.append(Problem(where, "odd characters", f"line {number} has {odd[0]!r} in it; it is kept"))
        if len(words) > MAX_WORDS:
            told = f"line {number} has {len(words):,} words; models read {MAX_WORDS} at most"
            problems.append(Problem(where, "long caption", told))
        if len(words) == 1:
            problems.append(Problem(where, "one-word caption", f"line {number} says only {words[0][:60]!r}; left out"))
        elif key in kept:
            problems.append(
                Problem(where, "duplicate caption", f"line {number} repeats {line.strip()[:60]!r}; left out")
            )
        elif words:
            kept[key] = line.strip()
    if not kept:
        problems.append(Problem(where, "empty captions", "no caption of two words or more; the picture is left out"))
    return tuple(kept.values()), problems


def count_captions(data: CaptionedImages) -> CaptionedImages:
    """Add a problem for each picture that came with fewer captions than most pictures of the set."""
    left_out = Counter(Path(p.path).stem for p in data.problems if p.kind in ("duplicate caption", "one-word caption"))
    counts = [len(item.captions) + left_out[item.path.stem] for item in data.items]
    usual = Counter(counts).most_common(1)[0][0] if counts else 0
    few = [
        Problem(relative(item.path, data.root), "few captions", f"{count} where most pictures have {usual}")
        for item, count in zip(data.items, counts, strict=True)
        if count < usual
    ]
    return replace(data, problems=(*data.problems, *few))


def names_in(folder: Path) -> set[str]:
    """Names of the entries of a folder that are not hidden; empty when there is none, or there cannot be one."""
    try:
        return {entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")}
    except PermissionError:
        raise
    except (OSError, ValueError):  # its name may be too long, or hold what no name can
        return set()


def is_file(path: Path) -> bool:
    """True for a file, or a link to one; False also where a name is too long, or holds what no name can."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_lines(file: Path) -> list[str]:
    """Lines of a list file without blanks; DataError when it is not there, or is text of another kind."""
    if file.exists() and not file.is_file():
        raise DataError(f"{file} is not a file; it belongs to the standard layout")
    try:
        return [text for row in read_rows(file) if (text := row.text.strip())]
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); it belongs to the standard layout") from None
    except ForeignText as error:
        raise DataError(f"{file} {error}") from None


def split_classes(root: Path, *, split: Split, seed: int = 0) -> frozenset[str] | None:
    """Classes of `split` by `trainvalclasses.txt` and `testclasses.txt` of `root`; None (no limit) for "all"."""
    if split == "all":
        return None
    trainval, test = read_lines(root / "trainvalclasses.txt"), read_lines(root / "testclasses.txt")
    return split_names(trainval, test, split=split, seed=seed)


def existing(root: str | Path) -> Path:
    """`root` as a path; DataError when it is no folder."""
    path = Path(os.path.expanduser(root))
    if not path.is_dir():
        raise DataError(f"data set {path} is {'not a folder' if path.exists() else 'not there'}; name its root folder")
    return path


def subfolder(root: Path, *names: str) -> Path:
    """The first of `names` that is a folder in `root`."""
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise DataError(f"{root} has no folder {' or '.join(names)}; run tgim data check on it to see the expected layout")


def relative(path: Path, root: Path) -> str:
    """`path` as written from `root`, with forward slashes; what is not Unicode in it is escaped."""
    try:
        name = path.relative_to(root).as_posix()
    except ValueError:
        name = path.as_posix()
    return name.encode("utf-8", "backslashreplace").decode()


def finish(
    data: CaptionedImages, *, split: Split, by: Mapping[Path, str] | None = None, wanted: frozenset[str] | None = None
) -> CaptionedImages:
    """Keep the items whose name (`by`, else their class) is `wanted`.

    Raises:
        DataError: none is left, of any split but "all".
    """
    items = data.items
    if wanted is not None:
        items = tuple(item for item in items if (by[item.path] if by else item.label) in wanted)
    if not items and split != "all":
        most = Counter(problem.kind for problem in data.problems).most_common(1)
        told = f" ({most[0][1]} x {most[0][0]})" if most else ""
        raise DataError(
            f"{data.root} has no usable picture in split {split!r}{told}; run tgim data check on it to see why"
        )
    return replace(data, items=items)
