"""Data sets: read, checked, cached and turned into batches.

>>> from tgim.data import DATASETS
>>> sorted(DATASETS)
['cub', 'folder', 'oxford102', 'synthetic']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tgim.data.base import CaptionedImages, Item, Problem
    from tgim.data.batch import Batch, DrawnPairs
    from tgim.data.cache import PixelCache
    from tgim.data.loader import Batches, DataConfig, vocabulary_of
    from tgim.data.report import Report, check

DATASETS = {
    "cub": "tgim.data.cub",
    "oxford102": "tgim.data.oxford102",
    "folder": "tgim.data.folder",
    "synthetic": "tgim.data.drawn",
}  # each module has load(root, *, split, seed)

__all__ = [
    "DATASETS",
    "Batch",
    "Batches",
    "CaptionedImages",
    "DataConfig",
    "DrawnPairs",
    "Item",
    "PixelCache",
    "Problem",
    "Report",
    "check",
    "open_dataset",
    "vocabulary_of",
]
_HOMES = {
    "base": ("CaptionedImages", "Item", "Problem"),
    "batch": ("Batch", "DrawnPairs"),
    "cache": ("PixelCache",),
    "report": ("Report", "check"),
    "loader": ("Batches", "DataConfig", "vocabulary_of"),
}


def open_dataset(config: DataConfig) -> CaptionedImages:
    """The pictures and captions that `config` names.

    Raises:
        DataError: they are not there, or the split has none.
    """
    import importlib

    module = importlib.import_module(DATASETS[config.name])
    options: dict[str, Any] = {"split": config.split, "seed": config.split_seed}
    if config.name == "cub":
        options["crop"] = config.crop
    dataset: CaptionedImages = module.load(config.folder, **options)
    return dataset


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that checking a data set costs no torch (PEP 562)."""
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"tgim.data.{module}"), name)
    raise AttributeError(f"module 'tgim.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
