"""Parts are named, laid over each other, and found in whatever has a localiser."""

from __future__ import annotations

import numpy as np
import pytest

from support.by_colour import ByColour, saved, scene
from tgim.checkpoints import checkpoint
from tgim.errors import UserError
from tgim.inference.part_overlay import mask_of, open_localiser, part_named
from tgim.models.base import Editing
from tgim.models.parsing.lifting import lift
from tgim.models.parsing.part_maps import find_parts


def test_parts_go_by_other_names_too():
    names = ("background", "beak", "wings")
    assert [part_named(word, names) for word in ("bill", "Wing", "wings", "bird")] == [
        "beak",
        "wings",
        "wings",
        "subject",
    ]
    with pytest.raises(UserError, match="beak"):
        part_named("beek", names)


def test_the_subject_is_all_parts_together():
    photo = scene((30, 40, 60, 30))
    found = find_parts(ByColour(), photo)
    maps = lift(found, photo)
    whole, head, tail = (mask_of(found, maps, name).astype(int) for name in ("subject", "head", "tail"))
    assert np.abs(whole - head - tail).max() <= 2


@pytest.mark.slow
def test_an_editor_with_a_localiser_is_opened_for_its_parts(tmp_path, monkeypatch):
    path = saved(tmp_path)
    inside = checkpoint.load(path).model

    class Editor(Editing):
        part_localiser = inside

    monkeypatch.setattr(
        "tgim.checkpoints.checkpoint.load", lambda *_, **__: checkpoint.Checkpoint(Editor(), None, "{}")
    )
    assert open_localiser("any") is inside
