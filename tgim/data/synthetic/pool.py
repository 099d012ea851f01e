"""Pools of synthetic pairs, rendered once and kept in the cache, so that training does not wait for the renderer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tgim.data.base import CaptionedImages, Item, Split, Stream, random_source
from tgim.data.cache import Progress, cache_folder, kept_array, new_array
from tgim.data.synthetic import pairs as synthetic
from tgim.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Self

Kind = Literal["birds", "flowers"]
CHUNK = 50  # pairs rendered between two reports of progress
LICENCE = "rendered by tgim itself; no photograph was used"
SHARES: dict[Split, tuple[float, float]] = {
    "train": (0.0, 0.8),
    "val": (0.8, 0.9),
    "trainval": (0.0, 0.9),
    "test": (0.9, 1.0),
    "all": (0.0, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class PoolSpec:
    """Contents of a pool: the part `split` of `count` pictures of a kind."""

    kind: Kind
    count: int  # of all splits
    size: int  # pixels, square
    seed: int = 0
    split: Split = "train"


class SyntheticPool:
    """Synthetic pairs in memory-mapped `pixels` (N, S, S, 8) uint8, and their captions.

    The last axis holds the picture (3), the true edited picture (3), what may change (1) and the subject (1).
    Pair i depends on kind, seed and i alone.
    """

    def __init__(self, pixels: NDArray[np.uint8], captions: list[str], target_captions: list[str]) -> None:
        self.pixels, self.captions, self.target_captions = pixels, captions, target_captions

    @classmethod
    def open(cls, spec: PoolSpec, *, folder: str | Path | None = None, progress: Progress | None = None) -> Self:
        """Open the pairs of `spec`, rendered when the cache does not hold them; a changed renderer makes a new pool.

        Raises:
            DataError: there is no such split, it is empty, or the cache cannot be written.
        """
        folder = cache_folder(folder)
        return cls._of(spec, *kept_array(folder, cls._name(spec), lambda path: cls._render(spec, path, progress)))

    @classmethod
    def _name(cls, spec: PoolSpec) -> str:
        """Name of a pool's file in the cache; all splits share one."""
        return f"drawn-{spec.kind}-{spec.size}-{spec.count}-{spec.seed}-{renderer_hash(spec.kind)}"

    @classmethod
    def _of(cls, spec: PoolSpec, pixels: NDArray[np.uint8], notes: dict[str, Any]) -> Self:
        part = _part(spec.count, spec.split)
        return cls(pixels[part], notes["captions"][part], notes["target_captions"][part])

    @classmethod
    def _render(cls, spec: PoolSpec, path: Path, progress: Progress | None) -> dict[str, Any]:
        """Write the pixels of all splits to `path`; returns the captions."""
        notes: dict[str, Any] = {"captions": [], "target_captions": []}
        shape = (spec.count, spec.size, spec.size, 8)
        pixels = new_array(path, dtype=np.uint8, shape=shape)
        for i in range(spec.count):
            pair = synthetic.render_pairs(spec.kind, random_source(spec.seed, Stream.POOL, i), 1, spec.size)
            masks = pair.change[..., None], pair.subject[..., None]
            pixels[i] = np.concatenate([pair.image, pair.target, *masks], -1)[0]
            notes["captions"] += pair.captions
            notes["target_captions"] += pair.target_captions
            if progress is not None and ((i + 1) % CHUNK == 0 or i + 1 == spec.count):
                progress(i + 1, spec.count)
        pixels.flush()
        return notes

    def __len__(self) -> int:
        return len(self.captions)

    def pick(self, source: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Sample rows (count,) of a batch."""
        return source.integers(0, len(self), count)


def as_dataset(pool: SyntheticPool, kind: Kind) -> CaptionedImages:
    """Present the pictures of a pool as a data set without files: items have a caption and a name, no class."""
    items = (Item(Path(kind) / f"{i:06d}", (caption,)) for i, caption in enumerate(pool.captions))
    return CaptionedImages("synthetic", Path(kind), tuple(items), (), LICENCE)


@cache
def renderer_hash(kind: Kind) -> str:
    """Hash the present renderer's pixels and captions, over a few small pairs: 12 hex digits."""
    pairs = synthetic.render_pairs(kind, random_source(0, Stream.POOL), 6, 32)
    digest = hashlib.sha256(repr((pairs.captions, pairs.target_captions)).encode())
    for pixels in (pairs.image, pairs.target, pairs.change, pairs.subject):
        digest.update(pixels.tobytes())
    return digest.hexdigest()[:12]


def synthetic_count(count: int, split: Split) -> int:
    """Count the synthetic pairs of `split` among `count`; DataError when there is none.

    >>> synthetic_count(100, "test")
    10
    """
    return len(range(count)[_part(count, split)])


def _part(count: int, split: Split) -> slice:
    low, high = (round(count * share) for share in SHARES[split])
    if low == high:
        raise DataError(f"split {split!r} of {count} synthetic pairs is empty; render at least 10 (synthetic.pool)")
    return slice(low, high)
