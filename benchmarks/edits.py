"""Does an edited picture fit its new caption, and does a picture stay itself under its own? Measured on unseen classes.

    python benchmarks/edits.py --model birds --judge runs/judge_birds/model.safetensors --data cub --out results.jsonl

For every picture of the test classes, one caption drawn for it is its own, and one drawn for a picture of another test
class is its target. The judge, a matching model that no editor is trained against, looks for the right caption among
100: the right one and 99 of other classes. One JSON line for each row:

- real: the photograph as query, its own caption to be found (what a real match is worth to this judge);
- unedited: the photograph as query, its target caption to be found (the floor);
- edited: the edited picture as query, its target caption to be found; with the RMSE in [-1, 1] against the photograph
  under the target caption and under the picture's own caption, as means over pictures.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from tgim import checkpoint
from tgim.data import open_dataset
from tgim.data.base import CaptionedImages, random_source
from tgim.data.cache import PixelCache
from tgim.data.loader import DataConfig
from tgim.editor import Editor
from tgim.images import from_uint8, to_uint8
from tgim.logs import origin
from tgim.matching.dual_encoder import DualEncoder

PROTOCOL = "edits@1"
CANDIDATES = 100


@click.command()
@click.option("--model", "models", multiple=True, required=True, help="Checkpoint or embedded name; may be repeated.")
@click.option("--judge", required=True, help="Checkpoint of a matching model.")
@click.option("--data", type=click.Choice(["cub", "oxford102"]), required=True)
@click.option("--root", help="The data set's folder; $TGIM_DATA/<data> by default.")
@click.option("--split", default="test", type=click.Choice(["val", "test"]))
@click.option("--strength", "strengths", multiple=True, type=float, default=(1.0,))
@click.option("--seed", default=0)
@click.option("--out", type=click.Path(path_type=Path), help="Append the lines to this file.")
def main(out: Path | None, **arguments: Any) -> None:
    """Print one JSON line for each row."""
    lines = [json.dumps(row) for row in rows(**arguments)]
    click.echo("\n".join(lines))
    if out:
        with out.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


@torch.inference_mode()
def rows(
    models: tuple[str, ...],
    judge: str,
    data: str,
    root: str | None,
    split: str,
    strengths: tuple[float, ...],
    seed: int,
) -> list[dict[str, Any]]:
    """Every row of the protocol."""
    dataset = open_dataset(DataConfig(name=data, root=root, split=split))
    judge_file = checkpoint.load(judge)
    ruler = judge_file.model
    if not isinstance(ruler, DualEncoder):
        raise click.UsageError(f"--judge {judge} is no matching model")
    task = Task(dataset, seed=seed)
    own = ruler.encode_text(judge_file.vocabulary.encode(task.own)).sentence

    def found(pictures: Tensor, captions: np.ndarray) -> float:
        seen = torch.cat([ruler.encode_image(part).embedding for part in pictures.split(128)])
        scores = (seen @ own.T).numpy()[np.arange(len(own))[:, None], captions]
        return float((scores[:, 0] > scores[:, 1:].max(1)).mean())

    common = {
        "protocol": PROTOCOL,
        "data": data,
        "split": split,
        "n": len(dataset),
        "seed": seed,
        "judge": judge_file.card.get("title"),
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **{key: value for key, value in origin().items() if key == "commit"},
    }
    side = ruler.image_size
    at_judge = task.pictures(side)
    results = [
        {**common, "row": "real", "recall@1": found(at_judge, task.choices(target=False))},
        {**common, "row": "unedited", "recall@1": found(at_judge, task.choices(target=True))},
    ]
    for name in models:
        editor = Editor.from_pretrained(name)
        for strength in strengths:
            edited, rmse_target = task.edit(editor, task.target, strength)
            _, rmse_own = task.edit(editor, task.own, strength)
            fit = torch.nn.functional.interpolate(edited, (side, side), mode="bilinear", antialias=True)
            results.append(
                {
                    **common,
                    "row": "edited",
                    "model": Path(name).stem,
                    "strength": strength,
                    "recall@1": found(fit, task.choices(target=True)),
                    "rmse_target": rmse_target,
                    "rmse_own": rmse_own,
                }
            )
    return results


class Task:
    """Pictures, own and target captions, and the 99 wrong captions of each; fixed by the seed."""

    def __init__(self, dataset: CaptionedImages, *, seed: int) -> None:
        self.dataset = dataset
        source = random_source(seed, 900)
        items = dataset.items
        self.labels = np.asarray([dataset.classes.index(str(item.label)) for item in items])
        self.own = [item.captions[source.integers(len(item.captions))] for item in items]
        others = [np.flatnonzero(self.labels != label) for label in self.labels]
        self.targets = np.asarray([source.choice(rows) for rows in others])
        self.target = [self.own[row] for row in self.targets]
        self._own_wrong = np.stack([source.choice(rows, CANDIDATES - 1, replace=False) for rows in others])
        self._target_wrong = np.stack(
            [source.choice(others[row], CANDIDATES - 1, replace=False) for row in self.targets]
        )

    def choices(self, *, target: bool) -> np.ndarray:
        """(N, 100) rows of `own`, the right caption first."""
        if target:
            return np.concatenate([self.targets[:, None], self._target_wrong], 1)
        return np.concatenate([np.arange(len(self.own))[:, None], self._own_wrong], 1)

    def pictures(self, size: int) -> Tensor:
        """(N, 3, size, size) in [-1, 1]."""
        return PixelCache.open(self.dataset.items, size=size).images(slice(None))

    def edit(self, editor: Editor, captions: list[str], strength: float) -> tuple[Tensor, float]:
        """All pictures edited at the editor's own resolution, and the mean over pictures of their RMSE."""
        pictures, edited = self.pictures(editor.model.image_size), []
        for first in range(0, len(captions), 64):
            part = pictures[first : first + 64]
            tokens = editor.vocabulary.encode(captions[first : first + 64])
            edited.append(part + strength * (editor.model.edit(part, tokens) - part))
        result = from_uint8(to_uint8(torch.cat(edited)))
        rmse = (result - pictures).square().mean((1, 2, 3)).sqrt().mean()
        return result, float(rmse)


if __name__ == "__main__":
    main()
