"""Laws of the page on a generator's layers: all that was found is on it, and nothing from outside becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from support.lights import Sees, flat, squares
from tgim.inference.steer.boundaries import Attribute, find_boundaries
from tgim.inference.steer.intervals import Figure
from tgim.inference.steer.units import dissect
from tgim.reporting.dissection import dissection_page

EVIL = '<script>alert("x")</script>'
RED = Attribute(f"red {EVIL}", lambda pictures: pictures[:, 0].mean((1, 2)))


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words, self.open = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def found():
    return dissect(squares(), Sees(), texts=[], n=40, switched=1, switched_n=8, names=(EVIL, "sees"))


@pytest.fixture(scope="module")
def lines():
    return find_boundaries(flat(), [RED], texts=[], n=100, names=(EVIL, f"judge {EVIL}"))


def test_the_page_has_every_figure_and_picture(found, lines):
    page = Page(dissection_page(found, lines))
    words = " ".join(page.words)
    for unit in found.units:
        assert f"{unit.iou.value:.3f}" in words
        assert f"{unit.other.high:.3f}" in words
    for effect in found.effects:
        for figure in (effect.off, effect.off_random, effect.off_beyond, effect.on_beyond, effect.off_rest):
            assert f"{figure.value:+.2f}" in words
    for boundary in lines.found:
        assert f"{100 * boundary.accuracy.value:.0f} %" in words
        assert f"{boundary.change.value:+.2f}" in words
        assert f"{boundary.random.low:+.2f} to {boundary.random.high:+.2f}" in words
    assert "beak" in words  # which was left out
    assert page.tags.count("img") == sum(len(row) for sheet in found.sheets for _, row in sheet.rows)
    assert all(re.match(r"#|data:image/jpeg;base64,", link) for link in page.links)


def test_nothing_from_outside_becomes_markup(found, lines):
    text = dissection_page(replace(found, texts=(EVIL,), rare=(EVIL,)), lines, title=EVIL)
    assert EVIL not in text
    assert Page(text).tags.count("script") == 1


def test_bold_is_what_stands_out_from_its_control(found):
    unit = found.units[0]
    for iou, bold in ((Figure(0.5, 0.4, 0.6), 1), (Figure(0.5, 0.2, 0.6), 0)):
        one = replace(unit, iou=iou, other=Figure(0.1, 0.05, 0.3))
        some = tuple(replace(one, part=each.part) for each in found.units)
        units = dissection_page(replace(found, units=some)).split('id="units"')[1].split("</section>")[0]
        assert units.count('class="best"') == bold * len(found.areas)


def test_boundaries_can_stand_alone_and_pages_are_equal(found, lines):
    text = dissection_page(None, lines)
    assert 'id="boundaries"' in text
    assert 'id="units"' not in text
    assert dissection_page(found) == dissection_page(found)
