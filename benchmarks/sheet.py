"""Contact sheet of edits: test pictures (or a folder's) in columns, captions in rows.

    python benchmarks/sheet.py --model birds --data cub --out sheet.png
    python benchmarks/sheet.py --model birds --images photos --out sheet.png

Keep sheets out of the repository: they show photographs that belong to their authors.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from tgim.data import open_dataset
from tgim.data.config import DataConfig
from tgim.images.photo import list_images, open_image
from tgim.images.sheet import contact_sheet
from tgim.inference.editor import Editor
from tgim.reporting.pictures import CAPTIONS


@click.command()
@click.option("--model", default="birds", show_default=True, help="Embedded name or checkpoint.")
@click.option("--data", type=click.Choice(sorted(CAPTIONS)), default="cub", help="Whose captions; whose test pictures.")
@click.option("--images", type=click.Path(path_type=Path), help="Take the pictures of this folder instead.")
@click.option("--caption", "captions", multiple=True, help="Instead of the six colour captions; may be repeated.")
@click.option("--strength", default=1.0, show_default=True)
@click.option("--count", default=10, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the choice of pictures.")
@click.option("--cell", default=128, show_default=True, help="Side of a cell in pixels.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    model: str,
    data: str,
    images: Path | None,
    captions: tuple[str, ...],
    strength: float,
    count: int,
    seed: int,
    cell: int,
    out: Path,
) -> None:
    """Write the sheet."""
    if images:
        paths = list_images(images)
    else:
        paths = [item.path for item in open_dataset(DataConfig(name=data, split="test")).items]  # type: ignore[arg-type]
    chosen = np.random.default_rng(seed).choice(len(paths), min(count, len(paths)), replace=False)
    photos = [open_image(paths[i]) for i in sorted(chosen)]
    edit = Editor.from_pretrained(model)
    captions = captions or CAPTIONS[data]
    rows = [[photo.pixels for photo in photos]]
    rows += [[edit.edit_photo(photo, text, strength=strength).pixels for photo in photos] for text in captions]
    contact_sheet(rows, row_labels=["photograph", *captions], cell=cell).save(out)


if __name__ == "__main__":
    main()
