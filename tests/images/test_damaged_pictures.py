"""Pictures cut short or changed at random: each is opened whole or refused in one line."""

from __future__ import annotations

import logging
import os
import random
import struct
import threading
import warnings
from pathlib import Path

import pytest
import torch

from support.mutants import SAMPLES, mutants
from support.pictures import encoded, noise
from tgim.errors import ImageError
from tgim.images.decode import decode_small, silent_libtiff, upright_size
from tgim.images.photo import Photo, open_image


def photo_or_refusal(data: bytes) -> Photo | None:
    """What `open_image` makes of hostile bytes; fails on any other outcome, a warning among them."""
    try:
        photo = open_image(data, max_pixels=300_000)
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return None
    assert photo.tensor.isfinite().all()
    assert photo.tensor.abs().max() <= 1
    return photo


@pytest.mark.parametrize("kind", SAMPLES)
def test_truncated_files_are_refused_or_whole(kind: str, caplog) -> None:
    data = SAMPLES[kind]
    whole = open_image(data).tensor
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
            photo = photo_or_refusal(data[: int(len(data) * part)])
            assert photo is None or torch.equal(photo.tensor, whole), f"{part} of the file passed as a picture"
    assert not [record for record in caplog.records if record.name.startswith("PIL")]


def look(path: str) -> int:
    """Read a hostile file by every way in; count those that opened it."""
    found = [photo_or_refusal(Path(path).read_bytes()) is not None]
    for way in (upright_size, lambda path: decode_small(path, wanted=lambda size: (size[0] // 3, size[1] // 3))):
        try:
            way(path)
            found.append(True)
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017
    return sum(found)


@pytest.mark.parametrize("kind", SAMPLES)
def test_corrupted_files_give_a_photo_or_one_line(kind: str, tmp_path, caplog, capfd) -> None:
    assert hostile(kind, 3, tmp_path, caplog) < 9
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", SAMPLES)
def test_ten_thousand_corrupted_files_give_a_photo_or_one_line(kind: str, tmp_path, caplog, capfd) -> None:
    count = 10_000 // len(SAMPLES) + 1
    assert hostile(kind, count, tmp_path, caplog) < 3 * count
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def hostile(kind: str, count: int, folder: Path, caplog: pytest.LogCaptureFixture) -> int:
    opened, path = 0, folder / "hostile"
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        for data in mutants(kind, count):
            path.write_bytes(data)
            opened += look(str(path))
    assert not [record for record in caplog.records if record.name.startswith("PIL")]
    return opened


def test_pillows_warnings_stay_inside(monkeypatch) -> None:
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 1000)  # Pillow warns from here to twice as much, 40x30 is between
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(SAMPLES["PNG"]).width == 40


@pytest.mark.slow
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
