"""Figures of edits of whole photographs, by hand and from a folder."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from support.scripts import run, script
from tgim.data.synthetic.pairs import sample_picture


def test_changes_by_hand():
    changes = script("photos").changes
    before = torch.zeros(3, 40, 60)
    after = before.clone()
    after[:, 10:20, 10:30] = 0.5
    assert changes(before, after, (10, 10, 20, 10)) == (0, 1)
    assert changes(before, after, (20, 10, 40, 30)) == (0, 0.5)
    assert changes(before, before, (0, 0, 9, 9))[0] == 0
    assert all(math.isnan(x) for x in (changes(before, before, (0, 0, 9, 9))[1], changes(before, after, None)[1]))
    after[:, :2] = 2 / 255  # one level in the upper ring of 2 of 40 rows
    ring = 40 * 60 - 36 * 54
    assert changes(before, after, None)[0] == pytest.approx(2 * 60 / ring, abs=1e-4)


@pytest.mark.slow
def test_a_folder_gives_a_sheet_and_one_line(tmp_path, tagrid_file):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, size in enumerate(((60, 90), (80, 50), (300, 400))):
        Image.fromarray(sample_picture("birds", seed=i, size=size)).save(photos / f"{i}.png")
    out = tmp_path / "sheet.png"
    options = ("--model", tagrid_file, "--images", photos, "--out", out, "--caption", "a red bird", "--cell", 40)
    answer = run(script("photos").main, *options, "--caption", "blue wings", "--limit", 2)
    assert answer.exit_code == 0, answer.output
    facts = json.loads(answer.output.splitlines()[-1])
    assert (facts["photographs"], facts["captions"]) == (2, 2)
    assert facts["border_median"] >= 0
    assert 0 <= facts["border_kept"] <= 1
    assert 0 <= facts["boxes"] <= 1
    sheet = np.asarray(Image.open(out).convert("RGB"))
    assert sheet.shape[0] >= 3 * 40
    assert sheet.shape[1] >= 2 * 40
    assert sheet.std() > 0
    assert run(script("photos").main, "--images", tmp_path / "none", "--out", out).exit_code == 2
