"""Distances of sets against values worked by hand, and of pictures by laws that need no people."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tgim import metrics
from tgim.data.synthetic.pairs import sample_picture
from tgim.inference.inversion import MapFeatures
from tgim.models.efficientnet import embedded
from tgim.nn.losses import stage_distance


def kernel_distance(shift: float) -> float:
    """The squared discrepancy of N(0, 1) and N(shift, 1) by (xy + 1)^3: weighted gaps of the first three moments."""
    return (shift**3 + 3 * shift) ** 2 + 3 * (shift**2) ** 2 + 3 * shift**2


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_kid_is_unbiased_and_halves_of_the_sets_tell_its_spread(shift):
    rng, inside, means = np.random.default_rng(0), 0, []
    for trial in range(200):
        x, y = rng.normal(size=(2, 80, 1))
        values = metrics.kid_subsets(x, y + shift, subsets=60, subset_size=40, seed=trial)
        low, high = np.percentile(values, [2.5, 97.5])
        inside += low <= kernel_distance(shift) <= high
        means.append(values.mean())
    assert abs(np.mean(means) - kernel_distance(shift)) < 3 * np.std(means) / 200**0.5
    assert inside >= 0.85 * 200  # 95 % are meant; third moments have heavy tails, and equal sets spread less


@pytest.mark.parametrize("gap", [0.0, 0.5, 2.0])
def test_frechet_of_gaussians_is_its_closed_form(gap):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 3))
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T  # mean 0, covariance 1, exactly
    deviations = np.array([1.0, 2.0, 0.5])
    expected = 3 * gap**2 + ((deviations - 1) ** 2).sum()
    assert metrics.fid(x, x * deviations + gap) == pytest.approx(expected, rel=1e-6)


def test_distances_of_sets_do_not_see_an_order_and_are_nothing_for_a_set_itself():
    x, y = np.random.default_rng(2).normal(size=(2, 30, 5))
    turned = x[::-1], np.roll(y, 7, 0)
    assert metrics.fid(x, x) == pytest.approx(0, abs=1e-9)
    assert metrics.fid(*turned) == pytest.approx(metrics.fid(x, y))
    assert metrics.kid(*turned, subsets=1) == pytest.approx(metrics.kid(x, y, subsets=1))
    assert metrics.kid(x, x, subsets=1) <= 0  # unbiased: below 0 by what the pairs of a row with itself are worth


def toy(pictures: torch.Tensor) -> list[torch.Tensor]:
    return [pictures, F.avg_pool2d(pictures, 2)[:, :2]]


def test_stage_distance_is_a_bounded_symmetric_distance_of_directions():
    x, y = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    value = stage_distance(toy(x), toy(y))
    assert value.shape == (4,)
    assert_close(stage_distance(toy(y), toy(x)), value)
    assert_close(stage_distance(toy(3 * x), toy(y)), value)  # how strong features are does not count
    assert_close(stage_distance(toy(x), toy(x)), torch.zeros(4))
    assert_close(stage_distance(toy(x), toy(-x)), torch.full((4,), 4.0))
    assert bool((stage_distance(toy(torch.zeros_like(x)), toy(x)) <= 1).all())  # nothing beside something
    by_hand = [1 - F.cosine_similarity(a, b, dim=1).mean((1, 2)) for a, b in zip(toy(x), toy(y), strict=True)]
    assert_close(value, sum(by_hand))  # the mean over two stages of 2 - 2 cos


def test_stage_distance_leads_a_picture_to_its_target():
    goal = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.5
    x = torch.zeros_like(goal).requires_grad_()
    distance = MapFeatures(toy)(goal)
    before = distance(x + 0.1)
    before.sum().backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())
    assert bool((distance(x.detach() + 0.1 - x.grad) < before).all())


@pytest.mark.slow
def test_in_imagenets_stages_shifts_are_small_and_blur_grows():
    network = embedded()
    pixels = np.stack([sample_picture(seed=seed, size=(96, 96)) for seed in range(4)])
    pictures = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1

    def apart(others: torch.Tensor) -> torch.Tensor:
        return metrics.stage_distance(pictures, others, network=network)

    assert_close(apart(pictures), torch.zeros(4))
    assert metrics.stage_distance(pictures[:0], pictures[:0], network=network).shape == (0,)
    shifted = apart(torch.roll(pictures, 1, 3))
    unrelated = apart(pictures.roll(1, 0))
    assert bool((shifted < unrelated).all())
    blurred = [apart(F.avg_pool2d(pictures, side, 1, side // 2, count_include_pad=False)) for side in (1, 3, 7, 15)]
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    noisy = [apart((pictures + share * noise).clamp(-1, 1)) for share in (0, 0.05, 0.15, 0.45)]
    for growing in (blurred, noisy):
        assert all(bool((less < more).all()) for less, more in pairwise(growing))
    assert bool((blurred[-1] < 4).all())


@pytest.mark.slow
def test_pictures_can_learn_through_imagenets_stages_and_the_network_does_not():
    network = embedded()
    x = torch.zeros(1, 3, 64, 64, requires_grad=True)
    stage_distance(network(x), network(torch.rand(1, 3, 64, 64))).sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())
