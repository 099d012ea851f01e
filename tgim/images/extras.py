"""Belongings of a picture file beside its pixels: density, colours told without a profile, losslessness, frames."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from tgim.images.colour import COLOUR_CHUNKS, Chunks, told_by_chunks, told_by_code, told_by_exif
from tgim.images.tiff import Layout

PER_INCH = {2: 1.0, 3: 2.54}  # of EXIF, TIFF: unit of density -> factor to dots per inch
X_DENSITY, Y_DENSITY, DENSITY_UNIT = 282, 283, 296
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
PARTS = {"TIFF": "pages", "MPO": "pictures", "HEIF": "pictures"}  # else frames
LOOK_FOR = 2**16  # bytes in which an AVIF or HEIF file tells its colours


class Extras(NamedTuple):
    """Belongings of a picture that stay when its pixels are edited, and notes of those that do not."""

    density: tuple[float, float] | None = None  # dots per inch, across and down
    chunks: Chunks = ()  # PNG's own words for its colours, written into another PNG in place of a profile
    icc: bytes | None = None  # the profile of a file that has none, made of its chunks, EXIF or code points
    lossless: bool = False  # a WebP file without loss
    notes: tuple[str, ...] = ()  # what the file holds that an edit leaves out, each after "<name> "

    def completed(
        self, image: Image.Image | None, file: BinaryIO | None, icc: bytes | None, *, converted: bool
    ) -> tuple[bytes | None, Extras]:
        """The profile of the pixels, and this with what a file's EXIF block says.

        Args:
            image: is loaded, as before Pillow has not read every block; None for a TIFF file that it does not know.
            file: of the picture, if it is there.
            icc: the file's own profile, if pixels are in it.
            converted: pixels are sRGB, whatever the file says.
        """
        told, density = self.icc, None
        with contextlib.suppress(Exception):  # hostile blocks make readers raise anything
            exif = Image.Exif() if image is None else image.getexif()
            if image is None and file is not None:
                file.seek(0)
                exif.load_from_fp(file)
            told = told or (None if self.chunks else told_by_exif(exif))
            density = _density("TIFF" if image is None else image.format, {} if image is None else image.info, exif)
        if converted:
            return None, self._replace(density=density, chunks=(), icc=None)
        return icc or told, self._replace(density=density, icc=told)


def read_extras(image: Image.Image | None, file: BinaryIO | None, layout: Layout | None) -> Extras:
    """Read what is beside the pixels of a picture that is not loaded yet; its `file` stands where it stood.

    Whatever is broken counts as not there: the picture itself may be fine.
    """
    place = file.tell() if file is not None else 0
    found = Extras()
    with contextlib.suppress(Exception):  # as above
        if image is not None:
            found = _read_extras(image, file)
        found = found._replace(notes=tuple(_notes(image, file, layout)))
    if file is not None:
        file.seek(place)
    return found


def _read_extras(image: Image.Image, file: BinaryIO | None) -> Extras:
    if image.format == "PNG":
        chunks = tuple(_remembered(image.info) if file is None else _colour_chunks(file))
        return Extras(chunks=chunks, icc=told_by_chunks(chunks))
    if image.format == "WEBP" and file is not None:
        return Extras(lossless=_is_lossless(file))
    code = _box(image, file, b"colrnclx", 4)
    return Extras(icc=told_by_code(*struct.unpack(">HH", code)) if code else None)


def _notes(image: Image.Image | None, file: BinaryIO | None, layout: Layout | None) -> Iterator[str]:
    """Say what of a file is left out."""
    kind = "TIFF" if image is None else image.format or ""
    frames = image is not None and (getattr(image, "is_animated", False) or getattr(image, "n_frames", 1) > 1)
    if frames or (layout is not None and layout.more):
        which = "one" if image is not None and image.tell() else "the first"
        yield f"has several {PARTS.get(kind, 'frames')}; {which} is edited, and the others are left out"
    if layout is not None and layout.bits > 16:
        yield f"has {layout.bits} bits a channel; 16 are kept"
    flags = _box(image, file, b"av1C", 3)
    if (flags and flags[2] & 0x40) or (image is not None and image.info.get("bit_depth", 8) > 8):
        yield "has more than 8 bits a channel; 8 are kept"


def _box(image: Image.Image | None, file: BinaryIO | None, name: bytes, length: int) -> bytes:
    """The beginning of a box of an AVIF or HEIF file; empty where there is none."""
    if image is None or image.format not in ("AVIF", "HEIF") or file is None:
        return b""
    file.seek(0)
    content = file.read(LOOK_FOR).partition(name)[2][:length]
    return content if len(content) == length else b""


def _colour_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield a PNG's colour chunks, which stand before its pixels; of equal ones the first."""
    file.seek(8)
    wanted = set(COLOUR_CHUNKS)
    while len(head := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        if name in (b"IDAT", b"IEND"):
            return
        if name in wanted and size <= 32:
            wanted.remove(name)
            yield name, file.read(size)
            file.seek(4, 1)
        else:
            file.seek(size + 4, 1)


def _remembered(info: dict[Any, Any]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the colour chunks that Pillow remembers of a PNG whose file is closed."""
    if isinstance(srgb := info.get("srgb"), int):
        yield b"sRGB", bytes([srgb])
    if isinstance(gamma := info.get("gamma"), float):
        yield b"gAMA", struct.pack(">I", round(gamma * 1e5))
    if len(points := info.get("chromaticity", ())) == 8:
        yield b"cHRM", struct.pack(">8I", *(round(v * 1e5) for v in points))


def _is_lossless(file: BinaryIO) -> bool:
    """Test whether the first picture of a WebP file is coded without loss."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name in (b"VP8 ", b"VP8L"):
            return bool(name == b"VP8L")
        file.seek(16 if name == b"ANMF" else size + size % 2, 1)  # into a frame, past anything else
    return False


def _density(kind: str | None, info: dict[Any, Any], exif: Image.Exif) -> tuple[float, float] | None:
    """Dots per inch of the upright picture; None where the file says none, or one that cannot be."""
    found: Any = None
    if kind in ("PNG", "BMP"):
        found = info.get("dpi")
    elif info.get("jfif_unit") in (1, 2):
        unit = 2.54 if info["jfif_unit"] == 2 else 1.0
        found = [unit * float(v) for v in info["jfif_density"]]
    if found is None and (unit := PER_INCH.get(exif.get(DENSITY_UNIT, 2), 0.0)) and X_DENSITY in exif:
        found = [unit * float(exif[X_DENSITY]), unit * float(exif.get(Y_DENSITY, exif[X_DENSITY]))]
    if found is None:
        return None
    x, y = map(float, found)
    if not (0.5 <= x <= 65535 and 0.5 <= y <= 65535):
        return None
    return (y, x) if exif.get(0x0112) in TURNED else (x, y)
