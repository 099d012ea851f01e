"""Laws of the ranking: scores are the model's own for each pair, whatever the order or the company."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from support import small
from tgim.checkpoints import checkpoint
from tgim.data.cache import decode
from tgim.errors import CheckpointError, ImageError, TextError, UserError
from tgim.images.photo import from_uint8
from tgim.inference import ranking, scoring
from tgim.models.base import Matching
from tgim.text.understand import UnknownWordWarning

MATCHERS = [name for name, system in small.SYSTEMS.items() if issubclass(system, Matching)]
TEXTS = ["this bird has a red head and breast", "a small blue bird", "white belly"]


@pytest.fixture(scope="module")
def matcher(tmp_path_factory):
    """A checkpoint of a small, untrained matching model that completes phrases."""
    return checkpoint.save(
        tmp_path_factory.mktemp("models") / "matcher.safetensors",
        small.model_of("dual_encoder"),
        vocabulary=small.VOCABULARY,
        template="this bird has a {}",
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Five pictures of different shapes, kinds and colours."""
    folder, source = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i, suffix in enumerate(("jpg", "png", "webp", "bmp", "jpg")):
        coarse = Image.fromarray(source.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((40 + 30 * i, 90 - 10 * i)).save(folder / f"{i}.{suffix}")
    return sorted(folder.iterdir())


def brute_force(source, photos, captions):
    """Scores one pair at a time."""
    rows = []
    with torch.no_grad():
        for path in photos:
            pixels = torch.tensor(decode(path, size=source.model.image_size)).permute(2, 0, 1)
            seen = source.model.read_images(from_uint8(pixels)[None])
            said = [source.model.read_captions(source.vocabulary.encode([caption])) for caption in captions]
            rows.append([source.model.scores(seen, each).item() for each in said])
    return np.array(rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", MATCHERS)
def test_scores_are_the_models_own_for_each_pair(photos, name):
    source = checkpoint.Checkpoint(small.model_of(name).eval(), small.VOCABULARY, "{}")
    expected = brute_force(source, photos, TEXTS)
    scores = ranking.rank(photos, TEXTS, model=source).scores
    np.testing.assert_allclose(scores, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_orders_follow_the_scores_and_phrases_are_completed(matcher, photos, monkeypatch):
    expected = brute_force(checkpoint.load(matcher), photos, [*TEXTS[:2], "this bird has a white belly"])
    for chunk in (2, 64):
        monkeypatch.setattr(scoring, "CHUNK", chunk)
        found = ranking.rank(photos, TEXTS, model=matcher)
        assert found.images == tuple(map(str, photos))
        assert found.texts == tuple(TEXTS)
        assert abs(found.scores).max() <= 1
        np.testing.assert_allclose(found.scores, expected, atol=1e-5)
        for column, order in enumerate(found.pictures):
            assert order.tolist() == sorted(range(5), key=lambda row, c=column: -found.scores[row, c])
        for row, order in enumerate(found.captions):
            assert order.tolist() == sorted(range(3), key=lambda column, r=row: -found.scores[r, column])


def test_of_equal_pictures_the_earlier_comes_first(matcher, photos):
    found = ranking.rank([photos[0]] * 5, TEXTS, model=matcher)
    assert found.pictures.tolist() == [[0, 1, 2, 3, 4]] * 3


def test_a_picture_scores_the_same_in_any_form(matcher, photos):
    image = Image.open(photos[1])
    forms = [photos[1], str(photos[1]), photos[1].read_bytes(), image, np.asarray(image)]
    scores = ranking.rank(forms, TEXTS, model=matcher).scores
    np.testing.assert_allclose(scores, scores[:1].repeat(len(forms), 0), atol=1e-5)


def test_transparent_pixels_are_white_in_any_form(matcher, tmp_path):
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[:, 20:] = 200, 30, 30, 255
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    flat = np.where(pixels[..., 3:] > 0, pixels[..., :3], 255).astype(np.uint8)
    forms = [tmp_path / "clear.png", (tmp_path / "clear.png").read_bytes(), pixels, flat]
    scores = ranking.rank(forms, TEXTS, model=matcher).scores
    np.testing.assert_allclose(scores, scores[:1].repeat(len(forms), 0), atol=1e-5)


def test_pictures_are_read_a_few_at_a_time(matcher, photos, monkeypatch):
    monkeypatch.setattr(scoring, "CHUNK", 4)
    batches, calls = [], []
    source = ranking.open_matching(matcher)
    score = source.model.scores
    monkeypatch.setattr(source.model, "scores", lambda x, y: batches.append(len(x[0])) or score(x, y))
    ranking.rank(photos * 2, TEXTS, model=source, progress=lambda *call: calls.append(call))
    assert batches == [4, 4, 2]
    assert calls == [(4, 10), (8, 10), (10, 10)]


def test_bad_pictures_are_left_out_and_named(matcher, photos, tmp_path):
    (tmp_path / "cut.jpg").write_bytes(photos[0].read_bytes()[:300])
    (tmp_path / "empty.png").write_bytes(b"")
    mixed = [tmp_path / "cut.jpg", *photos, tmp_path / "empty.png", b"no picture", tmp_path / "gone.jpg"]
    found = ranking.rank(mixed, TEXTS, model=matcher)
    assert found.images == tuple(map(str, photos))
    assert len(found.failed) == 4
    for line, name in zip(found.failed, ("cut.jpg", "empty.png", "image bytes", "gone.jpg"), strict=True):
        assert name in line
        assert "\n" not in line
    with pytest.raises(ImageError, match=r"none of the 2 pictures.*cut\.jpg"):
        ranking.rank([tmp_path / "cut.jpg", tmp_path / "empty.png"], TEXTS, model=matcher)
    with pytest.raises(ImageError, match=r"^\S*cut\.jpg"):
        ranking.rank([tmp_path / "cut.jpg"], TEXTS, model=matcher)


def test_each_unknown_word_is_said_once(matcher, photos):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ranking.rank(photos, ["a bleu bird", "bleu wings", "a red bird"], model=matcher)
    said = [str(each.message) for each in caught if each.category is UnknownWordWarning]
    assert said == ["unknown word 'bleu' is ignored; nearest known: blue"]


@pytest.mark.slow
def test_what_cannot_be_used_is_refused(matcher, photos, tagrid_file):
    for texts in ([], [""], ["qwertz"], ["red " * 100], [3]):
        with pytest.raises(TextError):
            ranking.rank(photos, texts, model=matcher)
    with pytest.raises(ImageError):
        ranking.rank([], TEXTS, model=matcher)
    for arguments in ((str(photos[0]), TEXTS), (photos, "a red bird")):
        with pytest.raises(UserError, match="lists"):
            ranking.rank(*arguments, model=matcher)
    for model in (tagrid_file, checkpoint.load(tagrid_file)):
        with pytest.raises(CheckpointError, match=r"tagrid, which does not match pictures with captions; choose"):
            ranking.rank(photos, TEXTS, model=model)
    composer = checkpoint.Checkpoint(small.model_of("tirg"), small.VOCABULARY, "{}")
    with pytest.raises(CheckpointError, match=r"tirg, which does not match"):
        ranking.rank(photos, TEXTS, model=composer)


def test_photographs_of_cameras_are_turned_upright(matcher, photos):
    image, exif, file = Image.open(photos[4]).convert("RGB"), Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # stored a quarter turn to the left of upright
    image.transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    scores = ranking.rank([image, file.getvalue()], TEXTS, model=matcher).scores
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
