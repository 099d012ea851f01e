"""AttnGAN against its release: names, computation written out, losses, and conversion."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from golden import attngan_release as facts
from golden import release
from support.small import ENCODER, VOCABULARY, batch_of, noise_for
from tgim.checkpoints import checkpoint
from tgim.conversion.attngan import discriminator_names, generator_names, image_names, text_names
from tgim.conversion.convert import convert
from tgim.conversion.files import load_part
from tgim.errors import CheckpointError, UserError
from tgim.models.generation.attngan import AttnGAN, AttnGANConfig

FACTS = {"width": 4, "judge": 2, "text": 16, "condition": 5, "noise": 6, "word": 8, "words": 9}
CONFIG = {
    "image_size": 128,
    "scales": 2,
    "width": 4,
    "discriminator_width": 2,
    "condition_size": 5,
    "noise_size": 6,
    "encoder": ENCODER,
}
WORDS = ["this", "bird", "has", "a", "red", "head", "blue", "white"]


# The release


@pytest.mark.golden
def test_names_and_shapes_are_those_of_the_release():
    said = json.loads((Path(os.environ["TGIM_GOLDEN"]) / "attngan.json").read_text())
    assert said.pop("gammas") == [4, 5, 10]
    assert said == facts.shapes()


@pytest.mark.slow
def test_our_default_networks_have_the_names_and_shapes_of_the_release():
    with torch.device("meta"):
        model = AttnGAN(AttnGANConfig(), vocabulary_size=501)
    expected, own = facts.shapes(), model.state_dict()
    expected["text_encoder"]["encoder.weight"] = [501, 300]  # our table has one reserved word more
    names = {"generator": generator_names(model.config), "text_encoder": text_names()}
    names |= {f"discriminator{i}": discriminator_names(model.config, i) for i in range(3)}
    for part, pairs in names.items():
        assert {theirs: list(own[ours].shape) for ours, (theirs,) in pairs.items()} == expected[part], part
    filled = {ours for pairs in names.values() for ours in pairs}
    networks = {key for key in own if not key.startswith("matching.")}
    assert filled >= networks


@pytest.fixture(scope="module")
def released() -> tuple[AttnGAN, dict[str, facts.State]]:
    """A model with the weights of the golden data's rule under the authors' names, and these weights."""
    states = {part: release.weights(shapes) for part, shapes in facts.shapes(**FACTS, scales=2).items()}
    model = AttnGAN(AttnGANConfig(**CONFIG), vocabulary_size=len(VOCABULARY)).train()
    load_part(model, generator_names(model.config), states["generator"], path="rule", what="generator")
    for i in range(2):
        names = discriminator_names(model.config, i)
        load_part(model, names, states[f"discriminator{i}"], path="rule", what="discriminator")
    return model, states


@pytest.mark.slow
@torch.no_grad()
def test_the_networks_compute_what_the_release_computes(released):
    model, states = released
    source = torch.Generator().manual_seed(0)
    sentence, words, noise = (torch.randn(*size, generator=source) for size in ((3, 16), (3, 4, 16), (3, 6)))
    lengths = [4, 2, 3]
    mask = torch.arange(4)[None] < torch.tensor(lengths)[:, None]
    images, maps, mean, log_var = facts.generator(
        states["generator"], sentence, words * mask[..., None], lengths, noise
    )
    condition = model.generator.augment(sentence)
    drawn = model.generate_scales((condition.sample, words, mask.float()), noise)
    for found, expected in zip(
        (condition.mean, condition.log_var, *drawn.images, *drawn.maps), (mean, log_var, *images, *maps), strict=True
    ):
        assert_close(found, expected, atol=1e-4, rtol=1e-4)
    for i, image in enumerate(images):
        discriminator = model.discriminator[i]
        seen = discriminator.encode(image)
        found = (
            discriminator.alone(seen),
            discriminator.match(seen, sentence),
            discriminator.match(seen[:-1], sentence[1:]),
        )
        for ours, theirs in zip(found, facts.judge(states[f"discriminator{i}"], image, sentence), strict=True):
            assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_step_has_the_losses_of_the_release(released, monkeypatch):
    model, states = released
    batch, text = batch_of(128, 3), None
    monkeypatch.setattr(model.generator.augment, "noise", lambda count: torch.zeros(count, 5))  # the mean
    text = model.encode_text(batch.text)
    torch.manual_seed(1)
    found = {f"{network}.{k}": v.item() for network, terms in model.steps(batch) for k, v in terms.items()}
    torch.manual_seed(1)
    noise = torch.randn(3, 6)
    with torch.no_grad():
        images, _, mean, log_var = facts.generator(
            states["generator"], text.sentence, text.words, text.mask.sum(1).tolist(), noise
        )
        for i, (size, image) in enumerate(zip((64, 128), images, strict=True)):
            state = states[f"discriminator{i}"]
            photographs = F.interpolate(batch.image, (size, size), mode="bilinear", antialias=True)
            one, zero = torch.ones(3), torch.zeros(3)
            bce = F.binary_cross_entropy_with_logits
            real, match, mismatch = facts.judge(state, photographs, text.sentence)
            fake, fake_match, _ = facts.judge(state, image, text.sentence)
            expected = (bce(real, one) + bce(match, one)) / 2
            expected = expected + (bce(fake, zero) + bce(fake_match, zero) + bce(mismatch, zero[1:])) / 3
            names = ("real", "real_alone", "fake", "fake_alone", "mismatch")
            total = sum(found[f"discriminator.{name}_{size}"] for name in names)
            assert total == pytest.approx(expected.item(), rel=1e-4)
            total = found[f"generator.fake_{size}"] + found[f"generator.fake_alone_{size}"]
            assert total == pytest.approx((bce(fake, one) + bce(fake_match, one)).item(), rel=1e-4)
        kl = -0.5 * (1 + log_var - mean.square() - log_var.exp()).mean()
    assert found["generator.kl"] == pytest.approx(kl.item(), rel=1e-4)


# Conversion


@pytest.fixture
def folder(tmp_path):
    """The authors' files at small widths, with the words beside them."""
    for part, shapes in facts.shapes(**FACTS, scales=2).items():
        name = part.replace("discriminator", "netD")
        torch.save(release.weights(shapes), tmp_path / f"{name}.pth")
    (tmp_path / "words.txt").write_text("\n".join(["<end>", *WORDS]), encoding="utf-8")
    return tmp_path


def run(folder: Path, **options):
    given = {"text_encoder": folder / "text_encoder.pth", "words": folder / "words.txt", **options}
    return convert("attngan", given.pop("source", folder / "generator.pth"), folder / "out.safetensors", **given)


@pytest.mark.slow
def test_a_converted_release_draws_and_reads_as_it_did(folder):
    loaded = checkpoint.load(run(folder, discriminator=folder / "netD0.pth"))
    model = loaded.model
    assert loaded.vocabulary.words == tuple(WORDS)
    assert model.config.sizes == [64, 128]
    assert (model.config.width, model.config.discriminator_width, model.config.encoder.gamma1) == (4, 2, 4.0)
    tokens = loaded.vocabulary.encode(["this bird has a red head", "a blue bird"])
    text = torch.load(folder / "text_encoder.pth")
    rnn = torch.nn.LSTM(8, 8, batch_first=True, bidirectional=True)
    rnn.load_state_dict({k.removeprefix("rnn."): v for k, v in text.items() if k.startswith("rnn.")})
    words, (last, _) = rnn(text["encoder.weight"][tokens.ids[:1] - 1])  # their numbers are ours less one
    code = model.encode_text(tokens)
    assert_close(code.words[0], words[0])
    assert_close(code.sentence[0], last[:, 0].flatten())
    assert not code.words[1, 3:].any()
    with torch.no_grad():
        assert model.generate(tokens, noise_for(model, 2)).shape == (2, 3, 128, 128)
    first = torch.load(folder / "netD1.pth")["img_code_s32_1.0.weight"]
    assert torch.equal(model.discriminator[1].encoder[5][0].weight, first)


@pytest.mark.slow
def test_an_image_encoder_is_taken_along(tmp_path):
    encoder = {**ENCODER, "backbone": "inception_v3", "backbone_weights": "image_encoder.pth"}
    with torch.device("meta"):
        model = AttnGAN(AttnGANConfig(**{**CONFIG, "encoder": encoder}), vocabulary_size=5)
    names = image_names()
    theirs = {name: list(model.state_dict()[ours].shape) for ours, (name,) in names.items()}
    assert theirs["emb_features.weight"] == [16, 768, 1, 1]
    assert theirs["emb_cnn_code.weight"] == [16, 2048]
    assert theirs["Mixed_6e.branch7x7_1.conv.weight"] == [192, 768, 1, 1]
    filled = {ours for ours in model.state_dict() if ours.startswith("matching.")} - names.keys() - text_names().keys()
    assert not filled


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("generator", lambda s: s.pop("h_net2.att.conv_context.weight"), r"lacks h_net2.att.conv_context.weight$"),
        ("generator", lambda s: s.update(extra=torch.zeros(1)), r"has surplus extra$"),
        ("generator", lambda s: s.update({"ca_net.fc.bias": torch.zeros(3)}), r"ca_net.fc.bias is \(3,\).*\(20,\)"),
        ("text_encoder", lambda s: s.pop("rnn.bias_hh_l0_reverse"), r"lacks rnn.bias_hh_l0_reverse"),
        ("text_encoder", lambda s: s.update(extra=torch.zeros(1)), r"has surplus extra"),
        ("netD1", lambda s: s.pop("img_code_s32_1.0.weight"), r"lacks img_code_s32_1.0.weight$"),
    ],
)
def test_what_is_missing_surplus_or_misshapen_is_named(folder, part, change, message):
    state = torch.load(folder / f"{part}.pth")
    change(state)
    torch.save(state, folder / f"{part}.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        run(folder, discriminator=folder / "netD0.pth")
    assert "\n" not in str(caught.value)
    assert not (folder / "out.safetensors").exists()


@pytest.mark.slow
def test_other_faults_of_the_caller(folder):
    with pytest.raises(UserError, match="text_encoder and words"):
        run(folder, words=None)
    with pytest.raises(CheckpointError, match="like an AttnGAN discriminator, and generation needs the generator"):
        run(folder, source=folder / "netD0.pth")
    with pytest.raises(UserError, match="generates 128 px"):
        run(folder, image_size=256)
    (folder / "words.txt").write_text("a\nbird", encoding="utf-8")
    with pytest.raises(CheckpointError, match="are 2, but the text encoder has 8"):
        run(folder)
