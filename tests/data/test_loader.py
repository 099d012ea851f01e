"""Batches are a function of the seed and the step, show each picture once an epoch, and vary what the config says."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from tgim.data import Batches, DataConfig, open_dataset, vocabulary_of
from tgim.data.base import CaptionedImages, Item, random_source
from tgim.data.loader import CaptionTable, augment
from tgim.data.synthetic.pool import PoolSpec, SyntheticPool
from tgim.errors import DataError
from tgim.text.phrases import variants
from tgim.text.vocabulary import Alphabet, Vocabulary

SIZE = 16


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path) -> CaptionedImages:
    """Ten pictures, each of one grey that tells its row; three classes, the last picture without one."""
    items = []
    for row in range(10):
        path = tmp_path / f"{row}.png"
        Image.new("L", (20, 20), 20 * row).save(path)
        captions = tuple(f"bird {word} number{row}" for word in ("red", "blue", "green")[: 1 + row % 3])
        items.append(Item(path, captions, f"class {row % 3}" if row < 9 else None))
    return CaptionedImages("folder", tmp_path, tuple(items))


def make(data: CaptionedImages, *, batch_size: int = 4, seed: int = 0, **options) -> Batches:
    config = DataConfig(name="folder", image_size=SIZE, **options)
    return Batches(data, config, batch_size=batch_size, vocabulary=vocabulary_of(data, config), seed=seed)


def rows_of(images: Tensor) -> list[int]:
    return ((images.mean((1, 2, 3)) + 1) * 127.5 / 20).round().int().tolist()


def tensors(batch) -> list[Tensor]:
    found = [batch.image, *batch.text, batch.labels]
    if batch.synthetic is not None:
        d = batch.synthetic
        found += [d.image, *d.text, *d.target_text, d.target, d.change, d.subject]
    return found


ALL = {
    "margin": 4,
    "flip": True,
    "rotate": 10.0,
    "zoom": (0.8, 1.2),
    "aspect": (0.9, 1.1),
    "brightness": 0.1,
    "contrast": 0.1,
    "phrases": 0.5,
    "drawn": 2,
    "drawn_pool": 10,
}


@pytest.mark.slow
def test_a_batch_depends_on_seed_and_step_alone(data):
    one, other = make(data, seed=3, **ALL), make(data, seed=3, **ALL)
    for step in (0, 7, 2):  # in any order, from a fresh object too
        for a, b in zip(tensors(one.batch(step)), tensors(other.batch(step)), strict=True):
            assert torch.equal(a, b)
    other.batch(100)
    again = other.batch(7)
    assert all(torch.equal(a, b) for a, b in zip(tensors(one.batch(7)), tensors(again), strict=True))
    assert not torch.equal(one.batch(7).image, one.batch(8).image)
    assert not torch.equal(one.batch(7).image, make(data, seed=4, **ALL).batch(7).image)


@pytest.mark.slow
def test_shapes_and_ranges(data):
    batch = make(data, **ALL).batch(0)
    assert batch.image.shape == (4, 3, SIZE, SIZE)
    assert batch.image.dtype == torch.float32
    assert batch.image.abs().max() <= 1
    assert batch.text.ids.shape == batch.text.mask.shape
    assert batch.text.mask.any(0).all()  # padded to the longest, no longer
    assert batch.text.lengths.min() >= 1
    assert batch.labels.dtype == torch.int64
    drawn = batch.synthetic
    assert drawn.image.shape == drawn.target.shape == (2, 3, SIZE, SIZE)
    assert drawn.change.shape == drawn.subject.shape == (2, 1, SIZE, SIZE)
    assert drawn.change.min() >= 0
    assert drawn.change.max() <= 1


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 23])
def test_every_picture_is_seen_once_an_epoch_in_a_new_order(data, batch_size):
    batches = make(data, batch_size=batch_size)
    seen = [row for step in range(-(-30 // batch_size)) for row in rows_of(batches.batch(step).image)][:30]
    epochs = [seen[:10], seen[10:20], seen[20:]]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_captions_and_labels_belong_to_their_picture(data):
    batches = make(data, batch_size=10)
    words = ["", "", *vocabulary_of(data, batches.config).words]
    said: dict[int, Counter[str]] = {row: Counter() for row in range(10)}
    for step in range(60):
        batch = batches.batch(step)
        for row, ids, label in zip(rows_of(batch.image), batch.text.ids.tolist(), batch.labels.tolist(), strict=True):
            said[row][" ".join(words[i] for i in ids if i)] += 1
            assert label == (row % 3 if row < 9 else -10)
    for row, counts in said.items():
        assert set(counts) == set(data.items[row].captions)  # every caption in its turn
        assert min(counts.values()) > 60 / len(counts) / 3
    first = make(data, batch_size=10, captions="first").batch(5)
    assert all(" ".join(words[i] for i in ids if i).startswith("bird red") for ids in first.text.ids.tolist())


@pytest.mark.slow
def test_phrases_take_the_place_of_captions_as_often_as_said(data):
    items = tuple(Item(i.path, ("a bird with a red head and blue wings", "nothing here"), None) for i in data.items)
    data = CaptionedImages("folder", data.root, items)
    allowed = set(variants(items[0].captions[0]))
    assert "red head" in allowed
    assert "this bird has blue wings" in allowed
    for share in (0.0, 0.5, 1.0):
        batches = make(data, batch_size=10, phrases=share)
        words = ["", "", *vocabulary_of(data, batches.config).words]
        texts = [
            " ".join(words[i] for i in ids if i) for step in range(40) for ids in batches.batch(step).text.ids.tolist()
        ]
        cut = [text for text in texts if text not in items[0].captions]
        assert set(cut) <= allowed
        assert abs(len(cut) / len(texts) - share / 2) < 0.1  # half of the captions hold no phrase
        assert share < 1 or set(cut) == allowed


def test_long_captions_are_cut_and_rare_words_unknown(data):
    batch = make(data, max_tokens=2, min_word_count=2).batch(0)
    assert batch.text.ids.shape == (4, 2)
    vocabulary = vocabulary_of(data, DataConfig(min_word_count=3))
    assert "number9" not in vocabulary
    assert "red" in vocabulary


def test_characters_are_read_further_than_words(data, tmp_path):
    items = tuple(Item(item.path, ("a red bird with " + "very " * 80 + "long wings",), None) for item in data.items)
    long = CaptionedImages("folder", data.root, items)
    assert make(long).batch(0).text.ids.shape[1] == 60
    batches = Batches(long, DataConfig(image_size=16), batch_size=2, vocabulary=Alphabet(), cache=tmp_path)
    assert batches.batch(0).text.ids.shape[1] == 201


def test_without_augmentation_pictures_are_those_of_the_cache(data):
    batches = make(data)
    assert torch.equal(batches.batch(0).image, batches.pixels.images(batches.rows(0)))


def ramp(count: int, side: int) -> Tensor:
    """Pictures whose red tells the column and green the row, in pixels."""
    at = torch.arange(side, dtype=torch.float32)
    red, green = at.expand(side, side), at[:, None].expand(side, side)
    return torch.stack([red, green, torch.zeros(side, side)]).expand(count, -1, -1, -1) / 100


def test_margin_cuts_out_at_whole_pixels_everywhere():
    config = DataConfig(image_size=SIZE, margin=4)
    out = augment(ramp(400, SIZE + 4), config, random_source(0)) * 100
    left, top = out[:, 0, 0, 0].round(), out[:, 1, 0, 0].round()
    assert set(left.tolist()) == set(top.tolist()) == {0, 1, 2, 3, 4}
    expected = ramp(1, SIZE) * 100 + torch.stack([left, top, torch.zeros(400)], 1)[..., None, None]
    expected[:, 2] = 0
    torch.testing.assert_close(out, expected, atol=1e-3, rtol=0)


def test_flip_mirrors_half_of_the_pictures():
    out = augment(ramp(400, SIZE), DataConfig(image_size=SIZE, flip=True), random_source(0))
    mirrored = out[:, 0, 0, 0] > out[:, 0, 0, -1]
    assert 150 < mirrored.sum() < 250
    torch.testing.assert_close(out[mirrored], ramp(1, SIZE).flip(-1).expand(int(mirrored.sum()), -1, -1, -1))


@pytest.mark.parametrize("zoom", [0.8, 1.25])
def test_zoom_scales_and_places_where_it_fits(zoom):
    out = augment(ramp(200, SIZE), DataConfig(image_size=SIZE, zoom=(zoom, zoom)), random_source(0)) * 100
    red, middle = out[:, 0, SIZE // 2], SIZE // 2
    steps = red.diff(dim=1)
    torch.testing.assert_close(steps[:, middle], torch.full((200,), 1 / zoom), atol=1e-3, rtol=0)
    if zoom > 1:  # the frame lies inside the picture: no border is seen but for half a pixel
        torch.testing.assert_close(steps[:, 1:-1], torch.full((200, SIZE - 3), 1 / zoom), atol=1e-3, rtol=0)
    else:  # the picture lies inside the frame: both its ends are seen, and its border goes on outside
        torch.testing.assert_close(red[:, 0], torch.zeros(200), atol=0.7, rtol=0)
        torch.testing.assert_close(red[:, -1], torch.full((200,), SIZE - 1.0), atol=0.7, rtol=0)
    where = red.mean(1)
    assert where.max() - where.min() > 0.6 * SIZE * abs(1 - 1 / zoom)
    assert out.min() >= 0
    assert out.max() <= SIZE - 1 + 1e-3


def test_aspect_widens_and_rotation_turns():
    wide = augment(ramp(1, SIZE), DataConfig(image_size=SIZE, aspect=(1.44, 1.44)), random_source(0))[0] * 100
    middle = SIZE // 2
    assert wide[0, middle, middle] - wide[0, middle, middle - 1] == pytest.approx(1 / 1.2, abs=1e-3)
    assert wide[1, middle, middle] - wide[1, middle - 1, middle] == pytest.approx(1.2, abs=1e-3)
    turned = augment(ramp(200, SIZE), DataConfig(image_size=SIZE, rotate=30), random_source(0)) * 100
    across = turned[:, :2, middle, middle] - turned[:, :2, middle, middle - 1]  # a unit step, turned
    torch.testing.assert_close(across.norm(dim=1), torch.ones(200), atol=1e-3, rtol=0)
    angles = torch.rad2deg(torch.atan2(across[:, 1], across[:, 0]))
    assert -30 <= angles.min() < -25
    assert 25 < angles.max() <= 30


def test_colour_jitter_keeps_hue_and_range():
    image = ramp(50, SIZE) * 6 - 0.4
    config = DataConfig(image_size=SIZE, brightness=0.2, contrast=0.3)
    out = augment(image, config, random_source(0))
    change = out.mean((1, 2, 3)) - image.mean((1, 2, 3))
    assert change.abs().max() <= 0.4 + 1e-6
    assert change.std() > 0.1
    assert out.abs().max() <= 1


@pytest.mark.slow
def test_drawn_pairs_are_true_pairs_and_come_from_the_pool(data, tmp_path):
    batches = make(data, drawn=6, drawn_pool=20, flip=True)
    vocabulary = vocabulary_of(data, batches.config)
    for step in range(3):
        drawn = batches.batch(step).synthetic
        outside = (drawn.change == 0).expand_as(drawn.image)
        assert torch.equal(drawn.image[outside], drawn.target[outside])
        assert (drawn.text.ids != 1).all()  # every word of theirs is known
        assert (drawn.target_text.ids != 1).all()
    assert not set(batches.batch(0).synthetic.text.ids.flatten().tolist()) - set(range(len(vocabulary)))
    pools = [
        SyntheticPool.open(PoolSpec(kind="birds", count=20, size=SIZE, split=split))
        for split in ("train", "val", "test", "all")
    ]
    assert [len(pool) for pool in pools] == [16, 2, 2, 20]
    assert np.array_equal(np.concatenate([pool.pixels for pool in pools[:3]]), pools[3].pixels)


@pytest.mark.slow
def test_the_drawn_set_is_a_data_set():
    config = DataConfig(name="synthetic", drawn_kind="flowers", drawn_pool=20, image_size=SIZE, margin=2)
    dataset = open_dataset(config)
    batch = Batches(dataset, config, batch_size=5, vocabulary=vocabulary_of(dataset, config)).batch(0)
    assert batch.image.shape == (5, 3, SIZE, SIZE)
    assert len(dataset) == 16
    assert len(set(batch.labels.tolist())) == 5
    assert batch.labels.max() < 0


def test_an_unreadable_picture_never_comes(data):
    data.items[4].path.write_bytes(b"not a picture")
    batches = make(data, batch_size=9)
    assert sorted(rows_of(batches.batch(0).image)) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert batches.steps_per_epoch == 1
    for item in data.items:
        item.path.write_bytes(b"not a picture")
    with pytest.raises(DataError, match="none of 10 pictures"):
        make(data)


def test_caption_table_by_hand():
    table = CaptionTable([["a b", "c"], [], ["b c a"]], Vocabulary(["a", "b", "c"]), max_tokens=2)
    assert table.ids.tolist() == [[2, 3], [4, 0], [3, 4]]
    assert table.choose(np.array([0, 0, 2]), np.array([0.0, 0.99, 0.5])).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "wrong",
    [{"zoom": (1.2, 0.8)}, {"zoom": (0, 1)}, {"phrases": 1.5}, {"colour": 1}, {"image_size": 4}, {"split": "dev"}],
)
def test_a_config_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError) as caught:
        DataConfig(**wrong)
    assert next(iter(wrong)) in str(caught.value)


def test_the_root_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("TGIM_DATA", "/somewhere")
    assert DataConfig(name="cub").folder == Path("/somewhere/cub")
    monkeypatch.delenv("TGIM_DATA")
    with pytest.raises(DataError, match="TGIM_DATA"):
        _ = DataConfig(name="cub").folder


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif("TGIM_DATA" not in os.environ, reason="TGIM_DATA is not set")
def test_batches_of_real_birds_are_quick():
    options = {key: value for key, value in ALL.items() if key not in ("drawn", "drawn_pool", "contrast", "brightness")}
    config = DataConfig(name="cub", split="test", image_size=64, **options)
    dataset = open_dataset(config)
    batches = Batches(dataset, config, batch_size=64, vocabulary=vocabulary_of(dataset, config))
    batches.batch(0)
    start = time.process_time()
    for step in range(20):
        batches.batch(step)
    assert (time.process_time() - start) / 20 < 0.05
