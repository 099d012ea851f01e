"""StackGAN against its release's names, against its computation written out, and against its formulas."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from golden import release
from golden import stackgan_release as facts
from support.small import CAPTIONS, SIZES, VOCABULARY, batch_of, model_of, train
from tgim.checkpoints import checkpoint
from tgim.conversion.convert import convert
from tgim.conversion.files import load_part
from tgim.conversion.stackgan import checked, discriminator_names, generator_names, untrained
from tgim.errors import CheckpointError, UserError
from tgim.models.generation.adversarial import discriminator_terms
from tgim.models.generation.stackgan import StackGAN2, StackGAN2Config
from tgim.models.matching.sje import SJE, SJEConfig
from tgim.nn.losses import gaussian_kl
from tgim.text.vocabulary import Alphabet

TEXT, NOISE, CONDITION = 12, 6, 5
STAGE1 = {"image_size": 16, "width": 8, "noise_size": NOISE, "condition_size": CONDITION, "discriminator_width": 4}
STAGE2 = {"image_size": 32, "width": 4, "residual_blocks": 1, "condition_size": CONDITION, "discriminator_width": 4}
READER = SJEConfig(text_widths=(8, 8, 8), embedding_size=TEXT)
SYSTEMS = ("stackgan1", "stackgan2")


def small_shapes(system: str) -> dict[str, release.Shapes]:
    first = {"width": 8, "text": TEXT, "condition": CONDITION, "noise": NOISE, "doublings": 2}
    if system == "stackgan1":
        return {
            "generator": facts.stage1(**first),
            "discriminator": facts.judge(4, CONDITION, halvings=2),
        }
    inner = facts.stage1(**first, under="STAGE1_G.")
    return {
        "generator": facts.stage2(inner, 4, TEXT, CONDITION, blocks=1, doublings=3),
        "discriminator": facts.judge(4, CONDITION, halvings=3, alone=True),
    }


def small_model(system: str):
    """A model with the weights of the golden data's rule under the authors' names, and these weights."""
    given = {"first": STAGE1, **STAGE2} if system == "stackgan2" else STAGE1
    model = untrained(checked(system, {"ca_net.fc.weight": torch.zeros(1, TEXT)}, {}, READER, given))
    states = {part: release.weights(shapes) for part, shapes in small_shapes(system).items()}
    load_part(model, generator_names(model.config), states["generator"], path="rule", what="generator")
    load_part(model, discriminator_names(model.config), states["discriminator"], path="rule", what="discriminator")
    return model, states


def inputs(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(2)
    return torch.randn(count, TEXT, generator=source), torch.randn(count, NOISE, generator=source)


# The release


def full_sizes(system: str, size: int) -> tuple[release.Shapes, release.Shapes]:
    if system == "stackgan1":
        return facts.stage1(), facts.judge()
    halvings = size.bit_length() - 3
    generator = facts.stage2(facts.stage1(under="STAGE1_G."), doublings=halvings - 2)
    return generator, facts.judge(halvings=halvings, alone=True)


@pytest.mark.parametrize(("system", "size"), [("stackgan1", 64), ("stackgan2", 256), ("stackgan2", 128)])
def test_names_and_shapes_at_the_papers_sizes(system, size):
    with torch.device("meta"):
        model = untrained(checked(system, {}, {"image_size": size}, None, None))
    own = model.state_dict()
    parts = (generator_names(model.config), discriminator_names(model.config))
    for names, expected in zip(parts, full_sizes(system, size), strict=True):
        assert {theirs: list(own[ours].shape) for ours, (theirs,) in names.items()} == expected
    assert own.keys() - parts[0].keys() - parts[1].keys() == {name for name in own if ".read." in name}


@pytest.mark.golden
def test_the_facts_are_those_of_the_release():
    said = json.loads((Path(os.environ["TGIM_GOLDEN"]) / "stackgan.json").read_text())
    for system, stage, size in (("stackgan1", "stage1", 64), ("stackgan2", "stage2", 256)):
        assert (said[f"{stage}.generator"], said[f"{stage}.discriminator"]) == full_sizes(system, size)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("batch", [False, True], ids=["eval", "train"])
@torch.no_grad()
def test_pictures_and_logits_are_those_of_the_release(system, batch):
    (model, states), (sentence, noise) = small_model(system), inputs()
    model.train(batch)
    run = facts.run_stage1 if system == "stackgan1" else facts.run_stage2
    expected, mean, log_var = run(states["generator"], sentence, noise, batch)
    given = noise if system == "stackgan1" else model.first(sentence, noise)[0]
    image, condition = model.generator(*((sentence, given) if system == "stackgan1" else (given, sentence)))
    assert_close(image, expected, atol=1e-5, rtol=1e-4)
    assert_close(condition.mean, mean)
    assert_close(condition.log_var, log_var)
    discriminator = model.discriminator
    joint, alone = facts.run_judge(states["discriminator"], expected, mean, batch)
    assert_close(discriminator.match(discriminator.encode(expected), mean), joint, atol=1e-5, rtol=1e-4)
    if alone is not None:
        assert_close(discriminator.alone(discriminator.encode(expected)), alone, atol=1e-5, rtol=1e-4)


def bce(logits: torch.Tensor, real: bool) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_training_step_is_that_of_the_release(system):
    """Its losses written out, with its networks: picture k with the next caption is the wrong pair, B - 1 of them."""
    (model, states), batch = small_model(system), batch_of(16 if system == "stackgan1" else 32)
    text = Alphabet().encode(CAPTIONS)
    batch = type(batch)(batch.image, text, batch.labels)
    model.train()
    torch.manual_seed(5)
    found = dict(model.steps(batch))
    torch.manual_seed(5)
    noise, stage1_eps = torch.randn(4, NOISE), torch.randn(4, CONDITION)
    with torch.no_grad():
        if system == "stackgan1":
            drawn, condition = model.generator(model.generator.read(text), noise, stage1_eps)
        else:
            sentence = model.first.read(text)
            small = model.first(sentence, noise, stage1_eps)[0]
            drawn, condition = model.generator(small, sentence, torch.randn(4, CONDITION))
        mean, discriminator = condition.mean, states["discriminator"]
        real, real_alone = facts.run_judge(discriminator, batch.image, mean, True)
        fake, fake_alone = facts.run_judge(discriminator, drawn, mean, True)
        seen = model.discriminator.encode(batch.image)
        wrong = model.discriminator.match(seen[:-1], mean[1:])
        kl = 2 * (-0.5 * (1 + condition.log_var - mean**2 - condition.log_var.exp())).mean()
        if system == "stackgan1":
            judged = bce(real, True) + 0.5 * (bce(fake, False) + bce(wrong, False))
            pleased = bce(fake, True) + kl
        else:
            judged = (bce(real, True) + bce(real_alone, True)) / 2
            judged = judged + (bce(fake, False) + bce(wrong, False) + bce(fake_alone, False)) / 3
            pleased = bce(fake, True) + bce(fake_alone, True) + kl
    assert_close(sum(found["discriminator"].values()).detach(), judged, rtol=1e-4, atol=1e-5)
    assert_close(sum(found["generator"].values()).detach(), pleased, rtol=1e-4, atol=1e-5)


# Conditioning augmentation, matching, stages


@torch.no_grad()
def test_conditioning_augmentation_and_its_kl_by_formula():
    net = model_of("stackgan1").generator.augment
    sentence, eps = torch.randn(3, 8), torch.randn(3, 5)
    mean, log_var = F.relu(sentence @ net.linear.weight.T + net.linear.bias).split(5, 1)
    found = net(sentence, eps)
    assert_close(found.sample, mean + (log_var / 2).exp() * eps)
    assert_close(net(sentence).sample, mean)
    by_hand = ((log_var.exp() + mean**2 - 1 - log_var) / 2).mean()
    assert_close(gaussian_kl(found.mean, found.log_var), by_hand)


def test_a_wrong_caption_is_a_fake_and_reaches_no_generator():
    model = model_of("stackgan1")
    discriminator, batch = model.discriminator, batch_of(16)
    mean = torch.randn(4, 5, requires_grad=True)
    terms = discriminator_terms(discriminator, batch.image, batch.image.flip(0), mean)
    seen = discriminator.encode(batch.image)
    assert_close(terms["mismatch"], 0.5 * F.softplus(discriminator.match(seen[:-1], mean[1:])).mean())
    sum(terms.values()).backward()
    assert mean.grad is None
    assert "mismatch" not in discriminator_terms(discriminator, batch.image[:1], batch.image[:1], mean[:1])


@pytest.mark.slow
def test_the_discriminator_learns_which_caption_is_right():
    discriminator, image = model_of("stackgan1").discriminator, batch_of(16).image
    mean, drawn = 2 * torch.randn(4, 5), torch.zeros_like(image)
    optimizer = torch.optim.Adam(discriminator.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        sum(discriminator_terms(discriminator, image, drawn, mean).values()).backward()
        optimizer.step()
    with torch.no_grad():
        seen = discriminator.encode(image)
        assert discriminator.match(seen, mean).min() > discriminator.match(seen[:-1], mean[1:]).max()


@pytest.mark.slow
def test_stage_one_stays_as_it_is_within_stage_two():
    model = model_of("stackgan2")
    before = {name: value.clone() for name, value in model.first.state_dict().items() if value.is_floating_point()}
    train(model, batch_of(32), steps=2, lr=0.01)
    assert all(torch.equal(value, before[name]) for name, value in model.first.state_dict().items() if name in before)
    for _, terms in model.steps(batch_of(32)):
        sum(terms.values()).backward()
    assert all(p.grad is None for p in model.first.parameters())


def test_stage_two_without_a_proper_stage_one_is_refused(tmp_path):
    path = checkpoint.save(tmp_path / "large.safetensors", model_of("stackgan1", image_size=32), vocabulary=VOCABULARY)
    config = StackGAN2Config(**{**SIZES["stackgan2"], "first": None, "stage1": str(path)})
    with pytest.raises(CheckpointError, match=r"32 px; model\.image_size must be larger"):
        StackGAN2(config, vocabulary_size=len(VOCABULARY))
    with pytest.raises(ValueError, match="larger than stage I"):
        StackGAN2Config(image_size=32, first={"image_size": 32})


# Conversion


@pytest.fixture
def folder(tmp_path):
    """What the authors saved, and an `sje` of the same width."""
    for system in SYSTEMS:
        for part, shapes in small_shapes(system).items():
            torch.save(release.weights(shapes), tmp_path / f"{system}_{part}.pth")
    reader = SJE(READER.model_copy(update={"width": 8, "blocks": 1}), vocabulary_size=len(Alphabet()))
    checkpoint.save(tmp_path / "sje.safetensors", reader, vocabulary=Alphabet())
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_converted_generator_draws_what_the_release_draws(folder, system):
    out = convert(
        system,
        folder / f"{system}_generator.pth",
        folder / "out.safetensors",
        text_encoder=folder / "sje.safetensors",
        discriminator=folder / f"{system}_discriminator.pth",
    )
    found = checkpoint.load(out)
    model, (expected, states) = found.model, small_model(system)
    for name, value in expected.state_dict().items():
        if ".read." not in name:
            assert torch.equal(model.state_dict()[name], value), name
    text, noise = found.vocabulary.encode(CAPTIONS), torch.randn(4, NOISE)
    with torch.no_grad():
        sentence = checkpoint.load(folder / "sje.safetensors").model.embed_captions(text)
        run = facts.run_stage1 if system == "stackgan1" else facts.run_stage2
        assert_close(
            model.generate(text, noise), run(states["generator"], sentence, noise, False)[0], atol=1e-5, rtol=1e-4
        )


@pytest.mark.slow
def test_faults_of_a_file_are_named(folder, caplog):
    state = torch.load(folder / "stackgan2_generator.pth")
    del state["hr_joint.0.weight"], state["STAGE1_G.img.0.weight"]
    torch.save(state | {"extra": torch.zeros(1)}, folder / "spoilt.pth")

    def run(system: str, name: str, **options) -> None:
        convert(system, folder / name, folder / "out.safetensors", **options)

    with pytest.raises(CheckpointError, match=r"lacks STAGE1_G.img.0.weight, hr_joint.0.weight and has surplus extra"):
        run("stackgan2", "spoilt.pth")
    with pytest.raises(CheckpointError, match="looks like a StackGAN stage-II generator"):
        run("stackgan1", "stackgan2_generator.pth")
    with pytest.raises(CheckpointError, match="looks like a StackGAN stage-I generator"):
        run("stackgan2", "stackgan1_generator.pth")
    with pytest.raises(CheckpointError, match="stage-I discriminator, and generation needs the generator"):
        run("stackgan1", "stackgan1_discriminator.pth")
    with pytest.raises(UserError, match="generates 16 px"):
        run("stackgan1", "stackgan1_generator.pth", image_size=64)
    with pytest.raises(UserError, match="no word vectors"):
        run("stackgan1", "stackgan1_generator.pth", word_vectors=folder / "w.vec")
    assert not (folder / "out.safetensors").exists()
    run("stackgan1", "stackgan1_generator.pth", config={"discriminator_width": 4})
    assert "will not follow captions" in caplog.text
