"""Ranks and directions against torchmetrics, a plain loop and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from tgim import metrics
from tgim.errors import UserError
from tgim.metrics import METRICS

FEW = settings(max_examples=30, deadline=None)
tables = st.integers(1, 6).flatmap(  # small whole numbers: many ties
    lambda k: st.lists(st.lists(st.integers(-2, 2), min_size=k, max_size=k), min_size=1, max_size=6)
)


@pytest.mark.slow
@FEW
@given(tables, st.data())
def test_the_rank_counts_all_that_are_as_good_as_the_right_one(table, data):
    k = len(table[0])
    right = data.draw(st.lists(st.integers(0, k - 1), min_size=len(table), max_size=len(table)))
    expected = [sum(value >= row[i] for value in row) for row, i in zip(table, right, strict=True)]
    found = metrics.ranks(torch.tensor(table).float(), np.array(right))
    assert found.dtype == np.int64
    assert found.tolist() == expected
    shifted = metrics.ranks(3 * np.array(table) - 7.0, torch.tensor(right))  # scores matter by their order alone
    assert shifted.tolist() == expected
    assert metrics.ranks(np.array(table), right[0])[0] == expected[0]


def test_figures_of_ranks_are_those_of_torchmetrics():
    from torchmetrics.functional.retrieval import (
        retrieval_hit_rate,
        retrieval_precision,
        retrieval_r_precision,
        retrieval_reciprocal_rank,
    )

    scores = torch.rand(12, 30)  # the reference takes those below 0 for not retrieved
    right = torch.randint(30, (12,))
    wanted = F.one_hot(right, 30).bool()
    found = metrics.ranks(scores, right)
    assert metrics.mrr(found) == pytest.approx(
        np.mean([retrieval_reciprocal_rank(*pair).item() for pair in zip(scores, wanted, strict=True)])
    )
    for k in (1, 5, 10):
        hits = [retrieval_hit_rate(*pair, top_k=k).item() for pair in zip(scores, wanted, strict=True)]
        assert metrics.recall_at(found, k) == pytest.approx(np.mean(hits))
    assert metrics.r_precision(scores, wanted) == pytest.approx(metrics.recall_at(found, 1))
    assert metrics.median_rank(found) == float(np.median(found))

    several = torch.rand(12, 30) < 0.3
    reference = [retrieval_r_precision(*pair).item() for pair in zip(scores, several, strict=True)]
    assert metrics.r_precision(scores, several) == pytest.approx(np.mean(reference))

    labels = torch.randint(12, (30,))
    reference = [retrieval_precision(scores[c], labels == c, top_k=7).item() for c in range(12)]
    assert metrics.precision_at(scores, labels, k=7) == pytest.approx(np.mean(reference), rel=1e-6)


def test_a_model_that_scores_all_alike_gains_nothing_by_it():
    scores, relevant = np.zeros((4, 10)), np.eye(4, 10, dtype=bool)
    assert metrics.ranks(scores).tolist() == [10] * 4
    assert metrics.r_precision(scores, relevant) == 0
    assert metrics.precision_at(scores, np.arange(10) % 4, k=5) == 0


@FEW
@given(st.integers(0, 2**31))
def test_figures_of_ranks_keep_their_range_and_improve_with_the_right_score(seed):
    source = np.random.default_rng(seed)
    scores = source.normal(size=(8, 20))
    better = scores.copy()
    better[:, 0] += 1.5
    before, after = metrics.ranks(scores), metrics.ranks(better)
    assert metrics.ranks(scores[::-1]).tolist() == before[::-1].tolist()
    for name, figure in {
        "recall@1": lambda ranks: metrics.recall_at(ranks, 1),
        "recall@5": lambda ranks: metrics.recall_at(ranks, 5),
        "mrr": metrics.mrr,
        "median_rank": metrics.median_rank,
    }.items():
        old, new = figure(before), figure(after)
        assert METRICS[name].low <= old <= METRICS[name].high
        assert figure(source.permutation(before)) == pytest.approx(old)
        assert new >= old if METRICS[name].higher_is_better else new <= old


def test_directions_are_cosines_of_the_changes():
    a, b, c, d = torch.randn(4, 5, 7)
    value = metrics.directional_similarity(a, b, c, d)
    assert_close(value, F.cosine_similarity(b - a, d - c))
    assert_close(metrics.directional_similarity(b, a, d, c), value)
    assert_close(metrics.directional_similarity(a, b, d, c), -value)
    assert_close(metrics.directional_similarity(c, d, a, b), value)
    assert_close(metrics.directional_similarity(a, a + 3 * (b - a), c, d), value)
    assert_close(metrics.directional_similarity(a, b, a, b), torch.ones(5))


def test_what_does_not_change_has_no_direction():
    a, b, c = torch.randn(3, 5, 7)
    zeros = torch.zeros(5)
    assert_close(metrics.directional_similarity(a, a, b, c), zeros)
    assert_close(metrics.directional_similarity(b, c, a, a), zeros)
    rounding = a * (1 + 3e-7 * torch.randn(5, 7))
    assert_close(metrics.directional_similarity(a, rounding, b, c), zeros)
    assert bool((metrics.directional_similarity(a, a + 1e-3 * b, b, c) != 0).all())  # small, and a change


S = np.zeros((2, 4))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: metrics.ranks(S[0]), r"scores has shape \(4,\), expected \(N, K\)"),
        (lambda: metrics.ranks(S + np.nan), "scores holds NaN"),
        (lambda: metrics.ranks(np.array([["a"]])), "expected numbers"),
        (lambda: metrics.ranks(S, 4), "from 0 to 3"),
        (lambda: metrics.ranks(S, -1), "from 0 to 3"),
        (lambda: metrics.ranks(S, np.zeros(3, int)), "right must hold 2 whole numbers"),
        (lambda: metrics.ranks(S, np.zeros(2)), "right must hold 2 whole numbers"),
        (lambda: metrics.recall_at(np.array([1]), 0), "k is 0"),
        (lambda: metrics.recall_at(np.array([]), 1), "ranks are 0 numbers"),
        (lambda: metrics.mrr(np.array([0, 1])), "each at least 1"),
        (lambda: metrics.r_precision(S, S), "without relevant candidates"),
        (lambda: metrics.r_precision(S, S[:1]), "expected that of scores"),
        (lambda: metrics.precision_at(S, np.array([0, 1, 2, 0]), k=2), "from 0 to 1"),
        (lambda: metrics.precision_at(S, np.array([0, 1, 1, 0])), "k is 50, expected 1 to 4"),
        (lambda: metrics.directional_similarity(*[torch.ones(2, 3)] * 3, torch.ones(2, 4)), r"text_after.*\(2, 4\)"),
        (lambda: metrics.directional_similarity(*[torch.ones(2, 3) / 0] * 4), "image_before holds NaN"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(call, said):
    with pytest.raises(UserError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)
