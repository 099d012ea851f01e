"""StackGAN-v2 against its release's names, against its computation written out, and against its formulas."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F
from torch.testing import assert_close

from golden import release
from golden import stackgan_release as facts
from support.small import CAPTIONS, VOCABULARY, batch_of, model_of
from tgim.checkpoints import checkpoint
from tgim.conversion.convert import convert
from tgim.conversion.files import load_part
from tgim.conversion.stackgan import checked, discriminator_names, generator_names, sizes, untrained
from tgim.errors import CheckpointError, UserError
from tgim.models.generation.stackgan_v2 import StackGANv2, StackGANv2Config
from tgim.models.matching.sje import SJE, SJEConfig
from tgim.nn.losses import colour_consistency
from tgim.nn.resize import resize
from tgim.text.vocabulary import Alphabet

TEXT, NOISE, CONDITION = 12, 6, 5
TREE = {"base_size": 8, "branches": 3, "width": 8, "noise_size": NOISE, "condition_size": CONDITION}
SMALL = {**TREE, "residual_blocks": 1, "discriminator_width": 4}
READER = SJEConfig(text_widths=(8, 8, 8), embedding_size=TEXT, width=8, blocks=1)


def small_shapes(branches: int = 3) -> dict[str, release.Shapes]:
    found = {"generator": facts.tree(8, TEXT, CONDITION, NOISE, blocks=1, doublings=1, branches=branches)}
    return found | {f"discriminator{i}": facts.tree_judge(4, CONDITION, halvings=1 + i) for i in range(branches)}


def small_model(**options):
    """A model with the weights of the golden data's rule under the authors' names, and these weights."""
    state = {"ca_net.fc.weight": torch.zeros(1, TEXT)}
    model = untrained(checked("stackgan_v2", state, {}, READER, {**SMALL, **options}))
    states = {part: release.weights(shapes) for part, shapes in small_shapes(model.config.branches).items()}
    load_part(model, generator_names(model.config), states["generator"], path="rule", what="generator")
    for i in range(model.config.branches):
        names = discriminator_names(model.config, i)
        load_part(model, names, states[f"discriminator{i}"], path="rule", what="discriminator")
    return model, states


# The release


def full_sizes(branches: int) -> dict[str, release.Shapes]:
    found = {"generator": facts.tree(branches=branches)}
    return found | {f"discriminator{i}": facts.tree_judge(halvings=4 + i) for i in range(branches)}


@pytest.mark.slow
@pytest.mark.parametrize("branches", [1, 2, 3])
def test_names_and_shapes_at_the_papers_sizes(branches):
    with torch.device("meta"):
        model = untrained(checked("stackgan_v2", {}, {"branches": branches}, None, None))
    assert model.image_size == 32 * 2**branches
    own, names = model.state_dict(), {"generator": generator_names(model.config)}
    names |= {f"discriminator{i}": discriminator_names(model.config, i) for i in range(branches)}
    found = {part: {theirs: list(own[ours].shape) for ours, (theirs,) in each.items()} for part, each in names.items()}
    assert found == full_sizes(branches)
    assert own.keys() - {name for each in names.values() for name in each} == {n for n in own if ".read." in n}


def without_captions(branches: int = 3) -> tuple[StackGANv2, dict[str, torch.Tensor]]:
    """As `small_model`, of a release that was trained without captions: noise takes the place of the condition."""
    shapes = facts.tree(8, 0, 0, NOISE, blocks=1, doublings=1, branches=branches)
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith("ca_net")}
    for name in [name for name in shapes if name.endswith("jointConv.0.weight")]:
        wide, told, *kernel = shapes[name]
        shapes[name] = [wide, told + NOISE, *kernel]
    state = release.weights(shapes)
    model = untrained(checked("stackgan_v2", state, {**SMALL, **sizes("stackgan_v2", state)}, None, None))
    load_part(model, generator_names(model.config), state, path="rule", what="generator")
    for i in range(branches):
        shapes = facts.tree_judge(4, 0, halvings=1 + i)
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith(("jointConv", "uncond"))}
        names = discriminator_names(model.config, i)
        load_part(model, names, release.weights(shapes), path="rule", what="discriminator")
    return model, state


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("batch", [False, True], ids=["eval", "train"])
def test_without_captions_noise_takes_the_place_of_the_condition(batch):
    model, state = without_captions()
    model.train(batch)
    noise = torch.randn(4, NOISE, generator=torch.Generator().manual_seed(3))
    expected = facts.run_tree_without_captions(state, noise, batch)
    drawn = model.generate_scales(model.condition(VOCABULARY.encode(CAPTIONS)), noise)
    for ours, theirs, discriminator in zip(drawn, expected, model.discriminator, strict=True):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        assert discriminator.alone(discriminator.encode(ours)).shape == (4,)
        with pytest.raises(ValueError, match="judges pictures alone"):
            discriminator.match(discriminator.encode(ours), noise)
    assert not model.reads
    assert model.variation_size == 0


def test_without_captions_only_pictures_are_judged():
    model = model_of("stackgan_v2, no captions", colour_weight=50.0)
    terms = dict(model.steps(batch_of(model.image_size)))
    kinds = {network: {name.rsplit("_", 1)[0] for name in each} for network, each in terms.items()}
    assert kinds == {"discriminator": {"real_alone", "fake_alone"}, "generator": {"fake_alone", "colour"}}


@pytest.mark.parametrize(
    ("options", "complaint"), [({"unconditional_weight": 0.0}, "nothing judges"), ({"text": "a"}, "no text")]
)
def test_without_captions_what_would_need_them_is_refused(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        StackGANv2Config(conditional=False, **options)


@pytest.mark.golden
def test_the_facts_are_those_of_the_release():
    assert json.loads((Path(os.environ["TGIM_GOLDEN"]) / "stackgan_v2.json").read_text()) == full_sizes(3)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("branches", [1, 3])
@torch.no_grad()
def test_pictures_and_logits_are_those_of_the_release(batch, branches):
    model, states = small_model(branches=branches)
    model.train(batch)
    sentence, noise = torch.randn(3, TEXT), torch.randn(3, NOISE)
    expected, mean, log_var = facts.run_tree(states["generator"], sentence, noise, batch)
    images, condition = model.generator(sentence, noise)
    assert [image.shape[-1] for image in images] == [8, 16, 32][:branches]
    for image, other in zip(images, expected, strict=True):
        assert_close(image, other, atol=1e-5, rtol=1e-4)
    assert_close(condition.mean, mean)
    assert_close(condition.log_var, log_var)
    for i, (discriminator, image) in enumerate(zip(model.discriminator, expected, strict=True)):
        joint, alone = facts.run_tree_judge(states[f"discriminator{i}"], image, mean, batch)
        seen = discriminator.encode(image)
        assert_close(discriminator.match(seen, mean), joint, atol=1e-5, rtol=1e-4)
        assert_close(discriminator.alone(seen), alone, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_the_largest_discriminator_is_that_of_the_release():
    """At 256 px and a sixteenth of its width: every name is in its place."""
    config = checked("stackgan_v2", {}, {}, None, {"width": 4, "discriminator_width": 2, "condition_size": 5})
    with torch.no_grad():
        model, shapes = untrained(config), facts.tree_judge(2, 5, halvings=6)
        state, image, mean = release.weights(shapes), torch.rand(2, 3, 256, 256) * 2 - 1, torch.randn(2, 5)
        load_part(model, discriminator_names(config, 2), state, path="rule", what="discriminator")
        discriminator = model.discriminator[2]
        joint, alone = facts.run_tree_judge(state, image, mean, True)
        assert_close(discriminator.match(discriminator.encode(image), mean), joint, atol=1e-4, rtol=1e-3)
        assert_close(discriminator.alone(discriminator.encode(image)), alone, atol=1e-4, rtol=1e-3)


def bce(logits: torch.Tensor, real: bool) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


@pytest.mark.slow
@pytest.mark.parametrize("unconditional", [1.0, 0.0])
def test_a_training_step_is_that_of_the_release(unconditional):
    """Its losses written out, by its networks: a photograph of another class is a wrong pair and a real picture."""
    model, states = small_model(colour_weight=50.0)
    if not unconditional:
        model.config = model.config.model_copy(update={"unconditional_weight": 0.0})
    batch, text = batch_of(32), Alphabet().encode(CAPTIONS)
    batch = type(batch)(batch.image, text, torch.tensor([3, 3, 5, 6]))
    model.train()
    torch.manual_seed(5)
    found = dict(model.steps(batch))
    torch.manual_seed(5)
    noise, eps = torch.randn(4, NOISE), torch.randn(4, CONDITION)
    judged = pleased = torch.tensor(0.0)
    with torch.no_grad():
        drawn, condition = model.generator(model.generator.read(text), noise, eps)
        mean, nets = condition.mean, model.discriminator
        for i, fake in enumerate(drawn):
            real = nets[i].encode(resize(batch.image, (8 * 2**i,) * 2))
            other, seen = (
                real[torch.tensor([3, 3, 1, 2])],
                nets[i].encode(fake),
            )  # the nearest before, of another class
            joint = [bce(nets[i].match(*pair), kind) for pair, kind in (((real, mean), True), ((other, mean), False))]
            joint.append(bce(nets[i].match(seen, mean), False))
            alone = [bce(nets[i].alone(x), kind) for x, kind in ((real, True), (other, True), (seen, False))]
            share = 1 if unconditional else 0.5
            judged = judged + joint[0] + share * (joint[1] + joint[2]) + unconditional * sum(alone)
            of_tree = facts.run_tree_judge(states[f"discriminator{i}"], fake, mean, True)
            pleased = pleased + bce(of_tree[0], True) + unconditional * bce(of_tree[1], True)
            if i:
                means, spreads = zip(*(moments(x) for x in (fake, drawn[i - 1])), strict=True)
                pleased = pleased + 50 * (F.mse_loss(*means) + 5 * F.mse_loss(*spreads))
        kl = -0.5 * (1 + condition.log_var - mean**2 - condition.log_var.exp())
        pleased = pleased + 2 * kl.mean()
    assert_close(sum(found["discriminator"].values()).detach(), judged, rtol=1e-4, atol=1e-5)
    assert_close(sum(found["generator"].values()).detach(), pleased, rtol=1e-4, atol=1e-5)


def moments(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = image.flatten(2)
    return pixels.mean(2), torch.stack([torch.cov(x, correction=0) for x in pixels])


# Colour, wrong captions, branches


def test_colour_consistency_by_hand():
    """Two pixels (1, 0, 0) and (-1, 0, 0) have mean 0 and covariance 1 in one place; four grey ones of 0.5 none."""
    fine = torch.zeros(1, 3, 1, 2)
    fine[0, 0, 0] = torch.tensor([1.0, -1.0])
    coarse = torch.full((1, 3, 2, 2), 0.5)
    mean, spread = colour_consistency(fine, coarse)
    assert mean.item() == pytest.approx(0.25)  # 0.5 squared, each colour
    assert spread.item() == pytest.approx(1 / 9)  # one of nine entries
    again = colour_consistency(fine.repeat(1, 1, 2, 1), fine)
    assert (again[0].item(), again[1].item()) == (0, 0)


@pytest.mark.slow
def test_colour_moves_the_finer_picture_alone():
    model = model_of("stackgan_v2", colour_weight=50.0)
    terms = dict(model.steps(batch_of(32)))["generator"]
    assert {name for name in terms if "colour" in name} == {"colour_16", "colour_32"}
    terms["colour_16"].backward()
    assert model.generator.paint[1][0].weight.grad.any()
    assert model.generator.paint[0][0].weight.grad is None
    assert model.generator.paint[2][0].weight.grad is None
    assert not any("colour" in name for name in dict(model_of("stackgan_v2").steps(batch_of(32)))["generator"])


def test_a_batch_of_one_class_has_no_wrong_captions():
    model, batch = model_of("stackgan_v2"), batch_of(32)
    same = type(batch)(batch.image, batch.text, torch.zeros(4, dtype=torch.long))
    for labelled, none in ((batch, False), (same, True)):
        terms = next(iter(model.steps(labelled)))[1]
        assert all((terms[f"mismatch_{size}"].item() == 0) is none for size in (8, 16, 32))


@pytest.mark.parametrize("branches", [1, 2, 3])
@torch.no_grad()
def test_a_tree_of_any_number_of_branches(branches):
    model = model_of("stackgan_v2", branches=branches).eval()
    text, noise = VOCABULARY.encode(CAPTIONS), torch.randn(4, model.noise_size)
    image = model.generate(text, noise)
    assert image.shape == (4, 3, model.image_size, model.image_size)
    assert model.image_size == 4 * 2**branches
    assert len(model.generate_scales(model.condition(text), noise)) == branches
    assert sum(sum(terms.values()) for _, terms in model.train().steps(batch_of(model.image_size))).isfinite()


@pytest.mark.parametrize("options", [{"branches": 4}, {"base_size": 48}, {"width": 6}, {"image_size": 256}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValidationError):
        StackGANv2Config(**options)


# Conversion


@pytest.fixture
def folder(tmp_path):
    """What the authors saved, by a parallel model; and an `sje` of the same width."""
    for part, shapes in small_shapes().items():
        name = part.replace("discriminator", "netD").replace("generator", "netG")
        state = {f"module.{key}": value for key, value in release.weights(shapes).items()}
        torch.save(state, tmp_path / f"{name}.pth")
    checkpoint.save(tmp_path / "sje.safetensors", SJE(READER, vocabulary_size=len(Alphabet())), vocabulary=Alphabet())
    return tmp_path


@pytest.mark.slow
def test_a_converted_generator_draws_what_the_release_draws(folder):
    parts = {"text_encoder": folder / "sje.safetensors", "discriminator": folder / "netD0.pth"}
    found = checkpoint.load(convert("stackgan_v2", folder / "netG.pth", folder / "out.safetensors", **parts))
    model, (expected, states) = found.model, small_model()
    assert isinstance(model, StackGANv2)
    for name, value in expected.state_dict().items():
        if ".read." not in name:
            assert torch.equal(model.state_dict()[name], value), name
    text, noise = found.vocabulary.encode(CAPTIONS), torch.randn(4, NOISE)
    with torch.no_grad():
        sentence = checkpoint.load(folder / "sje.safetensors").model.embed_captions(text)
        drawn = facts.run_tree(states["generator"], sentence, noise, False)[0][-1]
        assert_close(model.generate(text, noise), drawn, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_faults_of_a_file_are_named(folder):
    def run(name: str, **options) -> None:
        convert("stackgan_v2", folder / name, folder / "out.safetensors", **options)

    state = torch.load(folder / "netG.pth")
    del state["module.h_net3.upsample.2.weight"]
    torch.save(state | {"module.extra": torch.zeros(1)}, folder / "spoilt.pth")
    with pytest.raises(CheckpointError, match=r"lacks h_net3.upsample.2.weight and has surplus extra$"):
        run("spoilt.pth")
    with pytest.raises(CheckpointError, match="StackGAN-v2 discriminator, and generation needs the generator"):
        run("netD1.pth")
    with pytest.raises(UserError, match="named netD0"):
        run("netG.pth", discriminator=folder / "netD1.pth")
    other = SJE(READER.model_copy(update={"embedding_size": 16}), vocabulary_size=len(Alphabet()))
    checkpoint.save(folder / "wide.safetensors", other, vocabulary=Alphabet())
    with pytest.raises(CheckpointError, match=r"sentences of 16 numbers.* reads 12"):
        run("netG.pth", text_encoder=folder / "wide.safetensors", config={"discriminator_width": 4})
    assert not (folder / "out.safetensors").exists()
