"""Reading and writing of pictures: all files enter by `open_image` and leave by `save_image`.

`open_image` takes any picture a user may have and returns a `Photo`: upright, RGB, float in [-1, 1], with its alpha and
colour profile beside it. `save_image` writes one, whole or not at all. Whatever is wrong ends as one `ImageError` line.
Pixels are quantised by `to_uint8` and `to_uint16` alone. Nothing here loads torch; a `Photo` made of a tensor holds an
array, and gives it back as `Photo.tensor`.
"""

from __future__ import annotations

import io
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from tgim.errors import ImageError, nearest
from tgim.images import decode, encode
from tgim.images.boxes import parse_box
from tgim.images.decode import FORMATS, MAX_PIXELS, SUFFIXES, Decoded
from tgim.images.extras import Extras
from tgim.images.folder import list_images
from tgim.images.resample import Floats, resize
from tgim.system import threads
from tgim.system.files import write_file

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Photo",
    "check_target",
    "from_uint8",
    "list_images",
    "open_image",
    "output_format",
    "parse_box",
    "resize",
    "save_image",
    "to_bytes",
    "to_uint8",
    "write_bytes",
]

LARGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "GIF": 65535}  # pixels; limits of the formats or their encoders
NO_EXTRAS = Extras()
log = logging.getLogger(__name__)


@overload
def to_uint8(x: npt.NDArray[Any]) -> npt.NDArray[np.uint8]: ...
@overload
def to_uint8(x: Tensor) -> Tensor: ...
def to_uint8(x: Any) -> Any:
    """[-1, 1] float to [0, 255] uint8 of the same shape and kind, rounded to nearest; what lies beyond is clamped.

    >>> to_uint8(np.array([-1.0, 0.01, 1.0, 7.0]))
    array([  0, 129, 255, 255], dtype=uint8)
    """
    levels = ((x + 1) * 127.5).round().clip(0, 255)
    return levels.astype(np.uint8) if isinstance(levels, np.ndarray) else levels.byte()


@overload
def to_uint16(x: npt.NDArray[Any]) -> npt.NDArray[np.int32]: ...
@overload
def to_uint16(x: Tensor) -> Tensor: ...
def to_uint16(x: Any) -> Any:
    """[-1, 1] float to [0, 65535] int32 of the same shape and kind, as `to_uint8` does for 8 bits.

    >>> to_uint16(np.array([-1.0, 0.01, 1.0, 7.0]))
    array([    0, 33095, 65535, 65535], dtype=int32)
    """
    levels = ((x + 1) * 32767.5).round().clip(0, 65535)
    return levels.astype(np.int32) if isinstance(levels, np.ndarray) else levels.int()


@overload
def from_uint16(x: npt.NDArray[Any]) -> npt.NDArray[np.float32]: ...
@overload
def from_uint16(x: Tensor) -> Tensor: ...
def from_uint16(x: Any) -> Any:
    """[0, 65535] integers to [-1, 1] float32 of the same shape; `to_uint16` gives all 65,536 values back."""
    return _from_levels(x, 32767.5)


@overload
def from_uint8(x: npt.NDArray[Any]) -> npt.NDArray[np.float32]: ...
@overload
def from_uint8(x: Tensor) -> Tensor: ...
def from_uint8(x: Any) -> Any:
    """[0, 255] uint8 to [-1, 1] float32 of the same shape; `to_uint8` gives all 256 values back.

    >>> from_uint8(np.array([0, 255], np.uint8))
    array([-1.,  1.], dtype=float32)
    """
    return _from_levels(x, 127.5)


def _from_levels(x: Any, half: float) -> Any:
    if isinstance(x, np.ndarray):
        if x.ndim < 2 or x.size == 0:
            return np.asarray(x.astype(np.float32) / np.float32(half) - 1)
        light = np.empty(x.shape, np.float32)

        def divided(rows: slice) -> None:
            here = light[..., rows, :]
            np.divide(x[..., rows, :], np.float32(half), out=here, dtype=np.float32)
            here -= 1

        threads.shared(divided, threads.strips(x.shape[-2], x.shape[-2] * threads.PIXELS // x.size))
        return light
    return x.contiguous().float().div_(half).sub_(1)


def as_array(pixels: Any) -> npt.NDArray[Any]:
    """An array as it is; a tensor's numbers as an array of the CPU, floats in 32 bits, shared where they can be."""
    if isinstance(pixels, np.ndarray):
        return pixels
    kept = pixels.detach().cpu()
    found: npt.NDArray[Any] = (kept.float() if kept.is_floating_point() else kept).numpy()
    return found


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright RGB picture and what belongs to it; made by `open_image`, written by `save_image`."""

    pixels: Any  # (3, H, W) float32 array in [-1, 1]; a tensor is made one
    alpha: npt.NDArray[Any] | None = None  # (H, W) uint8, 255 is opaque, or int32 for `bits` 16; None without any
    format: str = "PNG"  # one of FORMATS: what the file was, and what it is saved as unless told otherwise
    icc: bytes | None = None  # RGB colour profile that `pixels` are in; None is sRGB
    exif: bytes | None = None  # as Pillow's `Exif.tobytes`, without the orientation; written only on request
    name: str = "picture"  # for messages
    bits: int = 8  # of a channel: 16 where the file had more than 8, then PNG and TIFF are written with 16
    extras: Extras = NO_EXTRAS  # density, PNG's own colour chunks, ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", as_array(self.pixels))
        if self.alpha is not None:
            object.__setattr__(self, "alpha", as_array(self.alpha))
        if self.pixels.ndim != 3 or self.pixels.shape[0] != 3 or 0 in self.pixels.shape:
            raise ImageError(f"{self.name}: pixels must be (3, H, W), got {tuple(self.pixels.shape)}")
        if self.alpha is not None and self.alpha.shape != self.pixels.shape[1:]:
            raise ImageError(
                f"{self.name}: alpha {tuple(self.alpha.shape)} does not fit {self.height}x{self.width} pixels"
            )

    @property
    def height(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[2])

    @property
    def tensor(self) -> Tensor:
        """The pixels as a tensor (3, H, W), which shares their memory."""
        import torch

        return torch.from_numpy(self.pixels)

    def with_pixels(self, pixels: Floats | Tensor) -> Photo:
        """Copy the photo with other `pixels`, (3, H, W) or (1, 3, H, W); the alpha is resized if their size differs."""
        pixels = as_array(pixels).astype(np.float32, copy=False)
        pixels = pixels[0] if pixels.ndim == 4 else pixels
        alpha = self.alpha
        if alpha is not None and alpha.shape != pixels.shape[-2:]:
            height, width = pixels.shape[-2:]
            levels, light = (to_uint8, from_uint8) if self.bits == 8 else (to_uint16, from_uint16)
            alpha = levels(resize(light(alpha), (height, width)))
        return replace(self, pixels=pixels, alpha=alpha)

    def to_pil(self) -> Image.Image:
        """RGB, or RGBA where there is an alpha, 8 bits; carries the colour profile in ``info["icc_profile"]``."""
        rgb, alpha = self.levels(8)
        image = Image.fromarray(rgb)
        if alpha is not None:
            image.putalpha(Image.fromarray(alpha))
        if self.icc:
            image.info["icc_profile"] = self.icc
        return image

    def levels(self, bits: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
        """Pixels (H, W, 3) and alpha (H, W) as whole numbers of 8 or 16 bits."""
        kind, quantise = (np.uint8, to_uint8) if bits == 8 else (np.uint16, to_uint16)
        rgb = np.empty((self.height, self.width, 3), kind)

        def quantised(rows: slice) -> None:
            rgb[rows] = quantise(self.pixels[:, rows]).transpose(1, 2, 0)

        threads.shared(quantised, threads.strips(self.height, threads.PIXELS // self.width))
        alpha = None if self.alpha is None else np.ascontiguousarray(self.alpha)
        if alpha is not None and bits != self.bits:
            alpha = (alpha + 128) // 257 if bits == 8 else alpha.astype(np.uint16) * 257
        return rgb, None if alpha is None else alpha.astype(kind, copy=False)


Source = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any] | Photo


def open_image(source: Source, *, max_pixels: int = MAX_PIXELS, name: str = "image bytes") -> Photo:
    """Open a picture of any common kind as an upright RGB `Photo`.

    Files are opened as what they are, whatever their name says: JPEG, PNG, WebP, TIFF, BMP, GIF, and
    HEIC and AVIF where Pillow or pillow-heif reads them. The EXIF orientation is applied; alpha and transparent colours
    of a palette become `Photo.alpha`; an RGB colour profile is kept, or made of what the file says of its colours
    otherwise; of several frames or pages the first is taken. CMYK, LAB and grey pictures become RGB, through
    their colour profile to sRGB where they have one.

    Unsigned samples of up to 16 bits span their whole range. Others do not say what is white. Integers are taken to
    span [0, 255], [0, 65535] or their type's range, the first that holds all and is half filled; those of 32 bits are
    else stretched from their least to their greatest value, and signed ones of fewer bits with numbers below 0 refused.
    Floats are taken to span [0, 1] when half of those above 0 are within, and what is brighter is white; else [0, 255]
    or [0, 65535]; those clearly below 0 are stretched.

    Args:
        source: a path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) that is
            uint8 or float in [0, 1]. A `Photo` is returned as it is.
        max_pixels: larger pictures are refused before they are decoded; Pillow's own limit (about 179 million pixels)
            holds as well. The smallest picture is 1x1.
        name: of what bytes are, for messages.

    Raises:
        ImageError: whatever keeps the picture from being used; one line that names the file.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, Image.Image):
        known = decode.one_line(str(getattr(source, "filename", "") or "PIL image"))
        found = decode.decode_image(source, name=known, max_pixels=max_pixels)
    elif isinstance(source, np.ndarray):
        found = decode.decode_array(source, max_pixels=max_pixels)
    elif isinstance(source, bytes | bytearray | memoryview):
        found = decode.decode_file(io.BytesIO(source), name=name, max_pixels=max_pixels)
    elif isinstance(source, str | os.PathLike):
        found = decode.decode_path(os.fsdecode(source), max_pixels=max_pixels)
    else:
        kind = type(source).__name__
        raise ImageError(
            f"a picture cannot be made from a {kind}; expected a path, bytes, a PIL image or an array (H, W, 3)"
        )
    return _photo(found)


def _photo(found: Decoded) -> Photo:
    rgb, alpha = found.rgb.transpose(2, 0, 1), found.alpha
    deep = found.rgb.dtype == np.uint16
    if alpha is not None and deep:
        alpha = alpha.astype(np.int32) * (257 if alpha.dtype == np.uint8 else 1)
    pixels, bits = (from_uint16(rgb), 16) if deep else (from_uint8(rgb), 8)
    return Photo(pixels, alpha, found.format, found.icc, found.exif, found.name, bits, found.extras)


def open_to_edit(source: Source, *, name: str = "image bytes") -> Photo:
    """Open a picture as `open_image` does, and log as a warning what of its file an edit leaves out: frames, pages."""
    photo = open_image(source, name=name)
    for note in photo.extras.notes:
        log.warning("%s %s", photo.name, note)
    return photo


def save_image(
    photo: Photo,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    quality: int | None = None,
    metadata: bool = False,
) -> Path:
    """Write `photo` to `path`, whole or not at all; identical calls write identical bytes.

    A temporary file in the same folder is renamed to `path`, so a failure leaves what was there before. The suffix
    chooses the format; a path without a suffix gets the photo's own. The colour profile and the density are always
    kept (BMP and GIF cannot hold a profile: the pixels are converted to sRGB). JPEG is written at `quality` with full
    colour resolution (4:4:4), WebP at `quality` (100 is lossless), TIFF lossless (deflate), GIF with at most 256
    colours. PNG and TIFF have 16 bits a channel where the photo has. What a format cannot hold is logged as a warning:
    alpha in JPEG and BMP (the picture is put on white), 16 bits, more colours than GIF has.

    Args:
        photo: what to write.
        path: where; an existing file is replaced.
        format: ``"JPEG"``, ``"PNG"``, ``"WEBP"``, ``"TIFF"``, ``"BMP"`` or ``"GIF"``, whatever the suffix says.
        quality: 1 to 100, for JPEG and WebP; None is 95, and no loss for a WebP that came in as a lossless one.
        metadata: also write the EXIF block (camera, date, place, ...); by default nothing of it is written.

    Raises:
        ImageError: unknown suffix or format, missing folder, a target that cannot be written, too large for the format.
    """
    target, kind = check_target(path, format=format or "", own=photo.format)
    data = to_bytes(photo, kind, name=decode.one_line(os.fspath(path)), quality=quality, metadata=metadata)
    write_bytes(target, data, name=decode.one_line(os.fspath(path)))
    return Path(path)


def to_bytes(
    photo: Photo, kind: str = "", *, name: str = "picture", quality: int | None = None, metadata: bool = False
) -> bytes:
    """The bytes of the file that `save_image` writes.

    Args:
        photo: what to write.
        kind: one of FORMATS; the photo's own unless given.
        name: for messages.
        quality: as of `save_image`.
        metadata: see there.

    Raises:
        ImageError: unknown format, or too large for it.
    """
    kind = output_format(kind, own=photo.format)
    if quality is not None and not 1 <= quality <= 100:
        raise ImageError(f"quality is {quality}, expected 1 to 100; 95 is the default")
    if max(photo.height, photo.width) > LARGEST_SIDE.get(kind, 2**31):
        size = f"{photo.width}x{photo.height}"
        raise ImageError(
            f"{name}: {size} is more than {LARGEST_SIDE[kind]} a side, the most that {kind} can hold; use .png"
        )
    bits = photo.bits if kind in encode.DEEP else 8
    if bits < photo.bits:
        log.warning("%s: %s holds 8 bits a channel, the picture had %d", photo.name, kind, photo.bits)
    try:
        content = Decoded(*photo.levels(bits), photo.format, photo.icc, photo.exif, photo.name, photo.extras)
        return encode.encode(content, kind, quality=quality, metadata=metadata)
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be written as {kind} ({decode.reason(error)}); use .png") from error


def write_bytes(target: Path, data: bytes, *, name: str = "") -> None:
    """Write a file whole or not at all; `name` is said in errors.

    Raises:
        ImageError: it cannot be written.
    """
    try:
        write_file(target, data)
    except OSError as error:
        why = decode.reason(error)
        raise ImageError(f"{name or target} cannot be written ({why}); choose another folder") from error


def check_target(path: str | os.PathLike[str], *, format: str = "", own: str = "PNG") -> tuple[Path, str]:
    """Check where, and in which of FORMATS, `save_image` would write: an error before a long edit, not after it.

    `own` is the format of the photo, taken where neither `format` nor the suffix says one.

    Raises:
        ImageError: as `save_image` for all but the size.
    """
    name = decode.one_line(os.fspath(path))
    try:
        target = Path(os.path.realpath(path))  # through links: the file is replaced, not the link
        if target.is_dir():
            raise ImageError(f"{name or '.'} is a folder, expected the path of a file; add a name such as edited.png")
        if not target.parent.is_dir():
            raise ImageError(f"{name} cannot be written: the folder {target.parent} is not there; make it first")
        if target.exists() and not (target.is_file() and os.access(target, os.W_OK)):
            raise ImageError(
                f"{name} cannot be written: it is write-protected or no ordinary file; choose another name"
            )
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # a name that is too long or holds a null byte
        raise ImageError(f"{name} cannot be written ({decode.reason(error)}); choose another name") from error
    return target, output_format(format, Path(path), own=own)


def output_format(asked: str, path: Path = Path(), *, own: str = "PNG") -> str:
    """Choose one of FORMATS: `asked` if given, else by the suffix, else the photo's `own`; ImageError if unknown."""
    if asked:
        kind = SUFFIXES.get("." + asked.lower(), asked.upper())
        if kind not in FORMATS:
            raise ImageError(
                f"format {asked!r} is unknown{nearest(kind, FORMATS)}; expected one of {', '.join(FORMATS)}"
            )
        return kind
    suffix = path.suffix.lower()
    if suffix and suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        hint = nearest(suffix, SUFFIXES)
        raise ImageError(
            f"{decode.one_line(str(path))}: suffix {path.suffix!r} is unknown{hint}; expected one of {known}"
        )
    return SUFFIXES[suffix] if suffix else own
