"""Laws of `tgim steer`: one way at a time, strips as the library draws them, and nothing written where it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import commands
from support.commands import tgim
from support.small import VOCABULARY as WORDS
from support.small import model_of
from support.toy_generator import save_toy
from tgim.checkpoints import checkpoint
from tgim.data.synthetic.pairs import sample_picture
from tgim.inference.generator import Generator
from tgim.inference.steer import OPERATIONS, load_direction, operation, sheet

RED, BLUE = "this bird has a red head", "a small blue bird"
FEW = ("--steps", 2, "--text", RED, "--text", BLUE)


@pytest.fixture(scope="module")
def drawer(tmp_path_factory):
    return save_toy(tmp_path_factory.mktemp("models") / "drawer.safetensors")


@pytest.fixture(scope="module")
def matcher(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "matcher.safetensors"
    return checkpoint.save(path, model_of("vse").eval(), vocabulary=WORDS)


@pytest.fixture(scope="module")
def way(drawer, tmp_path_factory):
    """A direction of that generator."""
    found = operation(Generator.from_pretrained(drawer), "hue", texts=[RED], steps=2, measure=False)
    return found.save(tmp_path_factory.mktemp("ways") / "hue.safetensors")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(sample_picture("birds", seed=1, size=(40, 48))).save("a.png")
    return tmp_path


def is_refused(result):
    """As everywhere, and nothing is written."""
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["a.png"]
    return commands.is_refused(result)


def test_it_explains_itself():
    told = tgim("steer", "--help").stdout
    assert told.count("\n  tgim steer ") >= 3
    assert all(name in told for name in OPERATIONS)


def test_an_operation_is_learned_measured_and_kept(here, drawer, matcher):
    args = ("steer", "--model", drawer, "--judge", matcher, *FEW, "--operation", "brightness", "--n", 3, "--seed", 2)
    result = tgim(*args, "--out", "strip.png", "--save-direction", "kept/light.safetensors", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["kind"], told["of"], told["texts"]) == ("operation", "brightness", [RED, BLUE])
    assert told["facts"]["figures"]["pixels"]["n"] == 64
    assert told["facts"]["plausible"]["by"] == str(matcher)
    generator = Generator.from_pretrained(drawer)
    found = load_direction("kept/light.safetensors", generator.model)
    assert found.facts == told["facts"]
    expected = sheet(generator, found, texts=[RED, BLUE], n=3, seed=2)
    assert np.array_equal(np.asarray(Image.open("strip.png")), np.asarray(expected))
    again = tgim(*args[:3], "--direction", "kept/light.safetensors", *FEW[2:], "--n", 3, "--seed", 2, "--out", "b.png")
    assert (again.exit_code, again.stdout) == (0, "b.png\n"), again.output
    assert Path("b.png").read_bytes() == Path("strip.png").read_bytes()
    assert again.stderr.count("\n") == 2  # its figures and its range
    assert "a random direction as long" in again.stderr


def test_a_caption_is_learned_from_one_model_and_measured_by_another(here, drawer, matcher, tmp_path_factory):
    judge = tmp_path_factory.mktemp("models") / "judge.safetensors"
    checkpoint.save(judge, model_of("dual_encoder").eval(), vocabulary=WORDS)
    args = ("steer", "--model", drawer, *FEW, "--assessor", matcher)
    result = tgim(*args, "--towards", "a red zebra bird", "--judge", judge, "--n", 1, "--out", "strip.png")
    assert (result.exit_code, result.stdout) == (0, "strip.png\n"), result.output
    lines = result.stderr.splitlines()
    assert [sum(word in line for line in lines) for word in ("zebra' is ignored", "stay plausible")] == [1, 1]
    assert sum("of a step asked for" in line for line in lines) == 2
    Path("strip.png").unlink()
    assert "same model" in is_refused(tgim(*args, "--towards", RED, "--judge", matcher, "--out", "x.png"))


@pytest.mark.slow
def test_a_photograph_is_steered(here, drawer, way):
    args = ("steer", "--model", drawer, "--direction", way, "--image", "a.png", "--invert-steps", 3)
    assert tgim(*args, "--text", RED, "--out", "one.png").exit_code == 0
    result = tgim(*args, "--text", RED, "--text", BLUE, "--out", "two.png")
    assert result.exit_code == 0, result.output
    assert Image.open("two.png").height - Image.open("one.png").height == 2 * 68


def test_what_cannot_be_steered_is_refused(here, drawer, way, tagrid_file):
    learned = ("steer", "--model", drawer, *FEW)
    kept = ("steer", "--model", drawer, "--text", RED, "--direction", way)
    for args, what in (
        ((*learned, "--out", "x.png"), "no direction; give one of --towards, --operation, --direction"),
        ((*kept, "--operation", "zoom", "--out", "x.png"), "--operation and --direction"),
        ((*kept, "--steps", 3, "--out", "x.png"), "--steps is for learning"),
        ((*kept, "--save-direction", "y.safetensors", "--out", "x.png"), "--save-direction is for learning"),
        ((*learned, "--operation", "zoomm", "--out", "x.png"), "did you mean 'zoom'"),
        ((*learned, "--operation", "zoom", "--assessor", "birds-1", "--out", "x.png"), "--assessor is for --towards"),
        ((*kept, "--image", "a.png", "--n", 2, "--out", "x.png"), "--n is for sampled noises"),
        ((*kept, "--image", "a.png", "--out", "./a.png"), "would replace"),
        ((*kept, "--invert-steps", 2, "--out", "x.png"), "give --image"),
        ((*kept, "--out", "x.xyz"), "suffix"),
        ((*kept[:5], "--direction", "no.safetensors", "--out", "x.png"), "no.safetensors is not there"),
        ((*kept[:5], "--direction", drawer, "--out", "x.png"), "no direction"),
        ((*kept[:5], "--direction", "a.png", "--out", "x.png"), "not a safetensors file"),
        ((*learned, "--operation", "hue", "--out", "x.png", "--save-direction", "./x.png"), "two files"),
        ((*learned, "--operation", "hue", "--out", "x.png", "--save-direction", "."), "is a folder"),
        (("steer", "--model", tagrid_file, "--operation", "hue", "--out", "x.png"), "edits pictures"),
    ):
        assert what in is_refused(tgim(*args)), args


def test_the_direction_of_another_generator_is_refused(here, way, tmp_path_factory):
    other = save_toy(tmp_path_factory.mktemp("models") / "other.safetensors", noise_size=7)
    told = is_refused(tgim("steer", "--model", other, "--direction", way, "--text", RED, "--out", "x.png"))
    assert "was learned for toy_generator:" in told


@pytest.mark.slow
def test_a_style_encoder_finds_the_noise_of_a_photograph_at_once(here, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "style.safetensors"
    style = checkpoint.save(path, model_of("style_encoder").eval(), vocabulary=WORDS)
    generator = Generator(checkpoint.Checkpoint(checkpoint.load(style).model.text_to_image, WORDS, "{}"))
    found = operation(generator, "hue", texts=[BLUE], steps=2, measure=False).save("hue.safetensors")
    result = tgim("steer", "--model", style, "--direction", found, "--image", "a.png", "--text", BLUE, "--out", "x.png")
    assert result.exit_code == 0, result.output
