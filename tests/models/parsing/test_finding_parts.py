"""A subject is found, looked at closer, and its parts are drawn to edges."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from support.by_colour import NAMES, ByColour, scene
from tgim.models.parsing.lifting import guided, lift
from tgim.models.parsing.part_maps import find_parts


def overlap(a, b):
    w = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    h = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


@pytest.mark.parametrize(
    "box", [(30, 40, 60, 30), (5, 5, 24, 16), (150, 20, 50, 90), (0, 0, 200, 120), (90, 50, 16, 10)]
)
def test_a_subject_is_found_wherever_it_is_and_however_large(box):
    photo = scene(box)
    found = find_parts(ByColour(), photo)
    assert overlap(found.subject, box) > 0.75
    assert found.names == NAMES
    assert np.allclose(found.maps.sum(0), 1, atol=1e-5)
    maps = lift(found, photo)
    assert maps.shape == (3, 120, 200)
    assert np.allclose(maps.sum(0), 1, atol=1e-4)
    x, y, w, h = box
    assert maps[1, y + h // 2, x + w // 4] > 0.8
    assert maps[2, y + h // 2, x + 3 * w // 4] > 0.8


def test_the_largest_of_several_subjects_is_taken_and_the_others_are_named():
    large, small = (20, 20, 70, 60), (140, 60, 40, 40)
    photo = scene(small, large)
    found = find_parts(ByColour(), photo)
    assert overlap(found.subject, large) > 0.75
    assert [overlap(box, small) > 0.5 for box in found.others] == [True]
    assert lift(found, photo)[0, 80, 150] > 0.9  # background here, though it is another's head
    chosen = find_parts(ByColour(), photo, box=small)
    assert overlap(chosen.subject, small) > 0.75
    assert chosen.others == ()


def test_subjects_that_belong_together_are_found_together():
    class Blossoms(ByColour):
        together = True

    boxes = (20, 20, 70, 60), (140, 60, 40, 40)
    found = find_parts(Blossoms(), scene(*boxes))
    assert overlap(found.subject, (20, 20, 160, 80)) > 0.8
    maps = lift(found, scene(*boxes))
    assert maps[1, 80, 150] > 0.8
    assert maps[1, 50, 40] > 0.8


def test_without_a_subject_there_is_nothing_unless_a_box_says_so():
    photo = scene()
    assert find_parts(ByColour(), photo) is None
    found = find_parts(ByColour(), photo, box=(20, 30, 50, 40))
    assert found.subject == (20, 30, 50, 40)
    unlikely = ByColour()
    unlikely.presence = 0.001  # it looks like a bird, and is none
    assert find_parts(unlikely, scene((30, 40, 60, 30))) is None
    assert find_parts(unlikely, scene((30, 40, 60, 30)), box=(30, 40, 60, 30)) is not None


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 2), (64, 64)])
def test_odd_photographs_are_looked_at(size):
    photo = torch.zeros(1, 3, *size)
    assert find_parts(ByColour(), photo) is None
    found = find_parts(ByColour(), photo, box=(0, 0, size[1], size[0]))
    assert lift(found, photo).shape == (3, *size)


def test_lifted_maps_end_where_the_photograph_has_its_edge():
    box = (61, 33, 83, 57)  # between the cells of any look
    photo = scene(box)
    maps = lift(find_parts(ByColour(), photo), photo)
    truth = np.zeros((120, 200), bool)
    truth[33 : 33 + 57, 61 : 61 + 83] = 1
    assert ((maps[0] < 0.5) != truth).mean() < 0.01


def test_filtering_several_maps_is_filtering_each():
    source = np.random.default_rng(0)
    guide, masks = (source.random((3, 40, 30), np.float32) for _ in range(2))
    together = guided(2 * guide - 1, masks)
    alone = np.concatenate([guided(2 * guide - 1, masks[i : i + 1]) for i in range(3)])
    assert np.allclose(together, alone, atol=1e-6)
    flat = np.full((1, 40, 30), 0.3, np.float32)
    assert np.allclose(guided(2 * guide - 1, flat), flat, atol=1e-5)


def test_closer_looks_see_more_cells_of_the_subject():
    small = find_parts(ByColour(), scene((90, 50, 24, 16)))
    x, _, w, _ = small.frame
    assert w < 60  # of 200
    assert all(a <= b for a, b in pairwise((x, 90, 90 + 24, x + w)))
