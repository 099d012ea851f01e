"""Laws of `tgim generate` and `tgim interpolate`: files as the library makes them, and nothing where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from support import commands
from support.commands import tgim
from support.small import VOCABULARY as WORDS
from support.small import model_of
from support.toy_generator import save_toy
from tgim.checkpoints import checkpoint
from tgim.data.synthetic.pairs import sample_picture
from tgim.images.photo import open_image
from tgim.inference.editor import Editor
from tgim.inference.generator import Generator
from tgim.models.base import sample_noise

RED, BLUE = "this bird has a red head", "a small blue bird"


def is_refused(result):
    """As everywhere, and nothing is written."""
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["a.png", "b.png"]
    return commands.is_refused(result)


@pytest.fixture(scope="module")
def drawer(tmp_path_factory):
    return save_toy(tmp_path_factory.mktemp("models") / "drawer.safetensors")


@pytest.fixture(scope="module")
def attentive(tmp_path_factory):
    """A generator that looks at single words."""
    path = tmp_path_factory.mktemp("models") / "attngan.safetensors"
    return checkpoint.save(path, model_of("attngan").eval(), vocabulary=WORDS)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with two photographs."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate("ab"):
        Image.fromarray(sample_picture("birds", seed=i, size=(40, 48))).save(f"{name}.png")
    return tmp_path


@pytest.mark.slow
def test_a_model_of_noise_alone_takes_no_text_and_the_others_do(here, drawer):
    model = model_of("stackgan_v2, no captions").eval()
    silent = checkpoint.save(here / "models" / "silent.safetensors", model, vocabulary=WORDS)
    plain = tgim("generate", "--model", silent, "--n", 3, "--out", "grid.png", "--json")
    told = tgim("generate", "--model", silent, "--text", RED, "--n", 3, "--out", "told.png")
    assert (plain.exit_code, told.exit_code) == (0, 0), plain.stderr + told.stderr
    assert json.loads(plain.stdout)["captions"] == [""]
    assert Path("grid.png").read_bytes() == Path("told.png").read_bytes()
    assert Generator.from_pretrained(silent).generate([], n=3).shape[:2] == (1, 3)
    for path in ("grid.png", "told.png", "models/silent.safetensors"):
        Path(path).unlink()
    Path("models").rmdir()
    assert "there is no --text" in is_refused(tgim("generate", "--model", drawer, "--out", "grid.png"))


def test_both_verbs_explain_themselves():
    listed = tgim("--help").stdout
    for verb in ("generate", "interpolate"):
        assert f"\n  {verb} " in listed
        result = tgim(verb, "--help")
        assert result.exit_code == 0
        assert result.stdout.count(f"\n  tgim {verb} ") >= 3  # examples


# generate


def test_a_folder_holds_the_pictures_that_the_library_draws(here, drawer):
    result = tgim("generate", "--model", drawer, "--text", RED, "--n", 10, "--seed", 3, "--out", "birds/", "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["out"] for line in lines] == [str(Path("birds") / f"{i:02}.png") for i in range(1, 11)]
    expected = Generator.from_pretrained(drawer)(RED, n=10, seed=3)
    for line, image in zip(lines, expected, strict=True):
        assert np.array_equal(np.asarray(Image.open(line["out"])), np.asarray(image))
    keys = ("text", "caption", "unknown", "seed", "vary", "width", "height")
    assert [lines[6][key] for key in keys] == [RED, RED, {}, 3, "noise", 16, 16]
    assert lines[6]["number"] == 7
    many = tgim("generate", "--model", drawer, "--text", RED, "--text", BLUE, "--n", 2, "--out", "birds")
    assert many.stdout == "4 pictures written to birds\n"
    assert {"1-1.png", "1-2.png", "2-1.png", "2-2.png"} < {path.name for path in Path("birds").iterdir()}


@pytest.mark.slow
def test_a_grid_has_a_row_for_each_text_and_equal_calls_write_equal_files(here, drawer):
    files = []
    for name in ("x.png", "y.png"):
        args = ("--model", drawer, "--text", RED, "--text", BLUE, "--n", 3, "--vary", "both", "--out", name)
        result = tgim("generate", *args)
        assert (result.exit_code, result.stdout, result.stderr) == (0, f"{name}\n", "")
        files.append(Path(name).read_bytes())
    assert files[0] == files[1]
    tgim("generate", "--model", drawer, "--text", RED, "--n", 9, "--out", "z.png", "--json")
    two_rows, three_columns = Image.open("z.png").size, Image.open("x.png").size
    assert two_rows[0] > 2 * three_columns[0]
    assert abs(two_rows[1] - three_columns[1]) < 40


def test_one_picture_is_written_as_it_is(here, drawer):
    result = tgim("generate", "--model", drawer, "--text", RED, "--n", 1, "--out", "one.png", "--json")
    line = json.loads(result.stdout)
    assert (line["width"], line["height"], line["captions"]) == (16, 16, [RED])
    assert np.array_equal(np.asarray(Image.open("one.png")), np.asarray(Generator.from_pretrained(drawer)(RED)[0]))


def test_unknown_words_are_warned_about_once(here, drawer):
    result = tgim("generate", "--model", drawer, "--text", "a red zebra bird", "--n", 2, "--out", "one.png", "--json")
    assert result.exit_code == 0
    assert result.stderr.count("zebra") == result.stderr.count("\n") == 1
    assert json.loads(result.stdout)["unknown"] == [{"zebra": []}]


def test_what_cannot_be_generated_is_refused(here, drawer, tagrid_file):
    ok = ("generate", "--model", drawer, "--text", RED)
    assert "is not there" in is_refused(tgim(*ok, "--out", "no/grid.png"))
    assert "suffix" in is_refused(tgim(*ok, "--out", "grid.xyz"))
    assert "a.png is a file" in is_refused(tgim(*ok, "--out", "a.png/birds/"))
    assert "none of the words" in is_refused(tgim(*ok, "--text", "xyzzy", "--out", "new/"))
    assert "edits pictures" in is_refused(tgim("generate", "--model", tagrid_file, "--text", RED, "--out", "x.png"))
    assert "--text" in is_refused(tgim("generate", "--model", drawer, "--out", "x.png"))
    for option in (("--n", 0), ("--seed", -1), ("--vary", "colour"), ("--quality", 0)):
        assert option[0] in is_refused(tgim(*ok, *option, "--out", "x.png"))


@pytest.mark.slow
def test_attention_is_written_word_by_word(here, attentive):
    ok = ("generate", "--model", attentive, "--text", "a small blue bird", "--n", 2, "--out")
    plain = tgim(*ok, "plain.png")
    result = tgim(*ok, "birds/", "--text", "white belly", "--attention", "words.png", "--json")
    assert (plain.exit_code, result.exit_code) == (0, 0), result.output
    assert {json.loads(line)["attention"] for line in result.stdout.splitlines()} == {"words.png"}
    width, height = Image.open("words.png").size
    assert width >= 6 * 128  # the caption, the picture, four words
    assert height >= 4 * 128  # two pictures of two captions
    generator = Generator.from_pretrained(attentive)
    words, maps = generator.attention("a small blue bird", n=11, seed=0)
    assert words == ["a", "small", "blue", "bird"]
    assert maps.shape == (11, 4, 16, 16)
    assert torch.allclose(maps.sum(1), torch.ones(11, 16, 16), atol=1e-5)
    tokens = generator.vocabulary.encode(["a small blue bird"])
    noise, _ = sample_noise(generator.model, 11, seed=0)
    with torch.no_grad():
        expected = generator.model.attention_maps(tokens, noise[10:])[-1]
    assert torch.allclose(maps[10:], expected, atol=1e-5)


@pytest.mark.slow
def test_attention_that_cannot_be_shown_is_refused(here, drawer, attentive, tmp_path_factory):
    ok = ("generate", "--text", RED, "--n", 1, "--out", "x.png", "--model")
    assert "attends to no words" in is_refused(tgim(*ok, drawer, "--attention", "words.png"))
    single = tmp_path_factory.mktemp("models") / "single.safetensors"
    checkpoint.save(single, model_of("attngan, one scale").eval(), vocabulary=WORDS)
    assert "one stage" in is_refused(tgim(*ok, single, "--text", "a blue bird", "--attention", "words.png"))
    assert "two files" in is_refused(tgim(*ok, attentive, "--attention", "./x.png"))
    assert "suffix" in is_refused(tgim(*ok, attentive, "--attention", "words.xyz"))


def test_variety_of_captions_needs_conditioning_augmentation(here, tmp_path_factory):
    plain = save_toy(tmp_path_factory.mktemp("models") / "plain.safetensors", variation_size=0)
    told = is_refused(tgim("generate", "--model", plain, "--text", RED, "--vary", "caption", "--out", "x.png"))
    assert "no conditioning augmentation" in told


# interpolate


@pytest.mark.slow
def test_captions_on_a_photograph_are_a_strip(here, tagan_file):
    args = ("interpolate", "--model", tagan_file, "--text", RED, "--text", BLUE, "--image", "a.png", "--steps", 4)
    result = tgim(*args, "--out", "strip.png")
    assert (result.exit_code, result.stdout) == (0, "strip.png\n"), result.output
    assert result.stderr == "tgim: interpolated: the codes of the captions\n"
    assert Image.open("strip.png").size == (4 * 48 + 3 * 2, 40)
    line = json.loads(tgim(*args, "--side", 24, "--out", "small.gif", "--json").stdout)
    assert (line["steps"], line["width"], line["height"], line["moving"]) == (4, 24, 20, True)
    assert line["captions"] == [RED, BLUE]
    assert 1 < Image.open("small.gif").n_frames <= 4  # equal pictures are one, shown longer


def test_noise_of_a_generator_moves(here, drawer):
    args = ("interpolate", "--model", drawer, "--text", RED, "--steps", 5, "--seed", 2)
    for name in ("x.webp", "y.webp"):
        assert tgim(*args, "--out", name).stdout == f"{name}\n"
    assert Path("x.webp").read_bytes() == Path("y.webp").read_bytes()
    assert Image.open("x.webp").n_frames == 5
    tgim(*args, "--out", "strip.png")
    first, last = Generator.from_pretrained(drawer).generate([RED], n=2, seed=2)[0]
    pixels = open_image("strip.png").tensor
    assert torch.allclose(pixels[:, :, :16], first, atol=0.01)
    assert torch.allclose(pixels[:, :, -16:], last, atol=0.01)
    assert "one noise" in tgim(*args, "--text", BLUE, "--out", "captions.png").stderr


def test_photographs_are_turned_into_noise_by_a_generator(here, drawer):
    args = ("interpolate", "--model", drawer, "--text", RED, "--image", "a.png", "--image", "b.png", "--steps", 3)
    found = [json.loads(tgim(*args, "--invert-steps", n, "--out", "x.png", "--json").stdout) for n in (3, 3, 9)]
    assert found[0] == found[1]
    assert (found[0]["width"], found[0]["images"]) == (16, ["a.png", "b.png"])
    assert "noise of the photographs" in found[0]["how"]


@pytest.mark.slow
def test_a_generator_edits_a_photograph(here, drawer):
    result = tgim("edit", "--model", drawer, "--image", "a.png", "--text", "red head", "--out", "edited.png")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert Image.open("edited.png").size == (48, 40)
    assert Path("edited.png").read_bytes() != Path("a.png").read_bytes()


@pytest.mark.slow
def test_a_style_encoder_edits_at_once_or_begins_a_search(here, tmp_path_factory, tagan_file):
    path = tmp_path_factory.mktemp("models") / "style.safetensors"
    style = checkpoint.save(path, model_of("style_encoder").eval(), vocabulary=WORDS)
    args = ("edit", "--model", style, "--image", "a.png", "--text", "a small blue bird", "--size", "model")
    for name, options in (("plain", ()), ("none", ("--invert-steps", 0)), ("search", ("--invert-steps", 100))):
        assert tgim(*args, *options, "--out", f"{name}.png").exit_code == 0
    Editor.from_pretrained(style)("a.png", "a small blue bird", size="model").save("library.png")
    found = [open_image(f"{name}.png").tensor for name in ("library", "plain", "none", "search")]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[1], found[2])
    assert not torch.equal(found[2], found[3])
    for path in here.glob("*.png"):
        if path.name not in ("a.png", "b.png"):
            path.unlink()
    refused = tgim(*args[:2], tagan_file, *args[3:], "--invert-steps", 5, "--out", "x.png")
    assert "leave out --invert-steps" in is_refused(refused)


@pytest.mark.slow
def test_what_cannot_be_interpolated_is_refused(here, drawer, tagan_file):
    way = ("interpolate", "--model", tagan_file, "--out", "x.png")
    assert "got 1 --image and 1 --text" in is_refused(tgim(*way, "--image", "a.png", "--text", RED))
    assert "got 0 --image and 3 --text" in is_refused(tgim(*way, *("--text", RED) * 3))
    assert "edits pictures" in is_refused(tgim(*way, "--text", RED))  # noise, of a model that has none
    assert "none of the words" in is_refused(tgim(*way, "--image", "a.png", "--text", RED, "--text", "xyzzy"))
    assert "c.png" in is_refused(tgim(*way, "--image", "c.png", "--text", RED, "--text", BLUE))
    noise = ("interpolate", "--model", drawer, "--text", RED)
    assert "--steps" in is_refused(tgim(*noise, "--steps", 1, "--out", "x.png"))
    assert "suffix" in is_refused(tgim(*noise, "--out", "x.mp4"))
    zero = (*noise, "--image", "a.png", "--image", "b.png", "--invert-steps", 0)
    assert "no encoder and 0 steps" in is_refused(tgim(*zero, "--out", "x.png"))
