"""Laws of what `tgim steer --dissect` calls: a page is written, and what cannot be used is said before the work."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from support.lights import Sees
from tgim.cli.dissect import default_texts, dissect_options, pair_of, write_dissection
from tgim.errors import UserError


def test_options_are_added_to_a_verb():
    told = {}

    @click.command()
    @dissect_options
    def verb(**options):
        told.update(options)

    words = ["--dissect", "a.html", "--attribute", "a / b", "--attribute", "c / d", "--localiser", "x"]
    assert CliRunner().invoke(verb, words).exit_code == 0
    assert (str(told["dissect"]), told["attributes"], told["localiser"]) == ("a.html", ("a / b", "c / d"), "x")
    assert "--dissect" in CliRunner().invoke(verb, ["--help"]).output


@pytest.mark.parametrize("text", ["a red bird", "a / b / c", "a red bird / "])
def test_an_attribute_is_two_captions(text, tmp_path):
    with pytest.raises(UserError, match="two captions with a slash between"):
        write_dissection(tmp_path / "a.html", model="nothing", attributes=[text])
    assert pair_of("a red bird/a blue bird") == ("a red bird", "a blue bird")


def test_a_page_that_cannot_be_written_is_refused_at_once(tmp_path):
    for out, why in ((tmp_path, "is a folder"), (tmp_path / "none" / "a.html", "there is no folder")):
        with pytest.raises(UserError, match=why):
            write_dissection(out, model="nothing")


def test_captions_are_made_for_what_is_known():
    class Bird(Sees):
        @property
        def parts(self):
            return ("background", "wings")

    assert "a red bird" in default_texts(Bird())
    with pytest.raises(UserError, match="not for head, tail, beak; give --text"):
        default_texts(Sees())


@pytest.mark.slow
def test_the_embedded_generator_is_dissected(tmp_path):
    out = tmp_path / "layers.html"
    found, lines = write_dissection(
        out, model="attngan-birds", texts=["a black bird", "a white bird"], attributes=["a red bird / a blue bird"],

        layers=["generator.first.3"], pictures=64, seed=1,
    )  # fmt: skip
    text = out.read_text(encoding="utf-8")
    assert "attngan-birds" in text
    assert text.count("<img") == sum(len(row) for sheet in found.sheets for _, row in sheet.rows) > 0
    assert 0 < found.seen.value < 1
    assert [(layer.channels, layer.height) for layer in found.layers] == [(16, 32)]
    assert (found.n, found.switched_n) == (64, 8)
    assert lines is not None
    assert lines.places == ("noise", "generator.first.3")
