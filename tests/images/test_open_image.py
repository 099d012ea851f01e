"""Pictures that are odd but whole: every kind comes in upright, RGB and with what belongs to it."""

from __future__ import annotations

import io
import logging
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from support.pictures import SRGB, encoded, picture, rgb
from tgim.errors import ImageError
from tgim.images.photo import from_uint8, list_images, open_image, save_image, to_uint8
from tgim.nn.carry import carry_change
from tgim.nn.resize import resize

LOSSLESS = {"PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {"lossless": True}}


# ---- quantisation


def test_all_levels_survive_the_round_trip() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(from_uint8(levels)), levels)
    assert from_uint8(levels).min() == -1
    assert from_uint8(levels).max() == 1


def test_quantisation_rounds_to_the_nearest_level_and_clamps() -> None:
    levels = torch.arange(256).float()
    for nudge in (-0.49, 0.49):
        assert torch.equal(to_uint8((levels + nudge) / 127.5 - 1), levels.to(torch.uint8))
    assert to_uint8(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


# ---- in


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_come_in_exactly(kind: str) -> None:
    photo = open_image(encoded(Image.fromarray(picture()), kind, **LOSSLESS[kind]))
    assert photo.format == kind
    assert (photo.height, photo.width) == (24, 36)
    assert np.array_equal(rgb(photo), picture())
    assert photo.tensor.dtype == torch.float32
    assert photo.alpha is None


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("GIF", {})]
)
def test_lossy_formats_come_in_closely(kind: str, options: dict[str, object]) -> None:
    photo = open_image(encoded(Image.fromarray(picture()), kind, quality=95, **options))
    assert photo.format == kind
    assert np.abs(rgb(photo).astype(int) - picture()).mean() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "deflated TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_set_upright_once(kind: str, orientation: int) -> None:
    upright = Image.fromarray(picture()).resize((32, 16))
    back = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}.get(orientation, [])  # Image.Transpose, by hand
    stored = upright
    for step in back:
        stored = stored.transpose(Image.Transpose(step))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "A camera"
    options = {"compression": "tiff_adobe_deflate"} if kind == "deflated TIFF" else {}
    options |= {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    photo = open_image(encoded(stored, kind.split()[-1], exif=exif, **options))
    assert np.abs(rgb(photo).astype(int) - np.array(upright)).max() <= (6 if kind == "JPEG" else 0)
    assert photo.exif is not None
    kept = Image.Exif()
    kept.load(photo.exif)
    assert dict(kept) == {0x010F: "A camera"}


def test_alpha_is_kept() -> None:
    alpha = np.tile(np.linspace(0, 255, 36).astype(np.uint8), (24, 1))
    image = Image.fromarray(np.dstack([picture(), alpha]))
    for kind in ("PNG", "TIFF"):
        photo = open_image(encoded(image, kind))
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, alpha)
        assert np.array_equal(rgb(photo), picture())


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "PA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_comes_in_as_rgb(mode: str) -> None:
    grey = np.tile(np.array([0, 255], np.uint8).repeat(8), (16, 1))
    image = Image.fromarray(grey)
    image = image.convert("LA").convert(mode) if mode == "La" else image.convert("RGBA" if mode == "RGBa" else "L")
    photo = open_image(image.convert(mode))
    assert np.array_equal(rgb(photo), np.dstack([grey] * 3))
    assert (photo.alpha is not None) == (mode in ("LA", "PA", "La", "RGBA", "RGBa"))
    assert photo.format == "PNG"


def test_lab_comes_in_as_rgb() -> None:
    white = Image.merge("LAB", [Image.new("L", (4, 4), value) for value in (255, 128, 128)])
    assert rgb(open_image(encoded(white, "TIFF"))).min() >= 250


def test_palette_transparency_becomes_alpha() -> None:
    image = Image.fromarray(picture()).quantize(8)
    clear = np.asarray(image) == 3
    for kind in ("PNG", "GIF"):
        photo = open_image(encoded(image, kind, transparency=3, optimize=False))
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, np.where(clear, 0, 255))
    levels = bytes(range(0, 80, 10))
    photo = open_image(encoded(image, "PNG", transparency=levels))
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, np.asarray(image) * 10)


def test_cmyk_jpeg_comes_in_with_the_right_sign() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):  # Pillow writes CMYK JPEG the Adobe way, inverted
        assert np.abs(rgb(open_image(encoded(red, kind))).astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[0, 257, 65535]], np.uint16), [0, 1, 255]),  # 16 bit: the full range
        (np.array([[0, 128, 255]], np.int32), [0, 128, 255]),
        (np.array([[0, 25700, 65535]], np.int32), [0, 100, 255]),
        (np.array([[-100, 0, 155]], np.int32), [0, 100, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 200]], np.float32), [0, 100, 200]),
        (np.array([[-1, np.nan, 3]], np.float32), [0, 0, 255]),
    ],
)
def test_deep_grey_is_scaled_by_its_range(values: np.ndarray, wanted: list[int]) -> None:
    for source in (Image.fromarray(values), encoded(Image.fromarray(values), "TIFF")):
        assert rgb(open_image(source))[0].tolist() == [[value] * 3 for value in wanted]


def test_sixteen_bit_png() -> None:
    values = np.array([[0, 25700, 65535]], np.uint16)
    photo = open_image(encoded(Image.fromarray(values), "PNG"))
    assert rgb(photo)[0, :, 0].tolist() == [0, 100, 255]


def test_gif_gives_its_first_frame() -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert rgb(open_image(data))[0, 0].tolist() == [255, 0, 0]


def test_rgb_profile_is_kept_and_others_are_not() -> None:
    image = Image.fromarray(picture())
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        photo = open_image(encoded(image, kind, icc_profile=SRGB))
        assert photo.icc == SRGB
        assert open_image(photo.to_pil()).icc == SRGB
    assert open_image(encoded(image, "PNG", icc_profile=b"no profile at all")).icc is None
    assert open_image(encoded(image.convert("CMYK"), "JPEG", icc_profile=SRGB)).icc is None
    assert open_image(encoded(image.convert("L"), "PNG", icc_profile=SRGB)).icc == SRGB


def profile(space: bytes, kind: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A minimal ICC profile, version 2."""
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    size = struct.pack(">I", 128 + len(table) + len(body))
    head = size + bytes(4) + b"\2\x40\0\0" + kind + space + connection + bytes(12) + b"acsp" + bytes(28) + white
    return head.ljust(128, b"\0") + table + body


def test_grey_and_cmyk_profiles_are_applied_and_dropped() -> None:
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    linear = b"curv" + bytes(4) + struct.pack(">I", 0)
    grey = profile(b"GRAY", b"mntr", b"XYZ ", {b"wtpt": white, b"kTRC": linear})
    for mode in ("L", "LA"):
        photo = open_image(encoded(Image.new("L", (4, 4), 128).convert(mode), "PNG", icc_profile=grey))
        assert np.abs(rgb(photo).astype(int) - 188).max() <= 1  # half of the light is 188 in sRGB
        assert photo.icc is None
    ramp = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lightness = [255 * (4 - bin(corner).count("1")) // 4 for corner in range(16)]  # each ink takes a quarter
    corners = b"".join(bytes((level, 128, 128)) for level in lightness)
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + corners + ramp * 3
    cmyk = profile(b"CMYK", b"prtr", b"Lab ", {b"wtpt": white, b"A2B0": table, b"A2B1": table})
    photo = open_image(encoded(Image.new("CMYK", (16, 16), (255, 255, 0, 0)), "TIFF", icc_profile=cmyk))
    assert np.abs(rgb(photo).astype(int) - 119).max() <= 4  # L* = 50 is 119; without the profile it is pure blue
    assert photo.icc is None


def test_what_can_be_opened_is_told_apart(tmp_path) -> None:
    path = tmp_path / "a picture.jpg"  # a PNG that calls itself a JPEG
    path.write_bytes(encoded(Image.fromarray(picture()), "PNG"))
    photos = [open_image(source) for source in (path, str(path), path.read_bytes(), picture(), picture() / 255.0)]
    photos += [open_image(Image.open(path)), open_image(photos[0])]
    assert all(np.array_equal(rgb(photo), picture()) for photo in photos)
    assert photos[0].format == "PNG"
    assert photos[-1] is photos[0]


def test_arrays_of_other_shapes() -> None:
    grey = picture()[..., 0]
    assert np.array_equal(rgb(open_image(grey)), np.dstack([grey] * 3))
    assert np.array_equal(rgb(open_image(grey[..., None])), np.dstack([grey] * 3))
    photo = open_image(np.dstack([picture(), grey]))
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, grey)


def test_the_callers_image_is_left_alone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encoded(Image.fromarray(picture()), "JPEG", exif=exif)))
    open_image(image)
    assert image.getexif()[0x0112] == 6
    assert image.size == (36, 24)


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (2, 3)])
def test_tiny_and_thin_pictures_work(shape: tuple[int, int], tmp_path) -> None:
    photo = open_image(encoded(Image.fromarray(picture(*shape)), "PNG"))
    small = resize(photo.tensor[None], (16, 16))
    carried = carry_change(photo.tensor[None], small, -small)
    assert carried.shape == (1, 3, *shape)
    assert carried.isfinite().all()
    for kind in ("png", "jpg", "webp", "tif", "bmp", "gif"):
        assert open_image(save_image(photo, tmp_path / f"thin.{kind}")).tensor.shape == (3, *shape)


def test_list_images(tmp_path, caplog) -> None:
    for name in ("b.JPG", "a.png", "c.heic", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    with caplog.at_level(logging.WARNING, "tgim"):
        assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG"]
    assert ".heic" in caplog.text
    for bad in (tmp_path / "folder.png", tmp_path / "a.png", tmp_path / "missing"):
        with pytest.raises(ImageError, match="picture"):
            list_images(bad)


@pytest.mark.slow
def test_decoding_costs_no_torch() -> None:
    code = "import sys, tgim.images.decode; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
