"""TIFF files of every layout, byte by byte, of known samples: written without any library, but for `tifffile`."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import tifffile

CODES = {1: "B", 3: "H", 4: "I", 16: "Q"}


def tiff(samples: np.ndarray, **options: object) -> bytes:
    """A TIFF file by `tifffile`; options are those of its `TiffWriter.write`, and `bigtiff` and `byteorder`."""
    file = io.BytesIO()
    whole = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    with tifffile.TiffWriter(file, **whole) as writer:
        writer.write(samples, metadata=None, **options)
    return file.getvalue()


def raw_tiff(pixels: bytes, tags: dict[int, tuple[int, list[int]]], order: str = "<", *, big: bool = False) -> bytes:
    """A TIFF file of one strip `pixels`; `tags` are (type, values), without those of the strip."""
    tags = {**tags, 273: (16 if big else 4, [0]), 279: (4, [len(pixels)])}
    inline, place = (8, "Q") if big else (4, "I")
    start = (16 + 8 + 20 * len(tags) + 8) if big else (8 + 2 + 12 * len(tags) + 4)
    body, far = b"", {}
    for tag, (kind, values) in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}{CODES[kind]}", *values)
        if len(data) > inline:
            far[tag] = start + len(body)
            body += data + bytes(len(data) % 2)
    tags[273] = (tags[273][0], [start + len(body)])
    table = b""
    for tag, (kind, values) in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}{CODES[kind]}", *values).ljust(inline, b"\0")
        data = struct.pack(f"{order}{place}", far[tag]) if tag in far else data
        table += struct.pack(f"{order}HH{place}", tag, kind, len(values)) + data
    head = b"II" if order == "<" else b"MM"
    if big:
        head += struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, len(tags)) + table + bytes(8)
    else:
        head += struct.pack(f"{order}HIH", 42, 8, len(tags)) + table + bytes(4)
    return head + body + pixels


def described(
    shape: tuple[int, int, int], bits: int, colours: int, **more: int | list[int]
) -> dict[int, tuple[int, list[int]]]:
    """Tags for `raw_tiff` of samples (H, W, S); `colours` is the photometric one, `more` are t<tag>=values."""
    height, width, count = shape
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * count), 259: (3, [1]), 262: (3, [colours])}
    tags |= {277: (3, [count]), 278: (4, [height])}
    for name, value in more.items():
        tags[int(name[1:])] = (3, value if isinstance(value, list) else [value])
    return tags


def packed(samples: np.ndarray, bits: int) -> bytes:
    """Samples (H, W, S) of any number of bits, each row filled up to whole bytes."""
    wide = samples.astype(">u4").view(np.uint8).reshape(*samples.shape, 4)
    rows = np.unpackbits(wide, axis=3)[..., 32 - bits :].reshape(len(samples), -1)
    return np.packbits(rows, axis=1).tobytes()


def lzw(data: bytes) -> bytes:
    """The bytes as LZW of TIFF that makes no use of a table: every code is a byte, and the table is often cleared."""
    codes = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def float_predicted(values: np.ndarray) -> bytes:
    """Floats (H, W, S) after the predictor of floating point, deflated."""
    height, width, count = values.shape
    size = values.dtype.itemsize
    big = values.astype(values.dtype.newbyteorder(">")).view(np.uint8).reshape(height, width * count, size)
    lanes = big.transpose(0, 2, 1).reshape(height, size * width, count).astype(np.int16)
    lanes[:, 1:] -= lanes[:, :-1].copy()
    return zlib.compress((lanes & 255).astype(np.uint8).tobytes())


def png(samples: np.ndarray, colour: int, bits: int, **chunks: bytes) -> bytes:
    """A PNG file of samples (H, W, S), without filters; `chunks` come before the pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    step = len(samples)
    rows = packed(samples, bits)
    width = len(rows) // step
    lines = b"".join(b"\0" + rows[i * width : (i + 1) * width] for i in range(step))
    head = struct.pack(">IIBBBBB", samples.shape[1], step, bits, colour, 0, 0, 0)
    more = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + more + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
