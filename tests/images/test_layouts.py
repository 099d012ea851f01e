"""Pictures of every layout but TIFF's: what comes in is what was written, and what OpenCV reads where it reads it."""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from support.pictures import encoded, picture
from support.tiffs import png
from tgim.images.decode import Decoded, decode_file

cv2 = pytest.importorskip("cv2")
RGB = picture(24, 36)
GREY = RGB[..., 0]
ALPHA = np.tile(np.arange(0, 252, 7, dtype=np.uint8), (24, 1))


def read(data: bytes) -> Decoded:
    return decode_file(io.BytesIO(data), name="x")


def by_opencv(data: bytes) -> np.ndarray:
    """RGB or RGBA, in the file's own depth."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    if found.ndim == 2:
        return np.dstack([found] * 3)
    return found[..., [2, 1, 0, 3][: found.shape[2]]]


def assert_pixels(data: bytes, wanted: np.ndarray, *, off: int = 0, opencv: bool = True) -> None:
    """`wanted` is (H, W), (H, W, 3) or (H, W, 4); colours under no alpha at all do not count."""
    found = read(data)
    wanted = np.dstack([wanted] * 3) if wanted.ndim == 2 else wanted
    assert found.rgb.dtype == wanted.dtype
    assert np.abs(found.rgb.astype(int) - wanted[..., :3]).max() <= off
    assert (found.alpha is None) == (wanted.shape[2] == 3)
    if found.alpha is not None:
        assert np.array_equal(found.alpha, wanted[..., 3])
    if opencv:
        other = by_opencv(data)
        assert np.abs(other[..., :3].astype(int) - found.rgb).max() <= off
        if found.alpha is not None and other.shape[2] == 4:
            assert np.array_equal(other[..., 3], found.alpha)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_png(bits: int) -> None:
    samples = GREY.astype(np.uint16) * 257 >> (16 - bits)
    most, kind = (65535, np.uint16) if bits == 16 else (255, np.uint8)
    levels = np.rint(samples * (most / (2**bits - 1))).astype(kind)
    assert_pixels(png(samples[..., None], 0, bits), levels)
    key = int(samples[5, 20])  # of one grey that is transparent
    alpha = np.where(samples == key, 0, most).astype(kind)
    wanted = np.dstack([levels] * 3 + [alpha])
    found = read(png(samples[..., None], 0, bits, tRNS=struct.pack(">H", key)))
    assert np.array_equal(found.rgb[alpha > 0], wanted[..., :3][alpha > 0])
    assert found.alpha is not None
    assert np.array_equal(found.alpha > 0, alpha > 0)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [2, 4, 6])
def test_colour_png(colour: int, bits: int) -> None:
    inked = np.dstack([RGB, ALPHA]) if colour == 6 else RGB if colour == 2 else np.dstack([GREY, ALPHA])
    samples = inked if bits == 8 else inked.astype(np.uint16) << 8 | inked[::-1] ^ 0x5A
    wanted = np.dstack([samples[..., :1]] * 3 + [samples[..., 1:]]) if colour == 4 else samples
    assert_pixels(png(samples, colour, bits), wanted)
    if colour == 2:
        key = samples[3, 7]
        alpha = np.where((samples == key).all(2), 0, 2**bits - 1)
        keyed = read(png(samples, 2, bits, tRNS=struct.pack(">3H", *key.tolist())))
        assert np.array_equal(keyed.rgb, samples)
        assert keyed.alpha is not None
        assert np.array_equal(keyed.alpha > 0, alpha > 0)


def test_interlaced_png() -> None:
    """Written by hand: seven passes, each a small picture."""
    for samples, colour, bits in ((RGB, 2, 8), (RGB.astype(np.uint16) * 257 ^ 0x31, 2, 16)):
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        rows = b""
        for y, x, down, across in passes:
            for row in samples[y::down, x::across]:
                rows += b"\0" + row.astype(f">u{bits // 8}").tobytes()
        plain = bytearray(png(samples, colour, bits))
        plain[28] = 1
        plain[29:33] = struct.pack(">I", zlib.crc32(bytes(plain[12:29])))
        body = zlib.compress(rows)
        chunk = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
        data = bytes(plain[:33]) + chunk + bytes(plain[-12:])
        assert_pixels(data, samples)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_png(bits: int) -> None:
    index = GREY >> (8 - bits)
    palette = np.random.default_rng(0).integers(0, 256, (2**bits, 4), dtype=np.uint8)
    chunk = palette[:, :3].tobytes()
    assert_pixels(png(index[..., None], 3, bits, PLTE=chunk), palette[index][..., :3])
    clear = png(index[..., None], 3, bits, PLTE=chunk, tRNS=palette[:, 3].tobytes())
    assert_pixels(clear, palette[index])


def test_gif() -> None:
    image = Image.fromarray(RGB).quantize(32)
    wanted = np.asarray(image.convert("RGB"))
    assert_pixels(encoded(image, "GIF"), wanted)
    clear = np.where(np.asarray(image) == 3, 0, 255)
    found = read(encoded(image, "GIF", transparency=3, optimize=False))
    assert np.array_equal(found.rgb[clear > 0], wanted[clear > 0])
    assert np.array_equal(found.alpha, clear)
    moving = encoded(image, "GIF", save_all=True, append_images=[Image.new("P", image.size)])
    assert_pixels(moving, wanted, opencv=False)
    assert_pixels(encoded(image, "GIF", interlace=True), wanted)


def bmp(pixels: bytes, bits: int, masks: tuple[int, ...] = (), *, down: bool = False, version: int = 40) -> bytes:
    """A BMP file, rows padded already; with `masks` by bit fields."""
    height, width = GREY.shape
    compression = 3 if masks else 0
    head = struct.pack("<IiiHHIIiiII", version, width, -height if down else height, 1, bits, compression, 0, 0, 0, 0, 0)
    fields = b"".join(struct.pack("<I", mask) for mask in masks)
    head += fields.ljust(version - 40, b"\0") if version > 40 else fields
    return struct.pack("<2sIHHI", b"BM", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


@pytest.mark.parametrize("down", [False, True])
def test_bmp(down: bool) -> None:
    shown = RGB if down else RGB[::-1]
    alpha = ALPHA if down else ALPHA[::-1]
    blue = np.ascontiguousarray(shown[..., ::-1])
    assert_pixels(bmp(blue.tobytes(), 24, down=down), RGB)
    filled = np.dstack([blue, np.full_like(alpha, 255)])
    assert_pixels(bmp(filled.tobytes(), 32, down=down), RGB, opencv=False)
    for version, masks in ((56, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)), (108, (0xFF0000, 0xFF00, 0xFF, 0xFF000000))):
        data = bmp(np.dstack([blue, alpha]).tobytes(), 32, masks, down=down, version=version)
        assert_pixels(data, np.dstack([RGB, ALPHA]), opencv=False)
    for green in (5, 6):
        r, g, b = shown[..., 0] >> 3, shown[..., 1].astype(np.uint16) >> (8 - green), shown[..., 2] >> 3
        words = (r.astype(np.uint16) << (5 + green) | g << 5 | b).astype("<u2")
        masks = (0x1F << (5 + green), (2**green - 1) << 5, 0x1F)
        wanted = np.dstack([np.rint(r * (255 / 31)), np.rint(g * (255 / (2**green - 1))), np.rint(b * (255 / 31))])
        wanted = (wanted if down else wanted[::-1]).astype(np.uint8)
        assert_pixels(bmp(words.tobytes(), 16, masks, down=down), wanted, off=1, opencv=False)
        if green == 5:
            assert_pixels(bmp(words.tobytes(), 16, down=down), wanted, off=1, opencv=False)


def test_webp() -> None:
    inked = np.dstack([RGB, ALPHA])
    assert_pixels(encoded(Image.fromarray(inked), "WEBP", lossless=True, exact=True), inked)
    lossy = encoded(Image.fromarray(RGB), "WEBP", quality=90)
    assert np.abs(read(lossy).rgb.astype(int) - by_opencv(lossy)).max() <= 2
    clear = read(encoded(Image.fromarray(inked), "WEBP", quality=90))
    assert np.array_equal(clear.alpha, ALPHA)
    moving = encoded(
        Image.fromarray(RGB), "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (36, 24))]
    )
    assert_pixels(moving, RGB, opencv=False)


def without_segment(data: bytes, marker: int) -> bytes:
    """A JPEG file without its first segment `marker`."""
    start = data.index(bytes((0xFF, marker)))
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


def test_jpeg() -> None:
    smooth = Image.fromarray(RGB)
    for mode, options in itertools.product(("RGB", "L"), ({}, {"progressive": True}, {"subsampling": 0})):
        data = encoded(smooth.convert(mode), "JPEG", quality=95, **options)
        assert np.abs(read(data).rgb.astype(int) - by_opencv(data)).max() <= 3
    inks = smooth.convert("CMYK")
    data = encoded(inks, "JPEG", quality=95)
    for each in (data, without_segment(data, 0xEE)):  # all decoders take both for inverted
        assert np.abs(read(each).rgb.astype(int) - by_opencv(each)).max() <= 4
    plain = encoded(smooth, "JPEG", quality=98, keep_rgb=True)
    assert np.abs(read(plain).rgb.astype(int) - RGB).max() <= 6
