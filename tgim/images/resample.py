"""Resampling of pictures and maps to another size; arrays (..., H, W) of float32, all by Pillow.

Pillow's bilinear filter is antialiased where it makes smaller, and the plain one, borders repeated, where it makes
larger; pixels are squares whose centres lie at halves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tgim.system import threads

Floats = npt.NDArray[np.floating[Any]]  # of 32 bits where it is made here
STRIP = 2**20  # pixels that are worked on at a time


def resize(x: Floats, size: tuple[int, int]) -> Floats:
    """Resize pictures (..., H, W) in [-1, 1] to `size` (height, width), still in [-1, 1].

    >>> resize(np.zeros((3, 30, 20), np.float32), (8, 8)).shape
    (3, 8, 8)

    Raises:
        ValueError: an empty picture, or a size below 1x1.
    """
    if x.ndim < 2 or 0 in x.shape or min(size) < 1:
        raise ValueError(f"resize takes pictures (..., H, W) and a size of at least 1x1, got {x.shape} and {size}")
    if x.shape[-2:] == tuple(size):
        return x
    return np.clip(interpolated(x, size), -1, 1, out=None)


def interpolated(x: Floats, size: tuple[int, int]) -> Floats:
    """Resize maps (..., H, W) of any range to `size` (height, width)."""
    height, width = size
    if x.shape[-2:] == (height, width):
        return x
    result = np.empty((*x.shape[:-2], height, width), np.float32)
    _resized(x, result, None)
    return result


def _resized(x: Floats, result: Floats, box: tuple[float, float, float, float] | None) -> None:
    """Resize the planes of `x` (..., h, w), or what a box shows of them, into those of `result` (..., H, W)."""
    height, width = result.shape[-2:]

    def resized(plane: tuple[Floats, Floats]) -> None:
        source, target = plane
        image = Image.fromarray(np.ascontiguousarray(source, np.float32))
        target[...] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))

    planes = list(zip(x.reshape(-1, *x.shape[-2:]), result.reshape(-1, height, width), strict=True))
    if max(x.shape[-2] * x.shape[-1], height * width) < threads.PIXELS:
        for plane in planes:
            resized(plane)
    else:
        threads.shared(resized, planes)


def part_of(x: Floats, size: tuple[int, int], part: tuple[slice, slice]) -> Floats:
    """Rows and columns `part` of maps (..., h, w) enlarged to `size`, as `interpolated` gives them; no other is made.

    >>> x = np.arange(6, dtype=np.float32).reshape(2, 3)
    >>> bool(np.allclose(part_of(x, (8, 9), (slice(2, 5), slice(3, 9))), interpolated(x, (8, 9))[2:5, 3:9]))
    True
    """
    (height, width), (rows, columns) = size, part
    down, across = x.shape[-2] / height, x.shape[-1] / width
    first = max(0, int(rows.start * down) - 2)  # what lies farther away is not read
    x = x[..., first : int(rows.stop * down) + 3, :]
    box = columns.start * across, rows.start * down - first, columns.stop * across, rows.stop * down - first
    result = np.empty((*x.shape[:-2], rows.stop - rows.start, columns.stop - columns.start), np.float32)
    if 0 in result.shape:
        return result
    _resized(x, result, box)
    return result


def sampled(x: Floats, rows: npt.NDArray[np.floating], columns: npt.NDArray[np.floating]) -> Floats:
    """Read maps (..., h, w) at places of a grid, between pixels linearly; beyond the border, the border's value.

    Args:
        x: maps.
        rows: (H,) places, 0 at the centre of the first row.
        columns: (W,) places.

    Returns:
        (..., H, W).
    """
    return _read(_read(x, rows, -2), columns, -1)


def _read(x: Floats, places: npt.NDArray[np.floating], axis: int) -> Floats:
    last = x.shape[axis] - 1
    places = np.clip(places, 0, last)
    first = np.minimum(places.astype(np.int64), max(last - 1, 0))
    part = (places - first).astype(np.float32)
    if axis == -2:
        part = part[:, None]
    before, after = np.take(x, first, axis), np.take(x, np.minimum(first + 1, last), axis)
    after -= before
    after *= part
    after += before
    return after


def add_enlarged(photo: Floats, change: Floats, *, within: tuple[int, int, int, int]) -> None:
    """Add a change (3, h, w) to a photograph (3, H, W) in [-1, 1] in place, enlarged linearly, by strips of rows.

    Pixels outside of the box `within`, x, y, width and height, and those between pixels without a change, stay
    bit-identical.
    """
    height, width = photo.shape[-2:]
    x, y, w, h = within
    rows = (np.arange(y, y + h) + 0.5) * change.shape[-2] / height - 0.5
    columns = (np.arange(x, x + w) + 0.5) * change.shape[-1] / width - 0.5
    step = max(1, STRIP // max(1, w))
    for start in range(0, h, step):
        strip = rows[start : start + step]
        first, last = int(max(0, np.floor(strip[0]))), int(np.ceil(strip[-1])) + 1
        if not change[:, first : last + 1].any():
            continue
        added = sampled(change, strip, columns)
        pixels = photo[:, y + start : y + start + len(strip), x : x + w]
        pixels[...] = np.where(added == 0, pixels, np.clip(pixels + added, -1, 1))
