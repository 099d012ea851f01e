"""TIFF files of every layout: each comes in with the pixels that were written, or is refused in one line."""

from __future__ import annotations

import io
import itertools
import zlib

import numpy as np
import pytest
from PIL import Image

from support.pictures import encoded
from support.tiffs import described, float_predicted, lzw, packed, raw_tiff, tiff
from tgim.errors import ImageError
from tgim.images.decode import Decoded, decode_file, decode_image, upright_size

H, W = 35, 53
Y, X = np.mgrid[0:H, 0:W]
GREY = ((X * 4 + Y) % 256).astype(np.uint8)
RGB = np.dstack([GREY, Y * 6 % 256, (X + Y) * 2 % 256]).astype(np.uint8)
ALPHA = (X * 5 % 256).astype(np.uint8)
INKED = np.dstack([RGB, ALPHA])


def deep(levels: np.ndarray) -> np.ndarray:
    """Levels of 16 bits whose lower bytes are not the upper ones."""
    return (levels.astype(np.uint16) << 8) | (levels[::-1] ^ 0x5A)


def read(data: bytes) -> Decoded:
    return decode_file(io.BytesIO(data), name="x.tif")


def assert_pixels(data: bytes, wanted: np.ndarray, alpha: np.ndarray | None = None, *, off: int = 0) -> None:
    found = read(data)
    wanted = np.dstack([wanted] * 3) if wanted.ndim == 2 else wanted
    assert found.rgb.dtype == wanted.dtype
    assert found.rgb.shape == wanted.shape
    assert np.abs(found.rgb.astype(int) - wanted).max() <= off
    assert (found.alpha is None) == (alpha is None)
    if alpha is not None and found.alpha is not None:
        assert np.array_equal(found.alpha, alpha)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("colours", ["minisblack", "miniswhite"])
def test_grey(colours: str, order: str) -> None:
    for levels, top in ((GREY, 255), (deep(GREY), 65535)):
        stored = levels if colours == "minisblack" else (top - levels).astype(levels.dtype)
        assert_pixels(tiff(stored, photometric=colours, byteorder=order), levels)
        assert_pixels(tiff(stored, photometric=colours, byteorder=order, tile=(16, 32)), levels)
    bits = GREY > 100
    stored = bits if colours == "minisblack" else ~bits
    plain = raw_tiff(np.packbits(stored, axis=1).tobytes(), described((H, W, 1), 1, colours == "minisblack"), order)
    assert_pixels(plain, (bits * 255).astype(np.uint8))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
def test_odd_numbers_of_bits(bits: int, order: str) -> None:
    samples = deep(RGB) >> (16 - bits)
    most, kind = (255, np.uint8) if bits <= 8 else (65535, np.uint16)
    wanted = np.rint(samples * (most / (2**bits - 1))).astype(kind)
    assert_pixels(raw_tiff(packed(samples, bits), described((H, W, 3), bits, 2), order), wanted)
    grey = samples[..., :1]
    assert_pixels(raw_tiff(packed(grey, bits), described((H, W, 1), bits, 1), order), wanted[..., 0])
    white = raw_tiff(packed(2**bits - 1 - grey, bits), described((H, W, 1), bits, 0), order)
    assert_pixels(white, wanted[..., 0])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("packing", ["none", "deflate", "predicted"])
def test_colours(packing: str, planes: str, tile: tuple[int, int] | None, order: str) -> None:
    options = {"compression": None if packing == "none" else "zlib", "predictor": packing == "predicted" or None}
    for levels in (RGB, deep(RGB)):
        stored = levels if planes == "contig" else np.ascontiguousarray(levels.transpose(2, 0, 1))
        data = tiff(stored, photometric="rgb", planarconfig=planes, tile=tile, byteorder=order, **options)
        assert_pixels(data, levels)


def test_bigtiff() -> None:
    for order in "<>":
        for levels in (RGB, deep(RGB)):
            assert_pixels(tiff(levels, photometric="rgb", bigtiff=True, byteorder=order), levels)


@pytest.mark.parametrize("kind", [5, 8, 32773, 32946])
def test_compressions_of_deep_samples(kind: int) -> None:
    levels = deep(RGB)
    data = levels.astype("<u2").tobytes()
    runs = b"".join(bytes([len(part) - 1]) + part for part in (data[i : i + 100] for i in range(0, len(data), 100)))
    stored = {5: lzw, 32773: lambda _: runs}.get(kind, zlib.compress)(data)
    assert_pixels(raw_tiff(stored, described((H, W, 3), 16, 2, t259=kind)), levels)


def test_reversed_bits() -> None:
    for samples, bits, wanted in ((GREY[..., None], 8, GREY), (deep(GREY)[..., None], 16, deep(GREY))):
        data = np.frombuffer(packed(samples, bits), np.uint8)
        flipped = np.packbits(np.unpackbits(data), bitorder="little").tobytes()
        assert_pixels(raw_tiff(flipped, described((H, W, 1), bits, 1, t266=2), ">"), wanted)


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_extra_samples(extra: str, planes: bool) -> None:
    for levels, alpha, top in ((RGB, ALPHA, 255), (deep(RGB), deep(ALPHA), 65535)):
        own = levels
        if extra == "assocalpha":
            own = np.rint(levels * (alpha[..., None] / top)).astype(levels.dtype)
        for colours, shown in (("rgb", own), ("minisblack", own[..., :1])):
            stored = np.dstack([shown, alpha])
            stored = np.ascontiguousarray(stored.transpose(2, 0, 1)) if planes else stored
            data = tiff(
                stored, photometric=colours, extrasamples=[extra], planarconfig="separate" if planes else "contig"
            )
            found = read(data)
            wanted = levels if colours == "rgb" else np.dstack([levels[..., 0]] * 3)
            assert (found.alpha is None) == (extra == "unspecified")
            if found.alpha is not None:
                assert np.array_equal(found.alpha, alpha)
            seen = alpha > top // 2 if extra == "assocalpha" else alpha >= 0
            assert found.rgb.dtype == levels.dtype
            assert np.abs(found.rgb.astype(int) - wanted)[seen].max() <= (2 if extra == "assocalpha" else 0)


def test_more_samples_than_colours() -> None:
    six = np.dstack([RGB, ALPHA, GREY, GREY])
    assert_pixels(tiff(six, photometric="rgb", extrasamples=["unspecified"] * 3), RGB)
    five = six[..., :5]
    assert_pixels(tiff(five, photometric="rgb", extrasamples=["unassalpha", "unspecified"]), RGB, ALPHA)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats(kind: type) -> None:
    off = 40 if kind is np.float16 else 1
    levels = deep(RGB)
    colours = (levels / 65535).astype(kind)
    for order in "<>":
        assert_pixels(tiff(colours, photometric="rgb", byteorder=order), levels, off=off)
    assert_pixels(tiff(colours[..., 0], photometric="minisblack"), levels[..., 0], off=off)
    assert_pixels(tiff((1 - colours[..., 0]).astype(kind), photometric="miniswhite"), levels[..., 0], off=off)
    bits = 8 * np.dtype(kind).itemsize
    tags = described((H, W, 3), bits, 2, t259=8, t317=3, t339=[3, 3, 3])
    assert_pixels(raw_tiff(float_predicted(colours), tags), levels, off=off)


def test_floats_brighter_than_white_stay_bright() -> None:
    colours = RGB.astype(np.float32) / 255
    colours[3:6, 3:6] = 7.5
    wanted = (RGB.astype(np.uint16) * 257).copy()
    wanted[3:6, 3:6] = 65535
    assert_pixels(tiff(colours, photometric="rgb"), wanted)
    assert_pixels(tiff(RGB.astype(np.float32), photometric="rgb"), RGB.astype(np.uint16) * 257)


def test_integers_of_other_sizes() -> None:
    wide = GREY.astype(np.uint32) * 16843009
    wanted = GREY.astype(np.uint16) * 257
    assert_pixels(tiff(wide, photometric="minisblack"), wanted)
    assert_pixels(tiff(2**32 - 1 - wide, photometric="miniswhite"), wanted)
    assert_pixels(tiff(RGB.astype(np.uint32) * 16843009, photometric="rgb"), RGB.astype(np.uint16) * 257)
    assert_pixels(tiff(GREY.astype(np.uint32), photometric="minisblack"), GREY)
    assert_pixels(tiff(GREY.astype(np.uint64), photometric="minisblack"), GREY)
    assert_pixels(tiff(GREY.astype(np.int16), photometric="minisblack"), GREY)
    half = (GREY.astype(np.int16) << 7) | (GREY >> 1)
    assert_pixels(tiff(half, photometric="minisblack"), np.rint(half * (65535 / 32767)).astype(np.uint16))


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_numbers_below_zero_are_refused(kind: type) -> None:
    data = tiff((GREY.astype(int) - 100).clip(-100, 100).astype(kind), photometric="minisblack")
    with pytest.raises(ImageError, match="below 0"):
        read(data)


def test_palettes() -> None:
    palette = np.random.default_rng(1).integers(0, 256, (256, 3)) * 257
    wanted = (palette[GREY] // 257).astype(np.uint8)
    assert_pixels(tiff(GREY, photometric="palette", colormap=palette.T.astype(np.uint16)), wanted)
    for bits in (1, 2, 4):
        index, few = GREY >> (8 - bits), palette[: 2**bits]
        tags = described((H, W, 1), bits, 3, t320=few.T.ravel().tolist())
        assert_pixels(raw_tiff(packed(index[..., None], bits), tags), (few[index] // 257).astype(np.uint8))
    tags = described((H, W, 2), 8, 3, t320=palette.T.ravel().tolist(), t338=2)
    assert_pixels(raw_tiff(np.dstack([GREY, ALPHA]).tobytes(), tags), wanted, ALPHA)


@pytest.mark.parametrize("planes", [False, True])
def test_inks(planes: bool) -> None:
    wanted = np.asarray(Image.fromarray(INKED, "CMYK").convert("RGB"))
    for levels in (INKED, INKED.astype(np.uint16) * 257):
        stored = np.ascontiguousarray(levels.transpose(2, 0, 1)) if planes else levels
        planar = "separate" if planes else "contig"
        assert_pixels(tiff(stored, photometric="separated", planarconfig=planar), wanted)


@pytest.mark.parametrize("thinned", [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_ycbcr(thinned: tuple[int, int]) -> None:
    across, down = thinned
    rgb = np.kron(np.random.default_rng(0).integers(60, 190, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    ycc = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    data = b""
    for y, x in itertools.product(range(0, 32, down), range(0, 32, across)):
        data += ycc[y : y + down, x : x + across, 0].tobytes() + ycc[y, x, 1:].tobytes()
    tags = described(rgb.shape, 8, 6, t530=list(thinned))
    packed_file = raw_tiff(zlib.compress(data), {**tags, 259: (3, [8])})
    assert_pixels(packed_file, rgb, off=3)
    if thinned == (1, 1):
        assert_pixels(raw_tiff(data, tags), rgb, off=3)
        return
    for stored in (data, data + bytes(4000)):
        with pytest.raises(ImageError, match="thinned YCbCr"):
            read(raw_tiff(stored, tags))


@pytest.mark.parametrize("tags", [{"t262": 6, "t530": [1, 1], "t284": 2}, {"t262": 8, "t284": 2}])
def test_planes_of_other_colours_are_refused(tags: dict[str, int | list[int]]) -> None:
    with pytest.raises(ImageError, match="in planes"):
        read(raw_tiff(RGB.tobytes(), described((H, W, 3), 8, 2, **tags)))


def test_lab() -> None:
    lab = np.zeros((4, 6, 3), np.uint8)
    lab[..., 0] = 128
    lab[:, 3:, 1] = 40
    found = read(raw_tiff(lab.tobytes(), described(lab.shape, 8, 8))).rgb.astype(int)
    assert np.abs(found[:, :3] - 119).max() <= 3  # L* of 50
    assert (found[:, 3:, 0] > found[:, 3:, 1] + 30).all()  # a* of 40 is towards red


def test_only_the_first_page_is_read() -> None:
    pages = encoded(Image.fromarray(RGB), "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    assert_pixels(pages, RGB)


def test_orientation(tmp_path) -> None:
    levels = deep(RGB)
    wanted = {1: levels, 2: levels[:, ::-1], 3: levels[::-1, ::-1], 4: levels[::-1]}
    across = levels.swapaxes(0, 1)
    wanted |= {5: across, 6: across[:, ::-1], 7: across[::-1, ::-1], 8: across[::-1]}
    for turn, upright in wanted.items():
        for stored, shown in ((levels, upright), (RGB, None)):
            data = stored.astype(f"<u{stored.itemsize}").tobytes()
            data = raw_tiff(data, described((H, W, 3), 8 * stored.itemsize, 2, t274=turn))
            found = read(data).rgb
            assert shown is None or np.array_equal(found, shown)
            (tmp_path / "x.tif").write_bytes(data)
            assert upright_size(str(tmp_path / "x.tif")) == (found.shape[1], found.shape[0])


@pytest.mark.parametrize("tags", [{"t50706": [1]}, {"t254": 1, "t330": [8]}, {"t262": 32803}])
def test_raw_files_of_cameras_are_refused(tags: dict[str, int | list[int]]) -> None:
    data = raw_tiff(RGB.tobytes(), described((H, W, 3), 8, 2, **tags))
    with pytest.raises(ImageError, match="raw file"):
        read(data)


@pytest.mark.parametrize(
    "tags",
    [
        {"t258": [5, 6, 5]},
        {"t258": [8] * 4, "t277": 4, "t262": 5, "t332": 2},
        {"t262": 5, "t332": 2},
        {"t262": 9},
        {"t317": 7},
        {"t339": [5] * 3},
        {"t259": 34712},
    ],
)
def test_what_is_not_known_is_refused(tags: dict[str, int | list[int]]) -> None:
    data = raw_tiff(deep(RGB).tobytes(), described((H, W, 3), 16, 2, **tags))
    with pytest.raises(ImageError, match=r"^x\.tif (is|has)") as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_an_open_pil_image_is_read_by_its_file() -> None:
    levels = deep(GREY)
    data = tiff(65535 - levels, photometric="miniswhite")
    image = Image.open(io.BytesIO(data))
    assert np.array_equal(decode_image(image, name="x").rgb[..., 0], levels)
