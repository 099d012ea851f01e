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

from tgim.nn.losses import (
    contrastive,
    cosines,
    damsm_sentence,
    damsm_words,
    fake_where,
    gaussian_kl,
    log_mixture,
    ranking,
    real_fake,
    real_fake_log,
    structured_hinge,
    word_scores,
)

floats = st.floats(-20, 20)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.lists(floats, min_size=1, max_size=5), st.booleans())
def test_real_fake_is_binary_cross_entropy(values, real):
    logits = torch.tensor(values)
    assert_close(real_fake(logits, real), F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real)))


def test_of_the_rows_that_are_not_known_nothing_is_learned():
    logits, known = torch.randn(5, requires_grad=True), torch.tensor([True, False, True, True, False])
    loss = fake_where(logits, known)
    assert_close(loss, real_fake(logits[known], False))
    loss.backward()
    assert torch.equal(logits.grad != 0, known)
    assert fake_where(logits, torch.zeros(5, dtype=torch.bool)) == 0


@pytest.mark.parametrize("real", [True, False])
def test_real_fake_log_is_binary_cross_entropy_of_the_probability(real):
    p = torch.tensor([0.01, 0.3, 0.5, 0.99], dtype=torch.float64)
    assert_close(
        real_fake_log(p.log(), real).double(), F.binary_cross_entropy(p, torch.full_like(p, real)), rtol=1e-6, atol=0
    )


@pytest.mark.slow
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


@pytest.mark.parametrize("labels", [None, [0, 1, 2, 3, 4], [0, 0, 1, 1, 2], [3, 3, 3, 3, 3]])
@pytest.mark.parametrize("hardest", [False, True])
def test_ranking_by_brute_force(labels, hardest):
    scores = torch.randn(5, 5)
    ids = labels or list(range(5))
    total = 0.0
    for i in range(5):
        wrong = [j for j in range(5) if ids[j] != ids[i]]
        for right_way in (scores, scores.T):  # captions of picture i, then pictures of caption i
            hinges = [max(0.0, 0.3 + float(right_way[i, j] - right_way[i, i])) for j in wrong]
            total += max(hinges, default=0.0) if hardest else sum(hinges)
    found = ranking(scores, margin=0.3, labels=None if labels is None else torch.tensor(labels), hardest=hardest)
    assert_close(found, torch.tensor(total / 5))


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4], [0, 0, 1, 1, 2], [4, 4, 4, 7, -1], [3, 3, 3, 3, 3]])
def test_structured_hinge_is_the_sum_over_wrong_classes(labels):
    scores = torch.randn(5, 5)
    for found, f in zip(structured_hinge(scores, torch.tensor(labels), margin=0.7), (scores, scores.T), strict=True):
        total = 0.0
        for n in range(5):
            for y in set(labels) - {labels[n]}:
                of_class = [float(f[n, m]) for m in range(5) if labels[m] == y]
                total += max(0.0, 0.7 + sum(of_class) / len(of_class) - float(f[n, n]))
        assert_close(found, torch.tensor(total / 5))


def word_score_by_hand(regions: torch.Tensor, words: torch.Tensor, gamma1: float, gamma2: float) -> torch.Tensor:
    """R(Q, D) of one picture (E, R) and one caption (T, E) without padding, word by word."""
    match = words @ regions  # T, R
    among_words = match.exp() / match.exp().sum(0)
    total = torch.zeros((), dtype=words.dtype)
    for word, share in zip(words, among_words, strict=True):
        attention = (gamma1 * share).exp() / (gamma1 * share).exp().sum()
        context = regions @ attention
        total = total + (gamma2 * F.cosine_similarity(context, word, dim=0)).exp()
    return total.log()


def captioned(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Regions (4, 6, 9), words (4, 5, 6) and the mask of captions of 5, 3, 1 and 4 words."""
    torch.manual_seed(0)
    mask = torch.arange(5)[None] < torch.tensor([5, 3, 1, 4])[:, None]
    regions, words = torch.randn(4, 6, 9, dtype=dtype), torch.randn(4, 5, 6, dtype=dtype)
    return regions.requires_grad_(), words.requires_grad_(), mask


def test_word_scores_and_their_gradients_are_those_of_a_loop():
    regions, words, mask = captioned()
    loop = torch.stack(
        [
            torch.stack([word_score_by_hand(v, w[real], 4.0, 5.0) for w, real in zip(words, mask, strict=True)])
            for v in regions
        ]
    )
    batched = word_scores(regions, words, mask, gamma1=4.0, gamma2=5.0)
    assert_close(batched, loop, atol=1e-5, rtol=1e-5)
    weights = torch.randn(4, 4)
    for found, expected in zip(
        torch.autograd.grad((weights * batched).sum(), (regions, words)),
        torch.autograd.grad((weights * loop).sum(), (regions, words)),
        strict=True,
    ):
        assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 1, 2], [1, 1, 1, 1]])
def test_damsm_losses_are_posteriors_without_captions_of_the_same_class(labels):
    regions, words, mask = captioned()
    regions, words = regions.detach(), words.detach()
    pictures, sentences = torch.randn(4, 6), torch.randn(4, 6)
    ids = torch.tensor(labels)
    for found, scores in (
        (damsm_words(regions, words, mask, ids, gamma3=8.0), word_scores(regions, words, mask)),
        (damsm_sentence(pictures, sentences, ids, gamma3=8.0), cosines(pictures, sentences)),
    ):
        for loss, table in zip(found, (scores, scores.T), strict=True):
            total = 0.0
            for i, row in enumerate(8 * table):
                kept = [value for j, value in enumerate(row) if j == i or labels[j] != labels[i]]
                total += float(torch.stack(kept).logsumexp(0) - row[i])
            assert_close(loss, torch.tensor(total / 4), atol=1e-5, rtol=1e-5)


def test_what_stands_in_the_padding_of_a_caption_is_not_read():
    regions, words, mask = captioned()
    labels = torch.arange(4)
    plain = damsm_words(regions, words, mask, labels)
    for filling in (1e4, math.inf, math.nan):
        filled = words.detach().masked_fill(~mask[..., None], filling).requires_grad_()
        loss = damsm_words(regions, filled, mask, labels)
        assert_close(loss, plain)
        (gradient,) = torch.autograd.grad(sum(loss), filled)
        assert gradient.isfinite().all()
        assert not gradient[~mask].any()
    longer = damsm_words(regions, F.pad(words, (0, 0, 0, 3), value=9.0), F.pad(mask, (0, 3)), labels)
    assert_close(longer, plain)


def test_word_scores_are_of_32_bits_whatever_the_weather():
    regions, words, mask = captioned()
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(word_scores(regions, words, mask), word_scores(*captioned()), atol=0, rtol=0)
    half = word_scores(regions.bfloat16(), words.bfloat16(), mask)
    assert half.dtype == torch.float32


def test_a_word_that_is_found_beats_one_that_is_not():
    regions = torch.eye(6)[:, :3][None]  # three places, one direction each
    words = torch.eye(6)[[0, 5]][:, None]  # a word that is one of them, and one that is none
    found = word_scores(regions, words, torch.ones(2, 1, dtype=torch.bool))
    assert found[0, 0] > found[0, 1]


def test_contrastive_is_the_mean_surprise_of_the_diagonal():
    logits, labels = 3 * torch.randn(4, 4), torch.tensor([0, 0, 1, 2])
    row, column = contrastive(logits, labels)
    for loss, table in ((row, logits), (column, logits.T)):
        kept = [torch.stack([table[i, j] for j in range(4) if j == i or labels[j] != labels[i]]) for i in range(4)]
        assert_close(loss, torch.stack([k.logsumexp(0) - table[i, i] for i, k in enumerate(kept)]).mean())
