"""Edits of whole photographs, whose true edit is not known: a contact sheet, and figures that need no truth.

    python benchmarks/photos.py --model birds --images photos/birds --out sheet.png

Prints one JSON line. `border_median`: median over all edits of the mean absolute change in the outer 5 % of the frame,
in levels of 1/255; `border_kept`: share of the edits whose border changes by at most one level on average; `boxes`:
share of the photographs in which `Editor.find_subject` finds a box; `change_in_box`: over these photographs, the mean
share of an edit's change that lies in the box when the editor takes no closer look (with one, all of it does).
A subject that reaches the border may change it without fault, so compare models on the same folder. Keep sheets of
others' photographs out of the repository.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from tgim.images.boxes import Box
from tgim.images.photo import list_images, open_image
from tgim.images.sheet import contact_sheet
from tgim.inference.editor import Editor
from tgim.reporting.pictures import CAPTIONS

BORDER = 0.05  # of the frame's sides


@click.command()
@click.option("--model", default="birds", show_default=True, help="Embedded name or checkpoint.")
@click.option("--images", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of photographs.")
@click.option("--data", type=click.Choice(sorted(CAPTIONS)), default="cub", show_default=True, help="Whose captions.")
@click.option("--caption", "captions", multiple=True, help="Instead of those; may be repeated.")
@click.option("--limit", type=click.IntRange(1), help="Photographs; all by default.")
@click.option("--cell", default=128, show_default=True, help="Side of a cell in pixels.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The sheet.")
def main(
    model: str, images: Path, data: str, captions: tuple[str, ...], limit: int | None, cell: int, out: Path
) -> None:
    """Edit every photograph by every caption, write the sheet and print the figures."""
    edit, texts = Editor.from_pretrained(model), captions or tuple(CAPTIONS[data])
    columns: list[list[Tensor]] = []
    figures: list[tuple[float, float]] = []
    boxes = 0
    paths = list_images(images)[:limit]
    for path in paths:
        photo = open_image(path)
        box = edit.find_subject(photo)
        boxes += box is not None
        column = [photo.tensor]
        for text in texts:
            edited = edit.edit_photo(photo, text).tensor
            border, _ = changes(photo.tensor, edited, None)
            wide = edit.edit_photo(photo, text, focus=False).tensor if box else edited
            figures.append((border, changes(photo.tensor, wide, box)[1]))
            column.append(edited)
        columns.append([shrunk(picture, 2 * cell) for picture in column])
    contact_sheet(list(zip(*columns, strict=True)), row_labels=["photograph", *texts], cell=cell).save(out)
    border, inside = np.array(figures).T
    facts = {
        "model": model,
        "photographs": len(paths),
        "captions": len(texts),
        "border_median": round(float(np.median(border)), 2),
        "border_kept": round(float((border <= 1).mean()), 3),
        "change_in_box": round(float(np.nanmean(inside)), 3) if np.isfinite(inside).any() else None,
        "boxes": round(boxes / len(paths), 3),
    }
    click.echo(json.dumps(facts))


def changes(before: Tensor, after: Tensor, box: Box | None) -> tuple[float, float]:
    """Mean absolute change of the border in levels of 1/255, and the share of all change that lies in `box`.

    Pictures (3, H, W) in [-1, 1]. The share is not a number without a box, or where nothing changed.

    >>> changes(torch.zeros(3, 40, 40), torch.full((3, 40, 40), 2 / 255), (0, 0, 40, 10))
    (1.0, 0.25)
    """
    change = (after - before).abs().mean(0) * 127.5  # H, W
    height, width = change.shape
    top, left = max(1, round(BORDER * height)), max(1, round(BORDER * width))
    ring = torch.ones_like(change, dtype=torch.bool)
    ring[top : height - top, left : width - left] = False
    total, inside = float(change.sum()), float("nan")
    if box is not None and total > 0:
        x, y, w, h = box
        inside = float(change[y : y + h, x : x + w].sum()) / total
    return round(float(change[ring].mean()), 4), round(inside, 4)


def shrunk(picture: Tensor, side: int) -> Tensor:
    """A picture (3, H, W) no larger than a sheet needs, so that many fit into memory."""
    scale = side / max(picture.shape[-2:])
    if scale >= 1:
        return picture
    size = [max(1, round(scale * length)) for length in picture.shape[-2:]]
    small: Tensor = torch.nn.functional.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]
    return small.clamp(-1, 1)


if __name__ == "__main__":
    main()
