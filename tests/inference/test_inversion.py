"""Laws of inversion: the noise of a picture that the model drew is found again, and photographs can be edited by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from support.small import model_of
from support.toy_generator import VOCABULARY, toy_generator
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import UserError
from tgim.images.photo import open_image
from tgim.inference.editor import Editor
from tgim.inference.inversion import Inverter, lpips_features, matching_features
from tgim.models.base import sample_noise

TEXT = VOCABULARY.encode(["a small red bird", "this bird has a blue head"])


@pytest.fixture(scope="module")
def model():
    return toy_generator()


@pytest.fixture(scope="module")
def drawn(model):
    """Two pictures of the model, their noise and the codes of their captions."""
    noise, _ = sample_noise(model, 2, seed=3)
    condition = model.condition(TEXT)
    with torch.no_grad():
        return model.generate_from(condition, noise), noise, condition


class Nearly(nn.Module):
    """Stands for a style encoder: it knows the noise up to an error."""

    def __init__(self, noise: torch.Tensor, error: float) -> None:
        super().__init__()
        self.noise, self.error = noise, nn.Parameter(torch.tensor(error))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.noise[: len(image)] + self.error + 0 * image.mean()


@pytest.mark.slow
def test_optimisation_finds_the_noise_that_drew_a_picture(model, drawn):
    pictures, noise, condition = drawn
    found = Inverter(model, steps=400).invert(pictures, condition)
    assert found.losses[0] > 10 * found.losses[-1]
    before, after = noise.square().mean(), (found.noise - noise).square().mean()  # the search starts from zero
    assert after < before / 10
    assert (found.pictures - pictures).abs().mean() < 0.05
    assert torch.equal(found.pictures, model.generate_from(condition, found.noise))


def test_equal_seeds_find_equal_noise_and_disturb_nothing(model, drawn):
    pictures, _, condition = drawn
    torch.manual_seed(5)
    state, weights = torch.get_rng_state(), [p.clone() for p in model.parameters()]
    found = [Inverter(model, steps=5).invert(pictures, condition, seed=seed) for seed in (None, None, 1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found[0].noise, found[1].noise)
    assert torch.equal(found[2].noise, found[3].noise)
    assert found[2].losses == found[3].losses
    assert not torch.equal(found[3].noise, found[4].noise)
    assert not torch.equal(found[0].noise, found[2].noise)
    assert all(torch.equal(p, before) for p, before in zip(model.parameters(), weights, strict=True))
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.slow
def test_the_search_stops_when_it_no_longer_gets_on(model, drawn):
    pictures, _, condition = drawn
    whole = Inverter(model, steps=600, patience=10_000).invert(pictures, condition)
    early = Inverter(model, steps=600, patience=20).invert(pictures, condition)
    assert len(whole.losses) == 601
    assert 20 < len(early.losses) < 500
    assert early.losses == whole.losses[: len(early.losses)]
    stuck = Inverter(model, steps=300, patience=7, rate=0.0).invert(pictures, condition)
    assert len(stuck.losses) == 8
    assert torch.equal(stuck.noise, torch.zeros_like(stuck.noise))


def test_the_best_noise_is_kept_for_each_picture_alone(model, drawn):
    pictures, _, condition = drawn
    wild = Inverter(model, steps=40, rate=5.0, patience=100)
    found = wild.invert(pictures, condition)
    assert max(found.losses) > found.losses[0]
    kept = 0.5 * (found.pictures - pictures).square().mean((1, 2, 3))
    assert kept.mean() <= min(found.losses) + 1e-6
    alone = wild.invert(pictures[:1], tuple(code[:1] for code in condition))
    torch.testing.assert_close(alone.noise, found.noise[:1], atol=1e-4, rtol=1e-4)


def test_a_model_stays_in_the_mode_that_it_was_in(drawn):
    pictures, _, condition = drawn
    for training in (False, True):
        model = toy_generator().train(training)
        inverter = Inverter(model, steps=1)
        inverter.invert(pictures, condition)
        assert model.training is training


def test_an_encoder_alone_is_asked_once(model, drawn):
    pictures, noise, condition = drawn
    found = Inverter(model, encoder=Nearly(noise, 0.0), steps=0).invert(pictures, condition)
    assert torch.equal(found.noise, noise)
    assert found.losses == []
    torch.testing.assert_close(found.pictures, pictures)


@pytest.mark.slow
def test_encoder_and_optimisation_start_from_the_encoder_and_stay_near(model, drawn):
    pictures, noise, condition = drawn
    encoder = Nearly(noise, 0.4)
    alone = Inverter(model, encoder=encoder, steps=0).invert(pictures, condition)
    both = Inverter(model, encoder=encoder, steps=150, domain_weight=0).invert(pictures, condition)
    tied = Inverter(model, encoder=encoder, steps=150, domain_weight=100).invert(pictures, condition)
    assert both.losses[0] < Inverter(model, steps=1).invert(pictures, condition).losses[0]
    error = [(each.pictures - pictures).square().mean() for each in (alone, both, tied)]
    assert error[1] < error[0] / 10
    assert error[1] < error[2] <= error[0]
    moved = [(each.noise - encoder(pictures)).square().mean() for each in (both, tied)]
    assert moved[1] < moved[0] / 10
    assert encoder.error.grad is None


@pytest.mark.slow
def test_features_of_a_matching_model_are_a_distance(model, drawn):
    pictures, _, condition = drawn
    features = matching_features(model_of("dual_encoder").eval())
    distance = features(pictures)
    assert distance(pictures).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert distance(pictures.flip(0)).min() > 1e-4
    plain = Inverter(model, steps=60).invert(pictures, condition)
    with_features = Inverter(model, steps=60, features=features)
    found = with_features.invert(pictures, condition)
    assert found.losses[0] > plain.losses[0]
    assert distance(found.pictures).mean() < distance(model.generate_from(condition, 0 * found.noise)).mean()


def test_the_matching_model_inside_a_generator_is_taken(drawn):
    model = toy_generator()
    assert Inverter(model).features is None
    model.matching = model_of("dual_encoder").eval()
    pictures, _, condition = drawn
    assert Inverter(model).features(pictures)(pictures.flip(0)).min() > 1e-4
    Inverter(model, steps=2).invert(pictures, condition)
    assert all(p.grad is None for p in model.parameters())


def test_lpips_is_the_distance_of_its_network():
    class Network(nn.Module):
        def forward(self, x, y):
            return (x - y).abs().mean((1, 2, 3), keepdim=True)

    distance = lpips_features(Network())(torch.zeros(2, 3, 32, 32))
    assert distance(torch.full((2, 3, 32, 32), 0.5)).tolist() == [0.5, 0.5]


@pytest.mark.slow
def test_the_own_caption_is_what_the_photograph_is_read_under(model, drawn):
    pictures, noise, _ = drawn
    inverter = Inverter(model, steps=400)
    wanted = TEXT.roll()
    with torch.no_grad():
        truth = model.generate(wanted, noise)
        guess, told = inverter.edit(pictures, wanted), inverter.edit(pictures, wanted, own=TEXT)
    assert (told - truth).square().mean() < 0.2 * (guess - truth).square().mean()
    assert (guess - pictures).square().mean() < (truth - pictures).square().mean()


def test_what_cannot_be_inverted_is_refused(model, drawn):
    pictures, _, condition = drawn
    with pytest.raises(UserError, match="no encoder and 0 steps"):
        Inverter(model, steps=0)
    with pytest.raises(UserError, match=r"\(B, 3, 16, 16\), got \(2, 3, 8, 16\)"):
        Inverter(model).invert(pictures[:, :, ::2], condition)
    assert Inverter.of(model_of("tagan")) is None


@pytest.mark.slow
@pytest.mark.parametrize("size", [(90, 60), (16, 16), (5, 40)])
def test_a_photograph_is_edited_by_a_generator(model, size):
    edit = Editor(Checkpoint(model, VOCABULARY, "this bird has a {}"))
    edit.model.most_steps = 20
    source = sample_picture("birds", seed=2, size=(90, 90))[: size[0], : size[1]]
    red, blue = (edit(source, f"{colour} head") for colour in ("red", "blue"))
    assert red.size == blue.size == (size[1], size[0])
    assert red.tobytes() != blue.tobytes()
    assert red.tobytes() == edit(source, "red head").tobytes()
    assert np.array_equal(np.asarray(edit(source, "red head", strength=0)), source)
    assert edit(source, "red head", seed=1).tobytes() == edit(source, "red head", seed=1).tobytes()
    raw = edit.edit_photo(open_image(source), "red head", size="model")
    small = torch.nn.functional.interpolate(
        open_image(source).tensor[None], (16, 16), mode="bilinear", antialias=True
    ).clamp(-1, 1)
    expected = edit.model.edit(small, VOCABULARY.encode(["this bird has a red head"]))
    assert torch.allclose(raw.tensor, expected[0], atol=1e-5)
