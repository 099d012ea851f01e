"""CUB-200-2011 birds (Wah et al., Caltech 2011) with the captions of Reed et al. (CVPR 2016), in their standard layout.

`images/<class>/<name>.jpg`, `text/<class>/<name>.txt` (ten captions, one a line), `images.txt`, `bounding_boxes.txt`,
`image_class_labels.txt`, `classes.txt`, and the zero-shot split of the field in `trainvalclasses.txt` (150 classes) and
`testclasses.txt` (50).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tgim.data.base import (
    PICTURES,
    BoundingBox,
    CaptionedImages,
    Item,
    Problem,
    Split,
    count_captions,
    existing,
    finish,
    names_in,
    read_captions,
    read_lines,
    relative,
    split_classes,
    subfolder,
)
from tgim.data.names import FilesByName, leads_out
from tgim.errors import DataError
from tgim.system.lines import DIGITS

LICENCE = "CUB-200-2011: photographs belong to their authors; non-commercial research and education only"


def load(
    root: str | Path, *, split: Split = "train", crop: Literal["none", "box"] = "none", seed: int = 0
) -> CaptionedImages:
    """Read the lists and captions of one split; no picture is opened.

    Args:
        root: the folder that holds `images/` and `text/`.
        split: "train" and "val" divide the 150 trainval classes (about 9 : 1, by `seed`); "test" has the 50 others.
        crop: "box" attaches each bird's bounding box, so that pictures are cropped to 1.5 times it; "none" takes the
            whole picture (for pictures that are cropped already).
        seed: of the choice of the "val" classes.

    Raises:
        DataError: `root`, its lists or its boxes are not there, or no usable picture is left.
    """
    root = existing(root)
    images, text = subfolder(root, "images"), subfolder(root, "text", "text_c10")
    boxes = read_boxes(root) if crop == "box" else {}
    wanted = split_classes(root, split=split, seed=seed)
    items: list[Item] = []
    problems: list[Problem] = []
    listed, files = listed_names(root, images), FilesByName(images)
    found = {name: None if leads_out(name) else files.find(name) for name in listed}
    labels = {name.partition("/")[0] for name in listed}
    for path in sorted(files.paths - set(found.values())):
        label = path.relative_to(images).parts[0]
        if path.suffix.lower() in PICTURES and label in labels and (wanted is None or label in wanted):
            problems.append(Problem(relative(path, root), "unlisted picture", "not in images.txt; left out"))
    for name in listed:
        label, picture = name.partition("/")[0], found[name]
        if wanted is not None and label not in wanted:
            continue
        if picture is None:
            problems.append(Problem(f"images/{name[:100]}", "missing picture", "listed in images.txt but not there"))
            continue
        captions, faults = read_captions(text / Path(name).with_suffix(".txt"), root)
        problems += faults
        if crop == "box" and name not in boxes:
            problems.append(Problem(f"images/{name}", "missing box", "not in bounding_boxes.txt; taken whole"))
        if captions:
            items.append(Item(picture, captions, label, boxes.get(name)))
    return finish(count_captions(CaptionedImages("cub", root, tuple(items), tuple(problems), LICENCE)), split=split)


def listed_names(root: Path, images: Path) -> list[str]:
    """`<class>/<file>` of each picture in `images.txt`; of each file there is when that list is missing."""
    if (root / "images.txt").is_file():
        return list(read_table(root / "images.txt").values())
    folders = sorted(entry for entry in names_in(images) if (images / entry).is_dir())
    names = [f"{label}/{name}" for label in folders for name in sorted(names_in(images / label))]
    return [name for name in names if Path(name).suffix.lower() in PICTURES]


def read_table(file: Path) -> dict[int, str]:
    """`<number> <rest>` lines as a dictionary, in the order of the file."""
    table: dict[int, str] = {}
    for line in read_lines(file):
        number, _, rest = line.partition(" ")
        if not number.isdecimal() or len(number) > DIGITS or not rest:
            raise DataError(
                f"{file} has the line {line[:60]!r} where '<number> <value>' was expected; download it again"
            )
        if table.setdefault(int(number), rest.strip()) != rest.strip():
            raise DataError(f"{file} has number {number} twice, with other values; download it again")
    return table


def read_boxes(root: Path) -> dict[str, BoundingBox]:
    """Bounding box (left, top, width, height) in pixels of the uncropped picture, by `<class>/<file>`."""
    names = read_table(root / "images.txt")
    boxes: dict[str, BoundingBox] = {}
    for number, row in read_table(root / "bounding_boxes.txt").items():
        try:
            left, top, width, height = (float(value) for value in row.split())
        except ValueError:
            raise DataError(
                f"{root}/bounding_boxes.txt has {row!r} for picture {number}; four numbers expected"
            ) from None
        if number in names:
            boxes[names[number]] = (left, top, width, height)
    return boxes
