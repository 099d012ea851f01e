"""Laws of the mask's refinement: it is the guided filter and the histograms of the papers, whatever the shortcuts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kornia.filters import box_blur, guided_blur
from torch.nn import functional as F

from tgim.images.matting import LEVELS, ROUNDS, TRUST, enlarged, every, guided_fit, subject_mask, window_mean
from tgim.images.resample import sampled
from tgim.nn.carry import box_mean
from tgim.nn.resize import resize


def slow_shares(colour, weight):
    counts = weight.new_zeros(LEVELS**3).scatter_add_(0, colour, weight).view(1, 1, LEVELS, LEVELS, LEVELS)
    bell = weight.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    counts = F.conv3d(counts, (bell[:, None, None] * bell[:, None] * bell)[None, None], padding=2)
    return (counts.flatten() / counts.sum() + 1e-5).log()


def slow_mask(photo, probability):
    """What `subject_mask` computes, by a library's guided filter and a convolution in three dimensions."""
    height, width = photo.shape[-2:]
    shrink = min(1.0, 256 / max(height, width))
    size = round(height * shrink), round(width * shrink)
    small = resize(photo, size)
    guess = F.interpolate(probability, size, mode="bilinear").flatten()
    red, green, blue = ((small[0] + 1) / 2 * (LEVELS - 1)).round().long().flatten(1)
    colour, inside = (red * LEVELS + green) * LEVELS + blue, guess
    for _ in range(ROUNDS):
        evidence = slow_shares(colour, inside) - slow_shares(colour, 1 - inside)
        inside = torch.sigmoid(torch.logit(guess.clamp(0.02, 0.98)) + TRUST * evidence[colour])
    soft = ((inside.view(1, 1, *size) - 0.1) / 0.3).clamp(0, 1)
    window = 2 * (max(size) // 64) + 1
    if window > 1 and min(size) > window:
        soft = guided_blur(small, soft, kernel_size=window, eps=3e-3).clamp(0, 1)
    coarser = min(height // size[0], width // size[1])
    soft = F.interpolate(soft, (height, width), mode="bilinear")
    if coarser > 1 and min(size) >= 8:
        soft = guided_blur(photo, soft, kernel_size=4 * coarser + 1, eps=1e-3, subsample=coarser).clamp(0, 1)
    return torch.where(soft < 0.02, 0.0, soft)


def scene(height, width, seed):
    """Blobs of colour with noise, (1, 3, H, W), and a guess (1, 1, 64, 64) that covers some of them."""
    source = torch.Generator().manual_seed(seed)
    blobs = F.interpolate(torch.rand(1, 3, 7, 7, generator=source), (height, width), mode="bicubic").clamp(0, 1)
    photo = (2 * blobs - 1 + 0.05 * torch.randn(1, 3, height, width, generator=source)).clamp(-1, 1)
    guess = torch.sigmoid(4 * torch.randn(1, 1, 5, 5, generator=source))
    return photo, F.interpolate(guess, (64, 64), mode="bilinear")


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 61), (200, 255), (300, 290), (531, 777), (20, 700)])
def test_the_mask_is_that_of_the_slow_way(height, width):
    photo, guess = (x.double() for x in scene(height, width, height))
    expected = slow_mask(photo, guess)[0, 0]
    assert 0.02 < (expected > 0).double().mean() <= 1
    single = torch.from_numpy(subject_mask(photo.float()[0].numpy(), guess.float()[0, 0].numpy()))
    assert single.dtype == torch.float32
    near = (expected - 0.02).abs() < 2e-4  # there `cut` may go either way
    torch.testing.assert_close(single.double()[~near], expected[~near], atol=1e-4, rtol=0)
    assert near.double().mean() < 0.02


def test_a_flat_picture_keeps_its_guess():
    """No colour tells anything, no edge stops anything: the fit has slope 0 and the mask is the blurred guess."""
    guide, mask = np.full((3, 9, 9), 0.3, np.float32), np.random.default_rng(0).random((9, 9), np.float32)
    fit = guided_fit(guide, mask, window=3, eps=1e-3)
    assert np.allclose(fit[:3], 0, atol=1e-3)
    blurred = window_mean(window_mean(mask, 3), 3)
    assert np.allclose((fit[:3] * guide).sum(0) + fit[3], blurred, atol=1e-5)


@pytest.mark.parametrize("window", [3, 5, 9])
def test_window_means_are_a_box_blur(window):
    x = torch.randn(2, 3, 11, 14, generator=torch.Generator().manual_seed(1))
    own = torch.from_numpy(window_mean(x.numpy(), window))
    torch.testing.assert_close(own, box_blur(x, window, "reflect"), atol=1e-6, rtol=0)
    torch.testing.assert_close(box_mean(x, window), box_blur(x, window, "replicate"), atol=1e-6, rtol=0)


def test_enlarging_is_bilinear_at_the_places_that_are_asked():
    x = torch.rand(1, 1, 7, 9, generator=torch.Generator().manual_seed(2))
    rows, columns = every(31, 4), every(40, 4)
    whole = F.interpolate(x, (31, 40), mode="bilinear")
    found = sampled(x.numpy(), (rows + 0.5) * 7 / 31 - 0.5, (columns + 0.5) * 9 / 40 - 0.5)
    torch.testing.assert_close(torch.from_numpy(found), whole[:, :, rows][..., columns], atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.from_numpy(enlarged(x.numpy(), (31, 40))), whole, atol=1e-6, rtol=0)
