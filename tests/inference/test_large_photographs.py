"""Photographs too large to be edited as they are: a copy is edited, the change carried back, in bounded memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from support.commands import environment
from support.pictures import picture
from tgim.checkpoints import checkpoint
from tgim.data.synthetic.pairs import sample_picture
from tgim.images.photo import Photo, open_image
from tgim.images.resample import add_enlarged
from tgim.inference import editor as editing
from tgim.inference.editor import Editor

TEXT = "red head and breast"
SIZE = (90, 132)


@pytest.fixture
def small_limits(monkeypatch) -> None:
    monkeypatch.setattr(editing, "LARGE", 5_000)
    monkeypatch.setattr(editing, "WORKING", 3_000)


def photo() -> Photo:
    return open_image(sample_picture("birds", seed=1, size=SIZE))


@pytest.fixture(scope="module")
def edit(tagrid_file) -> Editor:
    return Editor(checkpoint.load(tagrid_file))


def test_an_edit_of_a_copy_is_nearly_the_edit(edit, monkeypatch) -> None:
    whole = edit.edit_photo(photo(), TEXT, focus=False).tensor
    monkeypatch.setattr(editing, "LARGE", 5_000)
    monkeypatch.setattr(editing, "WORKING", 3_000)
    copied = edit.edit_photo(photo(), TEXT, focus=False).tensor
    assert (whole - photo().tensor).abs().mean() > 0.02
    assert (whole - copied).abs().mean() < 0.2 * (whole - photo().tensor).abs().mean()
    assert copied.abs().max() <= 1


@pytest.mark.usefixtures("small_limits")
def test_what_is_outside_of_the_box_stays(edit) -> None:
    x, y, w, h = box = (31, 20, 70, 41)
    before, after = photo().tensor, edit.edit_photo(photo(), TEXT, box=box).tensor
    inside = torch.zeros(SIZE, dtype=torch.bool)
    inside[y : y + h, x : x + w] = True
    assert torch.equal(before[:, ~inside], after[:, ~inside])
    assert not torch.equal(before, after)
    assert torch.equal(edit.edit_photo(photo(), TEXT, strength=0).tensor, before)


@pytest.mark.usefixtures("small_limits")
def test_a_photograph_is_overwritten_only_when_it_is_spare(edit) -> None:
    kept, spare = photo(), photo()
    edited = edit.edit_photo(kept, TEXT, focus=False).tensor
    assert torch.equal(kept.tensor, photo().tensor)
    assert torch.equal(edit.edit_photo(spare, TEXT, focus=False, spare=True).tensor, edited)
    assert np.array_equal(np.asarray(edit(kept, TEXT, focus=False)), np.asarray(kept.with_pixels(edited).to_pil()))
    assert torch.equal(kept.tensor, photo().tensor)


def test_an_enlarged_change_is_smooth_and_stays_where_it_is() -> None:
    before = np.zeros((3, 40, 60), np.float32)
    change = np.zeros((3, 10, 15), np.float32)
    change[:, 5, 7] = 0.5
    after = before.copy()
    add_enlarged(after, change, within=(0, 0, 60, 40))
    touched = (after != before)[0]
    assert touched[16:28, 24:36].any()
    touched[16:28, 24:36] = False
    assert not touched.any()
    assert 0.3 < after.max() <= 0.5


@pytest.mark.slow
def test_a_photograph_of_108_megapixels_takes_3_gib(tmp_path) -> None:
    Image.fromarray(picture(90, 120)).resize((12_000, 9_000), Image.Resampling.NEAREST).save(tmp_path / "in.jpg")
    code = (
        "import resource, sys\n"
        "from tgim.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    asked = ("edit", "--image", "in.jpg", "--text", "red head", "--model", "birds-1", "--out", "out.jpg")
    variables = {name: value for name, value in environment().items() if not name.startswith("MALLOC_")}
    run = subprocess.run(
        [sys.executable, "-c", code, *asked], capture_output=True, text=True, env=variables, cwd=tmp_path, check=False
    )
    assert run.returncode == 0, run.stderr
    with Image.open(tmp_path / "out.jpg") as made:
        assert made.size == (12_000, 9_000)
    assert int(run.stdout.split()[-1]) < 3 * 2**20  # KiB
