"""Oxford-102 flowers (Nilsback and Zisserman, ICVGIP 2008) with the captions of Reed et al. (CVPR 2016).

`jpg/image_NNNNN.jpg`, `text/class_NNNNN/image_NNNNN.txt` (captions, one a line), `imagelabels.mat`, and the
class-disjoint split in `trainvalclasses.txt` (82 classes) and `testclasses.txt` (20). `setid.mat` splits pictures
within classes and is not used: editing is evaluated on classes that were never trained on.
"""

from __future__ import annotations

from pathlib import Path

from tgim.data.base import (
    CaptionedImages,
    Item,
    Problem,
    Split,
    count_captions,
    existing,
    finish,
    names_in,
    read_captions,
    split_classes,
    subfolder,
)
from tgim.errors import DataError

LICENCE = "Oxford-102 flowers: photographs belong to their authors; research use only"


def load(root: str | Path, *, split: Split = "train", seed: int = 0) -> CaptionedImages:
    """Read the lists and captions of one split; no picture is opened.

    Args:
        root: the folder that holds `jpg/` and `text/`.
        split: "train" and "val" divide the trainval classes (about 9 : 1, by `seed`); "test" has the others.
        seed: of the choice of the "val" classes.

    Raises:
        DataError: `root` or its lists are not there, or no usable picture is left.
    """
    root = existing(root)
    pictures, text = subfolder(root, "jpg"), subfolder(root, "text", "text_c10")
    wanted = split_classes(root, split=split, seed=seed)
    present = names_in(pictures)
    known = {
        Path(file).stem: label
        for label in sorted(names_in(text))
        for file in names_in(text / label)
        if file.endswith(".txt")
    }
    labels = {**read_labels(root), **known}  # the captions' folder decides; the .mat knows pictures without captions
    items, problems = [], []
    for name in sorted(labels):
        label, file = labels[name], f"{name}.jpg"
        if wanted is not None and label not in wanted:
            continue
        if file not in present:
            problems.append(Problem(f"jpg/{file}", "missing picture", "it has a class or captions but is not there"))
            continue
        captions, faults = read_captions(text / label / f"{name}.txt", root)
        problems += faults
        if captions:
            items.append(Item(pictures / file, captions, label))
    return finish(
        count_captions(CaptionedImages("oxford102", root, tuple(items), tuple(problems), LICENCE)), split=split
    )


def read_labels(root: Path) -> dict[str, str]:
    """Class folder by picture name from `imagelabels.mat`; empty when the file is not there.

    Raises:
        DataError: the file is there but is not the one that belongs to this set.
    """
    file = root / "imagelabels.mat"
    if not file.is_file():
        return {}
    from scipy.io import loadmat

    try:
        numbers = loadmat(file)["labels"].ravel().astype(int)
    except Exception as error:  # scipy raises many kinds on a broken file
        raise DataError(f"{file} cannot be read ({error}); download it again or remove it") from None
    return {f"image_{i:05d}": f"class_{number:05d}" for i, number in enumerate(numbers, 1)}
