"""Picture files of every kind that is written, as bytes, with what belongs to their pixels.

Pillow writes them, but for 16-bit colours: of a PNG file it writes all but the pixels, and of a TIFF file the tags,
which are an EXIF block with more in it.
"""

from __future__ import annotations

import io
import logging
import struct
import zlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from tgim.images import decode
from tgim.images.colour import is_beyond
from tgim.images.decode import Decoded
from tgim.images.extras import DENSITY_UNIT, X_DENSITY, Y_DENSITY

DEEP = ("PNG", "TIFF")  # kinds that hold 16 bits a channel
OPAQUE = ("JPEG", "BMP")  # kinds without alpha
QUALITY = 95  # of JPEG and WebP, unless asked otherwise
STRIP = 2**22  # bytes that are compressed at a time
log = logging.getLogger(__name__)


def encode(picture: Decoded, kind: str, *, quality: int | None, metadata: bool) -> bytes:
    """The bytes of a file of `kind`; what it cannot hold is logged as a warning.

    Args:
        picture: of uint16 for one of DEEP alone.
        kind: one of FORMATS.
        quality: of JPEG and WebP; None is QUALITY, and no loss for a WebP that came in without.
        metadata: write the EXIF block, too.
    """
    icc, extras = picture.icc, picture.extras
    if kind != "PNG" and icc is None and is_beyond(extras.chunks):
        log.warning("%s: %s cannot hold its colours (cICP); they will look different", picture.name, kind)
    if metadata and picture.exif and kind in ("BMP", "GIF"):
        log.warning("%s: %s holds no metadata; none is written", picture.name, kind)
    exif = _exif(picture, metadata=metadata, density=kind in ("WEBP", "TIFF"))
    if kind == "TIFF":
        return _tiff(picture, exif)
    block = exif.tobytes() if len(exif) else b""
    options: dict[str, Any] = {"icc_profile": icc, "exif": block} if block else {"icc_profile": icc}
    if extras.density is not None:
        options["dpi"] = extras.density
    if kind == "PNG":
        if extras.chunks and icc == extras.icc:
            options["icc_profile"] = None
        options["pnginfo"] = PngImagePlugin.PngInfo()
        for name, content in extras.chunks:
            options["pnginfo"].add(name, content)
        if picture.rgb.dtype == np.uint16:
            return _deep_png(picture, options)
    elif kind == "JPEG":
        options |= {"quality": quality or QUALITY, "subsampling": "4:4:4"}
    elif kind == "WEBP":
        kept = quality is None and picture.format == "WEBP" and extras.lossless
        options |= {"quality": quality or QUALITY, "lossless": kept or quality == 100, "exact": True}
    if kind == picture.format == "BMP" and picture.alpha is not None and icc is None:
        return _clear_bmp(picture)
    image = _image(picture, opaque=kind in OPAQUE, kind=kind)
    if kind in ("BMP", "GIF"):
        options.pop("exif", None)
        if icc := options.pop("icc_profile"):
            image = _converted(image, icc)
    if kind == "GIF":
        image, options = _quantize(image, picture.name)
    return _saved(image, kind, options)


def _saved(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.info.clear()
    with decode.quiet():
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def _exif(picture: Decoded, *, metadata: bool, density: bool) -> Image.Exif:
    """The EXIF block that is written: all of it, or no more than the density where nothing else can hold it."""
    exif = Image.Exif()
    exif.endian = "<"
    if metadata and picture.exif:
        exif.load(picture.exif)
    if density and picture.extras.density is not None:
        exif.update({X_DENSITY: picture.extras.density[0], Y_DENSITY: picture.extras.density[1], DENSITY_UNIT: 2})
    return exif


def _image(picture: Decoded, *, opaque: bool, kind: str) -> Image.Image:
    """A PIL image of 8-bit pixels; without alpha, if it must be, on white."""
    image = Image.fromarray(picture.rgb)
    if picture.alpha is None:
        return image
    image.putalpha(Image.fromarray(picture.alpha))
    if not opaque:
        return image
    if picture.alpha.min() < 255:
        log.warning("%s: %s has no alpha; the transparent parts are now white", picture.name, kind)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _converted(image: Image.Image, icc: bytes) -> Image.Image:
    """The picture in sRGB, for kinds that hold no profile."""
    rgb = decode.to_srgb(image.convert("RGB"), icc)
    if rgb is not None and image.mode == "RGBA":
        rgb.putalpha(image.getchannel("A"))
    return rgb or image


def _quantize(image: Image.Image, name: str) -> tuple[Image.Image, dict[str, Any]]:
    """A picture of a palette for GIF, and the option that names the colour of transparent pixels.

    Up to 256 colours stay as they are; more are reduced to 255.
    """
    rgb = np.asarray(image.convert("RGB")).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    clear = np.asarray(image.getchannel("A")) < 128 if image.mode == "RGBA" else np.zeros(rgb.shape, bool)
    if clear.any():
        rgb[clear] = 1 << 24 | rgb[clear][0]  # GIF has one transparent colour
    colours = np.unique(rgb)
    if len(colours) <= 256:
        index = np.searchsorted(colours, rgb).astype(np.uint8)
        palette = colours.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:].ravel().tolist()
    else:
        log.warning("%s: GIF holds 256 colours, the picture has more; all colours are now approximate", name)
        flat = image.convert("RGB").quantize(255)
        index = np.where(clear, 255, np.asarray(flat)).astype(np.uint8)
        palette = (flat.getpalette() or [])[:765]
        palette += [255] * (768 - len(palette))
    result = Image.fromarray(index).convert("P")
    result.putpalette(palette)
    return result, {"transparency": len(palette) // 3 - 1} if clear.any() else {}


def _clear_bmp(picture: Decoded) -> bytes:
    """A BMP file with alpha, which few programs read: only for pictures that came as one."""
    pixels = _pixels(picture, "<")[::-1, :, [2, 1, 0, 3]]
    height, width, _ = pixels.shape
    across, down = (round(v / 0.0254) for v in picture.extras.density or (96.0, 96.0))
    size, start = pixels.size, 14 + 108
    head = struct.pack("<2sI4xI", b"BM", start + size, start)
    head += struct.pack("<3I2H6I", 108, width, height, 1, 32, 3, size, across, down, 0, 0)
    head += struct.pack("<4I4s", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs")  # masks; colours are sRGB
    return head.ljust(start, b"\0") + pixels.tobytes()


def _deep_png(picture: Decoded, options: dict[str, Any]) -> bytes:
    """A PNG file of 16 bits: Pillow writes it with one pixel of 8 bits, whose header and pixels are replaced."""
    pixels = _pixels(picture, ">")
    height, width, channels = pixels.shape
    shell = _saved(Image.new("RGB" if channels == 3 else "RGBA", (1, 1)), "PNG", options)
    result, place = [shell[:8]], 8
    while place < len(shell):
        size, name = struct.unpack_from(">I4s", shell, place)
        if name == b"IHDR":
            result.append(_chunk(name, struct.pack(">2I5B", width, height, 16, 2 if channels == 3 else 6, 0, 0, 0)))
        elif name == b"IDAT":
            result.append(_chunk(name, _deflated(pixels, filtered=True)))
        else:
            result.append(shell[place : place + size + 12])
        place += size + 12
    return b"".join(result)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))


def _tiff(picture: Decoded, exif: Image.Exif) -> bytes:
    """A TIFF file without loss (deflate) of 8 or 16 bits; what stands in `exif` becomes its tags."""
    pixels = _pixels(picture, "<" if exif.endian == "<" else ">")
    height, width, channels = pixels.shape
    packed = _deflated(pixels, filtered=False)
    exif.update({256: width, 257: height, 258: (8 * pixels.itemsize,) * channels, 259: 8, 262: 2, 273: 0})
    exif.update({277: channels, 278: height, 279: len(packed), 317: 2})
    if channels == 4:
        exif[338] = 2
    if picture.icc:
        exif[34675] = picture.icc
    return exif.tobytes()[6:] + packed  # Pillow lets the offset of the pixels, tag 273, begin behind the tags


def _pixels(picture: Decoded, order: Literal["<", ">"]) -> npt.NDArray[Any]:
    """Pixels (H, W, 3 or 4) with their alpha."""
    layers = picture.rgb if picture.alpha is None else np.dstack([picture.rgb, picture.alpha])
    return layers.astype(layers.dtype.newbyteorder(order), copy=False)


def _deflated(pixels: npt.NDArray[Any], *, filtered: bool) -> bytes:
    """Differences of neighbours, deflated: of bytes with a filter's number before each row (PNG), or of numbers."""
    height, width, channels = pixels.shape
    deflate, result = zlib.compressobj(6), []
    rows = max(1, STRIP // (width * channels * pixels.itemsize))
    for top in range(0, height, rows):
        strip = np.ascontiguousarray(pixels[top : top + rows])
        if filtered:
            strip = strip.view(np.uint8).reshape(len(strip), width, -1)
        strip = np.concatenate([strip[:, :1], strip[:, 1:] - strip[:, :-1]], 1).astype(strip.dtype)
        if filtered:
            strip = np.insert(strip.reshape(len(strip), -1), 0, 1, axis=1)  # 1: each byte less the pixel's to the left
        result.append(deflate.compress(strip.tobytes()))
    return b"".join([*result, deflate.flush()])
