"""Pictures decoded and resized once, kept as a memory-mapped uint8 array (N, S, S, 3)."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tgim.data.base import BoundingBox, Item, Problem
from tgim.data.doing import note
from tgim.errors import DataError, ImageError
from tgim.images.decode import decode_small, one_line
from tgim.system.files import replacing, write_file
from tgim.system.runtime import usable_cores

if TYPE_CHECKING:
    from torch import Tensor

Fit = Literal["squash", "crop"]
Progress = Callable[[int, int], None]  # (done, total)
Fill = Callable[[Path], dict[str, Any]]  # writes an array to a path; returns notes, JSON values
VERSION = 2  # part of the key: raise it when the same files would give other pixels
TINY = 8  # pixels a side, at which it is seen whether pictures can be read
CONTEXT = 1.5  # side of a crop over the longer side of its box


def cache_folder(given: str | Path | None = None) -> Path:
    """The folder that is `given`, else `$TGIM_CACHE`, else `~/.cache/tgim`.

    Raises:
        DataError: none is given, and this user has no home.
    """
    if given is not None or (given := os.environ.get("TGIM_CACHE")):
        return Path(given)
    home = os.path.expanduser("~")
    if not os.path.isabs(home):  # HOME is not set, and the user is not in the system's list
        raise DataError("there is no home folder to keep a cache in; set TGIM_CACHE to a folder")
    return Path(home, ".cache", "tgim")


class PixelCache:
    """Decoded pictures of some items: `pixels` (N, S, S, 3) uint8, read from disk as they are used.

    `rows` (M,) are the rows whose picture could be read; `problems` tells of the others, whose pixels are zero.
    """

    def __init__(self, pixels: NDArray[np.uint8], problems: Sequence[Problem] = (), broken: Sequence[int] = ()) -> None:
        self.pixels = pixels
        self.problems = tuple(problems)
        self.rows = np.setdiff1d(np.arange(len(pixels)), np.asarray(broken, dtype=int))

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return int(self.pixels.shape[1])

    @classmethod
    def open(
        cls,
        items: Sequence[Item],
        *,
        size: int,
        fit: Fit = "squash",
        folder: str | Path | None = None,
        progress: Progress | None = None,
    ) -> PixelCache:
        """Map the cache of `items`, building it first when it is not there.

        The file is named by a hash of all paths, file sizes, dates, boxes, `size` and `fit`: changed pictures make a
        new one. It appears by renaming, so an interrupted or a concurrent build does no harm.

        Args:
            items: pictures, cropped to 1.5 times their box where they have one.
            size: side of the squares in pixels.
            fit: "squash" scales both sides to `size`; "crop" takes the central square.
            folder: where caches live, `cache_folder()` unless given.
            progress: called with (done, total) while building.

        Raises:
            DataError: the folder cannot be written.
        """
        folder = cache_folder(folder)
        name = f"pixels-{size}-{_key(items, size, fit)}"
        pixels, notes = kept_array(folder, name, lambda path: _decode_all(items, size, fit, path, progress))
        if notes["problems"]:
            first = Problem(*notes["problems"][0])
            note(f"{len(notes['broken'])} of {len(items)} pictures cannot be read and are left out; the first: {first}")
        return cls(pixels, [Problem(*row) for row in notes["problems"]], notes["broken"])

    def images(self, rows: Any) -> Tensor:
        """Pictures (n, 3, S, S) float32 in [-1, 1] of `rows` (a slice or integers)."""
        import torch

        from tgim.images.photo import from_uint8

        return from_uint8(torch.from_numpy(np.array(self.pixels[rows])).permute(0, 3, 1, 2))


def readable(paths: Sequence[Path], *, folder: str | Path | None, progress: Progress | None = None) -> set[Path]:
    """Find the pictures that can be read to their end; kept on disk, as all of them are decoded once."""
    cache = PixelCache.open([Item(path, ()) for path in paths], size=TINY, folder=folder, progress=progress)
    return {paths[row] for row in cache.rows.tolist()}


def state_of(path: Path) -> tuple[int, int]:
    """Size and date of a file, by which a change is seen; zeros where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def decode(path: Path, *, size: int, fit: Fit = "squash", box: BoundingBox | None = None) -> NDArray[np.uint8]:
    """Read one picture as (S, S, 3) uint8, upright; large JPEGs are decoded at a reduced scale.

    A box counts in the pixels of the file, whichever way it is turned.

    Raises:
        ImageError: the picture cannot be read.
    """

    def region(full: tuple[int, int]) -> tuple[float, float, float, float]:
        return crop_region(box, full) if box else (0.0, 0.0, float(full[0]), float(full[1]))

    def least(full: tuple[int, int]) -> tuple[int, int] | None:
        left, top, right, bottom = region(full)
        shrink = min(right - left, bottom - top) / (2 * size)
        return (int(full[0] / shrink), int(full[1] / shrink)) if shrink > 1 else None

    picture, full, turn = decode_small(os.fspath(path), wanted=least)
    if box is None:
        picture = picture.transpose(turn) if turn is not None else picture
        left, top, right, bottom = 0.0, 0.0, float(picture.width), float(picture.height)
    else:
        scale = picture.width / full[0], picture.height / full[1]
        left, top, right, bottom = (edge * scale[i % 2] for i, edge in enumerate(region(full)))
    if fit == "crop":
        side = min(right - left, bottom - top)
        left, top = left + (right - left - side) / 2, top + (bottom - top - side) / 2
        right, bottom = left + side, top + side
    square = picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, right, bottom), reducing_gap=3.0)
    return np.asarray(square if box is None or turn is None else square.transpose(turn))


def crop_region(box: BoundingBox, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the square of `CONTEXT` times the longer side of `box`, clipped to the picture.

    A box that misses the picture altogether gives the whole picture.

    >>> crop_region((40, 40, 20, 10), (100, 60))
    (35.0, 30.0, 65.0, 60.0)
    >>> crop_region((500, 0, 20, 10), (100, 60))
    (0.0, 0.0, 100.0, 60.0)
    """
    left, top, width, height = box
    x, y, half = left + width / 2, top + height / 2, CONTEXT * max(width, height) / 2
    x0, x1 = max(x - half, 0.0), min(x + half, float(size[0]))
    y0, y1 = max(y - half, 0.0), min(y + half, float(size[1]))
    return (x0, y0, x1, y1) if x1 - x0 >= 1 and y1 - y0 >= 1 else (0.0, 0.0, float(size[0]), float(size[1]))


def new_array(path: Path, *, dtype: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Make a file that holds an array, map it to be filled, and take its room on the disk.

    A page of a file with holes for which there is no room any more would end the process by a signal.

    Raises:
        OSError: there is no room for it.
    """
    array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # not all drives can
                    raise
    return array


def store_array(folder: Path, name: str, fill: Fill) -> None:
    """Let `fill` write an array to a temporary path, then give it and its notes their names; the array comes last.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A cache may be shared: a link that another user put there is not followed.
        with replacing(folder / f"{name}.npy", follow=False) as temporary:
            write_file(folder / f"{name}.json", json.dumps(fill(temporary)), follow=False)
    except OSError as error:
        raise DataError(
            f"cache {folder} cannot be written ({error.strerror}); set TGIM_CACHE to another folder"
        ) from None


def stored_array(folder: Path, name: str) -> tuple[NDArray[Any], dict[str, Any]] | None:
    """The array and notes that `store_array` left, or None when they are not there or not whole."""
    try:
        notes = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return np.load(folder / f"{name}.npy", mmap_mode="r"), notes
    except (OSError, ValueError):
        return None


def kept_array(folder: Path, name: str, fill: Fill) -> tuple[NDArray[Any], dict[str, Any]]:
    """The array and notes of `name`, as `store_array` stores them when they are not there yet.

    Raises:
        DataError: the folder cannot be written, or what was written is gone.
    """
    found = stored_array(folder, name)
    if found is None:
        store_array(folder, name, fill)
        found = stored_array(folder, name)
    if found is None:
        raise DataError(f"cache {folder / name}.npy vanished while it was opened; run again")
    return found


def fault_of(path: Path, error: ImageError) -> str:
    """Say what is wrong with a picture, without its path."""
    return str(error).replace(one_line(os.fspath(path)), "it", 1)


def _decode_all(items: Sequence[Item], size: int, fit: Fit, path: Path, progress: Progress | None) -> dict[str, Any]:
    """Write pictures to `path` as `decode` gives them; returns what could not be read."""
    notes: dict[str, Any] = {"problems": [], "broken": []}

    def read(item: Item) -> NDArray[np.uint8] | str:
        try:
            return decode(item.path, size=size, fit=fit, box=item.box)
        except ImageError as error:
            return fault_of(item.path, error)

    pixels = new_array(path, dtype=np.uint8, shape=(len(items), size, size, 3))
    with ThreadPoolExecutor(min(4, usable_cores())) as pool:
        for row, picture in enumerate(pool.map(read, items)):
            if isinstance(picture, str):
                notes["problems"].append((items[row].path.as_posix(), "unreadable picture", picture))
                notes["broken"].append(row)
            else:
                pixels[row] = picture
            if progress is not None:
                progress(row + 1, len(items))
    pixels.flush()
    return notes


def _key(items: Sequence[Item], size: int, fit: str) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, size, fit, CONTEXT, len(items)]).encode())
    for item in items:
        digest.update(repr((item.path.absolute().as_posix(), state_of(item.path), item.box)).encode())
    return digest.hexdigest()[:20]
