"""The change that a model made to a small copy is carried to the photograph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.nn.carry import carry_change
from tgim.nn.resize import resize


def scene(h: int, w: int) -> tuple[Tensor, Tensor]:
    """A textured photograph (1, 3, h, w) with a bright disc on a dark ground, and the disc's mask (1, 1, h, w)."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    disc = ((x**2 + y**2) < 0.3).float()[None, None]
    grain = torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(0)) * 0.1
    return (disc * torch.tensor([0.2, 0.5, 0.1]).view(1, 3, 1, 1) - (1 - disc) * 0.6 + grain), disc


def test_no_change_leaves_the_photograph_bit_identical() -> None:
    photo, _ = scene(150, 200)
    source = resize(photo, (32, 32))
    assert torch.equal(carry_change(photo, source, source), photo)
    assert torch.equal(carry_change(photo, source, source + 0.9 / 255), photo)


def test_what_the_model_left_alone_is_bit_identical() -> None:
    photo, _ = scene(160, 320)
    source = resize(photo, (32, 32))
    edited = source.clone()
    edited[:, 0, 8:16, 8:16] += 0.5
    carried = carry_change(photo, source, edited)
    far = torch.ones(160, 320, dtype=torch.bool)
    far[7 * 5 : 17 * 5, 7 * 10 : 17 * 10] = False  # one model pixel around the change
    assert torch.equal(carried[..., far], photo[..., far])
    inside = (carried - photo)[0, 0, 8 * 5 + 10 : 16 * 5 - 10, 8 * 10 + 20 : 16 * 10 - 20]
    assert (inside - 0.5).abs().max() < 0.1
    assert torch.equal(carried[:, 1:], photo[:, 1:])


def test_the_change_ends_at_the_photographs_edge_and_detail_stays() -> None:
    photo, disc = scene(320, 320)
    wanted = (photo + disc * torch.tensor([0.5, -0.5, 0.0]).view(1, 3, 1, 1)).clamp(-1, 1)
    source, edited = resize(photo, (32, 32)), resize(wanted, (32, 32))
    carried = carry_change(photo, source, edited)
    plain = photo + F.interpolate(edited - source, (320, 320), mode="bilinear")
    assert (carried - wanted).abs().mean() < 0.6 * (plain - wanted).abs().mean()
    core = (slice(None), slice(None), slice(140, 180), slice(140, 180))
    detail = (photo - F.avg_pool2d(photo, 9, 1, 4))[core]
    assert ((carried - F.avg_pool2d(carried, 9, 1, 4))[core] - detail).abs().max() < 0.02  # the grain is 0.1


def test_a_model_that_flattens_the_texture_does_not_take_it_from_the_photograph() -> None:
    generator = torch.Generator().manual_seed(5)
    photo = 0.15 * torch.randn(1, 1, 64, 64, generator=generator).expand(1, 3, -1, -1)
    photo = F.interpolate(photo, (256, 256), mode="bilinear").clamp(-1, 1)
    source = resize(photo, (32, 32))
    edited = torch.zeros_like(source)
    edited[:, 0] = 0.4  # an even red
    carried = carry_change(photo, source, edited)
    assert carried[:, 0].mean() - carried[:, 1].mean() > 0.35
    assert carried[:, 1].std() > 0.7 * photo[:, 1].std()


def test_the_carried_change_stays_in_the_range_of_the_models_change() -> None:
    generator = torch.Generator().manual_seed(3)
    photo = torch.rand(1, 3, 90, 130, generator=generator) * 2 - 1
    source = resize(photo, (16, 16))
    edited = (source + torch.rand(source.shape, generator=generator) * 0.4).clamp(-1, 1)
    change = carry_change(photo, source, edited) - photo
    assert change.min() >= -1e-6
    assert change.max() <= 0.4 + 1e-6


def test_a_photograph_of_the_models_size_takes_the_change_itself() -> None:
    photo, _ = scene(32, 32)
    edited = -photo
    assert carry_change(photo, photo, edited).allclose(edited, atol=1e-6)
    edited = photo + 0.9 / 255  # rounding, but for one pixel
    edited[..., 5, 5] = 1
    same = torch.ones(32, 32, dtype=torch.bool)
    same[5, 5] = False
    assert torch.equal(carry_change(photo, photo, edited)[..., same], photo[..., same])
    assert carry_change(photo[..., :20, :20], photo, edited).shape == (1, 3, 20, 20)


def test_strips_do_not_show(monkeypatch) -> None:
    photo, _ = scene(150, 90)
    source = resize(photo, (24, 24))
    whole = carry_change(photo, source, -source)
    monkeypatch.setattr("tgim.nn.carry.STRIP", 90 * 7)
    assert carry_change(photo, source, -source).allclose(whole, atol=1e-6)


def test_batches_are_carried_picture_by_picture() -> None:
    photo = torch.cat([scene(60, 80)[0], -scene(60, 80)[0]])
    source = resize(photo, (16, 16))
    both = carry_change(photo, source, -source)
    assert torch.equal(both[1:], carry_change(photo[1:], source[1:], -source[1:]))
    with pytest.raises(ValueError, match="carry_change takes"):
        carry_change(photo, source, -source[:1])
