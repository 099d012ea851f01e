"""Picture files of any common kind, decoded to upright RGB; whatever is wrong with one ends as one `ImageError` line.

Nothing here needs torch. `tgim.images.photo.open_image` is the door for users.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from tgim.errors import ImageError
from tgim.images.door import one_line, quiet, reason, silent_libtiff, too_large
from tgim.images.kinds import FOREIGN, FORMATS, KINDS, SUFFIXES, format_of, kind_of
from tgim.images.pixels import to_rgb, to_srgb
from tgim.images.tags import read_exif

__all__ = [
    "FOREIGN",
    "FORMATS",
    "SUFFIXES",
    "Decoded",
    "decode_array",
    "decode_file",
    "decode_image",
    "decode_path",
    "one_line",
    "quiet",
    "reason",
    "silent_libtiff",
    "to_srgb",
]


class Decoded(NamedTuple):
    """An upright picture: `rgb` (H, W, 3), `alpha` (H, W) or None, both uint8; the rest as of `images.photo.Photo`."""

    rgb: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.uint8] | None = None
    format: str = "PNG"
    icc: bytes | None = None
    exif: bytes | None = None
    name: str = "picture"


def decode_path(path: str, *, max_pixels: int) -> Decoded:
    """Decode the picture file at `path`.

    Raises:
        ImageError: whatever keeps it from being read.
    """
    name = one_line(path) or "an empty path"
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{name} is a folder, expected {KINDS}; name a file in it")
        if not stat.S_ISREG(mode):
            raise ImageError(f"{name} is a device or pipe, expected an ordinary file that is {KINDS}")
        with open(path, "rb") as file:
            return decode_file(file, name=name, max_pixels=max_pixels)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist; expected the path of {KINDS}") from error
    except PermissionError as error:
        raise ImageError(
            f"{name} may not be read (permission denied); make it readable, e.g. with chmod u+r"
        ) from error
    except (OSError, ValueError) as error:  # a name that is too long or holds a null byte, a failing disk
        raise ImageError(f"{name} cannot be read ({reason(error)}); expected the path of {KINDS}") from error


def decode_file(file: BinaryIO, *, name: str, max_pixels: int) -> Decoded:
    """Identify the picture in `file` by its header, refuse it if too large, and decode it."""
    head = file.read(4096)
    file.seek(0)
    if not head:
        raise ImageError(f"{name} is empty (0 bytes), expected {KINDS}; fetch or export it again")
    with quiet():
        try:
            image = Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise ImageError(
                too_large(name, "more than Pillow's limit of", 2 * (Image.MAX_IMAGE_PIXELS or 0))
            ) from error
        except Exception as error:  # hostile headers make decoders raise anything
            kind = kind_of(head)
            advice = "fetch or export it again" if "damaged" in kind else "convert it first"
            raise ImageError(f"{name} is {kind}, expected {KINDS}; {advice}") from error
    blame = f"a truncated or damaged {format_of(image)} file"
    return decode_image(image, name=name, blame=blame, max_pixels=max_pixels)


def decode_image(image: Image.Image, *, name: str, blame: str, max_pixels: int) -> Decoded:
    """Pixels, alpha, profile and EXIF of a PIL image that may not be loaded yet."""
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(too_large(name, f"{width}x{height} =", width * height, max_pixels))
    if width < 1 or height < 1:
        raise ImageError(f"{name} is {width}x{height} and has no pixels; expected at least 1x1")
    with quiet():
        try:
            with silent_libtiff() if image.format == "TIFF" else contextlib.nullcontext():
                image.load()
            turn, exif = read_exif(image)
            rgb, alpha, icc = to_rgb(image)
            if turn is not None:
                rgb, alpha = rgb.transpose(turn), alpha.transpose(turn) if alpha else None
            pixels, mask = np.array(rgb), np.array(alpha) if alpha else None
        except ImageError as error:
            raise ImageError(f"{name} {error}") from error
        except Exception as error:  # hostile pixels make decoders raise anything
            raise ImageError(f"{name} is {blame} ({reason(error)}); fetch or export it again") from error
    return Decoded(pixels, mask, format_of(image), icc, exif, name)


def decode_array(array: npt.NDArray[Any], *, max_pixels: int) -> Decoded:
    """Check an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8 or float in [0, 1], and make it RGB.

    Raises:
        ImageError: another shape, type or range.
    """
    wanted = "expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8 or float in [0, 1]"
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"array has shape {array.shape}; {wanted}")
    if array.shape[0] * array.shape[1] > max_pixels:
        size = f"{array.shape[1]}x{array.shape[0]} ="
        raise ImageError(too_large("array", size, array.shape[0] * array.shape[1], max_pixels))
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # also refuses NaN
            raise ImageError(f"array of {array.dtype} spans [{array.min():.4g}, {array.max():.4g}]; {wanted}")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"array is {array.dtype}; {wanted}")
    array = np.array(array).reshape(*array.shape[:2], -1)  # (H, W, 1, 3 or 4)
    alpha = array[..., 3].copy() if array.shape[2] == 4 else None
    return Decoded(np.broadcast_to(array[..., :3], (*array.shape[:2], 3)).copy(), alpha, name="array")
