"""Laws of AttnGAN: attention, pictures at each scale, and training."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F
from torch.testing import assert_close

from support import ROOT
from support.small import CAPTIONS, NEEDS_BF16, SIZES, VOCABULARY, batch_of, model_of, noise_for, train, trainable
from tgim.checkpoints import checkpoint
from tgim.inference.attention import attention_sheet, lay_over
from tgim.models.generation.attngan import AttnGAN, AttnGANConfig
from tgim.models.generation.attngan_blocks import WordAttention
from tgim.models.matching.backbone import TorchvisionNet
from tgim.models.matching.damsm import DAMSM
from tgim.text.vocabulary import Tokens
from tgim.training import recipe


def longer(text: Tokens, by: int) -> Tokens:
    """The same captions with more padding."""
    return Tokens(F.pad(text.ids, (0, by), value=3), F.pad(text.mask, (0, by)))  # what is masked may be any id


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


@pytest.mark.slow
@torch.no_grad()
def test_maps_belong_to_the_picture_and_can_be_shown():
    model = model_of("attngan", image_size=64, scales=3).eval()
    text, noise = batch_of().text, noise_for(model)
    maps = model.attention_maps(text, noise)
    assert [m.shape[1:] for m in maps] == [(text.ids.shape[1], side, side) for side in (16, 32)]
    drawn = model.generate_scales(model.condition(text), noise)
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


@pytest.mark.slow
@pytest.mark.parametrize(("size", "scales"), [(64, 1), (64, 2), (64, 3), (128, 2)])
def test_shapes_at_every_number_of_scales(size, scales):
    model = model_of("attngan", image_size=size, scales=scales)
    batch = batch_of(size, 2)
    for _, terms in model.steps(batch):
        assert {int(name.rsplit("_", 1)[1]) for name in terms if name[-1].isdigit()} == set(model.config.sizes)
        assert sum(terms.values()).isfinite()
    drawn = model.generate_scales(model.condition(batch.text), noise_for(model, 2))
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert_close(F.normalize(model.encode_text(text).sentence), damsm.embed_captions(text))  # sentences are raw


def test_an_untrained_matching_model_is_told(caplog):
    model_of("attngan").load_parts()
    assert "untrained DAMSM" in caplog.text


@pytest.mark.slow
def test_pictures_reach_the_damsm_at_its_size_and_with_a_gradient():
    model, seen = model_of("attngan", image_size=64), []
    encode = DAMSM.encode_image
    model.matching.encode_image = lambda image: seen.append(image) or encode(model.matching, image)
    terms = dict(model.steps(batch_of(64)))["generator"]
    assert seen[0].shape == (4, 3, 32, 32)
    terms["sentence"].backward()
    assert model.generator.paint[-1][0].weight.grad.abs().max() > 0
    assert all(p.grad is None for p in model.matching.parameters())


@pytest.mark.slow
def test_a_frozen_backbone_passes_gradients_to_drawn_pictures_alone():
    net = TorchvisionNet("resnet18", frozen=True)  # random stand-in weights
    net.plan = net.plan._replace(side=32)  # for speed
    image = torch.rand(2, 3, 32, 32)
    assert not net(image).whole.requires_grad
    image.requires_grad_()
    net(image).whole.sum().backward()
    assert image.grad.abs().max() > 0


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize("name", ["birds", "flowers", "small_birds"])
def test_the_recipes_resolve(name):
    found = recipe.load(ROOT / "recipes" / f"attngan_{name}.yaml")
    config = found.model_settings()
    assert config.matching == f"runs/damsm_{name.rsplit('_', 1)[-1]}/model.safetensors"
    assert config.sizes == ([32, 64] if "small" in name else [64, 128, 256])
    assert found.data.captions.max_tokens == 18
