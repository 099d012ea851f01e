"""Recipes of short runs of the toy editor, and what they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from support import toy
from tgim.checkpoints import checkpoint
from tgim.training import recipe
from tgim.training.recipe import Recipe
from tgim.training.runlog import read_log


def values(data: Path, *, model: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    always = {"steps": 10, "batch_size": 4, "precision": "fp32", "log_every": 1, "checkpoint_every": 4}
    settings = {**always, "sample_every": 0, **settings}
    return {
        "model": {"name": toy.Toy.name, **(model or {})},
        "data": {"name": "folder", "root": str(data), "split": "all", "margin": 2, "flip": True},
        "train": {"device": "cpu", "ema": 0.9, **settings},
    }


def a_recipe(data: Path, **settings: Any) -> Recipe:
    return recipe.parse(values(data, **settings))


def losses(out: Path) -> dict[int, Any]:
    return {line["step"]: (line["losses"], line["grad_norm"]) for line in read_log(out / "log.jsonl")}


def same_tensors(a: Path, b: Path) -> bool:
    first, second = checkpoint.read_tensors(a), checkpoint.read_tensors(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
