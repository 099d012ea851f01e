"""Pictures go out in the format asked for, with what belongs to them, or not at all."""

from __future__ import annotations

import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

from support.pictures import SRGB, encoded, picture, rgb
from tgim.images.photo import Photo, from_uint8, open_image, save_image, to_uint8


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
    assert np.array_equal(again.alpha, alpha)
    assert torch.equal(to_uint8(again.tensor), to_uint8(photo.tensor))
    assert again.icc == SRGB


def test_gif_keeps_what_is_transparent(tmp_path) -> None:
    alpha = torch.zeros(24, 36, dtype=torch.uint8)
    alpha[:12] = 255
    again = open_image(save_image(Photo(torch.zeros(3, 24, 36), alpha=alpha), tmp_path / "out.gif"))
    assert again.alpha is not None
    assert np.array_equal(again.alpha, alpha)


@pytest.mark.parametrize("suffix", ["jpg", "bmp"])
def test_dropped_alpha_becomes_white_and_is_told(suffix: str, tmp_path, caplog) -> None:
    alpha = torch.full((16, 16), 255, dtype=torch.uint8)
    photo = Photo(-torch.ones(3, 16, 16), alpha=alpha)
    with caplog.at_level(logging.WARNING, "tgim"):
        save_image(photo, tmp_path / f"opaque.{suffix}")
        assert not caplog.records
        path = save_image(Photo(photo.tensor, alpha=torch.zeros_like(alpha)), tmp_path / f"clear.{suffix}")
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
