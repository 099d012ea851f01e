"""Pixels of pictures of any mode as RGB, with their alpha and their colour profile."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from tgim.errors import ImageError
from tgim.images import tiff
from tgim.images.tiff import Layout

Levels = npt.NDArray[Any]  # uint8 or uint16
STRIP = 2**20  # numbers that are worked on at a time
OVERSHOOT = 0.05  # of the largest number: floats below 0 by no more than this come of resampling


class Colours(NamedTuple):
    """A picture (H, W, 3) and its alpha (H, W), each uint8 or uint16, and the profile that the picture is in."""

    rgb: Levels
    alpha: Levels | None = None
    icc: bytes | None = None
    converted: bool = False  # to sRGB, from grey, CMYK or LAB


def of_image(image: Image.Image, deep: npt.NDArray[np.uint16] | None = None, *, step: int = 1) -> Colours:
    """Colours of a loaded PIL image; `deep` are those of `images.png.deep_pixels`, which it has to 8 bits.

    `step` lies between two greys of `images.png.grey_step`: Pillow tells the transparent grey as the file does.
    """
    icc, key = image.info.get("icc_profile") or None, image.info.get("transparency")
    if deep is not None:
        alpha = deep[..., -1].copy() if deep.shape[2] in (2, 4) else None
        rgb = deep[..., :1].repeat(3, 2) if deep.shape[2] == 2 else deep[..., :3]
        if alpha is None and isinstance(key, tuple):
            alpha = np.where((rgb == np.asarray(key)).all(2), 0, 65535).astype(np.uint16)
        return _profiled(rgb, alpha, icc)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        whole = image.mode != "F" and (image.mode != "I" or image.format == "PNG")
        grey = values.astype(np.uint16) if whole else ranged(values)
        keyed = np.where(values == key, 0, 255).astype(np.uint8) if isinstance(key, int) else None
        return _profiled(grey[..., None].repeat(3, 2), keyed, icc)
    opacity = None
    if image.mode in ("1", "L") and isinstance(key, int):
        clear = np.asarray(image) == (bool(key) if image.mode == "1" else key * step)
        opacity = np.where(clear, 0, 255).astype(np.uint8)
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or key is not None:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        opacity = np.asarray(image.getchannel("A"))
    if image.mode in ("CMYK", "LAB"):
        return Colours(np.asarray(_printed(image, icc)), opacity, converted=True)
    image = image if image.mode == "RGB" else image.convert("RGB")
    return _profiled(np.asarray(image), opacity, icc)


def of_samples(samples: npt.NDArray[Any], layout: Layout, icc: bytes | None) -> Colours:
    """Colours of a TIFF file's samples (H, W, S).

    Raises:
        ImageError: samples of which it is not known what colours they mean.
    """
    inks = {tiff.WHITE_IS_ZERO: 1, tiff.BLACK_IS_ZERO: 1, tiff.RGB: 3, tiff.CMYK: 4}.get(layout.colours, 0)
    if not 0 < inks <= samples.shape[2]:
        raise ImageError(
            f"is a TIFF file of colours {layout.colours} with {samples.shape[2]} samples of {layout.bits} bits, "
            "which is not read; save it as RGB"
        )
    colours = _scaled(samples[..., :inks], layout)
    alpha = None if layout.alpha is None else _scaled(samples[..., layout.alpha], layout)
    if layout.colours == tiff.WHITE_IS_ZERO:
        colours = np.iinfo(colours.dtype).max - colours
    if alpha is not None and alpha.dtype != colours.dtype:
        alpha = to_eight(alpha) if colours.dtype == np.uint8 else alpha.astype(np.uint16) * 257
    if layout.premultiplied and alpha is not None:
        colours = _divided(colours, alpha)
    if inks == 4:
        return Colours(np.asarray(_printed(Image.fromarray(to_eight(colours), "CMYK"), icc)), alpha, converted=True)
    return _profiled(colours.repeat(3, 2) if inks == 1 else colours, alpha, icc)


def ranged(values: npt.NDArray[Any]) -> Levels:
    """Levels of numbers whose range is not known; the ranges are told in `tgim.images.photo.open_image`."""
    low, high = np.inf, -np.inf
    for strip in _strips(values):
        finite = strip[np.isfinite(strip)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        raise ImageError("has no finite pixel; expected numbers")
    whole = values.dtype.kind != "f"
    largest = float(np.iinfo(values.dtype).max) if whole else 65535.0
    if whole and low < 0 and values.dtype.itemsize < 4:
        raise ImageError(f"has numbers below 0 ({low:g}), so it does not say what is black; save it as unsigned")
    tops = (255.0, *((65535.0,) if largest > 65535 else ()), *((largest,) if high > largest / 2 else ()))
    if not whole:
        typical = values[:: max(1, len(values) // 256)]
        typical = typical[np.isfinite(typical) & (typical > 0)]
        beyond = typical.size and float(np.median(typical)) > 1
        tops = (255.0, 65535.0) if beyond else (1.0,)
        if -OVERSHOOT * high <= low < 0:
            low = 0.0
        if not beyond and high > 1 and typical.size:  # lights brighter than white
            high = 1.0
    top = next((top for top in tops if low >= 0 and high <= top), None)
    base = 0.0 if top is not None else low
    top = top or max(high - low, 1e-12)
    kind, most = (np.uint8, 255) if whole and top == 255 else (np.uint16, 65535)
    result = np.empty(values.shape, kind)
    for into, strip in zip(_strips(result), _strips(values), strict=True):
        scaled = (strip.astype(np.float64) - base) * (most / top)
        into[...] = np.rint(np.nan_to_num(scaled, nan=0, posinf=most, neginf=0).clip(0, most))
    return result


def to_eight(levels: Levels) -> npt.NDArray[np.uint8]:
    """Levels of 16 bits as those of 8, rounded; those of 8 bits as they are.

    >>> to_eight(np.array([0, 128, 129, 65535], np.uint16)).tolist()
    [0, 0, 1, 255]
    """
    if levels.dtype == np.uint8:
        return levels
    result = np.empty(levels.shape, np.uint8)
    for into, strip in zip(_strips(result), _strips(levels), strict=True):
        into[...] = (strip.astype(np.uint32) + 128) // 257
    return result


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


def _profiled(rgb: Levels, alpha: Levels | None, icc: bytes | None) -> Colours:
    """Keep a profile for RGB, and apply one for grey."""
    space = _colour_space(icc)
    if space == "GRAY" and icc:
        light = Image.fromarray(np.ascontiguousarray(to_eight(rgb[..., 0])))
        converted = to_srgb(light, icc)
        return Colours(np.asarray(converted) if converted else rgb, alpha, converted=converted is not None)
    return Colours(rgb, alpha, icc if space == "RGB" else None)


def _printed(image: Image.Image, icc: bytes | None) -> Image.Image:
    """A CMYK or LAB picture as RGB."""
    if image.mode == "LAB":
        rgb = to_srgb(image, ImageCms.createProfile("LAB"))
        if rgb is None:
            raise ImageError("is a LAB picture, which this Pillow cannot convert; export it as RGB")
        return rgb
    return (to_srgb(image, icc) if icc and _colour_space(icc) == "CMYK" else None) or image.convert("RGB")


def _colour_space(icc: bytes | None) -> str | None:
    """``"RGB"``, ``"GRAY"``, ``"CMYK"``, ... of a profile; None if there is none that can be read."""
    if not icc:
        return None
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space).strip()
    except Exception:  # a broken profile is the same as none
        return None


def _scaled(samples: npt.NDArray[Any], layout: Layout) -> Levels:
    """Samples as levels: unsigned ones of up to 16 bits span their whole range."""
    if layout.kind != tiff.UNSIGNED or layout.bits > 16:
        return ranged(samples)
    most, kind = (255, np.uint8) if layout.bits <= 8 else (65535, np.uint16)
    top = 2**layout.bits - 1
    if top == most:
        return samples.astype(kind, copy=False)
    table: Levels = ((np.arange(top + 1, dtype=np.uint64) * most + top // 2) // top).astype(kind)
    return np.take(table, samples)


def _divided(colours: Levels, alpha: Levels) -> Levels:
    """Colours that were multiplied by their alpha, as they were before."""
    most = np.iinfo(colours.dtype).max
    result = np.empty_like(colours)
    for into, strip, weight in zip(_strips(result), _strips(colours), _strips(alpha), strict=True):
        weight = np.maximum(weight, 1).astype(np.uint64)[..., None]
        into[...] = np.minimum((strip.astype(np.uint64) * most + weight // 2) // weight, most)
    return result


def _strips(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Cut an array (H, W, ...) into bands of rows, so that numbers on the way to the levels take little memory."""
    step = max(1, STRIP // max(1, array[0].size))
    for start in range(0, len(array), step):
        yield array[start : start + step]
