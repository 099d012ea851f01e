"""AttnGAN against its release's names, against its computation written out, and against its laws."""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from small import CAPTIONS, ENCODER, NEEDS_BF16, SIZES, VOCABULARY, batch_of, model_of, train, trainable
from torch.nn import functional as F
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).parents[2] / "golden"))
import attngan_release as facts
import release

from tgim.checkpoints import checkpoint
from tgim.conversion.attngan import discriminator_names, generator_names, image_names, text_names
from tgim.conversion.convert import convert
from tgim.conversion.files import load_part
from tgim.errors import CheckpointError, UserError
from tgim.inference.attention import attention_sheet, lay_over
from tgim.models.generation.attngan import AttnGAN, AttnGANConfig
from tgim.models.generation.attngan_blocks import WordAttention
from tgim.models.matching.backbone import TorchvisionNet
from tgim.models.matching.damsm import DAMSM
from tgim.text.vocabulary import Tokens
from tgim.training import recipe

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


def longer(text: Tokens, by: int) -> Tokens:
    """The same captions with more padding."""
    return Tokens(F.pad(text.ids, (0, by), value=3), F.pad(text.mask, (0, by)))  # what is masked may be any id


def noise_for(model: AttnGAN, count: int = 4) -> torch.Tensor:
    return torch.randn(count, model.noise_size, generator=torch.Generator().manual_seed(3))


# The release


@pytest.mark.golden
def test_names_and_shapes_are_those_of_the_release():
    said = json.loads((Path(os.environ["TGIM_GOLDEN"]) / "attngan.json").read_text())
    assert said.pop("gammas") == [4, 5, 10]
    assert said == facts.shapes()


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
    drawn = model.draw((condition.sample, words, mask.float()), noise)
    for found, expected in zip(
        (condition.mean, condition.log_var, *drawn.images, *drawn.maps), (mean, log_var, *images, *maps), strict=True
    ):
        assert_close(found, expected, atol=1e-4, rtol=1e-4)
    for i, image in enumerate(images):
        judge = model.discriminator[i]
        seen = judge.see(image)
        found = judge.alone(seen), judge.match(seen, sentence), judge.match(seen[:-1], sentence[1:])
        for ours, theirs in zip(found, facts.judge(states[f"discriminator{i}"], image, sentence), strict=True):
            assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_step_has_the_losses_of_the_release(released, monkeypatch):
    model, states = released
    batch, text = batch_of(128, 3), None
    monkeypatch.setattr(model.generator.augment, "noise", lambda count: torch.zeros(count, 5))  # the mean
    text = model.read(batch.text)
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


# Attention


@torch.no_grad()
def test_attention_is_that_of_a_plain_loop_and_padding_gets_exactly_nothing():
    torch.manual_seed(0)
    attention, lengths = WordAttention(5, 7), [6, 1, 4]
    x, words = torch.randn(3, 5, 2, 3), torch.randn(3, 6, 7)
    mask = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    context, weights = attention(x, words, mask.float())
    for b, length in enumerate(lengths):
        keys = words[b, :length] @ attention.project.weight[:, :, 0, 0].T  # length, C
        for i, j in itertools.product(range(2), range(3)):
            scores = [math.exp(float(x[b, :, i, j] @ key)) for key in keys]
            share = torch.tensor([score / sum(scores) for score in scores])
            assert_close(weights[b, :length, i, j], share)
            assert_close(context[b, :, i, j], sum(a * key for a, key in zip(share, keys, strict=True)))
        assert (weights[b, length:] == 0).all()
        assert (weights[b, :length] > 0).all()
    assert_close(weights.sum(1), torch.ones(3, 2, 3))
    half = attention(x, words, 0.5 * mask.float())[1]
    assert_close(half, weights)  # presence counts in proportion
    empty = attention(x, torch.zeros(3, 6, 7), torch.zeros(3, 6))[0]
    assert torch.equal(empty, torch.zeros_like(x))


@torch.no_grad()
def test_more_padding_changes_neither_picture_nor_attention():
    model = model_of("attngan").eval()
    text, noise = batch_of().text, noise_for(model_of("attngan"))
    assert_close(model.generate(longer(text, 5), noise), model.generate(text, noise), atol=1e-6, rtol=1e-5)
    (far,), (near,) = model.attention_maps(longer(text, 5), noise), model.attention_maps(text, noise)
    assert_close(far[:, : near.shape[1]], near, atol=1e-6, rtol=1e-5)
    assert (far[:, near.shape[1] :] == 0).all()


@torch.no_grad()
def test_maps_belong_to_the_picture_and_can_be_shown():
    model = model_of("attngan", image_size=64, scales=3).eval()
    text, noise = batch_of().text, noise_for(model)
    maps = model.attention_maps(text, noise)
    assert [m.shape[1:] for m in maps] == [(text.ids.shape[1], side, side) for side in (16, 32)]
    drawn = model.draw(model.condition(text), noise)
    assert all(map(torch.equal, maps, drawn.maps))
    assert torch.equal(model.generate(text, noise), drawn.images[-1])
    captions = [caption.split() for caption in CAPTIONS]
    longest = max(map(len, captions))
    sheet = attention_sheet(drawn.images[-1], maps[1], captions, cell=32)
    assert (
        sheet.width >= 32 * (longest + 2) > attention_sheet(drawn.images[-1], maps[1], captions, most=2, cell=32).width
    )
    with pytest.raises(ValueError, match="3 captions"):
        attention_sheet(drawn.images[-1], maps[1], captions[:3])


def test_a_map_laid_over_a_picture_leaves_light_where_it_is_high():
    image, weights = torch.ones(1, 3, 8, 8), torch.zeros(1, 2, 2)
    weights[0, 0, 1] = 0.2
    laid = lay_over(image, weights)
    assert_close(laid[0, :, 0, 7], torch.ones(3))
    assert laid[0, :, 7, 0].max() < -0.6
    assert_close(lay_over(image, torch.full((1, 2, 2), 0.01)), image)


# Drawing


@pytest.mark.parametrize(("size", "scales"), [(64, 1), (64, 2), (64, 3), (128, 2)])
def test_shapes_at_every_number_of_scales(size, scales):
    model = model_of("attngan", image_size=size, scales=scales)
    batch = batch_of(size, 2)
    for _, terms in model.steps(batch):
        assert {int(name.rsplit("_", 1)[1]) for name in terms if name[-1].isdigit()} == set(model.config.sizes)
        assert sum(terms.values()).isfinite()
    drawn = model.draw(model.condition(batch.text), noise_for(model, 2))
    assert [image.shape[-1] for image in drawn.images] == [size >> i for i in range(scales - 1, -1, -1)]
    assert len(drawn.maps) == scales - 1
    assert model.attention_maps(batch.text, noise_for(model, 2))[:0] == []


@torch.no_grad()
def test_codes_can_be_interpolated_between_captions_of_different_length():
    model = model_of("attngan").eval()
    noise = noise_for(model, 1)
    codes = model.condition(VOCABULARY.encode([CAPTIONS[0], CAPTIONS[3]]))
    ends = [[code[i : i + 1] for code in codes] for i in range(2)]
    path = [
        model.generate_from(tuple(a + t * (b - a) for a, b in zip(*ends, strict=True)), noise)
        for t in (0.0, 0.001, 0.5, 1.0)
    ]
    assert_close(path[0], model.generate_from(tuple(ends[0]), noise))
    assert_close(path[-1], model.generate_from(tuple(ends[1]), noise))
    assert (path[1] - path[0]).abs().max() < 0.05 * (path[-1] - path[0]).abs().max()


# Training


def test_the_damsm_term_falls_on_one_batch():
    model, batch, found = model_of("attngan"), batch_of(), []
    optimizer = torch.optim.Adam(model.generator.parameters(), 2e-3)
    for _ in range(25):
        torch.manual_seed(0)
        terms = dict(model.steps(batch))["generator"]
        found.append((terms["words"] + terms["sentence"]).item())
        optimizer.zero_grad()
        (terms["words"] + terms["sentence"]).backward()
        optimizer.step()
    assert found[-1] < 0.8 * found[0], found


def test_the_frozen_matching_model_stays_and_stays_in_evaluation_mode(tmp_path):
    damsm = model_of("damsm")
    train(damsm, batch_of(), steps=1)
    path = checkpoint.save(tmp_path / "damsm.safetensors", damsm.eval(), vocabulary=VOCABULARY)
    config = AttnGANConfig(**{**SIZES["attngan"], "encoder": None, "matching": str(path)})
    assert AttnGAN.vocabulary_for(config).words == VOCABULARY.words
    model = AttnGAN(config, vocabulary_size=len(VOCABULARY))
    assert model.config.encoder == damsm.config
    model.load_parts()
    train(model.train(), batch_of(), steps=2)
    for key, value in damsm.state_dict().items():
        assert torch.equal(model.matching.state_dict()[key], value), key
    assert not any(module.training for module in model.matching.modules())
    assert not trainable(model.matching)
    text = batch_of().text
    assert_close(F.normalize(model.read(text).sentence), damsm.embed_captions(text))  # sentences themselves are raw


def test_an_untrained_matching_model_is_told(caplog):
    model_of("attngan").load_parts()
    assert "untrained DAMSM" in caplog.text


def test_pictures_reach_the_damsm_at_its_size_and_with_a_gradient():
    model, seen = model_of("attngan", image_size=64), []
    encode = DAMSM.encode_image
    model.matching.encode_image = lambda image: seen.append(image) or encode(model.matching, image)
    terms = dict(model.steps(batch_of(64)))["generator"]
    assert seen[0].shape == (4, 3, 32, 32)
    terms["sentence"].backward()
    assert model.generator.paint[-1][0].weight.grad.abs().max() > 0
    assert all(p.grad is None for p in model.matching.parameters())


def test_a_frozen_backbone_passes_gradients_to_drawn_pictures_alone():
    net = TorchvisionNet("resnet18", frozen=True)  # random stand-in weights
    net.plan = net.plan._replace(side=32)  # for speed
    image = torch.rand(2, 3, 32, 32)
    assert not net(image).whole.requires_grad
    image.requires_grad_()
    net(image).whole.sum().backward()
    assert image.grad.abs().max() > 0


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=NEEDS_BF16)])
def test_every_parameter_learns_even_from_one_picture(precision):
    model, batch = model_of("attngan"), batch_of(count=1)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        for network, terms in model.steps(batch):
            assert not any("mismatch" in name for name in terms)  # there is no other caption
            parameters = trainable(getattr(model, network))
            sum(terms.values()).backward(inputs=list(parameters.values()))
            for name, p in parameters.items():
                assert p.grad.isfinite().all(), name
                assert p.grad.any(), name


def test_channels_last_trains_alike():
    losses = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model = model_of("attngan").to(memory_format=layout)
        losses.append(train(model, batch_of(), steps=2))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("options", [{"image_size": 96}, {"image_size": 32, "scales": 3}, {"scales": 4}, {"scale": 2}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValidationError):
        AttnGANConfig(**options)


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
    code = model.read(tokens)
    assert_close(code.words[0], words[0])
    assert_close(code.sentence[0], last[:, 0].flatten())
    assert not code.words[1, 3:].any()
    with torch.no_grad():
        assert model.generate(tokens, noise_for(model, 2)).shape == (2, 3, 128, 128)
    first = torch.load(folder / "netD1.pth")["img_code_s32_1.0.weight"]
    assert torch.equal(model.discriminator[1].encoder[5][0].weight, first)


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


def test_other_faults_of_the_caller(folder):
    with pytest.raises(UserError, match="text_encoder and words"):
        run(folder, words=None)
    with pytest.raises(CheckpointError, match="looks like an AttnGAN discriminator, and drawing needs the generator"):
        run(folder, source=folder / "netD0.pth")
    with pytest.raises(UserError, match="draws 128 px"):
        run(folder, image_size=256)
    (folder / "words.txt").write_text("a\nbird", encoding="utf-8")
    with pytest.raises(CheckpointError, match="are 2, but the text encoder has 8"):
        run(folder)


@pytest.mark.parametrize("name", ["birds", "flowers", "small_birds"])
def test_the_recipes_resolve(name):
    found = recipe.load(Path(__file__).parents[3] / "recipes" / f"attngan_{name}.yaml")
    config = found.model_settings()
    assert config.matching == f"runs/damsm_{name.rsplit('_', 1)[-1]}/model.safetensors"
    assert config.sizes == ([32, 64] if "small" in name else [64, 128, 256])
    assert found.data.max_tokens == 18
