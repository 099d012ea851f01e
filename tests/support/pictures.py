"""Pictures of known pixels, as arrays, as bytes of files, and back."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from tgim.images.photo import Photo, to_uint8

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(h: int = 24, w: int = 36) -> np.ndarray:
    """A smooth picture without symmetry, (h, w, 3) uint8."""
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([255 * x / max(w - 1, 1), 200 * y / max(h - 1, 1), 90 + 0 * x], -1).round().astype(np.uint8)


def noise(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """The same random picture at every call; `size` is width and height."""
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb(photo: Photo) -> np.ndarray:
    return to_uint8(photo.tensor).permute(1, 2, 0).numpy()
