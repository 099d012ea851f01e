"""Laws of `tgim edit`: what the user can mend is one line and exit code 2, and nothing is written then."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.commands import files, is_refused, tgim
from tgim.errors import UserError
from tgim.inference import batch_edit as jobs
from tgim.inference.editor import Editor

TEXT = "red head and breast"


@pytest.fixture
def edit(tagrid_file):
    """Run `tgim edit` with the small editor, or the one named."""
    return lambda *args: tgim("edit", *(() if "--model" in args else ("--model", tagrid_file)), *args)


def test_an_edit_keeps_size_and_format_and_changes_the_picture(here, edit):
    result = edit("--image", "bird.jpg", "--text", TEXT, "--out", "edited.jpg")
    assert result.exit_code == 0, result.output
    assert result.stdout == "edited.jpg\n"
    before, after = Image.open("bird.jpg"), Image.open("edited.jpg")
    assert (after.size, after.format) == (before.size, "JPEG")
    assert np.abs(np.asarray(after, float) - np.asarray(before, float)).mean() > 1


@pytest.mark.slow
def test_equal_calls_give_equal_files(here, edit, tagan_file):
    for model in ((), ("--model", tagan_file, "--seed", 3)):
        for out in ("a.png", "b.png"):
            assert edit("--image", "bird.jpg", "--text", TEXT, "--out", out, *model).exit_code == 0
        assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


@pytest.mark.slow
def test_no_strength_is_no_edit(here, edit, tagan_file):
    before = np.asarray(Image.open("bird.jpg"))
    for model in ((), ("--model", tagan_file)):
        edit("--image", "bird.jpg", "--text", TEXT, "--out", "same.png", "--strength", 0, *model)
        assert (np.asarray(Image.open("same.png")) == before).all()


def test_outside_the_box_nothing_changes(here, edit):
    assert edit("--image", "bird.jpg", "--text", TEXT, "--out", "part.png", "--box", "40,20,60,50").exit_code == 0
    before, after = np.asarray(Image.open("bird.jpg")), np.asarray(Image.open("part.png"))
    inside = np.zeros(before.shape[:2], bool)
    inside[20:70, 40:100] = True
    assert (after[~inside] == before[~inside]).all()
    assert (after[inside] != before[inside]).any()


def test_size_model_is_the_raw_output(here, edit):
    edit("--image", "bird.jpg", "--text", TEXT, "--out", "raw.png", "--size", "model")
    assert Image.open("raw.png").size == (32, 32)


@pytest.mark.slow
def test_several_texts_are_numbered(here, edit):
    result = edit("--image", "bird.jpg", "--text", TEXT, "--text", "a small blue bird", "--out", "out.png")
    assert result.stdout.split() == ["out-1.png", "out-2.png"]
    assert Path("out-1.png").read_bytes() != Path("out-2.png").read_bytes()
    assert set(files(here)) == {"bird.jpg", "out-1.png", "out-2.png"}


@pytest.mark.slow
def test_the_output_has_a_name_of_its_own(here, edit):
    (here / "deeper").mkdir()
    Path("bird.jpg").rename("deeper/bird.jpg")
    assert edit("--image", "deeper/bird.jpg", "--text", TEXT).stdout == "bird-edited.jpg\n"
    assert edit("--image", "deeper/bird.jpg", "--text", TEXT, "--out", "new/").stdout == "new/bird.jpg\n"
    assert set(files(here)) == {"bird-edited.jpg", "new/bird.jpg", "deeper/bird.jpg"}


def test_the_picture_itself_is_replaced_only_when_forced(here, edit):
    before = files(here)
    os.symlink("bird.jpg", "link.jpg")
    for out in ("bird.jpg", "./bird.jpg", "link.jpg", "."):
        assert "--force" in is_refused(edit("--image", "bird.jpg", "--text", TEXT, "--out", out))
    assert files(here)["bird.jpg"] == before["bird.jpg"]
    assert edit("--image", "bird.jpg", "--text", TEXT, "--out", "bird.jpg", "--force").exit_code == 0
    assert files(here)["bird.jpg"] != before["bird.jpg"]


def test_unknown_words_are_named_once_and_the_rest_is_used(here, edit):
    result = edit("--image", "bird.jpg", "--text", "bleu head", "--out", "x.png", "--json")
    assert result.exit_code == 0
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("tgim: warning: ")
    assert "'bleu'" in result.stderr
    assert "blue" in result.stderr
    assert json.loads(result.stdout)["unknown"] == {"bleu": ["blue"]}


def test_json_says_what_was_done(here, edit, tagrid_file):
    result = edit("--image", "bird.jpg", "--text", TEXT, "--out", "x.png", "--json", "--strength", 0.5, "--seed", 7)
    line = json.loads(result.stdout)
    expected = {"image": "bird.jpg", "out": "x.png", "text": TEXT, "model": str(tagrid_file), "strength": 0.5}
    expected |= {"seed": 7, "box": None, "size": "photo", "width": 120, "height": 90, "unknown": {}}
    assert {key: line[key] for key in expected} == expected
    assert line["seconds"] > 0


@pytest.mark.slow
def test_json_tells_the_box_that_was_edited(here, edit, monkeypatch):
    def boxes(*options):
        result = edit(
            "--image", "bird.jpg", "--text", TEXT, "--text", "a blue bird", "--out", "x.png", "--json", *options
        )
        return [json.loads(line)["box"] for line in result.stdout.splitlines()]

    monkeypatch.setattr(Editor, "find_subject", lambda self, photo: (40, 20, 60, 50))
    assert boxes() == [[40, 20, 60, 50]] * 2
    found = Path("x-1.png").read_bytes()
    assert boxes("--no-focus") == boxes("--size", "model") == [None, None]
    assert boxes("--box", "40,20,60,50") == [[40, 20, 60, 50]] * 2
    assert Path("x-1.png").read_bytes() == found
    monkeypatch.setattr(Editor, "find_subject", lambda self, photo: None)
    assert boxes() == [None, None]


HOSTILE = {
    "missing.jpg": None,
    "empty.jpg": b"",
    "text.jpg": b"this is no picture\n" * 20,
    "cut.jpg": "cut",
    "folder.jpg": "folder",
    "liar.png": b"%PDF-1.4 and so on",
}


def put(name, drawn_bird):
    content = HOSTILE[name]
    if content == "folder":
        Path(name).mkdir()
    elif content is not None:
        Path(name).write_bytes(drawn_bird[: len(drawn_bird) // 3] if content == "cut" else content)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_picture_is_refused_and_nothing_is_written(here, edit, drawn_bird, name):
    put(name, drawn_bird)
    before = files(here)
    assert name in is_refused(edit("--image", name, "--text", TEXT, "--out", "out.jpg"))
    assert files(here) == before


GOOD = ("--image", "bird.jpg", "--text", TEXT)

BAD_ARGUMENTS = {
    "no text": ["--image", "bird.jpg"],
    "empty text": ["--image", "bird.jpg", "--text", "  "],
    "only unknown words": ["--image", "bird.jpg", "--text", "qwertz uiop"],
    "one of two texts bad": [*GOOD, "--text", ""],
    "too long": ["--image", "bird.jpg", "--text", "red " * 200],
    "no image": ["--text", TEXT],
    "both": ["--image", "bird.jpg", "--images", ".", "--text", TEXT],
    "folder without out": ["--images", ".", "--text", TEXT],
    "strength": [*GOOD, "--strength", "1.5"],
    "strength nan": [*GOOD, "--strength", "nan"],
    "strength word": [*GOOD, "--strength", "much"],
    "box words": [*GOOD, "--box", "here"],
    "box outside": [*GOOD, "--box", "100,80,50,50"],
    "size": [*GOOD, "--size", "large"],
    "quality": [*GOOD, "--quality", "0"],
    "seed": [*GOOD, "--seed", "-1"],
    "model": [*GOOD, "--model", "brids"],
    "model file": [*GOOD, "--model", "no/such.safetensors"],
    "model is a picture": [*GOOD, "--model", "./bird.jpg"],
    "option": ["--image", "bird.jpg", "--txt", TEXT],
    "suffix": [*GOOD, "--out", "x.xyz"],
    "out folder": [*GOOD, "--out", "nowhere/x.jpg"],
    "out below a file": [*GOOD, "--out", "bird.jpg/"],
    "images is a file": ["--images", "bird.jpg", "--text", TEXT, "--out", "new"],
    "images not there": ["--images", "nowhere", "--text", TEXT, "--out", "new"],
    "out replaces images": ["--images", ".", "--text", TEXT, "--out", "."],
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_a_bad_argument_is_refused_and_nothing_is_written(here, edit, case):
    before = files(here)
    is_refused(edit(*BAD_ARGUMENTS[case]))
    assert files(here) == before
    assert {path.name for path in here.iterdir()} == {"bird.jpg"}


@pytest.mark.slow
def test_a_folder_goes_on_after_bad_pictures(here, edit, drawn_bird):
    Path("in").mkdir()
    os.chdir("in")
    for name in ("empty.jpg", "text.jpg", "cut.jpg"):
        put(name, drawn_bird)
    os.chdir("..")
    for name in ("a.jpg", "z.jpg"):
        (Path("in") / name).write_bytes(drawn_bird)
    Image.open(io.BytesIO(drawn_bird)).save("in/m.png")
    (Path("in") / "notes.txt").write_text("not a picture")
    result = edit("--images", "in", "--text", TEXT, "--out", "out/deep")
    assert result.exit_code == 1
    assert set(files(Path("out/deep"))) == {"a.jpg", "m.png", "z.jpg"}
    assert Path("out/deep/a.jpg").read_bytes() == Path("out/deep/z.jpg").read_bytes()
    failed = [line for line in result.stderr.splitlines() if line.startswith("tgim: failed: ")]
    assert len(failed) == 3
    assert all(any(name in line for line in failed) for name in ("empty.jpg", "text.jpg", "cut.jpg"))
    assert "3 of 6 edits" in result.stdout


def test_a_folder_of_good_pictures_by_two_texts(here, edit):
    result = edit("--images", ".", "--text", TEXT, "--text", "a small blue bird", "--out", "new", "--json")
    assert result.exit_code == 0
    *lines, report = [json.loads(line) for line in result.stdout.splitlines()]
    assert report == {"report": {"done": 2, "skipped": 0, "failed": 0}}
    assert [line["out"] for line in lines] == ["new/bird-1.jpg", "new/bird-2.jpg"]
    assert set(files(Path("new"))) == {"bird-1.jpg", "bird-2.jpg"}


def test_two_edits_never_get_one_name():
    with pytest.raises(UserError, match="both become"):
        jobs.plan([Path("a/x.jpg"), Path("b/x.jpg")], [TEXT], out=Path("o"), into_folder=True)


def test_a_box_that_does_not_fit_leaves_its_picture_alone_for_every_text(here, edit, drawn_bird):
    Path("in").mkdir()
    Path("in/a.jpg").write_bytes(drawn_bird)
    Image.new("RGB", (30, 30), "gray").save("in/b.png")
    result = edit("--images", "in", "--text", TEXT, "--text", "a blue bird", "--out", "out", "--box", "40,20,60,50")
    assert result.exit_code == 1
    assert result.stderr.count("tgim: failed: box") == 2
    assert set(files(Path("out"))) == {"a-1.jpg", "a-2.jpg"}


@pytest.mark.slow
def test_metadata_is_kept_only_when_asked(here, edit):
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.open("bird.jpg").save("with.jpg", exif=exif)
    for options, kept in (((), False), (("--metadata",), True)):
        edit("--image", "with.jpg", "--text", TEXT, "--out", "x.jpg", *options)
        assert (Image.open("x.jpg").getexif().get(0x010F) == "a camera") is kept
