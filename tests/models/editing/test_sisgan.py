"""SISGAN against an independent writing-out of the release's networks, and the laws of its training."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from golden import make, release
from support.small import batch_of, model_of
from tgim.data.batch import Batch
from tgim.models.editing.sisgan import SISGAN, SISGANConfig, relevant_rows


def tiny(**options) -> SISGAN:
    return model_of("sisgan", stirred=False, **options)


class Written:
    """The release's networks, operation by operation, from a state dict with the authors' names."""

    def __init__(self, state: dict[str, Tensor], *, training: bool) -> None:
        self.state, self.training = state, training

    def conv(self, x: Tensor, name: str, *, stride: int = 1, padding: int = 1) -> Tensor:
        return F.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), stride, padding)

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias, mean, var = (
            self.state[f"{name}.{kind}"].clone() for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return F.batch_norm(x, mean, var, weight, bias, training=self.training)

    def generator(self, image: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = F.leaky_relu(sentence @ self.state["mu.0.weight"].T, 0.2)
        log_sigma = F.leaky_relu(sentence @ self.state["log_sigma.0.weight"].T, 0.2)
        x = F.relu(self.conv(image, "encoder.0"))
        x = F.relu(self.norm(self.conv(x, "encoder.2", stride=2), "encoder.3"))
        x = F.relu(self.norm(self.conv(x, "encoder.5", stride=2), "encoder.6"))
        x = torch.cat([x, mean[:, :, None, None].repeat(1, 1, *x.shape[2:])], 1)
        x = self.norm(self.conv(x, "residual_blocks.0"), "residual_blocks.1")  # no activation here
        for i in range(2, 6):
            name = f"residual_blocks.{i}.encoder"
            y = F.relu(self.norm(self.conv(x, f"{name}.0"), f"{name}.1"))
            x = F.relu(x + self.norm(self.conv(y, f"{name}.3"), f"{name}.4"))
        for i in (1, 5):
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = F.relu(self.norm(self.conv(x, f"decoder.{i}"), f"decoder.{i + 1}"))
        return torch.tanh(self.conv(x, "decoder.8")), mean, log_sigma

    def discriminator(self, image: Tensor, sentence: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv(image, "encoder.0", stride=2), 0.2)
        x = F.leaky_relu(self.norm(self.conv(x, "encoder.2", stride=2), "encoder.3"), 0.2)
        x = F.leaky_relu(self.norm(self.conv(x, "encoder.5", stride=2), "encoder.6"), 0.2)
        x = self.norm(self.conv(x, "encoder.8", stride=2), "encoder.9")  # no activation before the residual branch
        y = F.leaky_relu(self.norm(self.conv(x, "residual_branch.0", padding=0), "residual_branch.1"), 0.2)
        y = F.leaky_relu(self.norm(self.conv(y, "residual_branch.3"), "residual_branch.4"), 0.2)
        y = self.norm(self.conv(y, "residual_branch.6"), "residual_branch.7")
        x = F.leaky_relu(x + y, 0.2)
        said = F.leaky_relu(
            F.linear(sentence, self.state["compression.0.weight"], self.state["compression.0.bias"]), 0.2
        )
        x = torch.cat([x, said[:, :, None, None].repeat(1, 1, *x.shape[2:])], 1)
        x = F.leaky_relu(self.norm(self.conv(x, "classifier.0", padding=0), "classifier.1"), 0.2)
        return self.conv(x, "classifier.3", padding=0).reshape(-1)


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_networks_are_the_releases_at_its_size(training):
    shapes = release.sisgan(4, 6, 5)
    model = make.small_model("sisgan", shapes, image_size=64).train(training)
    generator, discriminator = (Written(release.weights(shapes[part]), training=training) for part in shapes)
    image, sentence = batch_of(64).image, torch.randn(4, 6)
    edited, condition = model.generator(image, sentence)
    expected, mean, log_sigma = generator.generator(image, sentence)
    assert_close(edited, expected, rtol=1e-4, atol=1e-5)
    assert_close(condition.mean, mean)
    assert_close(condition.log_var, 2 * log_sigma)
    assert_close(
        model.discriminator(image, sentence), discriminator.discriminator(image, sentence), rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_a_step_is_the_releases():
    """Losses from the written-out networks: eq. for L_D and L_G, relevant captions, weights 1/2."""
    shapes = release.sisgan(4, 6, 5)
    model = make.small_model("sisgan", shapes, image_size=64).train()
    batch = Batch(batch_of(64).image, make.small_batch().text, torch.arange(4))
    generator, discriminator = (Written(release.weights(shapes[part]), training=True) for part in shapes)
    with torch.no_grad():
        own = model.text(batch.text).sentence
        relevant = torch.stack([own[1], own[0], own[2], own[3]])
        edited, mean, log_sigma = generator.generator(batch.image, relevant)
        ones, zeros = torch.ones(4), torch.zeros(4)
        logits_of, bce = discriminator.discriminator, F.binary_cross_entropy_with_logits
        expected = {
            "real": bce(logits_of(batch.image, own), ones),
            "mismatch": 0.5 * bce(logits_of(batch.image, own[[3, 0, 1, 2]]), zeros),
            "fake": 0.5 * bce(logits_of(edited, relevant), zeros),
        }
        kl = (-log_sigma + 0.5 * ((2 * log_sigma).exp() + mean.square() - 1)).mean()
    steps = dict(model.steps(batch))
    for name, value in expected.items():
        assert_close(steps["discriminator"][name].detach(), value, rtol=1e-4, atol=1e-6)
    assert_close(steps["generator"]["fake"].detach(), bce(logits_of(edited, relevant), ones), rtol=1e-4, atol=1e-6)
    assert_close(steps["generator"]["kl"].detach(), kl)


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_half_a_batch_gets_a_neighbours_caption(count):
    own = torch.arange(float(count))[:, None]
    relevant = relevant_rows(own)
    assert sorted(relevant.flatten()) == sorted(own.flatten())
    half = count // 2
    assert torch.equal(relevant[half:], own[half:])
    assert half < 2 or (relevant[:half] != own[:half]).all()


@pytest.mark.slow
def test_text_first_then_frozen_and_a_resumed_run_knows():
    model = tiny(text_steps=2).train()
    phases = [[network for network, _ in model.steps(batch_of())] for _ in range(3)]
    assert phases == [["text"], ["text"], ["discriminator", "generator"]]
    resumed = tiny(text_steps=2).train()
    resumed.load_state_dict(model.state_dict())
    assert [network for network, _ in resumed.steps(batch_of())] == ["discriminator", "generator"]


@pytest.mark.slow
def test_ranking_brings_captions_to_their_pictures():
    model = tiny().train()
    optimizer, losses = torch.optim.Adam(model.text.parameters(), 5e-3), []
    for _ in range(25):
        network, terms = next(model.steps(batch_of()))
        assert network == "text"
        optimizer.zero_grad()
        terms["ranking"].backward()
        optimizer.step()
        losses.append(terms["ranking"].item())
    assert losses[-1] < 0.5 * losses[0]


def test_at_the_smallest_size_the_discriminator_still_sees_a_map():
    model, batch = tiny(image_size=16), batch_of(16)
    assert model.discriminator(batch.image, model.sentence(batch.text)).shape == (4,)


@pytest.mark.parametrize("options", [{"image_size": 40}, {"sentence": "lstm"}, {"text_steps": 0}, {"lambda": 3}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValidationError):
        SISGANConfig(**options)
