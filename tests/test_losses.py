"""Losses against independent references and values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.testing import assert_close

from tgim.losses import cosines, gaussian_kl, log_mixture, ranking, real_fake, real_fake_log

floats = st.floats(-20, 20)


@settings(max_examples=50, deadline=None)
@given(st.lists(floats, min_size=1, max_size=5), st.booleans())
def test_real_fake_is_binary_cross_entropy(values, real):
    logits = torch.tensor(values)
    assert_close(real_fake(logits, real), F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real)))


@pytest.mark.parametrize("real", [True, False])
def test_real_fake_log_is_binary_cross_entropy_of_the_probability(real):
    p = torch.tensor([0.01, 0.3, 0.5, 0.99], dtype=torch.float64)
    assert_close(
        real_fake_log(p.log(), real).double(), F.binary_cross_entropy(p, torch.full_like(p, real)), rtol=1e-6, atol=0
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 1), floats), min_size=1, max_size=4))
def test_log_mixture_is_the_logarithm_of_the_mixture(pairs):
    weights, logits = torch.tensor(pairs, dtype=torch.float64).T
    weights = weights / weights.sum()
    naive = (weights * torch.sigmoid(logits)).sum().log()
    assert_close(log_mixture(weights, logits).double(), naive, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("logit", [-1000.0, -100.0, 0.0, 30.0, 100.0, 1000.0])
@pytest.mark.parametrize("real", [True, False])
def test_certainty_keeps_losses_and_gradients_finite(logit, real):
    logits = torch.full((2, 3), logit, requires_grad=True)
    loss = real_fake_log(log_mixture(torch.full((2, 3), 1 / 3), logits), real)
    loss.backward()
    assert math.isfinite(loss.item())
    assert logits.grad.isfinite().all()


def test_a_sure_and_wrong_match_still_learns():
    logits = torch.full((1, 3), 30.0, requires_grad=True)
    real_fake_log(log_mixture(torch.full((1, 3), 1 / 3), logits), False).backward()
    assert_close(logits.grad.sum(), torch.tensor(1.0))  # as for the plain logit


def test_gaussian_kl_is_that_of_torch():
    mean, log_var = torch.randn(5, 4), torch.randn(5, 4)
    reference = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(0.0, 1.0)).mean()
    assert_close(gaussian_kl(mean, log_var), reference)


def test_ranking_is_the_double_sum():
    scores = torch.randn(5, 5)
    total = 0.0
    for i in range(5):
        for j in range(5):
            if i != j:
                total += max(0.0, 0.3 + float(scores[i, j] - scores[i, i]))
                total += max(0.0, 0.3 + float(scores[i, j] - scores[j, j]))
    assert_close(ranking(scores, margin=0.3), torch.tensor(total / 5))  # at the tolerance of float32


def test_cosines_ignore_length():
    x, y = torch.randn(3, 4), torch.randn(2, 4)
    assert_close(cosines(5 * x, 0.1 * y), F.cosine_similarity(x[:, None], y[None], dim=-1))
