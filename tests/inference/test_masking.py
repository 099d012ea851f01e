"""Laws of masks: black stays bit for bit, white is edited as ever, gray is between; parts, boxes and masks combine."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from support.by_colour import ByColour, scene
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import ImageError, SubjectError, UserError
from tgim.images.photo import Photo
from tgim.inference import masking
from tgim.inference.editor import Editor
from tgim.text.vocabulary import Vocabulary

TEXT = "a small red bird"
LEFT = np.zeros((20, 40), np.uint8)
LEFT[:, :20] = 255


@pytest.fixture(scope="module")
def edit(tagrid_file) -> Editor:
    return Editor.from_pretrained(tagrid_file)


@pytest.fixture(scope="module")
def paint() -> Editor:
    return Editor(Checkpoint(ByColour().eval(), Vocabulary.build(["red"]), "{}"))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return sample_picture("birds", seed=2, size=(80, 160))


def birds(*boxes) -> Photo:
    return Photo(scene(*boxes)[0], name="scene")


def test_black_stays_and_white_is_edited_as_without_a_mask(edit, photo):
    whole, masked = np.asarray(edit(photo, TEXT)), np.asarray(edit(photo, TEXT, mask=LEFT))
    assert (masked[:, 84:] == photo[:, 84:]).all()  # the mask is enlarged, so its edge is soft
    assert (masked[:, :76] == whole[:, :76]).all()
    assert (masked[:, :76] != photo[:, :76]).any()


def test_gray_blends_by_its_share(edit, photo):
    whole = np.asarray(edit(photo, TEXT), float)
    half = np.asarray(edit(photo, TEXT, mask=np.full((5, 5), 51, np.uint8)), float)  # a fifth
    assert np.abs(half - (photo + 0.2 * (whole - photo))).max() <= 1.01  # two roundings


def test_a_mask_is_its_alpha_where_it_has_one():
    picture = Image.new("RGBA", (4, 2), (255, 255, 255, 0))
    picture.putpixel((1, 0), (0, 0, 0, 255))
    weight = masking.weight_of(picture, height=2, width=4)
    assert np.flatnonzero(weight).tolist() == [1]
    opaque = Image.new("RGBA", (4, 2), (255, 255, 255, 255))
    opaque.putpixel((0, 0), (0, 0, 0, 255))
    assert masking.weight_of(opaque, height=2, width=4).flatten().tolist() == [0, *[1] * 7]
    file = io.BytesIO()
    opaque.save(file, "PNG")
    assert masking.weight_of(file.getvalue(), height=8, width=16).shape == (8, 16)


def test_sixteen_bits_are_finer():
    deep = np.full((2, 2), 1000, np.uint16)
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "PNG")
    assert masking.weight_of(file.getvalue(), height=2, width=2)[0, 0].item() == pytest.approx(1000 / 65535, rel=1e-3)


def test_a_black_mask_is_refused(edit, photo):
    with pytest.raises(ImageError, match="black everywhere"):
        edit(photo, TEXT, mask=np.zeros((5, 5), np.uint8))


def test_mask_and_box_allow_what_both_allow(edit, photo):
    both = np.asarray(edit(photo, TEXT, mask=LEFT, box=(40, 20, 80, 40)))
    changed = (both != photo).any(-1)
    assert changed[20:60, 40:76].any()
    changed[20:60, 40:84] = False
    assert not changed.any()


def test_a_part_changes_alone(paint):
    before = birds((20, 30, 120, 60))
    after = paint.edit_photo(before, "a bright green bird", part="head")
    changed = (before.levels(8)[0] != after.levels(8)[0]).any(-1)
    assert changed[35:85, 25:75].mean() > 0.9  # the head is the left half, the tail the right one
    assert not changed[:, 95:].any()


def test_a_part_needs_a_localiser_that_knows_it_and_sees_it(edit, paint, photo):
    with pytest.raises(UserError, match="give a mask instead"):
        edit(photo, TEXT, part="head")
    with pytest.raises(UserError, match="part 'knee' is unknown"):
        paint.edit_photo(birds((20, 30, 120, 60)), "a green bird", part="knee")
    bare = scene()[0]
    bare[:, 40:80, 40:90] = torch.tensor([1.0, -0.8, -0.8])[:, None, None]
    with pytest.raises(SubjectError, match="no tail is in view"):
        paint.edit_photo(Photo(bare), "a green bird", part="tail")


def test_where_mask_and_part_do_not_meet_one_line_says_so(paint):
    corner = np.zeros((120, 200), np.uint8)
    corner[:10, 190:] = 255
    with pytest.raises(UserError, match="covers nothing of the head"):
        paint.edit_photo(birds((20, 30, 120, 60)), "a green bird", part="head", mask=corner)


def test_a_mask_chooses_the_smaller_of_two_birds(paint):
    before = birds((10, 20, 100, 60), (150, 60, 40, 24))
    mask = np.zeros((120, 200), np.uint8)
    mask[:, 130:] = 255
    assert not masking.changed(before, paint.edit_photo(before, "a bright green bird"))[:, 140:].any()
    changed = masking.changed(before, paint.edit_photo(before, "a bright green bird", mask=mask))
    assert (changed[62:82, 152:188] == 255).mean() > 0.8
    assert not changed[:, :128].any()


def test_a_raw_output_takes_no_mask(edit, photo):
    with pytest.raises(UserError, match="size 'photo'"):
        edit(photo, TEXT, mask=LEFT, size="model")


def test_a_large_photograph_is_masked_too(edit, photo, monkeypatch):
    monkeypatch.setattr("tgim.inference.editor.LARGE", 1000)
    masked = np.asarray(edit(photo, TEXT, mask=LEFT))
    assert (masked[:, 84:] == photo[:, 84:]).all()
    assert (masked[:, :76] != photo[:, :76]).any()


def test_the_room_around_a_mask_stays_in_the_picture():
    weight = torch.zeros(100, 60)
    weight[0:10, 50:58] = 0.5
    assert masking.extent(weight) == (49, 0, 10, 11)


def test_a_folder_has_a_mask_for_each_picture(tmp_path):
    for name in ("a.png", "b.webp", "b.png"):
        Image.new("L", (3, 3), 255).save(tmp_path / name)
    assert masking.mask_beside(tmp_path, tmp_path / "x" / "a.jpg") == tmp_path / "a.png"
    for name, said in (("b", "2 masks"), ("c", "no mask")):
        with pytest.raises(UserError, match=said):
            masking.mask_beside(tmp_path, tmp_path / f"{name}.jpg")
    assert masking.mask_beside(tmp_path / "a.png", tmp_path / "b.png") == tmp_path / "a.png"


def test_a_part_that_has_its_colour_is_looked_at_once(paint, monkeypatch):
    calls = []
    edit = paint._edit
    monkeypatch.setattr(paint, "_edit", lambda *args, **options: calls.append(args) or edit(*args, **options))
    before = birds((20, 30, 120, 60))
    after = paint.edit_photo(before, "a red head", part="head")
    assert not masking.changed(before, after).any()
    assert len(calls) == 1
