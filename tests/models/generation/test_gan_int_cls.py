"""GAN-INT-CLS against its networks written out, and what each of its switches may move."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from support.small import batch_of, model_of, trainable
from tgim.checkpoints import checkpoint
from tgim.data.batch import Batch, mismatching_rows
from tgim.models.generation.gan_int_cls import GanIntCls, GanIntClsConfig, between_pairs
from tgim.models.matching.sje import SJE, SJEConfig
from tgim.text.vocabulary import Alphabet

SWITCHES = [(cls, interpolate) for cls in (False, True) for interpolate in (False, True)]
CHARACTERS = {"text_widths": (4, 6, 8), "text_length": 66, "embedding_size": 12}


def tiny(**options) -> GanIntCls:
    return model_of("gan_int_cls", **options)


def labelled(*labels: int) -> Batch:
    batch = batch_of(count=len(labels))
    return Batch(batch.image, batch.text, torch.tensor(labels))


def terms_of(model: GanIntCls, batch: Batch) -> dict[str, dict[str, float]]:
    torch.manual_seed(3)
    return {network: {key: value.item() for key, value in terms.items()} for network, terms in model.steps(batch)}


# The networks


class Written:
    """Both networks, operation by operation, from a state dict."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = {key: value.clone() for key, value in state.items()}

    def conv(self, x: Tensor, name: str, stride: int = 1, padding: int = 1) -> Tensor:
        assert f"{name}.bias" not in self.state  # the release holds them at zero
        return F.conv2d(x, self.state[f"{name}.weight"], None, stride, padding)

    def spread(self, x: Tensor, name: str, stride: int = 2, padding: int = 1) -> Tensor:
        assert f"{name}.bias" not in self.state
        return F.conv_transpose2d(x, self.state[f"{name}.weight"], None, stride, padding)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
        weight, bias = (self.state[f"{name}.{kind}"][:, None, None] for kind in ("weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def bottleneck(self, x: Tensor, name: str, slope: float) -> Tensor:
        y = x
        for i, padding in enumerate((0, 1, 1)):
            y = self.norm(self.conv(y, f"{name}.body.{i}.0", padding=padding), f"{name}.body.{i}.1")
            y = F.leaky_relu(y, slope) if i < 2 else y
        return F.leaky_relu(x + y, slope)

    def compress(self, sentence: Tensor) -> Tensor:
        return F.leaky_relu(sentence @ self.state["compress.0.weight"].T + self.state["compress.0.bias"], 0.2)

    def generator(self, sentence: Tensor, noise: Tensor) -> Tensor:
        x = torch.cat([noise, self.compress(sentence)], 1)[:, :, None, None]
        x = self.norm(self.spread(x, "paint.0", 1, 0), "paint.1")  # no activation: the block has one
        x = self.bottleneck(x, "paint.2", 0)
        x = self.norm(self.spread(x, "paint.3.0"), "paint.3.1")
        x = self.bottleneck(x, "paint.4", 0)
        for i in (5, 6):
            x = F.relu(self.norm(self.spread(x, f"paint.{i}.0"), f"paint.{i}.1"))
        return torch.tanh(self.spread(x, "paint.7"))

    def discriminator(self, image: Tensor, sentence: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv(image, "see.0", 2), 0.2)
        for i in (2, 3):
            x = F.leaky_relu(self.norm(self.conv(x, f"see.{i}.0", 2), f"see.{i}.1"), 0.2)
        x = self.bottleneck(self.norm(self.conv(x, "see.4.0", 2), "see.4.1"), "see.5", 0.2)
        said = self.compress(sentence)[:, :, None, None].repeat(1, 1, 4, 4)
        x = self.norm(self.conv(torch.cat([x, said], 1), "classify.0.0", padding=0), "classify.0.1")
        return self.conv(F.leaky_relu(x, 0.2), "classify.1", padding=0).reshape(-1)


@torch.no_grad()
def test_networks_are_the_papers_at_its_size():
    model = tiny(image_size=64)
    sentence, noise, image = torch.randn(3, 8), torch.randn(3, 6), batch_of(64, 3).image
    generator, discriminator = (Written(getattr(model, n).state_dict()) for n in ("generator", "discriminator"))
    drawn = model.generator(sentence, noise)
    assert drawn.std() > 0.01
    assert_close(drawn, generator.generator(sentence, noise), rtol=1e-4, atol=1e-5)
    expected = discriminator.discriminator(image, sentence)
    assert_close(model.discriminator(image, sentence), expected, rtol=1e-4, atol=1e-5)


def test_at_the_defaults_widths_are_the_papers():
    with torch.device("meta"):
        model = GanIntCls(GanIntClsConfig(), vocabulary_size=9)
    shapes = {key: tuple(value.shape) for key, value in model.named_parameters()}
    assert shapes["generator.paint.0.weight"] == (100 + 128, 1024, 4, 4)
    assert shapes["generator.paint.7.weight"] == (128, 3, 4, 4)
    assert shapes["discriminator.see.0.weight"] == (64, 3, 4, 4)
    assert shapes["discriminator.classify.0.0.weight"] == (512, 512 + 128, 1, 1)


@pytest.mark.parametrize("side", [32, 64, 128])
@torch.no_grad()
def test_pictures_of_any_size(side):
    model, batch = tiny(image_size=side, width=2, discriminator_width=2).eval(), batch_of(side)
    drawn = model.generate(batch.text, torch.randn(4, model.noise_size))
    assert drawn.shape == batch.image.shape
    assert model.discriminator(drawn, torch.randn(4, 8)).shape == (4,)


# The switches


@pytest.mark.slow
def test_switches_move_their_own_terms_and_no_other():
    found = {
        switches: terms_of(tiny(cls=switches[0], interpolate=switches[1]), labelled(0, 0, 1, 2))
        for switches in SWITCHES
    }
    plain, half = found[False, False], 0.5
    for (cls, interpolate), terms in found.items():
        discriminator, maker = terms["discriminator"], terms["generator"]
        assert list(discriminator) == ["real", "mismatch", "fake"] if cls else ["real", "fake"]
        assert list(maker) == ["fake", "interpolated"] if interpolate else ["fake"]
        assert discriminator["real"] == plain["discriminator"]["real"]
        assert discriminator["fake"] == pytest.approx((half if cls else 1) * plain["discriminator"]["fake"])
        assert maker["fake"] == plain["generator"]["fake"]
    assert found[True, True]["discriminator"] == found[True, False]["discriminator"]
    assert found[True, True]["generator"] == found[False, True]["generator"]


def test_a_step_is_algorithm_1_with_interpolation():
    model, batch = tiny(mismatch_weight=0.3, interpolation_weight=2.0, beta=0.25), labelled(4, 4, 7, 9)
    found, bce = terms_of(model, batch), F.binary_cross_entropy_with_logits
    discriminator, ones, zeros = model.discriminator, torch.ones(4), torch.zeros(4)
    torch.manual_seed(3)
    with torch.no_grad():
        own, told = model.generator.read(batch.text), discriminator.read(batch.text)
        drawn = model.generator(own, torch.randn(4, 6))
        assert found["discriminator"] == pytest.approx(
            {
                "real": float(bce(discriminator(batch.image, told), ones)),
                "mismatch": 0.3 * float(bce(discriminator(batch.image, told[[3, 3, 1, 2]]), zeros)),
                "fake": 0.7 * float(bce(discriminator(drawn, told), zeros)),
            },
            rel=1e-4,
        )
        between = model.generator(0.25 * own[:2] + 0.75 * own[2:], torch.randn(2, 6))
        logits = discriminator(between, 0.25 * told[:2] + 0.75 * told[2:])
        assert found["generator"] == pytest.approx(
            {
                "fake": float(bce(discriminator(drawn, told), ones)),
                "interpolated": 2 * 0.5 * float(bce(logits, ones[:2])),
            },
            rel=1e-4,
        )


def test_mismatching_captions_are_never_of_the_same_class():
    for seed in range(50):
        source = torch.Generator().manual_seed(seed)
        labels = torch.randint(-2, 3, (1 + seed % 9,), generator=source)
        rows = mismatching_rows(labels)
        for i, row in enumerate(rows.tolist()):
            if (labels == labels[i]).all():
                assert row == i
            else:
                assert labels[row] != labels[i]


@pytest.mark.slow
def test_a_batch_of_one_class_has_no_mismatching_caption():
    assert terms_of(tiny(), labelled(3, 3, 3, 3))["discriminator"]["mismatch"] == 0
    assert terms_of(tiny(), labelled(3, 3, 3, 4))["discriminator"]["mismatch"] > 0


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_interpolation_lies_between_two_different_captions(count):
    one_hot = between_pairs(torch.eye(count), 0.25)
    assert one_hot.shape == (count // 2, count)
    for row in one_hot:
        assert sorted(row[row > 0].tolist()) == [0.25, 0.75]  # two captions
    assert (one_hot.sum(0) <= 0.75).all()  # each in one pair only


@pytest.mark.parametrize("count", [1, 2, 5])
def test_what_the_generator_is_asked_for(count):
    model, asked = tiny(), []
    model.generator.register_forward_pre_hook(lambda _, given: asked.append([x.detach() for x in given]))
    batch = batch_of(count=count)
    phases = dict(model.steps(batch))
    own = model.generator.read(batch.text)
    assert ("interpolated" in phases["generator"]) is (count > 1)
    assert torch.equal(asked[0][0], own)
    if count > 1:
        half = count // 2
        assert_close(asked[1][0], (own[:half] + own[half : 2 * half]) / 2)
        assert not torch.equal(asked[1][1], asked[0][1][:half])  # noise of its own


# Characters, read as the structured joint embedding does


@pytest.fixture
def embedding(tmp_path):
    """A small structured joint embedding and its file."""
    config = SJEConfig(image_size=32, width=8, blocks=1, **CHARACTERS)
    trained = SJE(config, vocabulary_size=len(Alphabet())).eval()
    return trained, checkpoint.save(tmp_path / "sje.safetensors", trained, vocabulary=Alphabet())


def spelled(batch: Batch) -> Batch:
    text = Alphabet().encode(["a red bird", "blue", "a small yellow bird with black wings", "white belly"])
    return Batch(batch.image, text, batch.labels)


def build(path) -> GanIntCls:
    config = GanIntCls.Config(image_size=32, noise_size=6, width=4, discriminator_width=4, text=str(path))
    vocabulary = GanIntCls.vocabulary_for(config)
    assert isinstance(vocabulary, Alphabet)
    torch.manual_seed(1)
    model = GanIntCls(config, vocabulary_size=len(vocabulary))
    model.load_parts()
    return model.train()


@pytest.mark.slow
def test_16_bits_and_channels_last_train_with_frozen_characters(embedding):
    model, batch, found = build(embedding[1]), spelled(batch_of()), []
    for low in (False, True):
        image = batch.image.contiguous(memory_format=torch.channels_last) if low else batch.image
        model = model.to(memory_format=torch.channels_last) if low else model
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            for _, terms in model.steps(Batch(image, batch.text, batch.labels)):
                total = sum(terms.values())
                assert total.dtype == torch.float32
                total.backward()
                found.append(total.item())
    assert found[2:] == pytest.approx(found[:2], rel=0.1)
    assert all(p.grad.isfinite().all() for p in trainable(model).values())


@pytest.mark.parametrize("options", [{"image_size": 48}, {"image_size": 16}, {"beta": 2}, {"cls": "sometimes"}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValidationError):
        GanIntClsConfig(**options)
