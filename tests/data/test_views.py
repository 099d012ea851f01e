"""Views for the part localiser say what they show."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from support.by_colour import HEAD, NAMES, TAIL
from tgim.data.points import Points, Spot
from tgim.data.views import GUESSED, SUBJECT, UNKNOWN, Guessed, ViewConfig, Views


@pytest.fixture
def pictures(tmp_path):
    """Red and blue birds on gray with a point each on head, tail and background."""
    rows = []
    for i in range(4):
        picture = Image.new("RGB", (60, 40), (120, 120, 120))
        ImageDraw.Draw(picture).rectangle((10, 8, 29, 31), fill=HEAD)
        ImageDraw.Draw(picture).rectangle((30, 8, 49, 31), fill=TAIL)
        path = tmp_path / f"{i}.png"
        picture.save(path)
        spots = {"head": (Spot(20 / 60, 0.5),), "tail": (Spot(40 / 60, 0.5),), "background": (Spot(5 / 60, 0.1),)}
        rows.append((path, Points(spots, (10 / 60, 8 / 40, 40 / 60, 24 / 40))))
    scenes = []
    for i in range(2):
        scenes.append((tmp_path / f"scene{i}.png", None))
        Image.new("RGB", (50, 50), (90, 160, 90)).save(scenes[-1][0])
    return rows, scenes


def by_colour(picture, points):
    values = picture.astype(np.float32)
    subject = (np.abs(values[..., 0] - values[..., 2]) > 60).astype(np.float32)
    return Guessed(subject[..., None], (0.0, 0.0, float(picture.shape[1]), float(picture.shape[0])))


def views_of(pictures, *, guess=by_colour, **options):
    rows, scenes = pictures
    settings = {"count": 40, "colours": 0.0, "empty": 0.2, "small": 0.3, **options}
    return Views(rows, scenes, ViewConfig(**settings), NAMES, 64, seed=3, guess=guess)


def test_views_label_what_they_show(pictures):
    views = views_of(pictures)
    counts = dict.fromkeys(("head", "tail", "background", "subject"), 0)
    for number in range(len(views)):
        view = views.view(number)
        assert view.picture.shape == (64, 64, 3)
        pixels = view.picture.astype(int).reshape(16, 4, 16, 4, 3)
        bluer = (pixels[..., 2] - pixels[..., 0]).mean((1, 3))
        coloured = np.abs(pixels[..., 2] - pixels[..., 0]).mean((1, 3))
        for label, wanted in (
            (1, bluer < -60),
            (2, bluer > 60),
            (0, coloured < 60),
            (SUBJECT, coloured > 60),
        ):
            at = view.cells == label
            assert wanted[at].mean() > 0.85 if at.sum() > 3 else True, (number, label)
            counts[(*("background", "head", "tail"), "subject")[min(label, 3)]] += int(at.sum())
    assert min(counts.values()) > 30


def test_a_view_depends_on_seed_and_number_alone(pictures):
    first, second = views_of(pictures), views_of(pictures)
    later = [second.view(i) for i in (7, 3)]
    for number, again in zip((7, 3), later, strict=True):
        view = first.view(number)
        assert np.array_equal(view.picture, again.picture)
        assert np.array_equal(view.cells, again.cells)
    assert not np.array_equal(first.view(3).picture, first.view(4).picture)


def test_a_view_without_subject_is_background_and_a_drawn_one_is_known_nearly_everywhere(pictures):
    empty = views_of(pictures, empty=1.0).view(0)
    assert not empty.cells.any()
    parts = ("background", *("back", "beak", "belly", "breast", "head", "legs", "wings", "tail", "throat"))
    drawn = Views((), (), ViewConfig(drawn=1.0), parts, 64).view(1)
    assert (drawn.cells == UNKNOWN).mean() < 0.3
    assert len(set(drawn.cells.flat) - {UNKNOWN}) > 4


def test_guesses_of_parts_are_marked_as_such(pictures):
    def told(picture, points):
        subject = by_colour(picture, points).subject
        head = subject * (np.arange(picture.shape[1]) < picture.shape[1] / 2)
        return Guessed(np.stack([1 - subject, head, subject - head], -1), (0, 0, picture.shape[1], picture.shape[0]))

    cells = np.concatenate([views_of(pictures, guess=told, empty=0.0).view(i).cells for i in range(8)])
    assert {GUESSED + 1, GUESSED + 2} <= set(cells.flat)
