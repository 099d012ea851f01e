"""Pictures that are odd but whole: every kind comes in upright, RGB and with what belongs to it, and goes out again."""

from __future__ import annotations

import io
import logging
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor
from torch.nn import functional as F

from tgim.errors import ImageError
from tgim.images.photo import (
    Photo,
    carry_change,
    contact_sheet,
    from_uint8,
    list_images,
    open_image,
    parse_box,
    resize,
    save_image,
    soft_box,
    to_uint8,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = {"PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {"lossless": True}}


def picture(h: int = 24, w: int = 36) -> np.ndarray:
    """A smooth picture without symmetry, (h, w, 3) uint8."""
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([255 * x / max(w - 1, 1), 200 * y / max(h - 1, 1), 90 + 0 * x], -1).round().astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb(photo: Photo) -> np.ndarray:
    return to_uint8(photo.pixels).permute(1, 2, 0).numpy()


def scene(h: int, w: int) -> tuple[Tensor, Tensor]:
    """A textured photograph (1, 3, h, w) with a bright disc on a dark ground, and the disc's mask (1, 1, h, w)."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    disc = ((x**2 + y**2) < 0.3).float()[None, None]
    grain = torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(0)) * 0.1
    return (disc * torch.tensor([0.2, 0.5, 0.1]).view(1, 3, 1, 1) - (1 - disc) * 0.6 + grain), disc


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
    assert photo.pixels.dtype == torch.float32
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
        assert np.array_equal(photo.alpha.numpy(), alpha)
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
        assert np.array_equal(photo.alpha.numpy(), np.where(clear, 0, 255))
    levels = bytes(range(0, 80, 10))
    photo = open_image(encoded(image, "PNG", transparency=levels))
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha.numpy(), np.asarray(image) * 10)


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
    assert np.array_equal(photo.alpha.numpy(), grey)


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
    small = resize(photo.pixels[None], (16, 16))
    carried = carry_change(photo.pixels[None], small, -small)
    assert carried.shape == (1, 3, *shape)
    assert carried.isfinite().all()
    for kind in ("png", "jpg", "webp", "tif", "bmp", "gif"):
        assert open_image(save_image(photo, tmp_path / f"thin.{kind}")).pixels.shape == (3, *shape)


# ---- out


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "bmp", "webp", "PNG"])
def test_lossless_formats_go_out_exactly(suffix: str, tmp_path) -> None:
    photo = open_image(picture())
    path = save_image(photo, tmp_path / f"out.{suffix}", quality=100)
    assert np.array_equal(rgb(open_image(path)), picture())


def test_jpeg_keeps_full_colour_resolution(tmp_path) -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 255, 255
    path = save_image(open_image(stripes), tmp_path / "out.jpg")
    assert np.abs(rgb(open_image(path)).astype(int) - stripes).mean() < 4  # 4:2:0 gives over 80


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_the_format_is_kept_unless_the_suffix_says_otherwise(kind: str, tmp_path) -> None:
    photo = open_image(encoded(Image.fromarray(picture()), kind))
    assert Image.open(save_image(photo, tmp_path / "plain")).format == kind
    assert Image.open(save_image(photo, tmp_path / "other.png")).format == "PNG"
    assert Image.open(save_image(photo, tmp_path / "asked.png", format="jpg")).format == "JPEG"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp", "gif"])
def test_identical_calls_write_identical_bytes_and_nothing_else(suffix: str, tmp_path) -> None:
    alpha = torch.arange(24 * 36).view(24, 36).to(torch.uint8)
    photo = Photo(from_uint8(torch.from_numpy(picture()).permute(2, 0, 1)), alpha=alpha, icc=SRGB)
    first = save_image(photo, tmp_path / f"a.{suffix}").read_bytes()
    assert save_image(photo, tmp_path / f"b.{suffix}").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{suffix}", f"b.{suffix}"]


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_alpha_and_profile_go_out(suffix: str, tmp_path) -> None:
    alpha = (torch.arange(24 * 36).view(24, 36) % 256).to(torch.uint8)
    photo = Photo(from_uint8(torch.from_numpy(picture()).permute(2, 0, 1)), alpha=alpha, icc=SRGB)
    again = open_image(save_image(photo, tmp_path / f"out.{suffix}", quality=100))
    assert again.alpha is not None
    assert torch.equal(again.alpha, alpha)
    assert torch.equal(to_uint8(again.pixels), to_uint8(photo.pixels))
    assert again.icc == SRGB


def test_gif_keeps_what_is_transparent(tmp_path) -> None:
    alpha = torch.zeros(24, 36, dtype=torch.uint8)
    alpha[:12] = 255
    again = open_image(save_image(Photo(torch.zeros(3, 24, 36), alpha=alpha), tmp_path / "out.gif"))
    assert again.alpha is not None
    assert torch.equal(again.alpha, alpha)


@pytest.mark.parametrize("suffix", ["jpg", "bmp"])
def test_dropped_alpha_becomes_white_and_is_told(suffix: str, tmp_path, caplog) -> None:
    alpha = torch.full((16, 16), 255, dtype=torch.uint8)
    photo = Photo(-torch.ones(3, 16, 16), alpha=alpha)
    with caplog.at_level(logging.WARNING, "tgim"):
        save_image(photo, tmp_path / f"opaque.{suffix}")
        assert not caplog.records
        path = save_image(Photo(photo.pixels, alpha=torch.zeros_like(alpha)), tmp_path / f"clear.{suffix}")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "alpha" in caplog.text
    assert rgb(open_image(path)).min() >= 254


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_metadata_goes_out_only_on_request(suffix: str, tmp_path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 0.0)})  # where it was taken
    image = Image.fromarray(picture())
    for kind in ("JPEG", "TIFF"):
        photo = open_image(encoded(image, kind, exif=exif.tobytes()))
        stripped = save_image(photo, tmp_path / f"stripped.{suffix}")
        assert b"A camera" not in stripped.read_bytes()
        assert not open_image(stripped).exif
        kept = Image.open(save_image(photo, tmp_path / f"kept.{suffix}", metadata=True))
        kept.load()
        assert kept.getexif()[0x010F] == "A camera"
        assert kept.getexif().get_ifd(0x8825)[1] == "N"
        assert np.abs(rgb(open_image(kept)).astype(int) - picture()).mean() < 8


def test_wide_gamut_is_converted_for_formats_without_profile(tmp_path) -> None:
    swapped = bytearray(SRGB)  # a profile whose red is blue and whose blue is red
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    image = Image.new("RGB", (4, 4), (255, 0, 0))
    photo = open_image(encoded(image, "PNG", icc_profile=bytes(swapped)))
    assert rgb(open_image(save_image(photo, tmp_path / "out.png")))[0, 0].tolist() == [255, 0, 0]
    for suffix in ("bmp", "gif"):
        out = rgb(open_image(save_image(photo, tmp_path / f"out.{suffix}")))[0, 0]
        assert np.abs(out.astype(int) - (0, 0, 255)).max() <= 4


def test_a_link_is_written_through_and_permissions_follow_the_umask(tmp_path) -> None:
    photo = open_image(picture())
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    save_image(photo, tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "real.png").stat().st_mode & 0o777 == 0o666 & ~umask


def test_with_pixels_resizes_the_alpha() -> None:
    alpha = torch.full((24, 36), 77, dtype=torch.uint8)
    photo = Photo(torch.zeros(3, 24, 36), alpha=alpha, icc=SRGB).with_pixels(torch.zeros(1, 3, 8, 8))
    assert photo.alpha is not None
    assert photo.alpha.shape == (8, 8)
    assert (photo.alpha == 77).all()
    assert photo.icc == SRGB


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


# ---- sizes, boxes, sheets


def test_resize_keeps_constants_range_and_identity() -> None:
    x = torch.rand(2, 3, 20, 30) * 2 - 1
    assert resize(x, (20, 30)) is x
    assert resize(torch.full((1, 3, 50, 40), 0.3), (7, 9)).allclose(torch.tensor(0.3))
    assert resize(x, (64, 64)).abs().max() <= 1
    lines = -torch.ones(1, 3, 64, 64)
    lines[..., 3::8] = 1  # one column in eight is bright; plain bilinear sampling would see 0
    assert resize(lines, (8, 8)).max() < -0.7


def test_box_is_zero_outside_one_inside_and_rises_between() -> None:
    weight = soft_box(40, 60, (10, 5, 30, 20), feather=6)
    assert weight.shape == (1, 1, 40, 60)
    outside = torch.ones(40, 60, dtype=torch.bool)
    outside[5:25, 10:40] = False
    assert (weight[0, 0][outside] == 0).all()
    assert (weight[0, 0, 11:19, 16:34] == 1).all()
    ramp = weight[0, 0, 15, 10:16]
    assert (ramp.diff() > 0).all()
    assert ramp[0] > 0
    assert torch.equal(weight, weight[:, :, torch.arange(29, -11, -1) % 40])  # symmetric about the box's middle row
    photo, edited = torch.rand(1, 3, 40, 60), torch.rand(1, 3, 40, 60)
    assert torch.equal((photo + weight * (edited - photo))[..., outside], photo[..., outside])


def test_box_has_no_ramp_at_the_border_of_the_picture() -> None:
    assert (soft_box(10, 10, (0, 0, 10, 10), feather=4) == 1).all()
    assert soft_box(10, 10, "0,0,5,5", feather=2)[0, 0, 0, 0] == 1
    assert soft_box(9, 9, "3,3,3,3", feather=100).max() == 1


@pytest.mark.parametrize(
    ("box", "hint"),
    [
        ("", "numbers"),
        ("1,2,3", "3 numbers"),
        ("1,2,3,4,5", "5 numbers"),
        ("a,b,c,d", "whole"),
        ("1.5,2,3,4", "whole"),
        ("1,2,3,99999999999999999999", "whole"),
        ("-1,0,5,5", "left of"),
        ("0,0,0,5", "nothing is inside"),
        ("0,0,5,-5", "nothing is inside"),
        ("10,10,50,5", "but the picture is 32 by 32"),
        ((1, 2, 3, "x"), "whole"),
    ],
)
def test_bad_boxes_are_told(box: object, hint: str) -> None:
    with pytest.raises(ImageError, match=hint) as caught:
        parse_box(box, height=32, width=32)
    assert "\n" not in str(caught.value)


def test_boxes_are_read() -> None:
    assert parse_box("1,2,3,4") == parse_box(" 1, 2, 3, 4 ") == parse_box((1, 2, 3, 4)) == (1, 2, 3, 4)
    assert parse_box("0,0,32,32", height=32, width=32) == (0, 0, 32, 32)


def test_contact_sheet_holds_all_cells() -> None:
    red, tall = torch.ones(3, 9, 9), torch.zeros(3, 40, 10)
    red[1:] = -1
    sheet = contact_sheet(
        [[red, tall], [red]],
        row_labels=["a caption that is long " * 9, "x" * 60],
        column_labels=["one", "two"],
        cell=48,
    )
    pixels = np.array(sheet)
    assert sheet.mode == "RGB"
    assert sheet.width == 3 * 52 + 4
    assert (pixels == (255, 0, 0)).all(-1).sum() == 2 * 48 * 48
    assert (pixels == (128, 128, 128)).all(-1).sum() >= 48 * 12
    assert (pixels[:, -1] == 255).all()
    with pytest.raises(ValueError, match="labels"):
        contact_sheet([[red]], row_labels=[])


# ---- the change of a repainting model


def test_no_change_leaves_the_photograph_bit_identical() -> None:
    photo, _ = scene(150, 200)
    source = resize(photo, (32, 32))
    assert torch.equal(carry_change(photo, source, source), photo)
    assert torch.equal(carry_change(photo, source, source + 0.9 / 255), photo)


def test_what_the_model_left_alone_is_bit_identical() -> None:
    photo, _ = scene(160, 320)
    source = resize(photo, (32, 32))
    edited = source.clone()
    edited[:, 0, 8:16, 8:16] += 0.5
    carried = carry_change(photo, source, edited)
    far = torch.ones(160, 320, dtype=torch.bool)
    far[7 * 5 : 17 * 5, 7 * 10 : 17 * 10] = False  # one model pixel around the change
    assert torch.equal(carried[..., far], photo[..., far])
    inside = (carried - photo)[0, 0, 8 * 5 + 10 : 16 * 5 - 10, 8 * 10 + 20 : 16 * 10 - 20]
    assert (inside - 0.5).abs().max() < 0.1
    assert torch.equal(carried[:, 1:], photo[:, 1:])


def test_the_change_ends_at_the_photographs_edge_and_detail_stays() -> None:
    photo, disc = scene(320, 320)
    wanted = (photo + disc * torch.tensor([0.5, -0.5, 0.0]).view(1, 3, 1, 1)).clamp(-1, 1)
    source, edited = resize(photo, (32, 32)), resize(wanted, (32, 32))
    carried = carry_change(photo, source, edited)
    plain = photo + F.interpolate(edited - source, (320, 320), mode="bilinear")
    assert (carried - wanted).abs().mean() < 0.6 * (plain - wanted).abs().mean()
    core = (slice(None), slice(None), slice(140, 180), slice(140, 180))
    detail = (photo - F.avg_pool2d(photo, 9, 1, 4))[core]
    assert ((carried - F.avg_pool2d(carried, 9, 1, 4))[core] - detail).abs().max() < 0.02  # the grain is 0.1


def test_a_model_that_flattens_the_texture_does_not_take_it_from_the_photograph() -> None:
    generator = torch.Generator().manual_seed(5)
    photo = 0.15 * torch.randn(1, 1, 64, 64, generator=generator).expand(1, 3, -1, -1)
    photo = F.interpolate(photo, (256, 256), mode="bilinear").clamp(-1, 1)
    source = resize(photo, (32, 32))
    edited = torch.zeros_like(source)
    edited[:, 0] = 0.4  # an even red
    carried = carry_change(photo, source, edited)
    assert carried[:, 0].mean() - carried[:, 1].mean() > 0.35
    assert carried[:, 1].std() > 0.7 * photo[:, 1].std()


def test_the_carried_change_stays_in_the_range_of_the_models_change() -> None:
    generator = torch.Generator().manual_seed(3)
    photo = torch.rand(1, 3, 90, 130, generator=generator) * 2 - 1
    source = resize(photo, (16, 16))
    edited = (source + torch.rand(source.shape, generator=generator) * 0.4).clamp(-1, 1)
    change = carry_change(photo, source, edited) - photo
    assert change.min() >= -1e-6
    assert change.max() <= 0.4 + 1e-6


def test_a_photograph_of_the_models_size_takes_the_change_itself() -> None:
    photo, _ = scene(32, 32)
    edited = -photo
    assert carry_change(photo, photo, edited).allclose(edited, atol=1e-6)
    edited = photo + 0.9 / 255  # rounding, but for one pixel
    edited[..., 5, 5] = 1
    same = torch.ones(32, 32, dtype=torch.bool)
    same[5, 5] = False
    assert torch.equal(carry_change(photo, photo, edited)[..., same], photo[..., same])
    assert carry_change(photo[..., :20, :20], photo, edited).shape == (1, 3, 20, 20)


def test_strips_do_not_show(monkeypatch) -> None:
    photo, _ = scene(150, 90)
    source = resize(photo, (24, 24))
    whole = carry_change(photo, source, -source)
    monkeypatch.setattr("tgim.images.carry.STRIP", 90 * 7)
    assert carry_change(photo, source, -source).allclose(whole, atol=1e-6)


def test_batches_are_carried_picture_by_picture() -> None:
    photo = torch.cat([scene(60, 80)[0], -scene(60, 80)[0]])
    source = resize(photo, (16, 16))
    both = carry_change(photo, source, -source)
    assert torch.equal(both[1:], carry_change(photo[1:], source[1:], -source[1:]))
    with pytest.raises(ValueError, match="carry_change takes"):
        carry_change(photo, source, -source[:1])


def test_decoding_costs_no_torch() -> None:
    code = "import sys, tgim.images.decode; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
