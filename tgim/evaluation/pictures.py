"""Pictures of a bench: those of a data set that can be read, in one order, at one size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tgim.data import open_dataset
from tgim.data.base import CaptionedImages
from tgim.data.cache import PixelCache
from tgim.data.config import DataConfig
from tgim.data.synthetic.pool import PoolSpec, SyntheticPool
from tgim.errors import DataError
from tgim.evaluation.task import content_hash, in_order
from tgim.images.photo import from_uint8, to_uint8
from tgim.nn.resize import resize

Progress = Callable[[str, int, int], None]  # (what, done, total)


class Pictures:
    """The readable pictures of one data set and split, in the order of their names, cut to squares of one size.

    Attributes:
        dataset: of them all.
        content: hash of pictures and captions, 16 hex digits.

    Args:
        data: the data set and split; pictures are cut as it says (`crop`, `fit`), never varied.
        size: pixels, side of the squares.
        folder: where decoded pictures are kept.
        progress: called with (what, done, total).

    Raises:
        DataError: the data set has no captions, or no picture that can be read.
    """

    def __init__(self, data: DataConfig, *, size: int, folder: Path, progress: Progress) -> None:
        self.size = size
        self.dataset: CaptionedImages = (full := open_dataset(data))
        if not full.captions:
            raise DataError(f"{full.root} has no captions in split {data.split!r}; an edit is told by a caption")
        if data.name == "synthetic":
            d = data.synthetic
            spec = PoolSpec(kind=d.kind, count=d.pool, size=data.stored_size, seed=d.seed, split=data.split)
            pool = SyntheticPool.open(spec, folder=folder)
            pixels = np.ascontiguousarray(pool.pixels[..., :3])
            found = hashlib.sha256(pixels.tobytes() + repr(pool.captions).encode())
            self._pixels, self._places = PixelCache(pixels), np.arange(len(pixels))
            self.content = found.hexdigest()[:16]
            return
        ordered = in_order(full)
        pixels_of = PixelCache.open(
            ordered.items,
            size=size,
            fit=data.fit,
            folder=folder,
            progress=lambda done, total: progress("pictures", done, total),
        )
        if not len(pixels_of.rows):
            raise DataError(f"{full.root}: none of {len(full)} pictures can be read; run tgim data check on it")
        self.dataset = replace(ordered, items=tuple(ordered.items[row] for row in pixels_of.rows))
        self._pixels = PixelCache(pixels_of.pixels)
        self._places = pixels_of.rows
        self.content = content_hash(self.dataset, fit=data.fit, folder=folder)

    def images(self, rows: NDArray[np.int64]) -> Tensor:
        """Pictures of any rows of `dataset`, (m, 3, S, S) in [-1, 1] on the 256 levels."""
        found = self._pixels.images(self._places[rows])
        fitting = self._pixels.size == self.size
        return found if fitting else from_uint8(to_uint8(resize(found, (self.size, self.size))))
