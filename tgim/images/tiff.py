"""TIFF files whose samples Pillow does not read, or reads wrongly: deep, planar, white-is-zero, floating point.

Written after the TIFF 6.0 specification (Adobe, 1992) and its supplements for BigTIFF, predictors of floating point and
deflate. Compressed strips are inflated by zlib, or by the libtiff inside Pillow, which is shown each of them as a small
grey picture. Nothing here knows what the numbers mean: `images.pixels` makes colours of them.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from tgim.errors import ImageError

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, COLOURS, FILL = 254, 256, 257, 258, 259, 262, 266
OFFSETS, SAMPLES, ROWS, COUNTS, PLANAR, PREDICTOR, TURN = 273, 277, 278, 279, 284, 317, 274
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, SUBFILES = 322, 323, 324, 325, 330
INKS, EXTRA, KIND, THINNED, PROFILE, DNG = 332, 338, 339, 530, 34675, 50706
WANTED = {SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, COLOURS, FILL, OFFSETS, SAMPLES, ROWS, COUNTS, PLANAR, PREDICTOR}
WANTED |= {TURN, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, SUBFILES, INKS, EXTRA, KIND, THINNED, PROFILE, DNG}
TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
UNSIGNED, SIGNED, FLOAT = 1, 2, 3  # values of KIND
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8  # values of COLOURS
STORED, DEFLATE = 1, (8, 32946)
BY_LIBTIFF = (5, 32773, 34925, 50000)  # LZW, PackBits, LZMA, Zstandard
NAMES = {6: "old JPEG", 7: "JPEG", 34712: "JPEG 2000", 50001: "WebP", 50002: "JPEG XL"}
MOST = 2**30  # bytes of all samples
MOST_VALUES = 2**22  # of a tag
MOST_BLOCKS = 2**19  # strips or tiles


class Layout(NamedTuple):
    """The first picture of a TIFF file: where its samples lie, and of what kind they are."""

    order: str  # "<" or ">"
    tags: dict[int, tuple[int, ...]]
    more: bool = False  # other pictures follow

    def one(self, tag: int, default: int = 0) -> int:
        """The first value of a tag."""
        return (self.tags.get(tag) or (default,))[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as they are stored."""
        return self.one(WIDTH), self.one(HEIGHT)

    @property
    def samples(self) -> int:
        """Samples of a pixel."""
        return self.one(SAMPLES, 1)

    @property
    def bits(self) -> int:
        """Bits of a sample; 0 where samples differ."""
        found = set(self.tags.get(BITS) or (1,))
        return found.pop() if len(found) == 1 else 0

    @property
    def kind(self) -> int:
        """UNSIGNED, SIGNED or FLOAT; 0 where samples differ, or for another."""
        found = set(self.tags.get(KIND) or (UNSIGNED,)) or {UNSIGNED}
        found = {UNSIGNED if each == 4 else each for each in found}  # 4: not said
        return found.pop() if len(found) == 1 else 0

    @property
    def colours(self) -> int:
        """WHITE_IS_ZERO, RGB, ..."""
        return self.one(COLOURS, -1)

    @property
    def alpha(self) -> int | None:
        """The index of the sample that is an alpha."""
        inks = {RGB: 3, CMYK: 4}.get(self.colours, 1)
        extra = self.tags.get(EXTRA, (2,) if self.colours == RGB and self.samples == 4 else ())
        return next((inks + i for i, each in enumerate(extra) if each in (1, 2, 999) and inks + i < self.samples), None)

    @property
    def premultiplied(self) -> bool:
        """True where colours are multiplied by the alpha."""
        return self.alpha is not None and 1 in self.tags.get(EXTRA, ())

    @property
    def plain(self) -> bool:
        """True for what Pillow reads rightly."""
        if self.colours in (YCBCR, LAB):
            return True
        if self.kind != UNSIGNED or not (self.bits == 8 or (self.bits in (1, 2, 4) and self.samples == 1)):
            return False
        return self.one(PLANAR, 1) != 2 or self.samples == 1 or (self.samples, self.colours) == (3, RGB)

    @property
    def fault(self) -> str:
        """Say why the picture is not read, neither by Pillow nor here; empty for others."""
        thumbnail = self.one(SUBFILE) & 1 and SUBFILES in self.tags
        if DNG in self.tags or self.colours in (32803, 34892) or thumbnail:
            return "is a camera's raw file, of which a thumbnail would be read; develop it first"
        if self.colours in (YCBCR, LAB) and self.one(PLANAR, 1) == 2:
            return "is a TIFF file of YCbCr or Lab in planes, which is not read; save it as RGB"
        if self.colours == YCBCR and self.one(COMPRESSION, 1) == STORED and self.tags.get(THINNED, (2, 2)) != (1, 1):
            return "is a TIFF file of thinned YCbCr without compression, which is not read; save it as RGB"
        if self.colours == CMYK and self.one(INKS, 1) != 1:
            return "is a TIFF file of other inks than CMYK, which is not read; save it as RGB"
        return ""


def read_layout(file: BinaryIO) -> Layout | None:
    """Read the tags of a file's first picture; None for a file that is no TIFF, or whose tags are broken."""
    try:
        file.seek(0)
        return _read_layout(file)
    except (struct.error, OverflowError, KeyError):
        return None
    finally:
        file.seek(0)


def _read_layout(file: BinaryIO) -> Layout | None:
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        return None
    version = struct.unpack(f"{order}H", head[2:4])[0]
    if version not in (42, 43):
        return None
    big = version == 43
    place = struct.unpack(f"{order}{'Q' if big else 'I'}", head[8:16] if big else head[4:8])[0]
    file.seek(place)
    count = struct.unpack(f"{order}{'Q' if big else 'H'}", file.read(8 if big else 2))[0]
    entry, inline = ("HHQ8s", 8) if big else ("HHI4s", 4)
    step = struct.calcsize(f"{order}{entry}")
    table = file.read(min(count, 4096) * step)
    more = any(file.read(8 if big else 4))
    tags = {}
    for start in range(0, len(table) - step + 1, step):
        tag, kind, values, data = struct.unpack_from(f"{order}{entry}", table, start)
        if tag not in WANTED or kind not in TYPES or values > MOST_VALUES:
            continue
        form = f"{order}{values}{TYPES[kind]}"
        length = struct.calcsize(form)
        if length > inline:
            file.seek(struct.unpack(f"{order}{'Q' if big else 'I'}", data)[0])
            data = file.read(length)
        tags[tag] = struct.unpack(form, data[:length])
    return Layout(order, tags, more) if tags.get(WIDTH) and tags.get(HEIGHT) else None


def read_samples(file: BinaryIO, layout: Layout) -> npt.NDArray[Any]:
    """Read the samples (H, W, S) of a file's first picture, as numbers of their own kind and range.

    Raises:
        ImageError: a layout that is not known, or a file that ends before its pixels do.
    """
    width, height = layout.size
    count, kind = layout.samples, _number(layout)
    if count < 1 or width * height * count * kind.itemsize > MOST:
        size = f"{width * height * count * kind.itemsize:,} bytes"
        raise ImageError(f"holds {count} samples a pixel, {size} in all; at most {MOST:,} are read: save it as RGB")
    found = np.zeros((height, width, count), kind.newbyteorder("="))
    planes = layout.one(PLANAR, 1) == 2
    tiled = TILE_OFFSETS in layout.tags
    rows = layout.one(TILE_HEIGHT) if tiled else min(layout.one(ROWS, height), height)
    columns = layout.one(TILE_WIDTH) if tiled else width
    each = 1 if planes else count
    if rows < 1 or columns < 1 or rows * columns * each * kind.itemsize > MOST:
        raise ImageError(f"is a TIFF file in blocks of {columns}x{rows}, which cannot be; export it again")
    blocks = math.ceil(height / rows) * math.ceil(width / columns) * (count if planes else 1)
    if blocks > MOST_BLOCKS:
        raise ImageError(f"is a TIFF file in {blocks:,} blocks, at most {MOST_BLOCKS:,} are read; export it again")
    pieces = _pieces(file, layout, tiled, 4096 + 4 * rows * columns * each * kind.itemsize)
    for plane in range(count if planes else 1):
        into = found[..., plane : plane + 1] if planes else found
        for top in range(0, height, rows):
            here = rows if tiled else min(rows, height - top)
            for left in range(0, width, columns):
                data = next(pieces, None)
                if data is None:
                    raise ImageError(
                        "is a truncated or damaged TIFF file (strips are missing); fetch or export it again"
                    )
                block = _block(data, layout, (here, columns, each))
                shown = into[top : top + here, left : left + columns]
                shown[...] = block[: shown.shape[0], : shown.shape[1]]
    return found


def _number(layout: Layout) -> np.dtype[Any]:
    """The kind of number that a sample is kept as."""
    bits, kind = layout.bits, layout.kind
    if kind == FLOAT and bits in (16, 32, 64):
        return np.dtype(f"{layout.order}f{bits // 8}")
    if kind in (UNSIGNED, SIGNED) and bits in (8, 16, 32, 64):
        return np.dtype(f"{layout.order}{'u' if kind == UNSIGNED else 'i'}{bits // 8}")
    if kind == UNSIGNED and 1 <= bits < 32:
        return np.dtype(f"=u{1 if bits <= 8 else 2 if bits <= 16 else 4}")
    shown = ", ".join(map(str, layout.tags.get(BITS, ())[:8]))
    what = {FLOAT: "floating point", SIGNED: "signed"}.get(kind, "unsigned" if kind == UNSIGNED else "unknown")
    raise ImageError(f"has samples of {shown} bits ({what}), which are not read; save it with 8 or 16 bits a channel")


def _pieces(file: BinaryIO, layout: Layout, tiled: bool, most: int) -> Iterator[bytes]:
    """Yield the strips or tiles as they are stored, no more than `most` bytes of each, bits in their usual order."""
    offsets = layout.tags.get(TILE_OFFSETS if tiled else OFFSETS, ())
    counts = layout.tags.get(TILE_COUNTS if tiled else COUNTS, ())
    if len(offsets) == 1 and not counts:
        counts = (most,)  # all the rest
    for offset, count in zip(offsets, counts, strict=False):
        file.seek(offset)
        data = file.read(min(count, most))
        if layout.one(FILL, 1) == 2:
            flipped = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)), bitorder="little")
            data = flipped.tobytes()
        yield data


def _block(data: bytes, layout: Layout, shape: tuple[int, int, int]) -> npt.NDArray[Any]:
    """Decode a strip or tile to samples (rows, columns, S)."""
    rows, columns, each = shape
    kind = _number(layout)
    length = math.ceil(columns * each * layout.bits / 8)  # bytes of a row
    flat = _unpacked(data, layout, rows, length)
    predictor = layout.one(PREDICTOR, 1)
    if predictor == 3 and layout.kind == FLOAT:
        lanes = flat.reshape(rows, columns * kind.itemsize, each).cumsum(1, dtype=np.uint8)
        lanes = lanes.reshape(rows, kind.itemsize, columns * each)
        flat = np.ascontiguousarray(lanes.transpose(0, 2, 1)).reshape(-1)
        return flat.view(kind.newbyteorder(">")).reshape(shape)
    if kind.itemsize * 8 == layout.bits:
        found = flat.view(kind).reshape(shape)
    else:
        bits = np.unpackbits(flat.reshape(rows, length), axis=1)[:, : columns * each * layout.bits]
        bits = bits.reshape(rows, columns * each, layout.bits)
        found = np.zeros((rows, columns * each), kind)
        for place in range(layout.bits):
            found = found << 1 | bits[..., place]
        found = found.reshape(shape)
    if predictor == 2 and kind.itemsize * 8 == layout.bits and layout.kind != FLOAT:
        return found.cumsum(1, dtype=kind.newbyteorder("="))
    if predictor != 1:
        raise ImageError(f"is a TIFF file with predictor {predictor}, which is not read here; save it uncompressed")
    return found


def _unpacked(data: bytes, layout: Layout, rows: int, length: int) -> npt.NDArray[np.uint8]:
    """Decompress a strip or tile of `rows` rows of `length` bytes."""
    how, wanted = layout.one(COMPRESSION, 1), rows * length
    if how in BY_LIBTIFF:
        entries = [(256, 4, length), (257, 4, rows), (258, 3, 8), (259, 3, how), (262, 3, 1), (273, 4, 134)]
        entries += [(277, 3, 1), (278, 4, rows), (279, 4, len(data)), (284, 3, 1)]
        table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
        head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)
        return np.asarray(Image.open(io.BytesIO(head + data), formats=("TIFF",))).reshape(-1)
    if how in DEFLATE:
        data = zlib.decompressobj().decompress(data, wanted)
    elif how != STORED:
        raise ImageError(
            f"is a TIFF file of {layout.bits} bits compressed by {NAMES.get(how, f'method {how}')}, which is not read; "
            "save it with LZW, ZIP or no compression"
        )
    if len(data) < wanted:
        raise ImageError("is a truncated or damaged TIFF file (pixels are missing); fetch or export it again")
    return np.frombuffer(data, np.uint8, wanted)
