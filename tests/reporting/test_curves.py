"""Curves of a run: whole XML, every curve named, values where the axes say."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from tgim.reporting.curves import HEIGHT, LEFT, TOP, Panel, curves_svg
from tgim.reporting.plot import ticks

NAME = "{http://www.w3.org/2000/svg}"


def drawn(*panels, **options):
    svg = curves_svg(panels, title="a < b", axis="minutes", **options)
    root = ElementTree.fromstring(svg)
    lines = [each for each in root.iter(f"{NAME}polyline") if "spread" not in each.get("class")]
    places = [[tuple(map(float, point.split(","))) for point in each.get("points").split()] for each in lines]
    return svg, places, [each.text for each in root.iter(f"{NAME}text")]


def test_what_grows_rises_and_every_curve_and_level_has_its_name():
    panel = Panel(
        "share", {"up": [(10, 0.1), (20, 0.2)], "down": [(10, 0.2), (20, 0.1)]}, {"chance": 0.01}, percent=True
    )
    svg, (up, down), texts = drawn(panel)
    assert up[0][0] < up[1][0]
    assert up[0][1] > up[1][1] == down[0][1]
    assert {"a < b", "share", "up", "down", "chance", "minutes", "10%", "20"} <= set(texts)
    assert "var(--" not in svg  # stands alone
    assert len(svg) < 6000


def test_a_logarithmic_axis_puts_equal_factors_equally_far_apart_and_leaves_out_what_it_cannot_show():
    _, (curve,), _ = drawn(Panel("loss", {"kl": [(0, 0.0), (1, 0.01), (2, 0.1), (3, 1.0), (4, math.nan)]}, log=True))
    assert len(curve) == 3
    assert curve[0][1] - curve[1][1] == pytest.approx(curve[1][1] - curve[2][1], abs=0.2)
    assert curve[0][1] == TOP + HEIGHT  # 0.01 is the axis's end
    _, (alone,), _ = drawn(Panel("loss", {"one": [(5, 1.0)]}, log=True))
    assert TOP <= alone[0][1] <= TOP + HEIGHT


def test_in_proportion_is_the_diagonal_of_two_logarithmic_axes():
    sizes = [0.1, 1.0, 10.0, 100.0]
    _, (curve,), texts = drawn(Panel("seconds", {"one": [(x, 5 * x) for x in sizes]}, log=True), log=True)
    steps = [(right[0] - left[0], left[1] - right[1]) for left, right in pairwise(curve)]
    assert all(step == pytest.approx(steps[0], abs=0.2) for step in steps)
    assert curve[0][0] == LEFT
    assert {"0.1", "1", "10", "100"} <= set(texts)


def test_spreads_stand_on_their_points():
    svg, (curve,), _ = drawn(Panel("share", {"up": [(10, 0.2)]}, spreads=[(10, 0.1, 0.4)]))
    (x, low), (_, high) = [
        tuple(map(float, point.split(","))) for point in re.search(r'spread" points="([^"]+)"', svg)[1].split()
    ]
    assert x == curve[0][0] > LEFT
    assert low > curve[0][1] > high >= TOP


def test_panels_without_points_are_left_out():
    assert curves_svg([Panel("none", {"kl": [(1, 0.0)]}, log=True)], title="", axis="") == ""
    _, places, texts = drawn(Panel("none", {"kl": []}), Panel("some", {"kl": [(1, 1.0)]}))
    assert len(places) == 1
    assert "none" not in texts


@pytest.mark.parametrize("end", [0.01, 0.6, 1.06, 12, 254, 3000])
def test_an_axis_has_a_few_round_ticks(end):
    assert 2 <= len(ticks(end)) <= 8
    assert ticks(end)[-1] <= end
