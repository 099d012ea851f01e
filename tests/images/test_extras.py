"""Density, losslessness, bits and hidden pixels go out as they came in; frames that are left out are told."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from support.pictures import encoded, noise, picture, rgb
from tgim.images.photo import Photo, from_uint8, from_uint16, open_image, open_to_edit, save_image, to_uint8, to_uint16


def density_of(path) -> tuple[float, float] | None:
    """Dots per inch, rounded, as the next reader finds them."""
    found = open_image(path).extras.density
    return None if found is None else (round(found[0]), round(found[1]))


def exif_of(**tags: object) -> bytes:
    exif = Image.Exif()
    exif.update({282: 300.0, 283: 200.0} | {int(key[1:]): value for key, value in tags.items()})
    return exif.tobytes()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp"])
@pytest.mark.parametrize("metadata", [False, True])
def test_density_goes_out(tmp_path, suffix: str, metadata: bool) -> None:
    for kind in ("JPEG", "PNG", "TIFF", "BMP"):
        photo = open_image(encoded(Image.fromarray(picture()), kind, dpi=(300, 200)))
        assert density_of(save_image(photo, tmp_path / f"out.{suffix}", metadata=metadata)) == (300, 200)


def test_density_is_read_in_every_unit_and_turned_with_the_picture(tmp_path) -> None:
    image = Image.fromarray(picture())
    jfif = bytearray(encoded(image, "JPEG", dpi=(100, 50)))
    jfif[jfif.index(b"JFIF") + 7] = 2  # dots per centimetre
    assert open_image(bytes(jfif)).extras.density == (254, 127)
    for kind in ("JPEG", "WEBP"):
        assert open_image(encoded(image, kind, exif=exif_of(_296=3))).extras.density == (762, 508)
        assert open_image(encoded(image, kind, exif=exif_of(_274=6))).extras.density == (200, 300)
        assert open_image(encoded(image, kind, exif=exif_of(_296=1))).extras.density is None


def test_density_that_is_not_there_or_cannot_be_is_not_made_up() -> None:
    image = Image.fromarray(picture())
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "GIF"):
        assert open_image(encoded(image, kind)).extras.density is None
    exif = Image.Exif()
    exif[0x010F] = "A camera"  # Pillow says 72 for a block without density
    assert open_image(encoded(image, "JPEG", exif=exif.tobytes())).extras.density is None
    for broken in (0.0, 1e9):
        exif[282] = broken
        assert open_image(encoded(image, "JPEG", exif=exif.tobytes())).extras.density is None
    assert open_image(encoded(image, "WEBP", exif=exif_of()[:30])).extras.density is None


def test_no_metadata_but_density_goes_out_unasked(tmp_path) -> None:
    photo = open_image(encoded(Image.fromarray(picture()), "JPEG", dpi=(300, 300), exif=exif_of(_271="A camera")))
    for suffix in ("webp", "tif"):
        out = save_image(photo, tmp_path / f"out.{suffix}")
        assert b"A camera" not in out.read_bytes()
        assert density_of(out) == (300, 300)


def with_hidden_colours(h: int = 24, w: int = 36) -> Image.Image:
    """A picture with every alpha and with colours where it is 0."""
    image = noise(size=(w, h))
    image.putalpha(Image.fromarray((np.arange(h * w).reshape(h, w) * 7 % 256 // 85 * 85).astype(np.uint8)))
    return image


def animated(kind: str, image: Image.Image, **options: object) -> bytes:
    return encoded(image, kind, save_all=True, append_images=[Image.new(image.mode, image.size)], **options)


def test_a_lossless_webp_stays_lossless_to_the_bit(tmp_path) -> None:
    image = with_hidden_colours()
    plain = encoded(image, "WEBP", lossless=True, exact=True)
    profiled = encoded(image, "WEBP", lossless=True, exact=True, icc_profile=bytes(3000), exif=exif_of())
    for data in (plain, profiled, animated("WEBP", image, lossless=True, exact=True)):
        photo = open_image(data)
        assert photo.extras.lossless
        out = Image.open(save_image(photo, tmp_path / "out.webp"))
        assert np.array_equal(np.asarray(out), np.asarray(Image.open(io.BytesIO(data))))
        assert not np.array_equal(np.asarray(Image.open(save_image(photo, tmp_path / "out.webp", quality=90))), image)
    for data in (encoded(image, "WEBP", quality=90), animated("WEBP", image, quality=90), encoded(image, "PNG")):
        assert not open_image(data).extras.lossless
        assert b"VP8L" not in save_image(open_image(data), tmp_path / "out.webp").read_bytes()


def bmp_with_alpha(image: Image.Image) -> bytes:
    """A BMP with masks, as few programs write it; Pillow does not."""
    pixels = np.asarray(image)[::-1][..., [2, 1, 0, 3]].tobytes()
    head = struct.pack("<2sI4xI", b"BM", 66 + len(pixels) + 16, 70)
    head += struct.pack("<3I2H6I", 56, *image.size, 1, 32, 3, len(pixels), 2835, 2835, 0, 0)
    return head + struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + pixels


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_hidden_colours_and_alpha_go_out_to_the_bit(tmp_path, kind: str) -> None:
    image = with_hidden_colours()
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = bmp_with_alpha(image) if kind == "BMP" else encoded(image, kind, **options)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(image))
    out = Image.open(save_image(open_image(data), tmp_path / "out"))
    assert (out.format, out.mode) == (kind, "RGBA")
    assert np.array_equal(np.asarray(out), np.asarray(image))


@pytest.mark.parametrize("colours", [2, 255, 256])
@pytest.mark.parametrize("clear", [False, True])
def test_a_gif_keeps_its_colours_and_what_lies_under_its_transparency(tmp_path, caplog, colours: int, clear: bool):
    index = np.arange(64 * 64).reshape(64, 64) * 7 % colours
    image = Image.fromarray(index.astype(np.uint8)).convert("P")
    image.putpalette(np.random.default_rng(1).permutation(768).astype(np.uint8).tolist())
    data = encoded(image, "GIF", **({"transparency": 1} if clear else {}))
    before, after = open_image(data), open_image(save_image(open_image(data), tmp_path / "out.gif"))
    assert np.array_equal(rgb(after), rgb(before))
    assert np.array_equal(after.alpha, before.alpha) if clear else after.alpha is None
    assert not caplog.records
    save_image(open_image(noise()), tmp_path / "many.gif")
    assert "GIF holds 256 colours" in caplog.text


@pytest.mark.parametrize(
    ("kind", "word"), [("GIF", "frames"), ("PNG", "frames"), ("WEBP", "frames"), ("TIFF", "pages"), ("MPO", "pictures")]
)
def test_frames_and_pages_that_are_left_out_are_told(caplog, kind: str, word: str) -> None:
    photo = open_image(animated(kind, Image.fromarray(picture())))
    assert not caplog.records  # whoever only looks need not know
    assert np.abs(rgb(photo).astype(int) - picture()).mean() < 8
    open_to_edit(photo)
    assert caplog.messages == [f"image bytes has several {word}; the first is edited, and the others are left out"]
    open_to_edit(encoded(Image.fromarray(picture()), "JPEG" if kind == "MPO" else kind))
    assert len(caplog.records) == 1


def test_pages_and_bits_of_unusual_tiffs_are_told(caplog) -> None:
    tifffile = pytest.importorskip("tifffile")  # comes with scikit-image
    for levels, told in (
        (np.ones((2, 8, 8, 3), np.uint16), ["has several pages; the first is edited, and the others are left out"]),
        (np.ones((8, 8, 3), np.uint16), []),
        (np.ones((8, 8, 3), np.float32), ["has 32 bits a channel; 16 are kept"]),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, levels, photometric="rgb", resolution=(300, 200), resolutionunit=2)
        caplog.clear()
        photo = open_to_edit(buffer.getvalue())
        assert caplog.messages == [f"image bytes {each}" for each in told]
        assert photo.extras.density == (300, 200)
        assert photo.bits == 16


def deep_photo(*, alpha: bool, **options: object) -> Photo:
    levels = torch.randint(0, 65536, (4, 24, 36), generator=torch.Generator().manual_seed(0))
    return Photo(from_uint16(levels[:3]), alpha=levels[3].int() if alpha else None, bits=16, **options)


def test_all_levels_of_16_bits_survive() -> None:
    levels = torch.arange(65536)
    assert torch.equal(to_uint16(from_uint16(levels)), levels.int())
    assert torch.equal(to_uint8(from_uint16(torch.arange(256) * 257)), torch.arange(256).to(torch.uint8))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("metadata", [False, True])
def test_16_bits_go_out_with_all_that_belongs_to_them(tmp_path, suffix: str, alpha: bool, metadata: bool) -> None:
    cv2 = pytest.importorskip("cv2")
    exif = Image.Exif()
    exif[271], exif.get_ifd(0x8825)[1] = "A camera", "N"
    photo = deep_photo(alpha=alpha, exif=exif.tobytes(), icc=encoded(noise(), "PNG"))
    photo = Photo(**{**vars(photo), "extras": photo.extras._replace(density=(300, 300))})
    path = save_image(photo, tmp_path / f"out.{suffix}", metadata=metadata)
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16
    assert np.array_equal(found[..., 2::-1], to_uint16(photo.tensor).permute(1, 2, 0).numpy())
    if photo.alpha is not None:
        assert np.array_equal(found[..., 3], photo.alpha)
    read = Image.open(path)
    read.load()
    assert read.info["icc_profile"] == photo.icc
    assert round(read.info["dpi"][0]) == 300
    kept = read.getexif()
    assert (kept.get(271), kept.get_ifd(0x8825).get(1)) == (("A camera", "N") if metadata else (None,) * 2)
    assert path.read_bytes() == save_image(photo, tmp_path / f"b.{suffix}", metadata=metadata).read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp", "gif"])
def test_16_bits_that_a_format_cannot_hold_are_told(tmp_path, caplog, suffix: str) -> None:
    photo = Photo(from_uint16(torch.full((3, 4, 4), 300)), bits=16)
    save_image(photo, tmp_path / f"out.{suffix}")
    assert [message.partition(": ")[2].partition(" ")[2] for message in caplog.messages] == [
        "holds 8 bits a channel, the picture had 16"
    ]
    assert np.asarray(photo.to_pil()).tolist() == [[[1, 1, 1]] * 4] * 4


def test_an_alpha_of_16_bits_is_resized_and_reduced() -> None:
    photo = deep_photo(alpha=True).with_pixels(torch.zeros(3, 8, 8))
    assert photo.alpha is not None
    assert (photo.alpha.shape, photo.alpha.dtype) == ((8, 8), np.int32)
    assert photo.alpha.max() > 255
    assert np.asarray(photo.to_pil().getchannel("A")).max() == (int(photo.alpha.max()) + 128) // 257


def test_an_ordinary_picture_has_8_bits() -> None:
    photo = open_image(picture())
    assert photo.bits == 8
    assert torch.equal(photo.tensor, from_uint8(torch.from_numpy(picture()).permute(2, 0, 1)))
