"""Laws of the shared blocks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from tgim.nn.layers import (
    ConditioningAugmentation,
    DepthwiseConv2d,
    Residual,
    conv_block,
    down,
    from_image,
    frozen,
    init_adversarial,
    tile,
    to_image,
    up,
)


def test_without_noise_the_condition_is_its_mean():
    augment = ConditioningAugmentation(6, 4)
    condition = augment(torch.randn(3, 6))
    assert torch.equal(condition.sample, condition.mean)


def test_both_spellings_of_the_spread_are_one_function():
    """log_var = 2 log_sigma, and a leaky ReLU of the doubled weights is doubled."""
    sigma = ConditioningAugmentation(6, 4, spelling="log_sigma")
    var = ConditioningAugmentation(6, 4, spelling="log_var")
    with torch.no_grad():
        scale = torch.tensor([1.0] * 4 + [2.0] * 4)
        var.linear.weight.copy_(sigma.linear.weight * scale[:, None])
        var.linear.bias.copy_(sigma.linear.bias * scale)
    sentence, eps = torch.randn(3, 6), torch.randn(3, 4)
    for a, b in zip(sigma(sentence, eps), var(sentence, eps), strict=True):
        assert_close(a, b)


def test_samples_have_the_mean_and_variance_that_are_told():
    augment = ConditioningAugmentation(6, 2)
    sentence = torch.randn(1, 6).expand(200_000, 6)
    eps = augment.noise(200_000, generator=torch.Generator().manual_seed(0))
    sample, mean, log_var = augment(sentence, eps)
    assert_close(sample.mean(0), mean[0], atol=0.02, rtol=0.02)
    assert_close(sample.var(0), log_var[0].exp(), atol=0.02, rtol=0.02)


def test_noise_follows_its_seed():
    augment = ConditioningAugmentation(6, 4)
    first, again, other = (augment.noise(2, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("gate", ["leaky_relu", "relu", "glu"])
def test_every_gate_gives_the_size(gate):
    assert ConditioningAugmentation(6, 4, gate=gate, spelling="log_var")(torch.randn(3, 6)).log_var.shape == (3, 4)


@pytest.mark.parametrize("rectified", [False, True])
def test_a_residual_block_of_nothing_is_the_identity(rectified):
    block = Residual(4, rectified=rectified).eval()
    nn.init.zeros_(block.body[3].weight)
    x = torch.randn(2, 4, 5, 5)
    assert_close(block(x), x.relu() if rectified else x)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(height=st.integers(1, 6), width=st.integers(1, 6))
def test_sizes_halve_double_and_stay(height, width):
    x = torch.randn(2, 3, 2 * height, 2 * width)
    assert down(3, 5)(x).shape == from_image(5, halve=True)(x).shape == (2, 5, height, width)
    assert up(3, 5)(x).shape == (2, 5, 4 * height, 4 * width)
    assert (
        conv_block(3, 5)(x).shape
        == conv_block(3, 5, kernel=1)(x).shape
        == from_image(5)(x).shape
        == (2, 5, 2 * height, 2 * width)
    )
    assert to_image(3)(100 * x).abs().max() <= 1


def test_tiling_puts_the_vector_everywhere():
    x, vector = torch.randn(2, 3, 4, 5), torch.randn(2, 6)
    joined = tile(x, vector)
    assert torch.equal(joined[:, :3], x)
    assert all(torch.equal(joined[:, 3:, i, j], vector) for i in range(4) for j in range(5))


def test_frozen_passes_gradients_through_and_none_in():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)  # and it stays so
    x = torch.randn(3, 2, requires_grad=True)
    with frozen(layer):
        y = layer(x)
    y.sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None
    assert (layer.weight.requires_grad, layer.bias.requires_grad) == (True, False)


def test_frozen_thaws_after_an_error():
    layer = nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError), frozen(layer):
        raise ZeroDivisionError
    assert all(p.requires_grad for p in layer.parameters())


def test_start_of_the_weights():
    block = nn.Sequential(nn.Conv2d(64, 64, 3), nn.BatchNorm2d(4096)).apply(init_adversarial)
    assert_close(block[0].weight.std().item(), 0.02, atol=1e-3, rtol=0)
    assert_close(block[1].weight.mean().item(), 1.0, atol=2e-3, rtol=0)
    assert not block[0].bias.any()


def test_a_depthwise_convolution_computes_in_32_bits_under_autocast():
    layer, x = DepthwiseConv2d(6, 3, padding=1), torch.randn(2, 6, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(x)
    assert torch.equal(low, layer(x))
    alone = nn.functional.conv2d(x[:, 2:3], layer.weight[2:3], layer.bias[2:3], padding=1)
    assert_close(layer(x)[:, 2:3], alone)
