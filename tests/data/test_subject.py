"""Laws of the guess at the subject: near the truth where it is known, nothing where nothing can be known."""

from __future__ import annotations

import numpy as np
import pytest

from tgim.data import subject
from tgim.data.cache import PixelCache
from tgim.data.subject import BACKGROUND, NOTHING_KNOWN, SUBJECT, guess_subject, guess_subjects
from tgim.data.synthetic.pairs import render_pairs
from tgim.errors import DataError

SIZE = 64


@pytest.fixture(scope="module")
def drawn():
    """Twelve drawn pictures (12, S, S, 3) and where their subject really is (12, S, S)."""
    pytest.importorskip("cv2")
    pairs = [render_pairs(kind, np.random.default_rng(4), 6, SIZE) for kind in ("birds", "flowers")]
    return np.concatenate([p.image for p in pairs]), np.concatenate([p.subject for p in pairs]) > 127


@pytest.mark.slow
def test_drawn_subjects_are_found(drawn):
    overlaps = []
    for picture, truth in zip(*drawn, strict=True):
        labels = guess_subject(picture)
        assert labels.shape == truth.shape
        assert labels.dtype == np.uint8
        assert set(np.unique(labels)) in ({BACKGROUND, SUBJECT}, {NOTHING_KNOWN})
        if (labels != NOTHING_KNOWN).all():
            found = labels == SUBJECT
            assert 0.12 < found.mean() < 0.80
            overlaps.append((found & truth).sum() / (found | truth).sum())
    assert len(overlaps) >= 8
    assert np.mean(overlaps) > 0.5
    centre = np.hypot(*(np.mgrid[:SIZE, :SIZE] - SIZE / 2 + 0.5)) < 0.3 * SIZE  # what one would guess unseen
    assert np.mean(overlaps) > np.mean([(centre & t).sum() / (centre | t).sum() for t in drawn[1]])


@pytest.mark.slow
def test_equal_pictures_get_equal_guesses_in_any_order(drawn):
    pictures = drawn[0][:3]
    first = [guess_subject(picture) for picture in pictures]
    np.random.seed(1)
    again = [guess_subject(picture.copy()) for picture in pictures[::-1]][::-1]
    assert all(np.array_equal(x, y) for x, y in zip(first, again, strict=True))


def test_the_picture_is_left_alone(drawn):
    before = drawn[0][0].copy()
    guess_subject(drawn[0][0])
    assert np.array_equal(drawn[0][0], before)


@pytest.mark.parametrize("value", [0, 127, 255])
def test_of_a_constant_picture_nothing_is_known(value):
    pytest.importorskip("cv2")
    assert (guess_subject(np.full((SIZE, SIZE, 3), value, np.uint8)) == NOTHING_KNOWN).all()


@pytest.mark.slow
def test_a_cache_is_guessed_once(drawn, tmp_path, monkeypatch):
    pictures, told = drawn[0][:3], []
    labels = guess_subjects(PixelCache(pictures), folder=tmp_path, progress=lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert labels.shape == (3, SIZE, SIZE)
    assert all(np.array_equal(labels[i], guess_subject(pictures[i])) for i in range(3))

    def never(*_):
        raise AssertionError("guessed again")

    with monkeypatch.context() as patch:
        patch.setattr(subject, "guess_subject", never)
        assert np.array_equal(guess_subjects(PixelCache(pictures.copy()), folder=tmp_path), labels)
        other = pictures.copy()
        other[0, 0, 0] ^= 1
        with pytest.raises(AssertionError, match="again"):  # other pictures, other guesses
            guess_subjects(PixelCache(other), folder=tmp_path)
    assert np.array_equal(
        guess_subjects(PixelCache(other), folder=tmp_path)[1:], labels[1:]
    )  # the failure left nothing


def test_without_opencv_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(DataError, match=r"tgim\[train\].*data\.subject=false"):
        guess_subject(np.zeros((SIZE, SIZE, 3), np.uint8))
