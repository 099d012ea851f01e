"""Accuracy of a part localiser: points of parts and of the background, boxes on whole photographs, false alarms.

    python benchmarks/parts.py --model parts.safetensors --photographs photos/birds --empty photos/flowers
    python benchmarks/parts.py --model flower_parts.safetensors --data oxford102

Prints a JSON line for the data set's own pictures, one for whole photographs (CUB's, by file name, of the split), one
for each folder without a subject. `parts`, `background`: share of the points that are right, neighbouring parts
being wrong; `background_by_grabcut`: where a guess by colours says so, sometimes in error; `box_iou`: mean intersection
over union with the data set's boxes; `box_iou_find_subject`: the same of another editor's `Editor.find_subject`, None
counting as the whole photograph. Test classes are for the last measurement; tune on val.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from tgim.data import open_dataset
from tgim.data.base import random_source
from tgim.data.config import DataConfig
from tgim.data.points import Points, read_points
from tgim.data.points import photographs as whole_photographs
from tgim.environment import origin
from tgim.errors import UserError
from tgim.evaluation.localisation import false_alarms, in_pixels, measure, overlap
from tgim.images.photo import list_images, open_image
from tgim.inference.editor import Editor
from tgim.inference.part_overlay import open_localiser


@click.command()
@click.option("--model", required=True, help="Embedded name or checkpoint.")
@click.option("--data", type=click.Choice(["cub", "oxford102", "folder"]), default="cub", show_default=True)
@click.option("--root", help="The data set's folder; $TGIM_DATA/<data> by default.")
@click.option("--split", default="test", show_default=True, type=click.Choice(["val", "test", "trainval"]))
@click.option("--limit", type=click.IntRange(1), help="Pictures of the data set, a seeded choice; all by default.")
@click.option("--photographs", type=click.Path(path_type=Path, exists=True), help="Folder of whole photographs of CUB.")
@click.option("--editor", default="birds-1", show_default=True, help="Whose find_subject stands beside.")
@click.option("--empty", multiple=True, type=click.Path(path_type=Path, exists=True), help="Folder without a subject.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="File of JSON lines that the figures are added to.")
def main(
    model: str,
    data: str,
    root: str | None,
    split: str,
    limit: int | None,
    photographs: Path | None,
    editor: str,
    empty: Sequence[Path],
    seed: int,
    out: Path | None,
) -> None:
    """Measure a localiser."""
    try:
        localiser = open_localiser(model)
        captions = "none" if data == "folder" else "random"
        config = DataConfig.model_validate({"name": data, "root": root, "split": split, "captions": captions})
        dataset = open_dataset(config)
        pictures = list(read_points(dataset).items())
        if limit is not None and limit < len(pictures):
            # published figures rest on a choice of the stream `limit`, though no `Stream` has that number
            chosen = sorted(random_source(seed, limit).choice(len(pictures), limit, replace=False).tolist())
            pictures = [pictures[i] for i in chosen]
        common = {"model": model, "split": split, "seed": seed, **origin()}
        lines: list[dict[str, Any]] = []
        if pictures:
            lines.append({"what": data, **measure(localiser, pictures, seed=seed, guesses=data == "cub").as_dict()})
        if photographs is not None:
            whole = whole_photographs(photographs, dataset.root, split=config.split)
            told = measure(localiser, whole, seed=seed).as_dict()
            lines.append({"what": "whole photographs", **told, "box_iou_find_subject": of_editor(editor, whole)})
        for folder in empty:
            shown = list_images(folder)[:limit]
            found = false_alarms(localiser, shown)
            lines.append({"what": f"no subject: {folder.name}", "n": len(shown), "false_alarms": len(found)})
    except UserError as error:
        raise click.ClickException(str(error)) from None
    for line in lines:
        text = json.dumps(line | common)
        click.echo(text)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(text + "\n")


def of_editor(name: str, pictures: Sequence[tuple[Path, Points]]) -> float:
    """Mean overlap of the boxes with those that an editor's `find_subject` finds."""
    edit = Editor.from_pretrained(name)
    overlaps = []
    for path, points in pictures:
        photo = open_image(path)
        if points.box is not None:
            found = edit.find_subject(photo) or (0, 0, photo.width, photo.height)
            overlaps.append(overlap(found, in_pixels(points.box, photo.height, photo.width)))
    return round(float(np.mean(overlaps)), 4)


if __name__ == "__main__":
    main()
