"""Edits, generated pictures and scores of the embedded models are what they were when they were recorded.

Processors differ in the last bits, so pictures are compared as thumbnails, by tolerance.
"""

from __future__ import annotations

import numpy as np
import pytest

from support import fixed_outputs as fixed

MOST, MEAN = 2, 0.1  # levels of 255 that a thumbnail's pixel, and the mean over pixels, may differ by


@pytest.fixture(scope="module")
def record():
    with np.load(fixed.RECORD) as file:
        return dict(file)


def assert_same(found, recorded):
    assert found.shape == recorded.shape
    apart = np.abs(found.astype(float) - recorded)
    assert apart.max() <= MOST
    assert apart.mean() <= MEAN


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "birds" else pytest.mark.slow) for name in fixed.EDITORS]
)
def test_an_editor_edits_as_recorded(name, record):
    edited = fixed.edits(name)
    assert_same(edited, record[name])
    before = fixed.thumbnail(fixed.Image.fromarray(fixed.sample(fixed.EDITORS[name])))
    assert all(np.abs(each.astype(float) - before).mean() > 10 * MEAN for each in edited)


def test_a_generator_generates_as_recorded(record):
    assert_same(fixed.generated(), record[fixed.GENERATOR])


@pytest.mark.slow
def test_a_judge_scores_as_recorded(record):
    np.testing.assert_allclose(fixed.scores(), record[fixed.JUDGE], atol=1e-3)
