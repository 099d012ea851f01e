"""Laws of the generator: equal seeds draw equal pictures, and each kind of variety comes alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from support.toy_generator import VOCABULARY, save_toy, toy_generator
from tgim.checkpoints import checkpoint
from tgim.checkpoints.card import list_all, model_card, render
from tgim.errors import CheckpointError, TextError, UserError
from tgim.images.photo import to_uint8
from tgim.inference.generator import BATCH, Generator
from tgim.models.base import sample_noise
from tgim.text.understand import UnknownWordWarning
from tgim.training import runlog as logs

TEXTS = ["a small red bird", "this bird has a blue head"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save_toy(tmp_path_factory.mktemp("models") / "drawer.safetensors")


@pytest.fixture(scope="module")
def draw(file):
    return Generator.from_pretrained(file)


def test_pictures_are_those_of_the_model(draw):
    pictures = draw.generate(TEXTS, n=3, seed=4, vary="both")
    assert pictures.shape == (2, 3, 3, 16, 16)
    assert pictures.abs().max() <= 1
    noise, variation = sample_noise(draw.model, 3, seed=4)
    for text, row in zip(TEXTS, pictures, strict=True):
        with torch.no_grad():
            expected = draw.model.generate(VOCABULARY.encode([text] * 3), noise, variation=variation)
        assert torch.allclose(row, expected, atol=1e-6)
    images = draw(TEXTS[0], n=3, seed=4, vary="both")
    assert [image.size for image in images] == [(16, 16)] * 3
    assert np.array_equal(np.asarray(images[2]), to_uint8(pictures[0, 2]).permute(1, 2, 0).numpy())


def test_equal_calls_give_equal_pictures_whatever_the_random_numbers(draw):
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(found))
        state = torch.get_rng_state()
        found.append(draw.generate(TEXTS, n=2, seed=seed, vary="both"))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_noise_and_caption_vary_each_alone(draw):
    found = {vary: draw.generate(TEXTS, n=4, seed=1, vary=vary) for vary in ("noise", "caption", "both")}
    for pictures in found.values():
        for row in pictures:
            assert all(not torch.equal(row[0], other) for other in row[1:])
    noise, variation = sample_noise(draw.model, 4, seed=1)
    tokens = VOCABULARY.encode(TEXTS[:1] * 4)
    with torch.no_grad():
        alone = draw.model.generate(tokens, noise)
        reading = draw.model.generate(tokens, noise[:1].expand(4, -1), variation=variation)
    assert torch.allclose(found["noise"][0], alone, atol=1e-6)
    assert torch.allclose(found["caption"][0], reading, atol=1e-6)
    assert torch.allclose(found["both"][:, 0], found["caption"][:, 0], atol=1e-6)
    assert not torch.allclose(found["both"][:, 1], found["caption"][:, 1], atol=1e-3)


def test_fewer_pictures_are_the_first_of_more(draw):
    more = BATCH + 3
    done = []
    all_of_them = draw.generate(TEXTS, n=more, seed=2, progress=lambda *told: done.append(told))
    assert torch.allclose(draw.generate(TEXTS, n=2, seed=2), all_of_them[:, :2], atol=1e-6)
    assert done == [(BATCH, 2 * more), (more, 2 * more), (more + BATCH, 2 * more), (2 * more, 2 * more)]
    small, large = sample_noise(draw.model, 2, seed=2), sample_noise(draw.model, 40, seed=2)
    assert all(torch.equal(a, b[:2]) for a, b in zip(small, large, strict=True))


def test_noise_and_variation_are_standard_normal_and_not_alike():
    model = toy_generator(noise_size=6, variation_size=6)
    noise, variation = sample_noise(model, 4000, seed=0)
    for kind in (noise, variation):
        assert kind.mean().abs() < 0.03
        assert abs(kind.std() - 1) < 0.03
    assert abs((noise * variation).mean()) < 0.03


def test_unknown_words_are_warned_about_once_for_each_text(draw):
    with pytest.warns(UnknownWordWarning, match="'zebra' is ignored") as caught:
        with_word = draw.generate(["a red zebra bird"], n=3)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw.generate(TEXTS)
        assert not torch.equal(with_word, draw.generate(["a red bird"], n=3))  # the unknown word's own vector
    assert draw.caption("red head") == "this bird has a red head"  # the template


@pytest.mark.parametrize(
    ("texts", "options", "told"),
    [
        ([], {}, "no text"),
        (TEXTS, {"n": 0}, "n is 0"),
        (TEXTS, {"seed": -1}, "seed is -1"),
        (TEXTS, {"vary": "colour"}, "vary is 'colour', expected one of noise, caption, both"),
        (["xyzzy"], {}, "none of the words"),
        ([3], {}, "text is a int"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, texts, options, told):
    with pytest.raises(UserError, match=told) as raised:
        draw.generate(texts, **options)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, TextError) is (options == {} and texts != [])


def test_a_model_without_conditioning_augmentation_varies_by_noise_alone(tmp_path):
    plain = Generator.from_pretrained(save_toy(tmp_path / "plain.safetensors", variation_size=0))
    assert not torch.equal(*plain.generate(TEXTS[:1], n=2)[0])
    for vary in ("caption", "both"):
        with pytest.raises(UserError, match="no conditioning augmentation"):
            plain.generate(TEXTS, n=2, vary=vary)


def test_only_generators_draw(tagrid_file):
    with pytest.raises(CheckpointError, match="tagrid edits pictures"):
        Generator.from_pretrained(tagrid_file)


def test_cards_and_lists_say_what_a_model_does(file, tagrid_file):
    assert "toy_generator (generator), 16 px" in render(model_card(file))
    assert model_card(file)["role"] == checkpoint.load(file).role == "generator"
    assert model_card(tagrid_file)["role"] == "editor"
    listed = list_all()
    assert listed["systems"]["toy_generator"].startswith("generator: ")
    assert listed["systems"]["tagan"].startswith("editor: TAGAN")
    assert listed["matching"]["vse"].startswith("matching: ")
    assert listed["models"]["attngan-birds"].startswith("generator: ")
    assert listed["models"]["birds-1"].startswith("editor: ")  # a file of before roles were written
    assert listed["models"]["judge-birds"].startswith("matching: ")


def test_a_sheet_has_a_row_for_each_caption_and_the_same_noises_always(tmp_path, draw):
    model = toy_generator().train()
    options = {"captions": TEXTS, "vocabulary": VOCABULARY, "device": torch.device("cpu")}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = logs.generated_sheet(tmp_path / "a" / "1.png", model, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    second = logs.generated_sheet(tmp_path / "a" / "2.png", model, **options)
    assert first.read_bytes() == second.read_bytes()
    other = logs.generated_sheet(tmp_path / "a" / "3.png", model, **{**options, "captions": TEXTS[::-1]})
    assert other.read_bytes() != first.read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["1.png", "2.png", "3.png"]


def test_training_a_generator_leaves_sample_sheets(tmp_path, monkeypatch):
    from support import toy
    from tgim.training import recipe
    from tgim.training import run as train

    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    data = toy.write_dataset(tmp_path / "data")
    values = {
        "model": {"name": "toy_generator"},
        "data": {"name": "folder", "root": str(data), "split": "all"},
        "train": {"steps": 2, "batch_size": 4, "sample_every": 1, "device": "cpu", "checkpoint_every": 2},
    }
    train.fit(recipe.parse(values), out=tmp_path / "run", progress=False)
    sheets = sorted((tmp_path / "run" / "samples").iterdir())
    assert [sheet.name for sheet in sheets] == ["step_000001.png", "step_000002.png"]
    assert Generator.from_pretrained(tmp_path / "run" / "model.safetensors")("a red square")[0].size == (16, 16)
