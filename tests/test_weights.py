"""The checkpoints that come with the package: complete, small, and true to the text where the truth is known."""

import numpy as np
import pytest
import torch

import tgim
from support import ROOT
from tgim.checkpoints import checkpoint
from tgim.checkpoints.card import model_card
from tgim.data.synthetic.pairs import apply_caption, random_scene, render, sample_picture
from tgim.images.photo import open_image, to_uint8
from tgim.inference.editor import Editor
from tgim.inference.ranking import rank
from tgim.training import recipe

COLOURS = ("red", "yellow", "blue", "green")
SAYS = {"birds": "this bird is {}", "flowers": "the petals of this flower are {}"}
EDITORS = {
    "birds": "part_localiser",
    "flowers": "part_localiser",
    "birds-2": "part_curves",
    "birds-1": "tagrid",
    "flowers-1": "tagrid",
}
PUBLISHED = {"tagan-birds": "tagan", "sisgan-birds": "sisgan", "attngan-encoder-birds": "in_domain"}
SECOND = ("birds",)  # kinds of which there is a second judge
KIND = {"birds": "bird", "flowers": "flower"}


@pytest.fixture(scope="module", params=sorted(EDITORS))
def editor(request):
    editor = Editor.from_pretrained(request.param)
    editor.name, editor.data = request.param, request.param.split("-")[0]
    return editor


@pytest.mark.slow
def test_a_checkpoint_is_small_and_says_what_it_is(editor):
    card = model_card(editor.name)
    assert card["megabytes"] <= 16
    assert "research use" in card["card"]["licence"]
    assert card["card"]["limits"]
    for figure in ("RMSE", "R@1") if EDITORS[editor.name] == "tagrid" else ("hit", "spilt"):
        assert any("edited" in line and figure in line for line in card["card"]["figures"])
    assert card["data"]["split"] in ("train", "trainval")
    assert card["training"]["commit"]
    assert card["recipe"]["model"]["name"] == EDITORS[editor.name]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_system_edits_from_the_package_alone_and_says_that_it_is_a_baseline(name):
    card = model_card(name)
    assert card["megabytes"] <= 16
    assert card["recipe"]["model"]["name"] == PUBLISHED[name]
    assert any("baseline" in line for line in card["card"]["limits"])
    assert any("R@1" in line and "edited" in line for line in card["card"]["figures"])
    edit, picture = Editor.from_pretrained(name), sample_picture("birds", seed=1, size=(90, 120))
    red, blue = (np.asarray(edit(picture, f"a {colour} bird"), float) for colour in ("red", "blue"))
    assert red.shape == picture.shape
    assert (red - blue)[..., 0].mean() > (red - blue)[..., 2].mean() + 5  # of 255


def test_an_embedded_checkpoint_needs_no_other_file(editor):
    config, system = checkpoint.read_header(editor.name)["config"], EDITORS[editor.name]
    parts = {"tagrid": "encoder", "part_curves": "sight"}  # sizes of what comes with it
    assert config[parts[system]] if system in parts else config["teacher"] is None


def test_everyday_colours_are_known(editor):
    words = "red orange yellow green blue purple pink brown gray grey black white"
    assert editor.vocabulary.unknown(f"{SAYS[editor.data].format('')} {words}") == {}


def drawn_edits(editor, count=16):
    """Errors per scene: (inside before, inside after, outside the subject), mean absolute, of 255."""
    source = np.random.default_rng(4711)  # scenes that no training pool holds
    for i in range(count):
        scene = random_scene(KIND[editor.data], source)
        text = SAYS[editor.data].format(COLOURS[i % len(COLOURS)])
        target = render(apply_caption(scene, text), 128).image.astype(float)
        rendering = render(scene, 128)
        before = rendering.image.astype(float)
        after = np.asarray(editor(rendering.image, text)).astype(float)
        changed = np.abs(target - before).max(-1) > 8
        if changed.mean() < 0.02:
            continue
        outside = rendering.subject == 0
        yield (
            np.abs(target - before)[changed].mean(),
            np.abs(target - after)[changed].mean(),
            np.abs(after - before)[outside].mean(),
        )


@pytest.mark.slow
def test_drawn_pictures_come_near_their_true_edit(editor):
    before, after, outside = np.mean(list(drawn_edits(editor)), 0)
    assert after < 0.6 * before
    assert outside < 2.5


@pytest.mark.slow
def test_every_colour_word_moves_the_sample_towards_its_colour(editor):
    photo = open_image(sample_picture(editor.data, size=(240, 320)))
    red, blue = (
        editor.edit_photo(photo, SAYS[editor.data].format(colour)).tensor.mean((1, 2)) for colour in ("red", "blue")
    )
    assert red[0] - red[2] > blue[0] - blue[2] + 0.05


@pytest.mark.slow
def test_equal_calls_give_equal_pictures(editor):
    photo = open_image(sample_picture(editor.data, size=(100, 140)))
    first, second = (to_uint8(editor.edit_photo(photo, "bright red").tensor) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["judge-birds", "judge-flowers"])
def test_a_judge_says_what_it_is_and_was_never_an_editors_teacher(name):
    card = model_card(name)
    assert card["megabytes"] <= 16
    assert "research use" in card["card"]["licence"]
    assert any("real" in line or "own caption" in line for line in card["card"]["figures"])
    assert card["data"]["split"] == "trainval"
    guide = model_card(f"{name.removeprefix('judge-')}-1")
    assert guide["recipe"]["model"]["encoder"] is not None  # the editor's own matching model, of another system
    assert card["system"] == "late_interaction"
    assert card["recipe"]["train"]["seed"] != guide["recipe"]["train"]["seed"]


@pytest.mark.parametrize("kind", sorted(SECOND))
def test_a_second_judge_sees_otherwise_than_the_first_and_than_the_guides(kind):
    card = model_card(f"judge-{kind}-2")
    assert card["megabytes"] <= 16
    assert "research use" in card["card"]["licence"]
    assert any("own caption" in line for line in card["card"]["figures"])
    assert card["data"]["split"] == "trainval"
    guide = recipe.load(ROOT / "recipes" / f"frozen_guide_{kind}.yaml")
    own = card["recipe"]["model"]
    assert card["system"] == own["name"] == guide.model["name"] == "frozen_interaction"
    assert own["backbone"] != guide.model["backbone"]
    assert not set(own["taps"]) & set(guide.model_settings().taps)
    assert card["recipe"]["train"]["seed"] != guide.train.seed


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "of"), [*((kind, "") for kind in sorted(SAYS)), *((kind, "-2") for kind in SECOND)])
def test_a_judge_tells_colours_apart(kind, of):
    rng = np.random.default_rng(4)
    texts = [SAYS[kind].format(colour) for colour in COLOURS]
    scenes = [apply_caption(random_scene(KIND[kind], rng), text) for text in texts for _ in range(6)]
    found = rank([render(scene, 64).image for scene in scenes], texts, model=f"judge-{kind}{of}")
    assert (found.scores.argmax(1) == np.repeat(np.arange(len(texts)), 6)).mean() > 0.8


def test_the_list_of_models_says_role_and_licence():
    roles = {name: name.role for name in tgim.list_models()}
    assert roles["birds"] == "parsing"
    assert roles["tagan-birds"] == "editor"
    assert roles["attngan-birds"] == "generator"
    assert roles["judge-birds-2"] == "matching"
    assert all("research use" in name.licence and name.description for name in tgim.list_models())
