"""Batches of captions and of what a frozen backbone makes of their pictures, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import Unpack

from tgim.data.base import CaptionedImages, Stream, random_source
from tgim.data.batch import Batch, BatchOptions, Maps, SyntheticPairs
from tgim.data.cache import PixelCache, Progress, cache_folder, kept_array, new_array
from tgim.data.config import DataConfig
from tgim.data.loader import Batches, varied

CHUNK = 32  # pictures that the backbone sees at once
VERSION = 1  # part of the key: raise it when the same pictures would give other views or maps
FIELDS = ("fine", "coarse")
View = Callable[[Tensor, int, int], Tensor]  # of pictures, by its number and that of the first picture
MIRRORED = 1  # the view that is the plain one, mirrored; those after it vary as data.augment says


class Seeing(Protocol):
    """A frozen backbone, as far as its batches go."""

    taps: tuple[int, ...]

    def see(self, image: Tensor) -> Maps:
        """Maps of pictures (B, 3, S, S) in [-1, 1]."""

    def state_dict(self) -> Any:
        """Its weights."""

    def parameters(self) -> Any:
        """Its parameters."""


class MapBatches(Batches):
    """Batches whose pictures come with a frozen backbone's maps of one of their views, half precision on disk.

    Takes what `tgim.data.loader.Batches` takes, after the backbone. The pictures of a batch are as they are; the maps
    are of views. Synthetic pictures have one view.
    """

    def __init__(
        self,
        eyes: Seeing,
        dataset: CaptionedImages,
        config: DataConfig,
        *,
        views: int = 1,
        **options: Unpack[BatchOptions],
    ) -> None:
        super().__init__(dataset, config, **options)
        self.views = views
        folder, progress = cache_folder(options.get("cache")), options.get("progress")

        def keep(pixels: NDArray[np.uint8], count: int, varied_by: str, view: View) -> NDArray[Any]:
            name = f"maps-{config.image_size}-{_key(eyes, pixels, count, config.image_size, varied_by)}"
            return kept_array(folder, name, lambda path: _make(eyes, pixels, count, view, path, progress))[0]

        varied_by = f"{self.seed} {config.augment.model_dump_json()}" if views > MIRRORED + 1 else ""
        self.maps = keep(self.pixels.pixels, views, varied_by, self._view)
        pool = self.synthetic.pool.pixels if self.synthetic is not None else None
        self.synthetic_maps = (
            [keep(pool[..., i : i + 3], 1, "", self._view) for i in (0, 3)] if pool is not None else []
        )

    def mapped(self, pictures: int, pairs: int) -> int:
        """Count the bytes that a run over so many pictures and synthetic pairs has in the end."""
        kept = self.maps.nbytes // len(self.maps) * pictures
        kept += sum(each.nbytes // len(each) for each in self.synthetic_maps) * pairs
        return super().mapped(pictures, pairs) + kept

    def batch(self, step: int) -> Batch:
        """Make the batch of `step` (0, 1, ...), on the CPU: as `Batches.batch`, with maps of views of the pictures."""
        rows, source = self.rows(step), random_source(self.seed, Stream.MAPS, step)
        return replace(super().batch(step), maps=_taken(self.maps, rows, source.integers(0, self.views, len(rows))))

    def _shown(self, image: Tensor, source: np.random.Generator, step: int) -> Tensor:
        return self._middle(image)

    def _pairs(self, source: np.random.Generator) -> SyntheticPairs | None:
        if self.synthetic is None:
            return None
        rows = self.synthetic.pool.pick(source, self.synthetic.count)
        own, target = (_taken(each, rows, np.zeros(len(rows), np.int64)) for each in self.synthetic_maps)
        return replace(self.synthetic.take(rows), maps=own, target_maps=target)

    def _view(self, image: Tensor, view: int, first: int) -> Tensor:
        """View number `view` of pictures (n, 3, S + margin, S + margin) of which the first is number `first`."""
        if view > MIRRORED:
            sources = (random_source(self.seed, Stream.MAPS, view, first, i) for i in range(2))
            return varied(image, self.config, *sources)
        plain = self._middle(image)
        return plain.flip(-1) if view == MIRRORED else plain

    def _middle(self, image: Tensor) -> Tensor:
        size, start = self.config.image_size, (image.shape[-1] - self.config.image_size) // 2
        return image[..., start : start + size, start : start + size]


def _taken(kept: NDArray[Any], rows: NDArray[np.int64], views: NDArray[np.int64]) -> Maps:
    """Maps of the views `views` (B,) of the pictures `rows` (B,)."""
    found = kept[rows, views]
    fine, coarse = (torch.from_numpy(np.ascontiguousarray(found[name])).permute(0, 3, 1, 2).float() for name in FIELDS)
    return Maps(fine, coarse)


def _key(eyes: Seeing, pixels: NDArray[np.uint8], views: int, size: int, varied_by: str) -> str:
    """A hash of all that the maps depend on."""
    digest = hashlib.sha256(json.dumps([VERSION, views, size, varied_by, pixels.shape, list(eyes.taps)]).encode())
    for start in range(0, len(pixels), CHUNK):
        digest.update(np.ascontiguousarray(pixels[start : start + CHUNK]).tobytes())
    for name, value in eyes.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:20]


def _make(
    eyes: Seeing, pixels: NDArray[np.uint8], views: int, view: View, path: Path, progress: Progress | None
) -> dict[str, Any]:
    """Let the backbone look at all views of pictures (N, S, S, 3), and write its maps: (N, views) records."""
    rows: np.memmap[Any, Any] | None = None
    stored = PixelCache(pixels)
    for start in range(0, len(pixels), CHUNK):
        image = stored.images(slice(start, start + CHUNK))
        for number in range(views):
            found = _seen(eyes, view(image, number, start))
            if rows is None:
                kind = np.dtype([(n, np.float16, each.shape[1:]) for n, each in zip(FIELDS, found, strict=True)])
                rows = new_array(path, dtype=kind, shape=(len(pixels), views))
            for name, each in zip(FIELDS, found, strict=True):
                rows[name][start : start + len(image), number] = each
        if progress is not None:
            progress(start + len(image), len(pixels))
    if rows is not None:
        rows.flush()
    return {}


@torch.inference_mode()
def _seen(eyes: Seeing, image: Tensor) -> tuple[NDArray[np.float16], ...]:
    """Maps of pictures (n, 3, S, S), channels last: (n, h, w, C) each."""
    device = next(iter(eyes.parameters())).device
    maps = eyes.see(image.to(device).contiguous(memory_format=torch.channels_last))
    return tuple(each.permute(0, 2, 3, 1).half().cpu().numpy() for each in (maps.fine, maps.coarse))
