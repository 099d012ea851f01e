"""What holds for all systems of a family: those that draw, those that repaint, those that take over trained parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from support.small import CAPTIONS, SIZES, SYSTEMS, VOCABULARY, batch_of, model_of, train, trainable
from tgim.checkpoints import checkpoint
from tgim.data.batch import Batch
from tgim.errors import CheckpointError
from tgim.models.base import Generating
from tgim.models.editing.repainting import Repainting
from tgim.models.generation.adversarial import at_side, discriminator_terms, generator_terms
from tgim.nn.layers import JointDiscriminator
from tgim.text.vocabulary import Alphabet

DRAWING = [name for name, system in SYSTEMS.items() if issubclass(system, Generating)]
REPAINTING = [name for name, system in SYSTEMS.items() if issubclass(system, Repainting)]
READING = ["gan_int_cls", "stackgan1", "stackgan_v2"]  # sentences, by a structured joint embedding
PARTS = [  # a system, the key that names its part, the key that has the sizes of that, the system of the part
    ("tagrid", "matching", "encoder", "late_interaction"),
    ("tagrid", "start", "encoder", "tagrid"),
    ("attngan", "matching", "encoder", "damsm"),
    *((name, "text", "encoder", "sje") for name in READING),
    ("stackgan2", "stage1", "first", "stackgan1"),
    ("style_encoder", "generator", "sizes", "gan_int_cls"),
    ("in_domain", "generator", "sizes", "gan_int_cls"),
]
drawing, repainting = pytest.mark.parametrize("name", DRAWING), pytest.mark.parametrize("name", REPAINTING)
parts = pytest.mark.parametrize(("name", "key", "sizes_key", "system"), PARTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in (*DRAWING, *REPAINTING)]
    + [(name, {"word_vectors": "given.vec"}) for name in REPAINTING]
    + [("sisgan", {"sentence": "mean"})],
)
def test_each_phase_teaches_its_own_network_alone_and_all_of_it(name, options):
    model, order, touched = model_of(name, **options), [], set()
    for network, terms in model.steps(batch_of(model.image_size)):
        order.append(network)
        model.zero_grad(set_to_none=True)
        sum(terms.values()).backward()
        moved = {key for key, p in model.named_parameters() if p.grad is not None}
        assert {key.split(".")[0] for key in moved} == {network}
        touched |= moved
    assert tuple(order) == model.networks
    assert touched == trainable(model).keys()


# Drawing


@drawing
@torch.no_grad()
def test_without_a_variation_the_mean_of_the_condition_draws(name):
    model = model_of(name).eval()
    text, noise = VOCABULARY.encode(CAPTIONS), torch.randn(4, model.noise_size)
    zero = torch.zeros(4, model.variation_size)
    assert_close(model.generate(text, noise, variation=zero), model.generate(text, noise))
    assert (model.variation_size == 0) is (name == "gan_int_cls")


@pytest.mark.parametrize("alone", [False, True])
def test_what_is_real_and_what_is_not_count_the_same(alone):
    """A discriminator that cannot tell has a loss of log 2 on each side, with one head or with two."""
    judge, image = JointDiscriminator(16, 4, 5, alone=alone), batch_of(16).image
    for parameter in judge.parameters():
        torch.nn.init.zeros_(parameter)
    terms = discriminator_terms(judge, image, image, torch.randn(4, 5))
    sides = [sum(v for key, v in terms.items() if key.startswith("real") is real) for real in (True, False)]
    assert_close(torch.stack(sides), torch.tensor([2.0, 2.0]).log())
    assert set(generator_terms(judge, image, torch.randn(4, 5))) == {"fake", *(["fake_alone"] if alone else [])}


def test_a_generator_is_judged_by_its_pictures_and_the_judge_learns_nothing():
    judge, condition = JointDiscriminator(16, 4, 5), torch.randn(4, 5, requires_grad=True)
    drawn = batch_of(16).image.requires_grad_()
    sum(generator_terms(judge, drawn, condition).values()).backward()
    assert drawn.grad.any()
    assert condition.grad.any()
    assert all(p.grad is None and p.requires_grad for p in judge.parameters())
    assert at_side(16, {"fake": torch.tensor(3.0)}, weight=0.5) == {"fake_16": torch.tensor(1.5)}


# Repainting


@pytest.mark.slow
@repainting
@pytest.mark.parametrize(("size", "width"), [(32, 2), (64, 4), (96, 2), (160, 2)])
def test_any_size_and_width(name, size, width):
    model, batch = model_of(name, image_size=size, width=width), batch_of(size)
    for _, terms in model.steps(batch):
        assert sum(terms.values()).isfinite()
    assert model.edit(batch.image, batch.text).shape == (4, 3, size, size)


@repainting
@torch.no_grad()
def test_without_a_seed_an_edit_is_the_mean_and_with_one_a_draw(name):
    model, batch = model_of(name).eval(), batch_of()
    plain, one, again, two = (model.edit(batch.image, batch.text, seed=seed) for seed in (None, 1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
    assert not torch.equal(one, plain)
    assert torch.equal(model.edit_from(model.encode(batch.image), model.condition(batch.text)), plain)


@repainting
def test_word_vectors_of_a_file_are_the_vocabulary_and_frozen_wherever_words_are_read(name, tmp_path):
    path = tmp_path / "w.vec"
    path.write_text("bird 1 2\nred 3 4\n", encoding="utf-8")
    config = SYSTEMS[name].Config(**{**SIZES[name], "word_size": 2, "word_vectors": str(path)})
    vocabulary = SYSTEMS[name].vocabulary_for(config)
    assert vocabulary.words == ("bird", "red")
    model = SYSTEMS[name](config, vocabulary_size=len(vocabulary))
    model.load_parts()
    tables = {key: value for key, value in model.state_dict().items() if "table" in key}
    assert len(tables) == (2 if name == "tagan" else 1)
    for key, table in tables.items():
        assert_close(table, torch.tensor([[0.0, 0], [0, 0], [1, 2], [3, 4]]))
        assert key not in trainable(model)


# Trained parts


def saved(folder: Path, system: str):
    """A small system with weights of its own, and its file."""
    vocabulary = Alphabet() if system == "sje" else VOCABULARY
    torch.manual_seed(0)
    model = SYSTEMS[system](SYSTEMS[system].Config(**SIZES[system]), vocabulary_size=len(vocabulary)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model, checkpoint.save(folder / f"{system}.safetensors", model, vocabulary=vocabulary)


def with_part(name: str, key: str, sizes_key: str, path: Path, **options):
    """A config whose part is to come from `path`."""
    return SYSTEMS[name].Config(**{**SIZES[name], sizes_key: None, key: str(path), **options})


def build(config, name: str):
    vocabulary = SYSTEMS[name].vocabulary_for(config)
    torch.manual_seed(1)
    model = SYSTEMS[name](config, vocabulary_size=len(vocabulary))
    model.load_parts()
    return model, vocabulary


@pytest.mark.slow
@parts
def test_a_part_brings_words_sizes_and_weights_and_then_its_file_is_not_needed(name, key, sizes_key, system, tmp_path):
    part, path = saved(tmp_path, system)
    model, vocabulary = build(with_part(name, key, sizes_key, path), name)
    assert vocabulary.words == checkpoint.load(path).vocabulary.words
    own_sight = "features."  # of ImageNet, beside the part
    frozen = {k: p for k, p in model.named_parameters() if not p.requires_grad and not k.startswith(own_sight)}
    assert frozen
    for tensor_name, value in frozen.items():
        assert any(torch.equal(own, value) for own in part.state_dict().values()), tensor_name
    file = checkpoint.save(tmp_path / "whole.safetensors", model.eval(), vocabulary=vocabulary)
    path.unlink()
    loaded = checkpoint.load(file).model
    assert loaded.config == model.config
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in loaded.state_dict().items())


@parts
def test_a_part_of_another_system_is_refused(name, key, sizes_key, system, tmp_path):
    other = "tagan" if system == "gan_int_cls" else "vse"
    config = with_part(name, key, sizes_key, saved(tmp_path, other)[1])
    what = "generator" if system == "gan_int_cls" else f"'{system}'"
    for door in (SYSTEMS[name].vocabulary_for, lambda config: SYSTEMS[name](config, vocabulary_size=9)):
        with pytest.raises(CheckpointError, match=f"'{other}', but model.{key} must name a trained {what}") as caught:
            door(config)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
@parts
def test_a_part_of_other_sizes_is_refused(name, key, sizes_key, system, tmp_path):
    path = saved(tmp_path, system)[1]
    sizes = {**SIZES[system], "width": 2 * SIZES[system]["width"]}
    if key == "start":
        config, fault = with_part(name, key, sizes_key, path, width=sizes["width"]), "has shape"
    else:
        config, fault = with_part(name, key, sizes_key, path, **{sizes_key: sizes}), f"sizes in model.{sizes_key}"
    with pytest.raises(CheckpointError, match=fault):
        build(config, name)


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [("stackgan2", {}, "stage1"), ("style_encoder", {}, "generator"), ("in_domain", {}, "generator")]
    + [(name, {"encoder": SIZES["sje"]}, "text") for name in READING],
)
def test_sizes_alone_are_no_part(name, options, key):
    with pytest.raises(CheckpointError, match=rf"model\.{key} is not given.*sizes alone; name the checkpoint"):
        model_of(name, **options).load_parts()


@pytest.mark.slow
@pytest.mark.parametrize("name", READING)
def test_captions_are_read_by_the_frozen_embedding(name, tmp_path):
    part, path = saved(tmp_path, "sje")
    model, vocabulary = build(with_part(name, "text", "encoder", path), name)
    assert isinstance(vocabulary, Alphabet)
    batch = batch_of(model.image_size)
    batch = Batch(batch.image, vocabulary.encode(CAPTIONS), batch.labels)
    train(model.train(), batch, steps=1)
    expected = part.embed_captions(batch.text)
    read = model.condition(batch.text)[0] if name == "gan_int_cls" else model.generator.read(batch.text)
    assert_close(read, expected)
    assert not read.requires_grad
    assert not any(key.startswith("text.") or ".read." in key for key in trainable(model))
