"""Laws of `tgim parts`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from support.by_colour import saved
from support.commands import is_refused, tgim


@pytest.mark.slow
def test_the_command_writes_an_overlay_a_mask_and_figures(here):
    model = saved(here, background=-9.0, head=9.0)
    result = tgim("parts", "bird.jpg", "--model", model, "--out", "parts.png")
    assert result.exit_code == 0, result.output
    shown = Image.open("parts.png")
    assert shown.width == 120
    assert shown.height > 90  # the legend is below
    assert tgim("parts", "bird.jpg", "--model", model, "--mask", "head").stdout.strip() == "bird-head.png"
    mask = Image.open("bird-head.png")
    assert (mask.mode, mask.size) == ("L", (120, 90))
    assert np.asarray(mask).min() > 250
    result = tgim("parts", "bird.jpg", "--model", model, "--json")
    told = json.loads(result.stdout)
    assert told["subject"] == [0, 0, 120, 90]
    assert told["shares"]["head"] > 0.99
    assert told["out"] is None
    assert sorted(path.name for path in here.iterdir()) == [
        "bird-head.png", "bird.jpg", "parts.png", "parts.safetensors",
    ]  # fmt: skip


def test_without_a_subject_one_line_says_so_and_nothing_is_written(here):
    model = saved(here, background=9.0)
    before = sorted(here.iterdir())
    assert "no subject" in is_refused(tgim("parts", "bird.jpg", "--model", model, "--out", "parts.png"))
    assert sorted(here.iterdir()) == before
    assert tgim("parts", "bird.jpg", "--model", model, "--out", "p.png", "--box", "9,9,40,40").exit_code == 0


@pytest.mark.slow
def test_what_cannot_be_shown_is_one_line(here, tagrid_file):
    model = saved(here, head=9.0)
    assert "'beak'" in is_refused(tgim("parts", "bird.jpg", "--model", model, "--mask", "beak"))
    assert "knows no parts" in is_refused(tgim("parts", "bird.jpg", "--model", tagrid_file))
    assert "not there" in is_refused(tgim("parts", "none.jpg", "--model", model))
    assert "which is read" in is_refused(tgim("parts", "bird.jpg", "--model", model, "--out", "bird.jpg"))
    assert "box" in is_refused(tgim("parts", "bird.jpg", "--model", model, "--box", "9,9,400,40"))
