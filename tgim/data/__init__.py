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
    from tgim.data.check import Report, check
    from tgim.data.loader import Batches, DataConfig, vocabulary_of

DATASETS = {
    "cub": "tgim.data.cub",
    "oxford102": "tgim.data.oxford102",
    "folder": "tgim.data.folder",
    "synthetic": "tgim.data.drawn",
}  # each module has load(root, *, split, seed)

_HOMES = {
    "CaptionedImages": "base",
    "Item": "base",
    "Problem": "base",
    "Batch": "batch",
    "DrawnPairs": "batch",
    "PixelCache": "cache",
    "Report": "check",
    "check": "check",
    "Batches": "loader",
    "DataConfig": "loader",
    "vocabulary_of": "loader",
}
__all__ = sorted([*_HOMES, "DATASETS", "open_dataset"])


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
    if name not in _HOMES:
        raise AttributeError(f"module 'tgim.data' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"tgim.data.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
