"""Resizing, boxes in a picture, and sheets of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tgim.errors import ImageError
from tgim.images.matting import soft_box
from tgim.images.photo import parse_box
from tgim.images.resample import resize as resized
from tgim.images.sheet import contact_sheet
from tgim.nn.resize import resize


def test_resize_keeps_constants_range_and_identity() -> None:
    x = torch.rand(2, 3, 20, 30) * 2 - 1
    assert resize(x, (20, 30)) is x
    assert resize(torch.full((1, 3, 50, 40), 0.3), (7, 9)).allclose(torch.tensor(0.3))
    assert resize(x, (64, 64)).abs().max() <= 1
    lines = -torch.ones(1, 3, 64, 64)
    lines[..., 3::8] = 1  # one column in eight is bright; plain bilinear sampling would see 0
    assert resize(lines, (8, 8)).max() < -0.7


@pytest.mark.parametrize("size", [(8, 8), (20, 30), (31, 44), (64, 9), (1, 1)])
def test_arrays_and_tensors_are_resized_alike(size) -> None:
    x = torch.rand(3, 20, 30) * 2 - 1
    assert np.allclose(resized(x.numpy(), size), resize(x[None], size)[0], atol=3e-5)
    assert resized(x.numpy(), (20, 30)) is not None


def test_box_is_zero_outside_one_inside_and_rises_between() -> None:
    weight = soft_box(40, 60, (10, 5, 30, 20), feather=6)
    assert weight.shape == (40, 60)
    outside = np.ones((40, 60), np.bool_)
    outside[5:25, 10:40] = False
    assert (weight[outside] == 0).all()
    assert (weight[11:19, 16:34] == 1).all()
    ramp = weight[15, 10:16]
    assert (np.diff(ramp) > 0).all()
    assert ramp[0] > 0
    assert np.array_equal(weight, weight[np.arange(29, -11, -1) % 40])  # symmetric about the box's middle row
    photo, edited = np.random.default_rng(0).random((2, 3, 40, 60), np.float32)
    assert np.array_equal((photo + weight * (edited - photo))[:, outside], photo[:, outside])


def test_box_has_no_ramp_at_the_border_of_the_picture() -> None:
    assert (soft_box(10, 10, (0, 0, 10, 10), feather=4) == 1).all()
    assert soft_box(10, 10, "0,0,5,5", feather=2)[0, 0] == 1
    assert soft_box(9, 9, "3,3,3,3", feather=100).max() == 1


@pytest.mark.parametrize(
    ("box", "hint"),
    [
        ("", "numbers"),
        ("1,2,3", "3 numbers"),
        ("1,2,3,4,5", "5 numbers"),
        ("a,b,c,d", "whole"),
        ("1.5,2,3,4", "whole"),
        ("1,2,3,99999999999999999999", "whole"),
        ("-1,0,5,5", "left of"),
        ("0,0,0,5", "nothing is inside"),
        ("0,0,5,-5", "nothing is inside"),
        ("10,10,50,5", "but the picture is 32 by 32"),
        ((1, 2, 3, "x"), "whole"),
    ],
)
def test_bad_boxes_are_told(box: object, hint: str) -> None:
    with pytest.raises(ImageError, match=hint) as caught:
        parse_box(box, height=32, width=32)
    assert "\n" not in str(caught.value)


def test_boxes_are_read() -> None:
    assert parse_box("1,2,3,4") == parse_box(" 1, 2, 3, 4 ") == parse_box((1, 2, 3, 4)) == (1, 2, 3, 4)
    assert parse_box("0,0,32,32", height=32, width=32) == (0, 0, 32, 32)


def test_contact_sheet_holds_all_cells() -> None:
    red, tall = torch.ones(3, 9, 9), torch.zeros(3, 40, 10)
    red[1:] = -1
    sheet = contact_sheet(
        [[red, tall], [red]],
        row_labels=["a caption that is long " * 9, "x" * 60],
        column_labels=["one", "two"],
        cell=48,
    )
    pixels = np.array(sheet)
    assert sheet.mode == "RGB"
    assert sheet.width == 3 * 52 + 4
    assert (pixels == (255, 0, 0)).all(-1).sum() == 2 * 48 * 48
    assert (pixels == (128, 128, 128)).all(-1).sum() >= 48 * 12
    assert (pixels[:, -1] == 255).all()
    with pytest.raises(ValueError, match="labels"):
        contact_sheet([[red]], row_labels=[])
