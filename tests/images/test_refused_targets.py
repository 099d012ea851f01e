"""Pictures that cannot be saved: one `ImageError` line, the old file kept, and nothing left behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from support.pictures import noise
from tgim.errors import ImageError
from tgim.images.photo import Photo, open_image, save_image


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
    assert "is not there; make it" in save_refusal(photo, tmp_path / "no folder" / "out.png")
    assert "is not there; make it" in save_refusal(photo, tmp_path / "file" / "out.png")
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
