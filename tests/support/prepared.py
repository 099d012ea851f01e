"""A folder with what the verbs read: a picture, a data set, a recipe and small models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from support import small
from tgim.checkpoints import checkpoint

CAPTIONS = ("a red bird", "a bird with blue wings")


def prepare(folder: Path, *, bird: bytes, recipe: str, pictures: int, tagrid: Path, models: Mapping[str, str]) -> Path:
    """Write bird.jpg, recipe.yaml, tagrid.M, the data set `set`, and NAME.M for each system of `models`."""
    (folder / "set" / "images").mkdir(parents=True)
    (folder / "bird.jpg").write_bytes(bird)
    (folder / "recipe.yaml").write_text(recipe)
    lines = []
    for i in range(pictures):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "set" / "images" / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "captions": CAPTIONS[i % 2]}))
    (folder / "set" / "metadata.jsonl").write_text("\n".join(lines))
    shutil.copy(tagrid, folder / "tagrid.M")
    for name, system in models.items():
        checkpoint.save(folder / f"{name}.M", small.model_of(system), vocabulary=small.VOCABULARY)
    return folder
