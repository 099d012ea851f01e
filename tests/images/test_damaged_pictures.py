"""Pictures cut short or changed at random: each is opened whole or refused in one line."""

from __future__ import annotations

import logging
import os
import random
import struct
import threading
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from support.pictures import encoded, noise
from tgim.errors import ImageError
from tgim.images.decode import silent_libtiff
from tgim.images.photo import Photo, open_image

KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")


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


@pytest.mark.slow
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
