"""Photographs without colours: the subject is found in them, and what is around it stays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt

from tgim.data.base import random_source
from tgim.data.synthetic import pairs as synthetic
from tgim.errors import SubjectError
from tgim.inference.editor import Editor

SLIGHT = 0.25  # levels of 255
WORSE = 1.2  # times the colour version's leak
EDGE = 8  # pixels about a synthetic bird of 200 that are its soft edge
MARGIN = 0.04  # of the longer side of a box, around it
TEXT = "red head and breast"


@pytest.fixture(scope="module")
def editor():
    return Editor.from_pretrained("birds")


def grey(picture):
    return picture.convert("L").convert("RGB")


def leak(editor, picture, around):
    """Mean absolute change of the pixels `around` the subject, in levels of 255, and whether a subject was found."""
    try:
        edited = editor(picture, TEXT)
    except SubjectError:
        return 0.0, False
    change = np.abs(np.asarray(edited, np.float32) - np.asarray(picture, np.float32)).mean(-1)
    return float(change[around].mean()), True


def both(editor, pictures):
    """Leaks (N, 2) with and without colours, and whether a subject is found (N, 2)."""
    found = [(leak(editor, picture, around), leak(editor, grey(picture), around)) for picture, around in pictures]
    return tuple(np.array([[each[i] for each in pair] for pair in found], float) for i in (0, 1))


@pytest.mark.slow
def test_edits_of_synthetic_birds_stay_on_the_bird_without_colours(editor):
    pictures = []
    for number in range(16):
        source = random_source(3, number)
        rendered = synthetic.render(synthetic.random_scene("bird", source), (200, 240))
        away = distance_transform_edt(rendered.subject < 0.01)
        pictures.append((Image.fromarray(rendered.image), away > EDGE))
    leaks, seen = both(editor, pictures)
    assert seen.all()
    assert (leaks[:, 0] < SLIGHT).all()
    assert (
        leaks[:, 1] < SLIGHT
    ).mean() >= 15 / 16  # where a pale bird stands on pale ground, its outline cannot be seen


@pytest.mark.slow
@pytest.mark.data
def test_edits_of_photographs_stay_on_the_bird_without_colours(editor):
    data = Path(os.environ["TGIM_DATA"])
    by_id = dict(line.split()[::-1] for line in (data / "cub" / "images.txt").read_text().splitlines())
    ids = {Path(name).name: number for name, number in by_id.items()}
    lines = (data / "cub" / "bounding_boxes.txt").read_text().splitlines()
    boxes = {number: [float(each) for each in box] for number, *box in map(str.split, lines)}
    pictures = []
    for path in sorted((data / "photos" / "birds").glob("*.jpg"))[::4]:
        picture = Image.open(path).convert("RGB")
        x, y, w, h = boxes[ids[path.name]]
        margin, around = MARGIN * max(w, h), np.ones((picture.height, picture.width), bool)
        top, left = max(0, int(y - margin)), max(0, int(x - margin))
        around[top : int(y + h + margin), left : int(x + w + margin)] = False
        if around.any():
            pictures.append((picture, around))
    leaks, seen = both(editor, pictures)
    coloured, without = leaks.sum(0)
    assert without <= WORSE * coloured
    assert seen[:, 0].all()
    assert seen[:, 1].mean() >= 0.85
