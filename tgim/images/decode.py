"""Picture files of any common kind, decoded to upright RGB; whatever is wrong with one ends as one `ImageError` line.

Nothing here needs torch. `tgim.images.photo.open_image` is the door for users.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from tgim.errors import ImageError

SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    ".png": "PNG",
    ".webp": "WEBP",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".bmp": "BMP",
    ".gif": "GIF",
}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
KINDS = "a JPEG, PNG, WebP, TIFF, BMP or GIF picture"
FOREIGN = (
    ".heic",
    ".heif",
    ".avif",
    ".jxl",
    ".jp2",
    ".svg",
    ".pdf",
    ".psd",
    ".ico",
    ".tga",
    ".dng",
    ".cr2",
    ".nef",
    ".arw",
)
SIGNATURES = (  # offset, bytes, what it is; for files that Pillow does not recognise or that we do not take
    (0, b"%PDF", "a PDF document"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (4, b"ftyp", "a video or HEIF file"),
    (4, b"jP  ", "a JPEG 2000 picture"),
    (4, b"JXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\0\0\1\0", "an icon file"),
    (0, b"PK\3\4", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\xff\xd8\xff", "a damaged JPEG file"),
    (0, b"\x89PNG", "a damaged PNG file"),
    (8, b"WEBP", "a damaged WebP file"),
    (0, b"II*\0", "a damaged TIFF file or a camera's raw file"),
    (0, b"MM\0*", "a damaged TIFF file or a camera's raw file"),
    (0, b"GIF8", "a damaged GIF file"),
    (0, b"BM", "a damaged BMP file"),
)
ORIENTATION, EXIF_IFD, PIXEL_SIZES = 0x0112, 0x8769, (0xA002, 0xA003)
TURNS = {  # EXIF orientation -> what sets the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Tags that describe how a TIFF file stores its pixels: sizes, strips, tiles, colours, profiles; not the photograph.
STORAGE_TAGS = {
    *(
        254,
        255,
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        277,
        278,
        279,
        284,
        292,
        293,
        297,
        301,
        317,
        318,
        319,
        320,
        322,
        323,
    ),
    *(324, 325, 330, 332, 334, 336, 338, 339, 340, 341, 347, 529, 530, 531, 532, 700, 33723, 34377, 34675),
}
ERROR_STREAM = threading.Lock()  # held while the process's error stream is turned away


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
                _too_large(name, "more than Pillow's limit of", 2 * (Image.MAX_IMAGE_PIXELS or 0))
            ) from error
        except Exception as error:  # hostile headers make decoders raise anything
            kind = _kind(head)
            advice = "fetch or export it again" if "damaged" in kind else "convert it first"
            raise ImageError(f"{name} is {kind}, expected {KINDS}; {advice}") from error
    blame = f"a truncated or damaged {_format(image)} file"
    return decode_image(image, name=name, blame=blame, max_pixels=max_pixels)


def decode_image(image: Image.Image, *, name: str, blame: str, max_pixels: int) -> Decoded:
    """Pixels, alpha, profile and EXIF of a PIL image that may not be loaded yet."""
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(_too_large(name, f"{width}x{height} =", width * height, max_pixels))
    if width < 1 or height < 1:
        raise ImageError(f"{name} is {width}x{height} and has no pixels; expected at least 1x1")
    with quiet():
        try:
            with silent_libtiff() if image.format == "TIFF" else contextlib.nullcontext():
                image.load()
            turn, exif = _exif(image)
            rgb, alpha, icc = _to_rgb(image)
            if turn is not None:
                rgb, alpha = rgb.transpose(turn), alpha.transpose(turn) if alpha else None
            pixels, mask = np.array(rgb), np.array(alpha) if alpha else None
        except ImageError as error:
            raise ImageError(f"{name} {error}") from error
        except Exception as error:  # hostile pixels make decoders raise anything
            raise ImageError(f"{name} is {blame} ({reason(error)}); fetch or export it again") from error
    return Decoded(pixels, mask, _format(image), icc, exif, name)


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
        raise ImageError(_too_large("array", size, array.shape[0] * array.shape[1], max_pixels))
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # also refuses NaN
            raise ImageError(f"array of {array.dtype} spans [{array.min():.4g}, {array.max():.4g}]; {wanted}")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"array is {array.dtype}; {wanted}")
    array = np.array(array).reshape(*array.shape[:2], -1)  # (H, W, 1, 3 or 4)
    alpha = array[..., 3].copy() if array.shape[2] == 4 else None
    return Decoded(np.broadcast_to(array[..., :3], (*array.shape[:2], 3)).copy(), alpha, name="array")


def _to_rgb(image: Image.Image) -> tuple[Image.Image, Image.Image | None, bytes | None]:
    """RGB picture, alpha (mode L) or None, and the profile if it is one for RGB; same size."""
    icc = image.info.get("icc_profile") or None
    alpha = None
    if image.mode.startswith("I") or image.mode == "F":
        deep, image = image, _deep_to_grey(image)
        if isinstance(key := deep.info.get("transparency"), int):
            alpha = Image.fromarray(np.where(np.asarray(deep) == key, 0, 255).astype(np.uint8))
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = image.getchannel("A")
    space = _colour_space(icc)
    if image.mode in ("CMYK", "LAB"):
        if image.mode == "LAB":
            rgb = to_srgb(image, ImageCms.createProfile("LAB"))
        else:
            rgb = (to_srgb(image, icc) if icc and space == "CMYK" else None) or image.convert("RGB")
        if rgb is None:
            raise ImageError("is a LAB picture, which this Pillow cannot convert; export it as RGB")
        return rgb, alpha, None
    rgb = image.convert("RGB")
    if space == "GRAY" and icc:
        rgb = to_srgb(rgb.getchannel("R"), icc) or rgb
    return rgb, alpha, icc if space == "RGB" else None


def _deep_to_grey(image: Image.Image) -> Image.Image:
    """A 16 or 32-bit grey picture as mode L; the ranges are told in `tgim.images.photo.open_image`."""
    values = np.asarray(image).astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise ImageError("has no finite pixel; expected numbers")
    low, high = values[finite].min(), values[finite].max()
    ranges = {"F": (1.0, 255.0, 65535.0), "I": (255.0, 65535.0)}.get(image.mode, (65535.0,))
    top = next((top for top in ranges if low >= 0 and high <= top), None)
    if top is None:
        values, top = values - low, max(high - low, 1e-12)
    values = np.nan_to_num(values, nan=0, posinf=top, neginf=0)
    return Image.fromarray(np.rint(values * (255 / top)).clip(0, 255).astype(np.uint8))


def _colour_space(icc: bytes | None) -> str | None:
    """``"RGB"``, ``"GRAY"``, ``"CMYK"``, ... of a profile; None if there is none that can be read."""
    if not icc:
        return None
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space).strip()
    except Exception:  # a broken profile is the same as none
        return None


def to_srgb(image: Image.Image, profile: Any) -> Image.Image | None:
    """`image` (without alpha) from its profile (bytes or ImageCms) to sRGB; None if it cannot be converted."""
    try:
        source = io.BytesIO(profile) if isinstance(profile, bytes) else profile
        return ImageCms.profileToProfile(
            image,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except Exception:  # a broken profile, or one for other channels
        return None


def _exif(image: Image.Image) -> tuple[Image.Transpose | None, bytes | None]:
    """Read how to turn a loaded picture upright, and its EXIF block without orientation, sizes and storage tags.

    Hostile blocks make the reader raise anything; the picture itself may be fine, so they count as none.
    """
    turn = None
    try:
        original = image.getexif()
        turn = TURNS.get(original.get(ORIENTATION, 1))
        exif = Image.Exif()
        exif.load(original.tobytes())  # a copy: the picture may be the caller's
        for tag in [tag for tag in exif if tag in STORAGE_TAGS or tag == ORIENTATION]:
            del exif[tag]
        if EXIF_IFD in exif:
            for tag in PIXEL_SIZES:
                exif.get_ifd(EXIF_IFD).pop(tag, None)
        return turn, exif.tobytes() if len(exif) else None
    except Exception:
        return turn, None


def _format(image: Image.Image) -> str:
    """Choose one of FORMATS; pictures of other or no origin are saved as PNG."""
    name = {"MPO": "JPEG"}.get(image.format or "", image.format or "")  # MPO: a JPEG with a second picture, from phones
    return name if name in FORMATS else "PNG"


def _kind(head: bytes) -> str:
    """Guess the kind of a file that is no picture from its first bytes."""
    for offset, signature, kind in SIGNATURES:
        if head[offset:].startswith(signature):
            return kind
    if b"<svg" in head.lower():
        return "an SVG drawing"
    if b"<html" in head.lower() or b"<!doctype html" in head.lower():
        return "a web page"
    return "a text file" if re.fullmatch(rb"[\t\n\r\x20-\x7e\x80-\xff]+", head) else "data of an unknown kind"


def _too_large(name: str, what: str, pixels: int, limit: int | None = None) -> str:
    allowed = f", at most {limit:,} are allowed" if limit is not None else ""
    return f"{name} has {what} {pixels:,} pixels{allowed}; make it smaller"


def one_line(text: str) -> str:
    """A file's name for a message: without control characters, which could break the line, and not over 200 long."""
    text = re.sub(r"[\x00-\x1f\x7f]", "?", text)
    return text if len(text) <= 200 else f"{text[:90]}...{text[-100:]}"


def reason(error: BaseException) -> str:
    """Shorten an error to one line."""
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return one_line(text.strip().partition("\n")[0])[:120] or type(error).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings and log lines from the user: what matters becomes an `ImageError`."""
    pillow = logging.getLogger("PIL")
    level = pillow.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pillow.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            pillow.setLevel(level)


@contextlib.contextmanager
def silent_libtiff() -> Iterator[None]:
    """Turn away file descriptor 2: libtiff writes its complaints there, past Python, and Pillow cannot stop it."""
    with ERROR_STREAM, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a process without an error stream
            kept = os.dup(2)
            stack.callback(os.close, kept)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            stack.callback(os.close, nowhere)
            os.dup2(nowhere, 2)
            stack.callback(os.dup2, kept, 2)
        yield
