"""Files that are not what they should be: every one ends as one `ImageError` line, and nothing is left behind."""

from __future__ import annotations

import io
import logging
import os
import random
import socket
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor

from tgim.errors import ImageError
from tgim.images.decode import silent_libtiff
from tgim.images.photo import Photo, open_image, save_image

KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")


def noise(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refusal(source: object, **options: int) -> str:
    """The one line that `open_image` refuses `source` with."""
    with pytest.raises(ImageError) as caught:
        open_image(source, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 400
    return line


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG file that claims a size and holds `data` as its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


# ---- what is no file


def test_missing_folder_empty_and_odd_paths(tmp_path) -> None:
    (tmp_path / "empty.png").touch()
    assert "does not exist" in refusal(tmp_path / "missing.png")
    assert "missing.png" in refusal(tmp_path / "missing.png")
    assert "below a file.png" in refusal(tmp_path / "empty.png" / "below a file.png")
    assert "is a folder" in refusal(tmp_path)
    assert "does not exist" in refusal("")
    assert "empty" in refusal(tmp_path / "empty.png")
    assert "empty" in refusal(b"")
    assert "cannot be read" in refusal("x" * 5000)
    assert "cannot be read" in refusal("null\0byte.png")
    assert "?" in refusal("a\nnew line.png")
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    assert "cannot be read" in refusal(loop)


def test_devices_and_pipes_do_not_block(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "device or pipe" in refusal(tmp_path / "pipe.png")
    assert "device or pipe" in refusal("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # the address of a socket must be short
        try:
            server.bind("socket.png")
        finally:
            os.chdir(here)
    assert "device or pipe" in refusal(tmp_path / "socket.png")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(noise(), "PNG"))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert "permission denied" in refusal(path)


@pytest.mark.parametrize("source", [None, 3, [1, 2], {"a": 1}, torch.zeros(3, 4, 4)])
def test_other_objects_are_refused(source: object) -> None:
    assert "cannot be made from" in refusal(source)


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros((3, 8, 8), np.uint8), "shape"),
        (np.zeros((8,), np.uint8), "shape"),
        (np.zeros((0, 8, 3), np.uint8), "shape"),
        (np.zeros((1, 8, 8, 3), np.uint8), "shape"),
        (np.zeros((8, 8, 3), np.int64), "int64"),
        (np.zeros((8, 8, 3), bool), "bool"),
        (np.full((8, 8, 3), 200.0), "spans"),
        (np.full((8, 8, 3), -0.1), "spans"),
        (np.full((8, 8, 3), np.nan), "spans"),
        (np.zeros((8, 8, 3), complex), "complex"),
        (np.full((8, 8, 3), "a"), "U1"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, hint: str) -> None:
    assert hint in refusal(array)


def test_closed_images_are_refused(tmp_path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(noise(), "PNG"))
    image = Image.open(path)
    image.close()
    assert "broken" in refusal(image)


# ---- what is no picture, or another kind of one


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"Dear diary,\nno picture today.\n", "text file"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x1cftypisom\0\0\0\0", "video"),
        (b"PK\3\4" + bytes(40), "zip"),
        (b"\0\0\1\0\1\0", "icon"),
        (b"8BPS\0\1", "Photoshop"),
        (bytes(1000), "unknown kind"),
        (b"\xff\xd8\xff", "damaged JPEG"),
        (b"\x89PNG\r\n\x1a\n", "damaged PNG"),
        (b"RIFF\0\0\0\0WEBP", "damaged WebP"),
        (b"II*\0\0\0\0\0", "damaged TIFF"),
        (b"GIF89a", "damaged GIF"),
        (b"BM", "damaged BMP"),
    ],
)
def test_files_that_lie_about_their_kind(data: bytes, hint: str, tmp_path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(data)
    line = refusal(path)
    assert hint in line
    assert str(path) in line
    assert "JPEG, PNG, WebP" in line


def test_kinds_that_only_pillow_knows_are_refused() -> None:
    for kind in ("PPM", "ICO", "TGA", "PCX", "EPS", "PDF"):
        assert "expected a JPEG, PNG" in refusal(encoded(noise(), kind))


# ---- bombs


def test_large_pictures_are_refused_before_they_are_decoded(monkeypatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded a bomb"))
    for source in (png(20_000, 6_000), encoded(Image.new("1", (11_000, 10_000)), "TIFF", compression="group4")):
        line = refusal(source)
        assert "make it smaller" in line
        assert "100,000,000" in line
    assert "make it smaller" in refusal(png(60_000, 60_000))  # beyond Pillow's own limit
    assert "at most 100 are" in refusal(encoded(noise(), "PNG"), max_pixels=100)
    assert "at most 100 are" in refusal(np.zeros((30, 40), np.uint8), max_pixels=100)


def test_compressed_text_bombs_are_refused() -> None:
    data = bytearray(encoded(noise(), "PNG"))
    body = b"Comment\0\0" + zlib.compress(bytes(300_000_000 // 8))
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    data[33:33] = chunk
    try:
        open_image(bytes(data))
    except ImageError as error:
        assert "damaged" in str(error)  # noqa: PT017


def test_a_picture_without_its_pixels_is_refused() -> None:
    assert "damaged PNG" in refusal(png(500, 500, b"\0" * 10))


# ---- truncation and corruption


def samples() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 0.0)})
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {kind: encoded(noise(), kind) for kind in KINDS}
    files |= {f"{kind} with all": encoded(noise(), kind, exif=exif.tobytes(), icc_profile=icc) for kind in KINDS[:4]}
    files["JPEG progressive"] = encoded(noise(), "JPEG", progressive=True)
    files["JPEG CMYK"] = encoded(noise("CMYK"), "JPEG")
    files["PNG palette"] = encoded(noise("P"), "PNG", transparency=bytes(range(256)))
    files["PNG 16"] = encoded(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)), "PNG")
    files["PNG alpha"] = encoded(noise("RGBA"), "PNG")
    files["WEBP alpha"] = encoded(noise("RGBA"), "WEBP", lossless=True)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"TIFF {compression}"] = encoded(noise(), "TIFF", compression=compression)
    files["TIFF fax"] = encoded(noise("1"), "TIFF", compression="group4")
    files["TIFF float"] = encoded(noise("F"), "TIFF")
    files["BMP palette"] = encoded(noise("P"), "BMP")
    files["GIF animated"] = encoded(noise(), "GIF", save_all=True, append_images=[noise("L")])
    return files


SAMPLES = samples()


def photo_or_refusal(data: bytes) -> Photo | None:
    """What `open_image` makes of hostile bytes; fails on any other outcome, a warning among them."""
    try:
        photo = open_image(data, max_pixels=300_000)
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return None
    assert photo.pixels.isfinite().all()
    assert photo.pixels.abs().max() <= 1
    return photo


@pytest.mark.parametrize("kind", SAMPLES)
def test_truncated_files_are_refused_or_whole(kind: str, caplog) -> None:
    data = SAMPLES[kind]
    whole = open_image(data).pixels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
            photo = photo_or_refusal(data[: int(len(data) * part)])
            assert photo is None or torch.equal(photo.pixels, whole), f"{part} of the file passed as a picture"
    assert not [record for record in caplog.records if record.name.startswith("PIL")]


@pytest.mark.parametrize("kind", SAMPLES)
def test_corrupted_files_give_a_photo_or_one_line(kind: str, caplog, capfd) -> None:
    data, rng = SAMPLES[kind], random.Random(kind)
    opened = 0
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        for turn in range(120):
            broken = bytearray(data)
            reach = len(data) if turn % 2 else min(len(data), 200)  # every other time, the header
            for _ in range(rng.choice((1, 2, 5, 20))):
                broken[rng.randrange(reach)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            if turn % 5 == 0:
                cut = rng.randrange(len(data))
                del broken[cut : cut + rng.randrange(1, 9)]
            opened += photo_or_refusal(bytes(broken)) is not None
    assert opened < 120
    assert not [record for record in caplog.records if record.name.startswith("PIL")]
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_pillows_warnings_stay_inside(monkeypatch) -> None:
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 1000)  # Pillow warns from here to twice as much, 40x30 is between
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(SAMPLES["PNG"]).width == 40


def test_the_error_stream_survives_threads(capfd) -> None:
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with silent_libtiff():
            first_in.set()
            second_in.wait(0.1)  # comes only if both may be inside
        first_out.set()

    def second() -> None:
        first_in.wait()
        with silent_libtiff():
            second_in.set()
            first_out.wait()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


def test_random_bytes_behind_every_signature() -> None:
    rng = random.Random(1)
    for data in SAMPLES.values():
        for length in (4, 12, 30):
            photo_or_refusal(data[:length] + rng.randbytes(300))


def test_broken_exif_does_not_cost_the_picture() -> None:
    start = b"Exif\0\0MM\0*\0\0\0\x08"
    for block in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", start + b"\xff\xff" + bytes(30), b"Exif\0\0rubbish"):
        photo = open_image(encoded(noise(), "JPEG", exif=block))
        assert (photo.height, photo.width) == (30, 40)


def test_broken_exif_does_not_cost_the_orientation() -> None:
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack(">HHII", 0x8769, 4, 1, 0xFFFFFFF0)
    block = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 2) + entries + bytes(4)  # points beyond its end
    photo = open_image(encoded(noise(), "JPEG", exif=block))
    assert (photo.height, photo.width) == (40, 30)


# ---- out


@pytest.fixture
def photo() -> Photo:
    return open_image(noise())


def save_refusal(photo: Photo, path: object, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        save_image(photo, path, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_targets_that_cannot_be_written(photo: Photo, tmp_path) -> None:
    (tmp_path / "file").touch()
    assert "suffix '.jpq' is unknown; did you mean '.jpg'" in save_refusal(photo, tmp_path / "out.jpq")
    assert "suffix '.heic'" in save_refusal(photo, tmp_path / "out.heic")
    assert "format 'pgn' is unknown" in save_refusal(photo, tmp_path / "out.png", format="pgn")
    assert "does not exist; create it" in save_refusal(photo, tmp_path / "no folder" / "out.png")
    assert "does not exist; create it" in save_refusal(photo, tmp_path / "file" / "out.png")
    assert "is a folder" in save_refusal(photo, tmp_path)
    assert "is a folder" in save_refusal(photo, "")
    assert "no ordinary file" in save_refusal(photo, "/dev/null")
    assert "cannot" in save_refusal(photo, tmp_path / ("x" * 300 + ".png"))
    assert "cannot" in save_refusal(photo, "null\0byte.png")
    assert "quality" in save_refusal(photo, tmp_path / "out.jpg", quality=0)
    assert Path("/dev/null").is_char_device()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_folder_that_takes_no_files(photo: Photo) -> None:
    assert "cannot be written" in save_refusal(photo, "/proc/out.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_write_protection_is_respected(photo: Photo, tmp_path) -> None:
    target = tmp_path / "out.png"
    target.touch(0o444)
    assert "write-protected" in save_refusal(photo, target)


def test_failures_leave_the_old_file_and_nothing_else(photo: Photo, tmp_path, monkeypatch) -> None:
    target = save_image(photo, tmp_path / "out.png")
    before = target.read_bytes()
    other = photo.with_pixels(-photo.pixels)

    def fail(error: BaseException):
        def call(*_: object, **__: object) -> None:
            raise error

        return call

    for place, error, seen in (
        ("os.replace", OSError(28, "No space left on device"), ImageError),
        ("os.replace", KeyboardInterrupt(), KeyboardInterrupt),
        ("PIL.Image.Image.save", OSError("encoder error -2"), ImageError),
        ("PIL.Image.Image.save", MemoryError(), MemoryError),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, fail(error))
            with pytest.raises(seen):
                save_image(other, target)
        assert target.read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize(("suffix", "size"), [("webp", 16_384), ("jpg", 65_501), ("gif", 65_536)])
def test_pictures_too_long_for_a_format(suffix: str, size: int, tmp_path) -> None:
    photo = Photo(torch.zeros(3, 1, size))
    assert "a side" in save_refusal(photo, tmp_path / f"out.{suffix}")
    save_image(photo, tmp_path / "out.png")


@pytest.mark.parametrize("pixels", [torch.zeros(1, 4, 4), torch.zeros(3, 0, 4), torch.zeros(3, 4)])
def test_a_photo_checks_its_shape(pixels: Tensor) -> None:
    with pytest.raises(ImageError, match="3, H, W"):
        Photo(pixels)
    with pytest.raises(ImageError, match="alpha"):
        Photo(torch.zeros(3, 4, 4), alpha=torch.zeros(5, 5, dtype=torch.uint8))
