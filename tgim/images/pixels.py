"""Pixels of a loaded PIL image of any mode as upright RGB, with their alpha and their colour profile."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tgim.errors import ImageError


def to_rgb(image: Image.Image) -> tuple[Image.Image, Image.Image | None, bytes | None]:
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
