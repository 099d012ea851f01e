"""Files that are no pictures: every one ends as one `ImageError` line, before it costs memory."""

from __future__ import annotations

import os
import socket
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from support.pictures import encoded, noise
from tgim.errors import ImageError
from tgim.images.photo import open_image


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
    assert "is not there" in refusal(tmp_path / "missing.png")
    assert "missing.png" in refusal(tmp_path / "missing.png")
    assert "below a file.png" in refusal(tmp_path / "empty.png" / "below a file.png")
    assert "is a folder" in refusal(tmp_path)
    assert "is not there" in refusal("")
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


@pytest.mark.slow
def test_large_pictures_are_refused_before_they_are_decoded(monkeypatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded a bomb"))
    for source in (png(20_000, 7_000), encoded(Image.new("1", (12_000, 10_500)), "TIFF", compression="group4")):
        line = refusal(source)
        assert "make it smaller" in line
        assert "120,000,000" in line
    assert "make it smaller" in refusal(png(60_000, 60_000))  # beyond Pillow's own limit
    assert "at most 100 are" in refusal(encoded(noise(), "PNG"), max_pixels=100)
    assert "at most 100 are" in refusal(np.zeros((30, 40), np.uint8), max_pixels=100)


@pytest.mark.slow
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
