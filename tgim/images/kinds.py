"""Kinds of picture files: by their suffix, by their first bytes, and by what Pillow calls them."""

from __future__ import annotations

import contextlib
import re

from PIL import Image

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
PHONE = {".avif": "AVIF", **dict.fromkeys((".heic", ".heif", ".hif"), "HEIF")}  # opened, not written
FOREIGN = (
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
    (4, b"ftypavi", "an AVIF picture"),
    *((4, b"ftyp" + brand, "a HEIC picture") for brand in (b"hei", b"hev", b"mif1", b"msf1")),
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
    (0, b"II+\0", "a damaged TIFF file"),
    (0, b"MM\0+", "a damaged TIFF file"),
    (0, b"GIF8", "a damaged GIF file"),
    (0, b"BM", "a damaged BMP file"),
)


def format_of(image: Image.Image | None) -> str:
    """Choose one of FORMATS; pictures of other or no origin are saved as PNG. Pillow opens all but some TIFF files."""
    if image is None:
        return "TIFF"
    name = {"MPO": "JPEG"}.get(image.format or "", image.format or "")  # MPO: a JPEG with a second picture, from phones
    return name if name in FORMATS else "PNG"


def phone_kind(head: bytes) -> str:
    """Name a phone's kind of picture by its first bytes, "AVIF" or "HEIF"; empty for others."""
    return {"an AVIF picture": "AVIF", "a HEIC picture": "HEIF"}.get(kind_of(head), "")


def is_opened(kind: str) -> bool:
    """Test whether pictures of a phone's kind can be opened here: by Pillow, or by `pillow-heif`, which is an extra."""
    Image.init()
    if kind not in Image.OPEN:
        with contextlib.suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()
    return kind in Image.OPEN


def openers(head: bytes) -> tuple[str, ...]:
    """Pillow's names of the formats that a file may be opened as, by its first bytes."""
    phone = phone_kind(head)
    if not phone:
        return FORMATS
    return (phone,) if is_opened(phone) else ()


def advice_on(head: bytes) -> str:
    """Say what to do about a file that was not opened."""
    phone = phone_kind(head)
    if phone and not is_opened(phone):
        return 'pip install "tgim[phone]" opens it, or convert it first'
    return "fetch or export it again" if phone or "damaged" in kind_of(head) else "convert it first"


def suffixes() -> tuple[str, ...]:
    """Suffixes of the pictures that are opened here."""
    return (*SUFFIXES, *(suffix for suffix, kind in PHONE.items() if is_opened(kind)))


def kind_of(head: bytes) -> str:
    """Guess the kind of a file that is no picture from its first bytes."""
    for offset, signature, kind in SIGNATURES:
        if head[offset:].startswith(signature):
            return kind
    if b"<svg" in head.lower():
        return "an SVG drawing"
    if b"<html" in head.lower() or b"<!doctype html" in head.lower():
        return "a web page"
    return "a text file" if re.fullmatch(rb"[\t\n\r\x20-\x7e\x80-\xff]+", head) else "data of an unknown kind"
