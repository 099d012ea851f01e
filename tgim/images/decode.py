"""Picture files of any common kind, decoded to upright RGB; whatever is wrong with one ends as one `ImageError` line.

All that reads pictures enters here: `decode_path` for all of a picture (`tgim.images.photo.open_image` is the door for
users), `decode_small` for a smaller copy, `upright_size` for its size alone. Nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from tgim.errors import ImageError
from tgim.images import tiff
from tgim.images.door import check_size, guarded, one_line, ordinary_file, quiet, reason, silent_libtiff
from tgim.images.extras import Extras, read_extras
from tgim.images.kinds import FORMATS, KINDS, SUFFIXES, advice_on, format_of, kind_of, openers
from tgim.images.pixels import Colours, Levels, of_image, of_samples, to_eight, to_srgb
from tgim.images.png import deep_pixels, grey_step, lean
from tgim.images.tags import ORIENTATION, TURNS, read_exif

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "SUFFIXES",
    "Decoded",
    "decode_array",
    "decode_file",
    "decode_image",
    "decode_path",
    "decode_small",
    "one_line",
    "quiet",
    "reason",
    "silent_libtiff",
    "to_eight",
    "to_srgb",
    "upright_size",
]

MAX_PIXELS = 120_000_000  # of a picture: a phone's 108 megapixels, and little more, as `tgim edit` takes 3 GiB for them


class Decoded(NamedTuple):
    """An upright picture: `rgb` (H, W, 3), `alpha` (H, W) or None; the rest as of `images.photo.Photo`.

    Both are uint8, or uint16 where the file has more than 8 bits.
    """

    rgb: Levels
    alpha: Levels | None = None
    format: str = "PNG"
    icc: bytes | None = None
    exif: bytes | None = None
    name: str = "picture"
    extras: Extras = Extras()


class Small(NamedTuple):
    """A picture that may have been decoded at a reduced scale: RGB, transparency over white, as it is stored."""

    picture: Image.Image
    full: tuple[int, int]  # its size at full scale
    turn: Image.Transpose | None  # sets it upright


class _Opened(NamedTuple):
    """A picture file whose header was read."""

    file: BinaryIO | None  # None where there is nothing but the image
    image: Image.Image | None  # None where Pillow does not know the layout
    layout: tiff.Layout | None  # of a TIFF file that Pillow does not read rightly
    icc: bytes | None = None  # where Pillow does not read it

    @property
    def size(self) -> tuple[int, int]:
        if self.layout is not None:
            return self.layout.size
        return self.image.size if self.image is not None else (0, 0)


def decode_path(path: str, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode the picture file at `path`.

    Raises:
        ImageError: whatever keeps it from being read.
    """
    with ordinary_file(path) as file:
        return decode_file(file, name=one_line(path), max_pixels=max_pixels)


def decode_file(file: BinaryIO, *, name: str, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Identify the picture in `file` by its header, refuse it if too large, and decode it."""
    with _opened(file, name, max_pixels) as opened:
        return _decoded(opened, name)


def decode_image(image: Image.Image, *, name: str, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Pixels, alpha, profile and EXIF of a PIL image that may not be loaded yet."""
    check_size(image.size, name=name, max_pixels=max_pixels)
    with guarded(name, "a broken PIL image"):
        file = _file_of(image)
        return _decoded(_Opened(file, image, None if file is None else _unusual(file)), name)


def decode_small(path: str, *, wanted: Callable[[tuple[int, int]], tuple[int, int] | None]) -> Small:
    """Decode a picture for a use at a smaller size.

    Args:
        path: of the file.
        wanted: from the size of the picture to the least size that is needed, or None for all of it. A JPEG is then
            decoded at a half, a quarter or an eighth, which is fast; other kinds are decoded whole.

    Raises:
        ImageError: whatever keeps it from being read.
    """
    with ordinary_file(path) as file, _opened(file, one_line(path), MAX_PIXELS) as opened:
        full, image = opened.size, opened.image
        least = wanted(full)
        if least is not None and image is not None and image.format in ("JPEG", "MPO"):
            image.draft("RGB", least)
        colours, turn, _ = _loaded(opened)
        picture = Image.fromarray(np.ascontiguousarray(to_eight(colours.rgb)))
        if colours.alpha is not None:
            white = Image.new("RGBA", picture.size, "white")
            picture.putalpha(Image.fromarray(np.ascontiguousarray(to_eight(colours.alpha))))
            picture = Image.alpha_composite(white, picture).convert("RGB")
        scaled = image is not None and image.format in ("JPEG", "MPO")
        return Small(picture, full if scaled else picture.size, turn)


def upright_size(path: str) -> tuple[int, int]:
    """Width and height in pixels of the upright picture, by its header.

    Raises:
        ImageError: whatever keeps it from being read.
    """
    with ordinary_file(path) as file, _opened(file, one_line(path), MAX_PIXELS) as opened:
        layout = tiff.read_layout(file)
        if layout is not None:  # Pillow turns some of them by itself
            (width, height), orientation = layout.size, layout.one(tiff.TURN, 1)
        else:
            (width, height), orientation = opened.size, _orientation(opened.image)
        return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def decode_array(array: npt.NDArray[Any], *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Check an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8 or float in [0, 1], and make it RGB.

    Raises:
        ImageError: another shape, type or range.
    """
    wanted = "expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8 or float in [0, 1]"
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"array has shape {array.shape}; {wanted}")
    check_size((array.shape[1], array.shape[0]), name="array", max_pixels=max_pixels)
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # also refuses NaN
            raise ImageError(f"array of {array.dtype} spans [{array.min():.4g}, {array.max():.4g}]; {wanted}")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"array is {array.dtype}; {wanted}")
    array = np.array(array).reshape(*array.shape[:2], -1)  # (H, W, 1, 3 or 4)
    alpha = array[..., 3].copy() if array.shape[2] == 4 else None
    return Decoded(np.broadcast_to(array[..., :3], (*array.shape[:2], 3)).copy(), alpha, name="array")


@contextlib.contextmanager
def _opened(file: BinaryIO, name: str, max_pixels: int) -> Iterator[_Opened]:
    """Identify a picture by its header and refuse it if it is too large; errors in reading it become `ImageError`."""
    head = file.read(4096)
    file.seek(0)
    if not head:
        raise ImageError(f"{name} is empty (0 bytes), expected {KINDS}; fetch or export it again")
    kind = kind_of(head)
    with guarded(name, kind):
        layout, image, icc, fault = _unusual(file), None, None, None
        if head.startswith(b"\x89PNG"):
            file, icc = lean(file)
        try:
            image = Image.open(file, formats=openers(head))
        except Image.DecompressionBombError:
            raise ImageError(
                f"has more than Pillow's limit of {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller"
            ) from None
        except Exception as error:  # hostile headers make decoders raise anything
            fault = error
        if image is None and layout is None:  # big-endian BigTIFF, for one
            layout = tiff.read_layout(file)
        if image is None and layout is None:
            raise ImageError(f"is {kind}, expected {KINDS}; {advice_on(head)}") from fault
    opened = _Opened(file, image, layout, icc)
    check_size(opened.size, name=name, max_pixels=max_pixels)
    with guarded(name, f"a truncated or damaged {image.format if image is not None else 'TIFF'} file"):
        yield opened


def _unusual(file: BinaryIO) -> tiff.Layout | None:
    """The layout of a TIFF file if Pillow does not read it rightly."""
    layout = tiff.read_layout(file)
    if layout is not None and layout.fault:
        raise ImageError(layout.fault)
    return None if layout is None or layout.plain else layout


def _decoded(opened: _Opened, name: str) -> Decoded:
    extras = read_extras(opened.image, opened.file, opened.layout)
    colours, turn, exif = _loaded(opened)
    icc, extras = extras.completed(opened.image, opened.file, colours.icc, converted=colours.converted)
    rgb, alpha = _turned(colours.rgb, turn), None if colours.alpha is None else _turned(colours.alpha, turn)
    return Decoded(rgb, alpha, format_of(opened.image), icc, exif, name, extras)


def _loaded(opened: _Opened) -> tuple[Colours, Image.Transpose | None, bytes | None]:
    """Colours as they are stored, how they are turned upright, and the EXIF block."""
    file, image, layout = opened.file, opened.image, opened.layout
    if layout is not None and file is not None:
        with silent_libtiff():
            samples = tiff.read_samples(file, layout)
        icc = bytes(layout.tags[tiff.PROFILE]) if tiff.PROFILE in layout.tags else None
        colours = of_samples(samples, layout, icc)
        return colours, TURNS.get(layout.one(tiff.TURN, 1)), None if image is None else read_exif(image)[1]
    if image is None:
        raise ImageError("holds no picture")
    deep, step = None, grey_step(image)
    if file is not None:
        place = file.tell()
        deep = deep_pixels(file, image)
        file.seek(place)
    with silent_libtiff() if image.format == "TIFF" else contextlib.nullcontext():
        image.load()
    turn, exif = read_exif(image)
    if opened.icc:
        image.info["icc_profile"] = opened.icc
    return of_image(image, deep, step=step), turn, exif


def _turned(levels: Levels, turn: Image.Transpose | None) -> Levels:
    """Set levels (H, W, ...) upright; always a new array."""
    if turn in (Image.Transpose.TRANSPOSE, Image.Transpose.TRANSVERSE):
        levels = levels.swapaxes(0, 1)
    upside_down = (Image.Transpose.ROTATE_180, Image.Transpose.TRANSVERSE)
    quarter = {Image.Transpose.ROTATE_90: 1, Image.Transpose.ROTATE_270: 3}
    if turn in quarter:
        levels = np.rot90(levels, quarter[turn])
    if turn == Image.Transpose.FLIP_LEFT_RIGHT or turn in upside_down:
        levels = levels[:, ::-1]
    if turn == Image.Transpose.FLIP_TOP_BOTTOM or turn in upside_down:
        levels = levels[::-1]
    return levels.copy()


def _orientation(image: Image.Image | None) -> int:
    with contextlib.suppress(Exception):  # a broken block is the same as none
        return int(image.getexif().get(ORIENTATION, 1)) if image is not None else 1
    return 1


def _file_of(image: Image.Image) -> BinaryIO | None:
    """A copy of the file of a PIL image whose first frame was not loaded yet: Pillow closes its own."""
    file: Any = getattr(image, "fp", None)
    if file is None or image.tell() or not file.seekable():
        return None
    place = file.tell()
    file.seek(0)
    copy = io.BytesIO(file.read())
    file.seek(place)
    return copy
