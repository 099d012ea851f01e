"""Pictures that are read and scored a few at a time: a folder costs the memory of its scores, not of its pictures.

Pictures are read as data sets are (large JPEGs at a reduced scale) and scaled to the model's square, so that a picture
gets the score that it gets where the model was trained and where it judges.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tgim.data.cache import Progress, decode
from tgim.errors import ImageError, UserError
from tgim.images.photo import Source, from_uint8, open_image
from tgim.images.resample import Floats
from tgim.system.runtime import usable_cores

CHUNK = 64  # pictures, and captions, that are looked at together


class Scored(NamedTuple):
    """Scores of the N pictures that could be read, in the order they were given."""

    names: tuple[str, ...]  # N
    scores: NDArray[np.float32]  # (N, ...)
    failed: tuple[str, ...]  # one line for each picture that could not be read


def score_pictures(
    images: Sequence[Source],
    score: Callable[[Floats], Floats],
    *,
    size: int,
    progress: Progress | None = None,
) -> Scored:
    """Read pictures and score them, `CHUNK` at a time.

    Args:
        images: paths, bytes, PIL images or arrays.
        score: from pictures (B, 3, S, S) in [-1, 1] to their scores (B, ...).
        size: S, pixels.
        progress: called with (done, total).

    Raises:
        ImageError: not one picture can be read.
    """
    names, failed, parts = list[str](), list[str](), list[Floats]()
    for read in _read_chunks(images, size=size):
        good = [(name, pixels) for name, pixels in read if not isinstance(pixels, str)]
        failed += [pixels for _, pixels in read if isinstance(pixels, str)]
        if good:
            parts.append(score(as_batch([pixels for _, pixels in good])))
            names += [name for name, _ in good]
        if progress is not None:
            progress(len(names) + len(failed), len(images))
    if not parts:
        several = f"none of the {len(failed)} pictures can be read; the first: " if len(failed) > 1 else ""
        raise ImageError(f"{several}{failed[0]}")
    return Scored(tuple(names), np.concatenate(parts), tuple(failed))


def read_square(source: Source, *, size: int) -> NDArray[np.uint8]:
    """A picture of any kind as (size, size, 3) uint8, both sides scaled.

    Raises:
        ImageError: it cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        return decode(Path(os.fsdecode(source)), size=size)
    picture = open_image(source).to_pil()
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0))


def as_batch(squares: Sequence[NDArray[np.uint8]]) -> Floats:
    """Pictures (S, S, 3) uint8 as one array (B, 3, S, S) in [-1, 1]."""
    batch: Floats = from_uint8(np.ascontiguousarray(np.stack(squares).transpose(0, 3, 1, 2)))
    return batch


def _read_chunks(images: Sequence[Source], *, size: int) -> Iterator[list[tuple[str, Any]]]:
    """Chunk by chunk, for each picture its name and (size, size, 3) uint8, or the line that says why there is none."""

    def one(number: int) -> tuple[str, Any]:
        source = images[number]
        name = os.fsdecode(source) if isinstance(source, str | os.PathLike) else f"picture {number + 1}"
        try:
            return name, read_square(source, size=size)
        except UserError as error:
            return name, str(error)
        except MemoryError as error:  # one picture must not end a night's run
            return name, f"{name}: {type(error).__name__}: {error}"

    with ThreadPoolExecutor(min(4, usable_cores())) as pool:
        for first in range(0, len(images), CHUNK):
            yield list(pool.map(one, range(first, min(first + CHUNK, len(images)))))
