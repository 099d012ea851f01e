"""Laws of what `tgim steer --dissect` calls: a page is written, and what cannot be used is said before the work."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from support.commands import files, is_refused, tgim
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dissect", "a.html", "--out", "b.png"), "without --out"),
        (("--dissect", "a.html", "--towards", "a red bird"), "without --towards"),
        (("--dissect", "a.html", "--quality", 50), "without --quality"),
        (("--dissect", "a.html", "--invert-steps", 5), "without --invert-steps"),
        (("--dissect", "a.html", "--save-direction", "d.safetensors"), "one --attribute"),
        (("--dissect", "a.html", "--attribute", "a / b", "--save-direction", "a.html"), "would both write"),
        (("--dissect", "none/a.html"), "there is no folder"),
        (("--attribute", "a / b", "--operation", "zoom", "--out", "b.png"), "are for --dissect"),
        (("--operation", "zoom"), "no --out"),
    ],
)
def test_what_cannot_be_dissected_is_one_line(here, words, said):
    before = files(here)
    assert said in is_refused(tgim("steer", *words))
    assert files(here) == before


@pytest.mark.slow
def test_the_command_writes_a_page_and_a_direction_that_steers(here):
    words = ("--attribute", "a red bird / a blue bird", "--layer", "generator.first.3", "--n", 48, "--json")
    done = tgim("steer", "--dissect", "layers.html", "--save-direction", "red.safetensors", *words)
    told = json.loads(done.stdout)
    assert told["layers"] == ["generator.first.3"]
    assert [place for _, place, *_ in told["boundaries"]] == ["noise", "generator.first.3"]
    assert Path("layers.html").read_text(encoding="utf-8").count("<img") > 0
    steered = tgim(
        "steer", "--direction", "red.safetensors", "--text", "a bird", "--n", 1, "--out", "strip.png", "--json"
    )
    assert json.loads(steered.stdout)["kind"] == "boundary"
