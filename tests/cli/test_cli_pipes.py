"""Laws of pipes: `-` is the standard input or output, and a picture is the same through a pipe as through a file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import by_colour
from support.commands import files, is_refused, tgim
from tgim.cli import pipes

TEXT = "red head and breast"


@pytest.fixture
def edit(tagrid_file):
    return lambda *args, **given: tgim("edit", "--text", TEXT, "--model", tagrid_file, *args, **given)


def test_an_edit_is_the_same_through_pipes(here, edit):
    assert edit("--image", "bird.jpg", "--out", "file.png").exit_code == 0
    photo, before = Path("bird.jpg").read_bytes(), files(here)
    piped = edit("--image", "-", "--out", "-", "--format", "png", given=photo)
    assert piped.exit_code == 0, piped.stderr
    assert piped.stdout_bytes == Path("file.png").read_bytes()
    assert piped.stderr == ""
    own = edit("--image", "-", given=photo)  # goes where it came from, as what it was
    assert Image.open(io.BytesIO(own.stdout_bytes)).format == "JPEG"
    assert files(here) == before


def test_several_texts_read_the_pipe_once(here, edit, monkeypatch):
    photo = Path("bird.jpg").read_bytes()
    monkeypatch.setattr("tgim.inference.editor.LARGE", 1000)  # large pictures are opened again for each text
    result = edit("--image", "-", "--text", "a blue bird", "--out", "out.png", given=photo)
    assert result.stdout.split() == ["out-1.png", "out-2.png"], result.stderr


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (("--image", "-"), b"", "empty"),
        (("--image", "-"), b"no picture", "standard input"),
        (("--image", "-", "--out", "new/"), b"x", "no name"),
        (("--image", "bird.jpg", "--out", "-", "--json"), None, "--json"),
        (("--image", "bird.jpg", "--out", "-", "--text", "a blue bird"), None, "one picture"),
        (("--image", "bird.jpg", "--out", "-", "--format", "jepg"), None, "did you mean 'JPEG'?"),
        (("--images", ".", "--out", "-"), None, "FOLDER"),
        (("--image", "bird.jpg", "--out", "x.png", "--save-mask", "-"), None, "mask.png"),
    ],
)
def test_what_cannot_be_piped_is_one_line(here, edit, arguments, given, said):
    before = files(here)
    assert said in is_refused(edit(*arguments, given=given))
    assert files(here) == before


def test_an_endless_pipe_is_refused(here, edit, monkeypatch):
    monkeypatch.setattr(pipes, "LIMIT", 2**20)
    assert "longer than 1 MiB" in is_refused(edit("--image", "-", "--out", "x.png", given=bytes(2**20 + 1)))


def test_an_unknown_format_is_refused_before_anything_is_made(here):
    words = ("generate", "--text", "a red bird", "--n", 1, "--format", "jepg")
    for out in ("new/", "one.png", "-"):
        assert "did you mean 'JPEG'?" in is_refused(tgim(*words, "--out", out))
    assert not Path("new").exists()


def test_a_folder_of_any_name_is_in_nobodys_way(here, edit):
    Path("picture").mkdir()
    photo = Path("bird.jpg").read_bytes()
    assert edit("--image", "-", given=photo).exit_code == 0
    assert edit("--images", ".", "--out", "new").exit_code == 0


def test_a_format_is_written_whatever_the_name(here, edit):
    assert edit("--image", "bird.jpg", "--out", "edited.img", "--format", "webp").exit_code == 0
    assert Image.open("edited.img").format == "WEBP"


def test_other_verbs_write_to_pipes(here, tmp_path):
    sample = tgim("sample", "-", "--seed", 3, "--format", "webp")
    assert Image.open(io.BytesIO(sample.stdout_bytes)).format == "WEBP"
    Image.fromarray(as_bytes(by_colour.scene((60, 20, 80, 60)))).save("scene.png")
    model = by_colour.saved(tmp_path, head=3.0)
    scene = Path("scene.png").read_bytes()
    assert tgim("parts", "scene.png", "--model", model, "--mask", "head", "--out", "head.png").exit_code == 0
    mask = tgim("parts", "-", "--model", model, "--mask", "head", given=scene)
    assert mask.stdout_bytes == Path("head.png").read_bytes()
    assert Image.open("head.png").mode == "L"


def as_bytes(pixels):
    return ((pixels[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)


@pytest.mark.slow
def test_a_generated_picture_goes_through_a_pipe(here):
    words = ("generate", "--text", "a red bird", "--n", 1)
    assert tgim(*words, "--out", "one.png").exit_code == 0
    assert tgim(*words, "--out", "-").stdout_bytes == Path("one.png").read_bytes()


@pytest.mark.slow
def test_a_file_may_be_called_dash(here, edit):
    Path("bird.jpg").rename("-")
    assert edit("--image", "./-", "--out", "edited.png").exit_code == 0


def test_a_mask_of_what_changed_is_written_and_holds_as_a_mask(here, edit):
    half = Image.new("L", (12, 9), 0)
    half.paste(255, (0, 0, 6, 9))
    half.save("half.png")
    words = ("--image", "bird.jpg", "--mask", "half.png")
    assert edit(*words, "--out", "edited.png", "--save-mask", "acted.png").exit_code == 0
    before, after = np.asarray(Image.open("bird.jpg")), np.asarray(Image.open("edited.png"))
    acted = np.asarray(Image.open("acted.png"))
    assert acted.shape == before.shape[:2]
    assert ((acted == 255) == (before != after).any(-1)).all()
    assert not acted[:, 70:].any()
    for out, mask in (("edited.png", "edited.png"), ("x.png", "half.png"), ("x.png", "bird.jpg")):
        is_refused(edit(*words, "--out", out, "--save-mask", mask))


def test_a_folder_takes_a_folder_of_masks(here, edit):
    for name in ("photos", "masks"):
        Path(name).mkdir()
    Path("bird.jpg").rename("photos/bird.jpg")
    Image.new("L", (12, 9), 255).save("masks/bird.png")
    words = ("--images", "photos", "--out", "new")
    assert "must be a folder" in is_refused(edit(*words, "--mask", "masks/bird.png"))
    assert edit(*words, "--mask", "masks").exit_code == 0
    Path("masks/bird.png").rename("masks/other.png")
    result = edit(*words, "--mask", "masks")
    assert result.exit_code == 1
    assert "no mask of the name 'bird'" in result.stderr
