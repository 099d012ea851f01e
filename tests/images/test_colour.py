"""Colours that a file tells without a profile are those of the profile that is made of them, and reach every output."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, features

from support.pictures import SRGB, encoded, picture, rgb
from tgim.images.colour import ADOBE, BT709, P3, told_by_chunks
from tgim.images.photo import open_image, save_image

COLOURS = ((200, 100, 50), (30, 160, 90), (80, 90, 220), (128, 128, 128), (255, 255, 255))


def srgb_of(light: np.ndarray) -> np.ndarray:
    """Levels of light (IEC 61966-2-1)."""
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries: tuple[float, ...]) -> np.ndarray:
    """The matrix from linear colours to XYZ."""
    x, y = np.array(primaries).reshape(4, 2).T
    xyz = np.stack([x, y, 1 - x - y]) / y
    return xyz[:, 1:] * np.linalg.solve(xyz[:, 1:], xyz[:, 0])


def by_hand(colour: tuple[int, ...], primaries: tuple[float, ...], gamma: float) -> np.ndarray:
    """The sRGB colour of one that has other primaries and a power; both have the same white."""
    light = (np.array(colour) / 255) ** gamma
    return srgb_of(np.linalg.solve(to_xyz(BT709), to_xyz(primaries) @ light))


def by_profile(colour: tuple[int, ...], icc: bytes) -> np.ndarray:
    """The same by littlecms."""
    image = Image.new("RGB", (1, 1), colour)
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    return np.array(ImageCms.profileToProfile(image, source, target, outputMode="RGB").getpixel((0, 0)), float)


def chunk_of_points(primaries: tuple[float, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(v * 1e5) for v in primaries))


def gamma_chunk(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 1e5))


def png(*chunks: tuple[bytes, bytes], mode: str = "RGB", **options: object) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, content in chunks:
        info.add(name, content)
    return encoded(Image.fromarray(picture()).convert(mode), "PNG", pnginfo=info, **options)


def chunks_of(data: bytes) -> dict[bytes, bytes]:
    found, place = {}, 8
    while place < len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        found[name] = data[place + 8 : place + 8 + size]
        assert zlib.crc32(data[place + 4 : place + 8 + size]) == int.from_bytes(data[place + 8 + size :][:4], "big")
        place += size + 12
    return found


def exif_of(space: int | None, kind: str | None, **tags: object) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    inner = exif.get_ifd(0x8769)
    if space is not None:
        inner[0xA001] = space
    if kind is not None:
        inner[0xA005] = {1: kind, 2: b"0100"}
    if "points" in tags:
        exif[318], exif[319] = tags["points"][:2], tags["points"][2:]
        inner[0xA500] = tags["gamma"]
    return exif.tobytes()


def with_exif(kind: str, exif: bytes, **options: object) -> bytes:
    """The picture with an EXIF block; a TIFF is one itself, and Pillow writes none with inner directories."""
    if kind != "TIFF":
        return encoded(Image.fromarray(picture()), kind, exif=exif, **options)
    tags = Image.Exif()
    tags.load(exif)
    height, width, _ = picture().shape
    tags.update({256: width, 257: height, 258: (8, 8, 8), 259: 1, 262: 2, 273: 0, 277: 3, 278: height})
    tags[279] = picture().size
    if "icc_profile" in options:
        tags[34675] = options["icc_profile"]
    return tags.tobytes()[6:] + picture().tobytes()


@pytest.mark.parametrize(
    ("chunks", "primaries", "gamma"),
    [
        ((gamma_chunk(1.0),), BT709, 1.0),
        ((gamma_chunk(0.45455), chunk_of_points(P3)), P3, 2.2),
        ((gamma_chunk(0.5), chunk_of_points(ADOBE)), ADOBE, 2.0),
        (((b"cICP", bytes([12, 4, 0, 1])), gamma_chunk(1.0)), P3, 2.2),
        (((b"cICP", bytes([9, 8, 0, 1])),), (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046), 1.0),
    ],
)
def test_the_profile_of_chunks_means_what_they_mean(chunks, primaries, gamma) -> None:
    icc = told_by_chunks(chunks)
    assert icc is not None
    for colour in COLOURS:
        assert np.abs(by_profile(colour, icc) - by_hand(colour, primaries, gamma)).max() <= 2


def test_colours_that_are_srgb_or_impossible_make_no_profile() -> None:
    assert told_by_chunks(()) is None
    assert told_by_chunks((gamma_chunk(0.45455), chunk_of_points(BT709))) is None
    assert told_by_chunks((gamma_chunk(1.0), (b"sRGB", b"\0"))) is None
    assert told_by_chunks(((b"cICP", bytes([1, 13, 0, 1])), gamma_chunk(1.0))) is None
    assert told_by_chunks(((b"cICP", bytes([9, 16, 0, 1])), gamma_chunk(1.0))) is None  # PQ: no curve of ours
    for broken in (gamma_chunk(0), gamma_chunk(900), (b"gAMA", b""), (b"cHRM", bytes(32)), (b"cICP", b"\1")):
        assert told_by_chunks((broken,)) is None
    same = (0.3127, 0.3290, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3)
    assert told_by_chunks((chunk_of_points(same),)) is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_png_keeps_the_chunks_of_a_png(tmp_path, mode: str) -> None:
    told = dict([gamma_chunk(0.45455), chunk_of_points(P3), (b"cICP", bytes([12, 13, 0, 1]))])
    out = chunks_of(save_image(open_image(png(*told.items(), mode=mode)), tmp_path / "out.png").read_bytes())
    assert {name: out[name] for name in told} == told
    assert b"iCCP" not in out


@pytest.mark.parametrize("suffix", ["jpg", "webp", "tif"])
def test_other_files_get_a_profile_of_a_pngs_chunks(tmp_path, suffix: str) -> None:
    photo = open_image(png(gamma_chunk(0.45455), chunk_of_points(P3)))
    icc = Image.open(save_image(photo, tmp_path / f"out.{suffix}")).info["icc_profile"]
    assert np.abs(by_profile(COLOURS[0], icc) - by_hand(COLOURS[0], P3, 2.2)).max() <= 2


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_code_points_of_avif_become_a_profile() -> None:
    data = encoded(Image.fromarray(picture()), "AVIF")
    assert open_image(data).icc is None
    place = data.index(b"colrnclx") + 8
    for codes, primaries, gamma in (((12, 4), P3, 2.2), ((1, 8), BT709, 1.0)):
        icc = open_image(data[:place] + struct.pack(">HH", *codes) + data[place + 4 :]).icc
        assert icc is not None
        assert np.abs(by_profile(COLOURS[0], icc) - by_hand(COLOURS[0], primaries, gamma)).max() <= 2


def test_files_without_profiles_get_converted_pixels(tmp_path) -> None:
    data = encoded(Image.new("RGB", (4, 4), COLOURS[1]), "JPEG", quality=100, exif=exif_of(0xFFFF, "R03"))
    out = rgb(open_image(save_image(open_image(data), tmp_path / "out.bmp")))[0, 0]
    assert np.abs(out - by_hand(COLOURS[1], ADOBE, 563 / 256)).max() <= 4


def test_a_profile_goes_before_chunks_and_a_grey_one_ends_them(tmp_path) -> None:
    own = open_image(png(gamma_chunk(1.0), icc_profile=SRGB))
    assert own.icc == SRGB
    out = chunks_of(save_image(own, tmp_path / "out.png").read_bytes())
    assert zlib.decompress(out[b"iCCP"].split(b"\0", 1)[1][1:]) == SRGB
    grey = bytearray(told_by_chunks((gamma_chunk(0.5),)) or b"")
    grey[16:20], place = b"GRAY", grey.index(b"gTRC")
    grey[place : place + 4] = b"kTRC"
    photo = open_image(png(gamma_chunk(0.5), mode="L", icc_profile=bytes(grey)))
    out = chunks_of(save_image(photo, tmp_path / "grey.png").read_bytes())  # its pixels are sRGB now
    assert out.keys().isdisjoint({b"gAMA", b"iCCP"})


def test_colours_of_a_pil_image_count_too(tmp_path) -> None:
    image = Image.open(io.BytesIO(png(gamma_chunk(1.0), chunk_of_points(P3))))
    image.load()
    assert open_image(image).icc == open_image(png(gamma_chunk(1.0), chunk_of_points(P3))).icc is not None


def test_what_no_profile_can_say_is_told(tmp_path, caplog) -> None:
    photo = open_image(png((b"cICP", bytes([9, 16, 0, 1]))))
    save_image(photo, tmp_path / "out.png")
    assert not caplog.records
    save_image(photo, tmp_path / "out.jpg")
    assert "JPEG cannot hold its colours (cICP)" in caplog.text


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "PNG"])
@pytest.mark.parametrize("metadata", [False, True])
def test_adobe_rgb_told_by_exif_alone_becomes_a_profile(tmp_path, kind: str, metadata: bool) -> None:
    for space, name, adobe in ((0xFFFF, "R03", True), (2, None, True), (1, "R98", False), (0xFFFF, None, False)):
        photo = open_image(with_exif(kind, exif_of(space, name)))
        icc = Image.open(save_image(photo, tmp_path / "out", metadata=metadata)).info.get("icc_profile")
        assert (icc is not None) == adobe
        for colour in COLOURS if icc else ():
            assert np.abs(by_profile(colour, icc) - by_hand(colour, ADOBE, 563 / 256)).max() <= 2
    assert open_image(with_exif(kind, exif_of(0xFFFF, "R03"), icc_profile=SRGB)).icc == SRGB


def test_primaries_told_by_exif_become_a_profile() -> None:
    data = with_exif("JPEG", exif_of(0xFFFF, None, points=P3, gamma=1.8))
    icc = open_image(data).icc
    assert icc is not None
    assert np.abs(by_profile(COLOURS[2], icc) - by_hand(COLOURS[2], P3, 1.8)).max() <= 2
