"""Pictures in scenes: small, whole, with their subject marked where it is and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tgim.data import Batches, DataConfig, vocabulary_of
from tgim.data.base import CaptionedImages, Item, random_source
from tgim.data.context import SCALES, filled, in_scenes, near_subject
from tgim.data.loader import augment, varied

SIZE, COUNT = 32, 24
RED, GREEN = torch.tensor([0.9, -0.7, -0.7]), torch.tensor([-0.6, 0.3, -0.6])


def discs(count: int = COUNT, *, known: bool = True, margin: int = 0, seed: int = 0) -> Tensor:
    """Red discs of half the width on speckled green, with the subject and known channels."""
    side = SIZE + margin
    at = (2 * torch.arange(side) + 1) / side - 1
    disc = (at[:, None].square() + at.square() < 0.5).float().expand(count, 1, side, side)
    noise = 0.05 * torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
    colours = torch.lerp(GREEN.view(3, 1, 1), RED.view(3, 1, 1), disc) + noise
    return torch.cat([colours, disc, torch.full_like(disc, float(known))], 1)


def redness(image: Tensor) -> Tensor:
    return image[:, :1] - image[:, 1:2]


@pytest.fixture(scope="module")
def scenes() -> Tensor:
    return in_scenes(discs(), discs(seed=1), SIZE, random_source(0))


def test_the_subject_channel_is_the_subject_of_the_picture(scenes):
    subject, red = scenes[:, 3:4] > 0.5, redness(scenes) > 0.4
    same = (subject & red).sum((1, 2, 3)) / (subject | red).sum((1, 2, 3))
    assert same.min() > 0.75  # of a disc of 6 pixels the rim counts
    assert (scenes[:, 4] > 0.99).all()
    assert redness(scenes)[scenes[:, 3:4] == 0].quantile(0.99) < 0.6  # no second subject


def test_subjects_are_small_and_anywhere(scenes):
    share = (scenes[:, 3] > 0.5).float().mean((1, 2)) / (discs(1)[:, 3].mean())
    low, high = (scale**2 for scale in SCALES)
    assert 0.7 * low < share.min() < share.max() < 1.1 * high
    assert share.max() > 3 * share.min()
    at = torch.arange(SIZE, dtype=torch.float32)
    for weight in (scenes[:, 3].mean(1), scenes[:, 3].mean(2)):
        centre = (weight * at).sum(1) / weight.sum(1)
        assert centre.max() - centre.min() > SIZE / 3


def test_values_stay_in_range_and_the_frame_has_its_own_size():
    harsh = torch.where(torch.rand(8, 3, 40, 40, generator=torch.Generator().manual_seed(0)) < 0.5, -1.0, 1.0)
    for image in (harsh, torch.cat([harsh, torch.ones(8, 2, 40, 40)], 1), torch.full_like(harsh, -1.0)):
        shown = in_scenes(image, image.flip(0), SIZE, random_source(1))
        assert shown.shape == (8, image.shape[1], SIZE, SIZE)
        assert shown.isfinite().all()
        assert shown.abs().max() <= 1


def test_where_nothing_is_known_only_the_surroundings_become_known():
    shown = in_scenes(discs(known=False), discs(seed=1), SIZE, random_source(0))
    known = shown[:, 4:] > 0.5
    assert (shown[:, 3:4][known] == 0).all()
    share = 1 - known.float().mean((1, 2, 3))
    assert SCALES[0] ** 2 * 0.7 < share.min() < share.max() < SCALES[1] ** 2 * 1.2
    assert (redness(shown)[known] > 0.6).float().mean() < 0.01


def test_a_picture_is_continued_into_what_is_left_out():
    at = torch.linspace(-1, 1, SIZE)
    ramp = at.expand(1, 3, SIZE, SIZE)
    weight = torch.ones(1, 1, SIZE, SIZE)
    weight[..., 12:20, 12:20] = 0
    spoilt = torch.where(weight > 0, ramp, 1.0)
    assert torch.equal(filled(spoilt, weight), filled(ramp.clone(), weight))  # what is left out does not show
    torch.testing.assert_close(filled(spoilt, weight), ramp, atol=0.12, rtol=0)
    assert filled(ramp, torch.zeros_like(weight)).isfinite().all()


@pytest.mark.parametrize("wide", [False, True])
def test_the_surroundings_of_a_subject_are_set_apart(wide):
    for image in (discs(), discs(known=False), discs()[:, :3]):
        found = near_subject(image, wide=wide)
        assert found.amin() == 0
        assert (found[discs()[:, 3:4] > 0] > 0.99).all()
    elsewhere = discs(1)
    elsewhere[:, 3] = 0
    elsewhere[:, 3, :4, :4] = 1
    found = near_subject(elsewhere, wide=wide)[0, 0]
    assert found[:3, :3].min() > 0.99
    assert (found[SIZE // 2, SIZE // 2] > 0.99) == wide


@pytest.mark.slow
def test_no_share_is_what_it_was_and_a_share_is_that_share():
    image, plain = discs(200, margin=4), DataConfig(image_size=SIZE, margin=4, flip=True, zoom=(0.8, 1.2))
    before = augment(image, plain, random_source(3))
    assert torch.equal(varied(image, plain, random_source(3), random_source(4)), before)
    for share in (0.3, 1.0):
        config = plain.with_section("augment", context=share)
        after = varied(image, config, random_source(3), random_source(4))
        other = (after != before).flatten(1).any(1)
        assert abs(other.float().mean() - share) < 0.1
        assert torch.equal(after, varied(image, config, random_source(3), random_source(4)))
        assert not torch.equal(after, varied(image, config, random_source(3), random_source(5)))
        assert after[other, 3].mean() < 0.6 * before[other, 3].mean()


@pytest.mark.slow
def test_a_batch_is_a_function_of_seed_and_step(tmp_path):
    pytest.importorskip("cv2")
    items = []
    for row, picture in enumerate(discs(5)):
        path = tmp_path / f"{row}.png"
        pixels = ((picture[:3] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        items.append(Item(path, ("a red bird", "this is red")))
    data = CaptionedImages("folder", tmp_path, tuple(items))

    def make(size: int, **options) -> Batches:
        config = DataConfig(name="folder", image_size=SIZE, subject=True, **options)
        return Batches(data, config, batch_size=size, vocabulary=vocabulary_of(data, config), cache=tmp_path / "cache")

    one, other = make(5, context=0.5), make(5, context=0.5)
    assert torch.equal(one.batch(7).image, other.batch(7).image)
    assert torch.equal(one.batch(7).subject, other.batch(7).subject)
    assert not torch.equal(one.batch(7).image, one.batch(8).image)
    alone = make(1, context=1.0).batch(0)
    assert alone.image.shape == (1, 3, SIZE, SIZE)
    assert alone.image.abs().max() <= 1
    marked = alone.subject > 0.5
    assert 0 < marked.float().mean() < 0.5
    assert redness(alone.image)[marked].median() > 1 > 0.2 > redness(alone.image)[alone.subject == 0].median()
