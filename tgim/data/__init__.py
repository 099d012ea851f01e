"""Data sets: read, checked, cached and turned into batches.

>>> from tgim.data import DATASETS
>>> DATASETS
('cub', 'oxford102', 'folder', 'synthetic')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tgim.data.base import CaptionedImages, Item, Problem
    from tgim.data.batch import Batch, SyntheticPairs
    from tgim.data.cache import PixelCache, Progress
    from tgim.data.config import DataConfig
    from tgim.data.loader import Batches, vocabulary_of
    from tgim.data.report import Report, check

DATASETS = ("cub", "oxford102", "folder", "synthetic")
__all__ = [
    "DATASETS",
    "Batch",
    "Batches",
    "CaptionedImages",
    "DataConfig",
    "Item",
    "PixelCache",
    "Problem",
    "Report",
    "SyntheticPairs",
    "check",
    "open_dataset",
    "vocabulary_of",
]
_HOMES = {
    "base": ("CaptionedImages", "Item", "Problem"),
    "batch": ("Batch", "SyntheticPairs"),
    "cache": ("PixelCache",),
    "report": ("Report", "check"),
    "config": ("DataConfig",),
    "loader": ("Batches", "vocabulary_of"),
}


def open_dataset(config: DataConfig, *, cache: Path | None = None, progress: Progress | None = None) -> CaptionedImages:
    """The pictures and captions that `config` names.

    Args:
        config: data set and split.
        cache: where rendered pictures are kept, the usual place unless given.
        progress: called with (done, total) while pictures are rendered.

    Raises:
        DataError: they are not there, or the split has none.
    """
    from tgim.data import cub, folder, oxford102
    from tgim.data.doing import note
    from tgim.data.loader import open_pool
    from tgim.data.synthetic import pool

    split, seed = config.split, config.split_seed
    if config.name == "cub":
        return cub.load(config.folder, split=split, crop=config.crop, seed=seed)
    if config.name == "oxford102":
        return oxford102.load(config.folder, split=split, seed=seed)
    if config.name == "folder":
        found = folder.load(config.folder, split=split, seed=seed, captions=config.captions.pick != "none")
        for each in found.notes:
            note(each)
        return found
    pairs = open_pool(config, cache, progress, split=split, margin=config.augment.margin)
    return pool.as_dataset(pairs, config.synthetic.kind)


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that checking a data set costs no torch (PEP 562)."""
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"tgim.data.{module}"), name)
    raise AttributeError(f"module 'tgim.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
