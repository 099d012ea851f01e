"""Laws of dissection, on a generator whose units are known: what is a part's unit is found, and what is none is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support.lights import SIDE, SQUARE, Sees, squares
from tgim.errors import UserError
from tgim.inference.steer import intervals
from tgim.inference.steer.agreement import compare_units, information_quality, rank_units
from tgim.inference.steer.layers import Layer, draw_inputs, find_layers, look_at, pictures_of
from tgim.inference.steer.units import dissect, random_places

AREA = 100 * SQUARE**2 / SIDE**2  # of a square that nothing covers, in per cent


@pytest.fixture(scope="module")
def found():
    return dissect(squares(), Sees(), texts=[], n=60, seed=3, switched=1, switched_n=20)


def test_a_unit_that_is_a_part_has_its_shape_in_every_picture(found):
    head, tail = found.best("head"), found.best("tail")
    assert (head.unit, tail.unit) == (0, 2)
    assert head.iou == (1, 1, 1)
    assert tail.iou.value > 0.9  # the head covers it sometimes
    assert head.first == 1
    for unit in (head, tail):
        assert unit.other.high < 0.5 < unit.iou.low  # squares lie elsewhere in other pictures
        assert unit.other.low <= unit.other.value <= unit.other.high
    assert found.seen.value == 1
    assert found.areas["head"] == pytest.approx(AREA)
    assert found.rare == ("beak",)  # which is never seen
    assert [layer.name for layer in found.layers] == ["units"]


def test_a_unit_that_knows_nothing_of_a_part_overlaps_as_with_other_pictures():
    generator, localiser = squares(), Sees()
    inputs = draw_inputs(generator, [], n=80, seed=1)
    layers = find_layers(generator.model, inputs)
    labels, _ = look_at(localiser, pictures_of(generator.model, inputs))
    ranks = rank_units(generator.model, inputs.rows(slice(40)), layers, labels[:40], {"head": (1,)})
    assert ranks["units"].iou[0] == 1
    assert ranks["units"].iou[1] < 0.3
    assert ranks["units"].iou[3] < 0.1
    ranks["units"].iou[0] = ranks["units"].iou[2] = 0  # leave unit 1
    (unit,) = compare_units(
        generator.model, inputs.rows(slice(40, None)), layers, labels[40:], {"head": (1,)}, ranks, seed=0
    )
    assert unit.unit == 1
    assert unit.iou.low <= unit.other.value <= unit.iou.high


def test_switching_a_part_off_removes_it_and_nothing_else(found):
    effects = {effect.part: effect for effect in found.effects}
    head = effects["head"]
    assert head.units == (0,)
    assert head.area == pytest.approx(AREA)
    assert head.off.value == pytest.approx(-AREA)  # none is left
    assert head.off_rest.value >= 0  # what it covered may come out
    assert head.off_beyond.value < -AREA / 3  # three draws among four units may hit it, too
    assert head.on.value > 1  # a square of 4x4 places where there was none
    tail = effects["tail"]
    assert tail.units == (2,)
    assert tail.off.value == pytest.approx(-tail.area)
    sheet = next(sheet for sheet in found.sheets if sheet.part == "head")
    rows = dict(sheet.rows)
    off = next(pictures for title, pictures in sheet.rows if title.endswith("off"))
    assert not (off[:, 0] > 0.2).any()
    assert torch.equal(off[:, 1:], rows["generated"][:, 1:])


def test_equal_seeds_give_equal_findings(found):
    again = dissect(squares(), Sees(), texts=[], n=60, seed=3, switched=1, switched_n=20)
    assert (again.units, again.effects, again.areas) == (found.units, found.effects, found.areas)
    other = dissect(squares(), Sees(), texts=[], n=60, seed=4, switched=1, switched_n=20)
    assert other.effects != found.effects


def test_a_blind_localiser_is_told_of_and_options_are_checked():
    class Blind(Sees):
        def look(self, image):
            maps, present = super().look(0 * image)
            return maps, present

    with pytest.raises(UserError, match="sees no part in 5 of 30 generated pictures"):
        dissect(squares(), Blind(), texts=[], n=60)
    with pytest.raises(UserError, match="takes 20 pictures or more"):
        dissect(squares(), Sees(), texts=[], n=10)


def test_information_quality_is_that_of_a_reference():
    counts = np.array([7.0, 3.0, 2.0, 28.0])
    p = counts / counts.sum()
    x, y = np.array([p[0] + p[1], p[2] + p[3]]), np.array([p[0] + p[2], p[1] + p[3]])
    entropy = [-(q * np.log(q)).sum() for q in (x, y, p)]
    expected = (entropy[0] + entropy[1] - entropy[2]) / entropy[2]
    assert float(information_quality(*torch.from_numpy(counts))) == pytest.approx(expected)


def test_places_are_squares_of_a_quarter_within_the_map():
    places = random_places(200, Layer("a", 3, 8, 12), np.random.default_rng(0))
    assert places.shape == (200, 8, 12)
    assert (places.sum((1, 2)) == 2 * 3).all()
    assert places.any(0).all()
    assert random_places(5, Layer("a", 3, 2, 2), np.random.default_rng(0)).sum() == 5


def test_intervals_cover_what_they_should():
    values = np.random.default_rng(1).normal(3, 2, size=400)
    found = intervals.mean(values, seed=0)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert intervals.ratio([0.0, 0.0], [0.0, 0.0], seed=0) == (0, 0, 0)
    assert intervals.proportion(0, 10).low == 0
