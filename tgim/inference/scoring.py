"""Pictures that are read and scored a few at a time: a folder costs the memory of its scores, not of its pictures.

Pictures are read as data sets are (large JPEGs at a reduced scale) and scaled to the model's square, so that a picture
gets the score that it gets where the model was trained and where it judges.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tgim.data.cache import Progress, decode
from tgim.errors import ImageError, UserError
from tgim.images.photo import Source, from_uint8, open_image
from tgim.images.resample import Floats
from tgim.system.runtime import usable_cores

if TYPE_CHECKING:
    from tgim.inference.embeddings import Embeddings

CHUNK = 64  # pictures, and captions, that are looked at together


class Scored(NamedTuple):
    """Scores of the N pictures that could be read, in the order they were given."""

    names: tuple[str, ...]  # N
    scores: NDArray[np.float32]  # (N, ...)
    failed: tuple[str, ...]  # one line for each picture that could not be read


def score_pictures(
    images: Sequence[Source],
    see: Callable[[Floats], Floats],
    score: Callable[[Floats], Floats],
    *,
    size: int,
    kept: Embeddings | None = None,
    progress: Progress | None = None,
) -> Scored:
    """Read pictures and score them, `CHUNK` at a time.

    What a model sees of a picture is computed of each picture alone, so that its bits depend on no other; scores are
    computed of whole chunks, with or without what is kept.

    Args:
        images: paths, bytes, PIL images or arrays.
        see: from a picture (1, 3, S, S) in [-1, 1] to the numbers (1, L) that it is scored by.
        score: from those (B, L) to scores (B, ...).
        size: S, pixels.
        kept: where these numbers are kept.
        progress: called with (done, total).

    Raises:
        ImageError: not one picture can be read.
    """
    names, failed, parts = list[str](), list[str](), list[Floats]()
    with ThreadPoolExecutor(min(4, usable_cores())) as pool:
        for first in range(0, len(images), CHUNK):
            chunk = images[first : first + CHUNK]
            rows = dict[int, Floats]() if kept is None else kept.find(chunk, each=pool.map)
            unseen = [i for i in range(len(chunk)) if i not in rows]
            read = pool.map(_read, [chunk[i] for i in unseen], [first + i for i in unseen], [size] * len(unseen))
            faults, new = dict[int, str](), dict[int, Floats]()
            for i, pixels in zip(unseen, read, strict=True):
                if isinstance(pixels, str):
                    faults[i] = pixels
                else:
                    new[i] = see(as_batch([pixels]))[0]
            if kept is not None:
                kept.add(new, chunk)
            rows |= new
            good = sorted(rows)
            if good:
                parts.append(score(np.stack([rows[i] for i in good])))
            names += [_name(chunk[i], first + i) for i in good]
            failed += [faults[i] for i in sorted(faults)]
            if progress is not None:
                progress(first + len(chunk), len(images))
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


def _name(source: Source, number: int) -> str:
    return os.fsdecode(source) if isinstance(source, str | os.PathLike) else f"picture {number + 1}"


def _read(source: Source, number: int, size: int) -> NDArray[np.uint8] | str:
    """A picture as (size, size, 3) uint8, or the line that says why there is none."""
    try:
        return read_square(source, size=size)
    except UserError as error:
        return str(error)
    except MemoryError as error:  # one picture must not end a night's run
        return f"{_name(source, number)}: {type(error).__name__}: {error}"
