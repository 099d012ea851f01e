"""Laws of the outline: the photograph's edges decide where the guess is coarse."""

from __future__ import annotations

import numpy as np
import pytest

from tgim.images.resample import interpolated
from tgim.models.editing.painting.outline import log_likelihood, nearby_evidence, refined

SIZE = 144


def distance() -> np.ndarray:
    """Distance (SIZE, SIZE) in pixels from the border of a disc, negative inside."""
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return np.hypot(rows, columns) - SIZE / 4


@pytest.mark.parametrize("background", [(0.1, 0.3, 0.0), (-0.2, -0.2, -0.25), (0.6, 0.7, 0.9)])
def test_a_plain_background_keeps_out_what_the_guess_takes_in(background):
    noise, far = np.random.default_rng(0), distance()
    mottled = noise.choice([(-0.8, -0.7, -0.6), (0.3, 0.2, -0.3), (-0.2, -0.4, -0.7)], (SIZE // 4, SIZE // 4))
    bird = interpolated(mottled.transpose(2, 0, 1).astype(np.float32), (SIZE, SIZE))
    ground = np.array(background)[:, None, None] + noise.normal(0, 0.01, (3, SIZE, SIZE))
    photo = np.where(far < 0, bird, ground).astype(np.float32)
    guess = (0.5 - (far - 6) / 8).clip(0, 1).astype(np.float32)  # six pixels too wide, and soft
    mask = refined(photo, guess)
    assert guess[(far > 2) & (far < 8)].mean() > 0.5
    assert mask[(far > 2) & (far < 8)].mean() < 0.02
    assert mask[far < -2].mean() > 0.98


def test_likelihoods_are_those_of_a_normal_distribution():
    image = np.random.default_rng(1).normal(0, 0.3, (3, 9, 9)).astype(np.float32)
    weight = np.random.default_rng(2).uniform(0, 1, (9, 9)).astype(np.float32)
    found, known = log_likelihood(image, weight, 17, noise=0.1)  # of the middle, the window holds the whole picture
    padded = np.pad(image, [(0, 0), (4, 4), (4, 4)], mode="edge").reshape(3, -1).astype(np.float64)
    weights = np.pad(weight, 4, mode="edge").ravel().astype(np.float64)
    mean = padded @ weights / weights.sum()
    covariance = (padded - mean[:, None]) * weights @ (padded - mean[:, None]).T / weights.sum() + 0.01 * np.eye(3)
    offset = image[:, 4, 4] - mean
    expected = -0.5 * (offset @ np.linalg.solve(covariance, offset) + np.linalg.slogdet(covariance)[1])
    assert found[4, 4] == pytest.approx(expected, rel=1e-3)
    assert known[4, 4] == pytest.approx(weights.mean(), rel=1e-4)


def test_where_only_one_side_is_known_colours_say_nothing():
    image = np.random.default_rng(3).normal(0, 0.3, (3, 40, 40)).astype(np.float32)
    nothing, all_of_it = np.zeros((40, 40), np.float32), np.ones((40, 40), np.float32)
    assert nearby_evidence(image, nothing, all_of_it, 9) == pytest.approx(-1, abs=0.05)
    assert nearby_evidence(image, all_of_it, nothing, 9) == pytest.approx(1, abs=0.05)
