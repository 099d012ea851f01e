"""Laws of the editor: what comes back, what stays untouched, what is refused and what is warned of."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import tgim
from support.commands import tgim as tgim_command
from support.small import VOCABULARY, model_of
from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import CheckpointError, ImageError, TextError, UserError
from tgim.images.photo import open_image
from tgim.inference.editor import Editor
from tgim.text.understand import UnknownWordWarning

TEXT = "a small red bird"
KINDS = pytest.mark.parametrize("kind", ["tagrid", "tagan"])


def picture(height: int, width: int) -> np.ndarray:
    return sample_picture("birds", seed=2, size=(max(height, 8), max(width, 8)))[:height, :width]


@pytest.fixture(scope="module")
def editors(tagrid_file, tagan_file) -> dict[str, Editor]:
    return {"tagrid": Editor.from_pretrained(tagrid_file), "tagan": Editor.from_pretrained(str(tagan_file))}


@pytest.fixture(scope="module")
def edit(editors) -> Editor:
    return editors["tagrid"]


def is_one_line(raised) -> bool:
    return "\n" not in str(raised.value) and str(raised.value).strip() != ""


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize(("height", "width"), [(90, 60), (50, 120), (1, 40), (40, 1), (1, 1), (32, 32), (7, 9)])
def test_an_edit_has_the_size_of_the_photograph(editors, kind, height, width):
    source = picture(height, width)
    edited = editors[kind](source, TEXT)
    assert (edited.mode, edited.size) == ("RGB", (width, height))
    if height * width > 40:
        assert not np.array_equal(np.asarray(edited), source)


def test_pillow_saves_what_the_command_writes_when_told_its_quality(edit, tagrid_file, drawn_bird, tmp_path):
    (tmp_path / "bird.jpg").write_bytes(drawn_bird)
    edit(tmp_path / "bird.jpg", TEXT).save(tmp_path / "saved.jpg", quality=95, subsampling="4:4:4")
    words = ("edit", "--image", tmp_path / "bird.jpg", "--text", TEXT, "--model", tagrid_file)
    assert tgim_command(*words, "--out", tmp_path / "written.jpg").exit_code == 0
    assert (tmp_path / "saved.jpg").read_bytes() == (tmp_path / "written.jpg").read_bytes()


@pytest.mark.slow
@KINDS
def test_no_strength_is_no_edit_and_less_is_less(editors, kind):
    source = picture(90, 60)
    photo = open_image(source)
    found = [editors[kind].edit_photo(photo, TEXT, strength=s).tensor for s in (0.0, 0.3, 1.0)]
    assert torch.equal(found[0], photo.tensor)
    changes = [(x - photo.tensor).abs().mean().item() for x in found]
    assert changes[0] == 0 < changes[1] < changes[2]
    assert np.array_equal(np.asarray(editors[kind](source, TEXT, strength=0)), source)
    assert torch.equal(editors[kind].edit_photo(photo, TEXT, strength=1).tensor, found[2])
    assert all(x.abs().max() <= 1 for x in found)


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("box", [(10, 20, 40, 50), "0,0,60,30", (59, 89, 1, 1)])
def test_outside_the_box_every_pixel_is_bit_identical(editors, kind, box):
    photo = open_image(picture(90, 60))
    edited = editors[kind].edit_photo(photo, TEXT, box=box).tensor
    x, y, w, h = (int(v) for v in box.split(",")) if isinstance(box, str) else box
    outside = torch.ones(90, 60, dtype=torch.bool)
    outside[y : y + h, x : x + w] = False
    assert torch.equal(edited[:, outside], photo.tensor[:, outside])
    if w * h > 1:
        assert not torch.equal(edited, photo.tensor)
    assert edited.shape == photo.tensor.shape


def test_a_box_around_everything_is_no_box(edit):
    photo = open_image(picture(70, 60))
    assert torch.allclose(
        edit.edit_photo(photo, TEXT, box=(0, 0, 60, 70)).tensor, edit.edit_photo(photo, TEXT).tensor, atol=1e-6
    )


@pytest.mark.slow
@KINDS
def test_size_model_is_the_raw_output(editors, kind):
    editor = editors[kind]
    raw = editor(picture(90, 60), TEXT, size="model")
    assert raw.size == (32, 32)
    assert editor(picture(90, 60), TEXT, size="model", box=(5, 5, 20, 30)).size == (32, 32)
    small = open_image(picture(32, 32))
    tokens = editor.vocabulary.encode([editor.caption(TEXT)])
    with torch.no_grad():
        expected = editor.model.edit(small.tensor[None], tokens)[0]
    assert torch.allclose(editor.edit_photo(small, TEXT, size="model").tensor, expected, atol=1e-6)
    assert torch.equal(editor.edit_photo(small, TEXT, size="model", strength=0).tensor, small.tensor)


@pytest.mark.slow
@KINDS
def test_equal_calls_give_equal_pictures_whatever_the_random_numbers(editors, kind):
    photo, editor = open_image(picture(60, 50)), editors[kind]
    found = []
    for seed in (None, 3, None, 3, 4):
        torch.manual_seed(len(found))
        found.append(editor.edit_photo(photo, TEXT, seed=seed).tensor)
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])
    assert torch.equal(found[1], found[4]) is (kind == "tagrid")  # which draws no noise


@pytest.mark.slow
def test_the_caption_counts(edit):
    source = picture(60, 50)
    assert edit(source, "a blue bird").tobytes() != edit(source, "a yellow bird with black wings").tobytes()
    assert edit(source, "Red HEAD!").tobytes() == edit(source, " this bird has a red head ").tobytes()  # the template
    assert edit.caption("red head") == "this bird has a red head"


@pytest.mark.slow
def test_every_kind_of_source_gives_the_same(edit, tmp_path):
    source = picture(60, 50)
    image = Image.fromarray(source)
    file = tmp_path / "bird.png"
    image.save(file)
    expected = edit(source, TEXT).tobytes()
    for given in (image, file, str(file), file.read_bytes(), open_image(file)):
        assert edit(given, TEXT).tobytes() == expected
    assert image.tobytes() == source.tobytes()
    several = edit.edit_many([image, picture(20, 30)], TEXT)
    assert iter(several) is several
    assert [x.size for x in several] == [(50, 60), (30, 20)]


def test_alpha_and_profile_survive(edit):
    alpha = np.arange(60 * 50, dtype=np.uint8).reshape(60, 50, 1)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    Image.fromarray(np.concatenate([picture(60, 50), alpha], 2)).save(file, "PNG", icc_profile=profile)
    edited = edit(file.getvalue(), TEXT)
    assert edited.mode == "RGBA"
    assert np.array_equal(np.asarray(edited)[..., 3:], alpha)
    assert edited.info["icc_profile"] == profile
    photo = edit.edit_photo(open_image(file.getvalue()), TEXT)
    assert (photo.format, photo.icc) == ("PNG", profile)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"strength": 1.5}, UserError, "strength is 1.5"),
        ({"strength": -0.1}, UserError, "expected 0 to 1"),
        ({"strength": float("nan")}, UserError, "strength is nan"),
        ({"size": "big"}, UserError, "'photo'.*'model'"),
        ({"box": (0, 0, 99, 10)}, ImageError, "50 by 60"),
        ({"box": "1,2,3"}, ImageError, "3 numbers"),
        ({"box": (0, 0, 0, 5)}, ImageError, "nothing is inside"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(edit, options, error, told):
    with pytest.raises(error, match=told) as raised:
        edit(picture(60, 50), TEXT, **options)
    assert is_one_line(raised)


@pytest.mark.parametrize("text", ["", " \n", "zebra xylophone", "bird " * 61, None, 7, ["red"]])
def test_texts_that_cannot_be_used_are_refused_in_one_line(edit, text):
    with pytest.raises(TextError) as raised:
        edit(picture(20, 20), text)
    assert is_one_line(raised)


def test_unknown_words_are_named_with_the_nearest_known(edit):
    with pytest.warns(UnknownWordWarning) as caught:
        edit(picture(20, 20), "a bleu bird with a xylophone")
    told = [str(warning.message) for warning in caught]
    assert len(told) == 2
    assert "'bleu'" in told[0]
    assert "'blue' is used instead" in told[0]
    assert "'xylophone'" in told[1]
    assert "nearest" not in told[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edit(picture(20, 20), "a blue bird with a white belly")


def test_a_matching_model_is_no_editor(tmp_path):
    file = checkpoint.save(tmp_path / "matcher.safetensors", model_of("dual_encoder"), vocabulary=VOCABULARY)
    with pytest.raises(CheckpointError, match="dual_encoder does not edit") as raised:
        Editor.from_pretrained(file)
    assert is_one_line(raised)
    with pytest.raises(CheckpointError, match="not there"):
        Editor.from_pretrained(tmp_path / "nothing.safetensors")


@pytest.fixture
def sees_white(edit, monkeypatch) -> None:
    """Let the model take for the subject what is white."""
    monkeypatch.setattr(edit.model, "subject", lambda x: (x.amin(1, keepdim=True) > 0.5).float())


def spots(height: int, width: int, *boxes):
    """A dark photograph with white boxes (top, left, bottom, right) in pixels."""
    pixels = picture(height, width) // 3
    for top, left, bottom, right in boxes:
        pixels[top:bottom, left:right] = 250
    return open_image(pixels)


@pytest.mark.slow
@pytest.mark.usefixtures("sees_white")
def test_a_small_subject_is_found_with_room_around_it(edit):
    x, y, w, h = found = edit.find_subject(spots(128, 192, (32, 72, 64, 120)))
    assert 60 <= x < 72 < 120 < x + w <= 132
    assert 22 <= y < 32 < 64 < y + h <= 74
    speck = edit.find_subject(spots(128, 192, (32, 72, 64, 120), (120, 180, 123, 183)))  # does not count
    assert np.abs(np.subtract(speck, found)).max() <= 2
    x, _, w, _ = edit.find_subject(spots(128, 192, (32, 24, 64, 72), (32, 96, 64, 144)))  # a second subject does
    assert x < 24 < 144 < x + w
    for boxes in ([], [(0, 0, 128, 192)], [(4, 4, 124, 188)]):
        assert edit.find_subject(spots(128, 192, *boxes)) is None


@pytest.mark.slow
@pytest.mark.usefixtures("sees_white")
def test_a_second_look_is_exact_to_a_few_pixels_of_the_photograph(edit):
    left, top, side = 401, 203, 60  # 2.5 of the model's pixels in a photograph of 800
    x, y, w, h = edit.find_subject(spots(640, 800, (top, left, top + side, left + side)))
    assert x <= left < left + side <= x + w
    assert y <= top < top + side <= y + h
    assert max(w, h) < 1.5 * side  # one of the model's pixels is 25 of the photograph's


def test_a_subject_goes_on_where_it_may_be(edit, monkeypatch):
    def subject(x):
        return (x[:, :1] + 1) / 2  # as bright as the picture

    monkeypatch.setattr(edit.model, "subject", subject)
    body, tail = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    body[24:40, 16:28] = 250
    tail[24:40, 16:28], tail[30:34, 28:44] = 250, 95  # 0.37
    alone, longer = (edit.find_subject(open_image(pixels)) for pixels in (body, tail))
    assert alone[0] + alone[2] < 34
    assert longer[0] + longer[2] >= 43
    assert edit.find_subject(open_image(np.minimum(tail, 95))) is None  # nothing is sure


def test_a_model_that_leans_to_one_side_is_asked_twice(edit, monkeypatch):
    def subject(x):
        seen = torch.zeros(len(x), 1, 32, 32)
        seen[..., 12:20, 4:10] = 0.9
        return seen

    monkeypatch.setattr(edit.model, "subject", subject)
    assert edit.find_subject(spots(64, 64)) is None  # the mirrored picture shows it on the other side: 0.45 at either


@KINDS
def test_models_without_a_subject_have_no_closer_look(editors, kind):
    model = editors[kind].model
    assert (model.subject(torch.zeros(1, 3, model.image_size, model.image_size)) is not None) == (kind == "tagrid")
    if kind == "tagan":
        assert editors[kind].find_subject(open_image(picture(40, 40))) is None


@pytest.mark.usefixtures("sees_white")
def test_a_closer_look_is_the_edit_of_that_box(edit):
    photo = spots(64, 96, (16, 36, 32, 60))
    x, y, w, h = box = edit.find_subject(photo)
    closer = edit.edit_photo(photo, TEXT).tensor
    assert torch.equal(closer, edit.edit_photo(photo, TEXT, box=box).tensor)
    outside = torch.ones(64, 96, dtype=torch.bool)
    outside[y : y + h, x : x + w] = False
    assert torch.equal(closer[:, outside], photo.tensor[:, outside])
    assert not torch.equal(closer, edit.edit_photo(photo, TEXT, focus=False).tensor)
    assert torch.equal(edit.edit_photo(photo, TEXT, box=(0, 0, 9, 9)).tensor[:, 9:], photo.tensor[:, 9:])


@pytest.mark.usefixtures("sees_white")
@pytest.mark.parametrize(("height", "width"), [(1, 40), (40, 1), (2, 90), (1, 1)])
def test_thin_photographs_of_a_small_subject_work(edit, height, width):
    for part in (0, 0.4, 0.8):
        top, left = int(part * height), int(part * width)
        photo = spots(height, width, (top, left, top + max(1, height // 8), left + max(1, width // 8)))
        assert edit.edit_photo(photo, TEXT).tensor.shape == (3, height, width)


def test_the_model_is_left_as_it_was(edit):
    before = {key: value.clone() for key, value in edit.model.state_dict().items()}
    edit(picture(40, 40), TEXT)
    assert not edit.model.training
    assert all(torch.equal(value, before[key]) for key, value in edit.model.state_dict().items())


@pytest.mark.slow
def test_the_package_offers_the_editor(tagrid_file, edit):
    loaded = tgim.load(tagrid_file)
    assert tgim.Editor is Editor
    assert isinstance(loaded, Checkpoint)
    assert loaded.name == "tagrid"
    assert tgim.list_models() == tuple(checkpoint.list_embedded())
    source = picture(30, 30)
    assert tgim.Editor(loaded)(source, TEXT).tobytes() == edit(source, TEXT).tobytes()


@KINDS
@pytest.mark.parametrize("side", [32, 48, 20])
def test_a_batch_is_edited_as_each_picture_alone(editors, kind, side):
    photos = [open_image(sample_picture("birds", seed=seed, size=(side, side))) for seed in (1, 2)]
    texts = ["a small red bird", "yellow wings"]
    pictures = torch.stack([photo.tensor for photo in photos])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edited = editors[kind].edit_batch(pictures, texts)
    for i, (photo, text) in enumerate(zip(photos, texts, strict=True)):
        size = "model" if side == 32 else "photo"
        alone = editors[kind].edit_photo(photo, text, focus=False, size=size).tensor
        assert (edited[i] - alone).abs().max() < 1e-4
        assert not torch.equal(alone, photo.tensor)


@pytest.mark.slow
@KINDS
@pytest.mark.parametrize("side", [32, 48])
def test_strength_of_a_batch_goes_from_the_photograph_to_the_full_edit(editors, kind, side):
    pictures = torch.stack([open_image(sample_picture("birds", seed=s, size=(side, side))).tensor for s in (1, 2)])
    full, half, none = (editors[kind].edit_batch(pictures, [TEXT] * 2, strength=s) for s in (1.0, 0.5, 0.0))
    assert torch.equal(none, pictures)
    assert 0 < (half - pictures).abs().mean() < (full - pictures).abs().mean()
    if kind == "tagan":  # what a weak edit is was not learned: a blend
        assert (half - (pictures + full) / 2).abs().max() <= 1 / 127.5  # a level of a file


def test_a_batch_takes_captions_that_the_model_cannot_read(edit):
    pictures = torch.stack([open_image(picture(32, 32)).tensor] * 3)
    edited = edit.edit_batch(pictures, ["xyzzy plugh", TEXT, ""])
    assert torch.equal(edited[[0, 2]], pictures[[0, 2]])
    assert not torch.equal(edited[1], pictures[1])
    assert torch.equal(edit.edit_batch(pictures[:1], ["xyzzy"]), pictures[:1])


def test_a_batch_that_does_not_fit_is_refused(edit):
    pictures = torch.zeros(2, 3, 32, 32)
    for given, texts, options in (
        (pictures, [TEXT], {}),
        (pictures[0], [TEXT] * 3, {}),
        (pictures, [TEXT] * 2, {"strength": 2}),
    ):
        with pytest.raises(UserError) as raised:
            edit.edit_batch(given, texts, **options)
        assert is_one_line(raised)
