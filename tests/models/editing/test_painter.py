"""The painter as an editor: what it finds, what it leaves, what it says; and the pairs that it makes."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from tgim.checkpoints.checkpoint import Checkpoint
from tgim.errors import FittingAlreadyWarning, MissingPartWarning, SubjectError, TextError
from tgim.images.photo import from_uint8, open_image
from tgim.inference.editor import Editor
from tgim.models.base import Config, Localising, Request
from tgim.models.editing.painting.already import true_already
from tgim.models.editing.painting.captions import parse_caption
from tgim.models.editing.painting.lab import to_lab
from tgim.models.editing.painting.painter import Painter
from tgim.models.editing.painting.pairs import painted_pairs
from tgim.models.editing.painting.rules import target_masks
from tgim.text.understand import UnknownWordWarning
from tgim.text.vocabulary import Vocabulary

COLOURS = {"head": (90, 60, 50), "belly": (150, 140, 130), "wings": (60, 80, 70)}  # of the drawn bird; gray is nothing
PARTS = ("background", *COLOURS)


class KeyedConfig(Config):
    image_size: int = 64


class Keyed(Localising):
    """Sees a part wherever its colour is."""

    name: ClassVar[str] = "keyed"
    Config: ClassVar[type[Config]] = KeyedConfig
    networks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, parts: tuple[str, ...] = PARTS) -> None:
        super().__init__()
        self.config, self._parts = KeyedConfig(), parts

    @property
    def parts(self) -> tuple[str, ...]:
        return self._parts

    def look(self, image: Tensor) -> tuple[Tensor, Tensor]:
        keys = torch.tensor([(128, 128, 128), *COLOURS.values()]).view(1, -1, 3, 1, 1) / 127.5 - 1
        far = (image[:, None] - keys).square().sum(2)
        maps = torch.nn.functional.avg_pool2d(torch.softmax(-400 * far, 1), 2)
        return maps, (1 - maps[:, 0]).flatten(1).amax(1)


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter(Keyed()).eval()


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor(Checkpoint(Keyed(), Vocabulary(["bird"]), "{}"))


def bird(*parts: str, size: tuple[int, int] = (120, 160)) -> Tensor:
    """A picture (1, 3, H, W) of blocks, each of a part's colour with some texture, on gray."""
    height, width = size
    picture = torch.full((3, height, width), 128.0)
    for i, part in enumerate(COLOURS):
        if part in parts:
            rows, columns = slice(height // 4, 3 * height // 4), slice((i + 1) * width // 6, (i + 2) * width // 6)
            picture[:, rows, columns] = torch.tensor(COLOURS[part], dtype=torch.float32)[:, None, None]
    noise = 2 * torch.randn(1, height, width, generator=torch.Generator().manual_seed(0))
    return from_uint8((picture + noise).round().clamp(0, 255).to(torch.uint8))[None]


def ask(painter: Painter, *captions: str, **options: object) -> Request:
    return Request(captions, painter.vocabulary.encode(captions), **options)  # type: ignore[arg-type]


WHOLE = bird(*COLOURS)
HEAD = (slice(40, 80), slice(32, 48))  # rows and columns well inside
BELLY = (slice(40, 80), slice(60, 74))


def test_the_named_part_gets_the_colour_and_the_rest_stays(painter):
    edited = painter.edit_photo(WHOLE, ask(painter, "this bird has a red head"))
    lab = to_lab(edited[0])
    assert lab[1][HEAD].min() > 35
    assert torch.equal(edited[0, :, BELLY[0], BELLY[1]], WHOLE[0, :, BELLY[0], BELLY[1]])
    assert torch.equal(edited[..., :20, :], WHOLE[..., :20, :])
    assert edited.shape == WHOLE.shape
    assert edited.abs().max() <= 1


def test_strength_0_changes_nothing_and_half_is_half(painter):
    full, half, none = (
        painter.edit_photo(WHOLE, ask(painter, "a blue belly", strength=strength)) for strength in (1.0, 0.5, 0.0)
    )
    assert torch.equal(none, WHOLE)
    assert torch.allclose(half, (WHOLE + full) / 2, atol=1e-5)
    assert not torch.equal(full, WHOLE)


def test_a_part_that_has_its_colour_is_left_alone(painter):
    red = painter.edit_photo(WHOLE, ask(painter, "red head"))
    lab = to_lab(red[0, :, HEAD[0], HEAD[1]].numpy())
    maps = np.zeros((4, *lab.shape[1:]), np.float32)
    maps[1] = 1
    for caption, expected in (("red head", True), ("blue head", False), ("white head", False)):
        targets = parse_caption(caption, PARTS).targets
        assert true_already(lab, np.ones((1, *lab.shape[1:]), np.float32), maps, targets, PARTS) == [expected], caption


def test_a_request_of_one_colour_is_no_description_of_a_bird_that_nearly_has_it():
    brown = np.full((20, 20, 3), (105, 75, 50), np.float32).transpose(2, 0, 1) / 127.5 - 1
    maps = np.zeros((4, 20, 20), np.float32)
    maps[1, :10], maps[2, 10:] = 1, 1
    for caption, expected in (("red head and belly", False), ("brown head and belly", True)):
        targets = parse_caption(caption, PARTS).targets
        assert true_already(to_lab(brown), maps[1:3], maps, targets, PARTS) == [expected] * 2, caption
    described = parse_caption("reddish brown head and brown belly", PARTS).targets
    assert true_already(to_lab(brown), maps[1:3], maps, described, PARTS) == [True] * 2


def test_a_whole_bird_leaves_room_for_its_parts():
    maps = np.zeros((4, 6, 9), np.float32)
    for i in range(3):
        maps[i + 1, :, 3 * i : 3 * i + 3] = 1
    whole, wings = target_masks(
        maps, np.ones((6, 9), np.float32), parse_caption("white bird with black wings", PARTS).targets, PARTS
    )
    assert (whole[:, :6] == 1).all()
    assert (whole[:, 6:] == 0).all()
    assert (wings[:, 6:] == 1).all()


def test_without_a_subject_it_is_an_error_or_skipped(painter):
    empty = bird()
    with pytest.raises(SubjectError, match="no bird is found"):
        painter.edit_photo(empty, ask(painter, "red head"))
    assert torch.equal(painter.edit_photo(empty, ask(painter, "red head", skip=True)), empty)


def test_a_part_out_of_view_is_a_warning_and_alone_an_error(painter):
    photo = bird("belly", "wings")
    with pytest.warns(MissingPartWarning, match="head"):
        edited = painter.edit_photo(photo, ask(painter, "red head and a blue belly"))
    assert not torch.equal(edited, photo)
    with pytest.raises(SubjectError, match="head"):
        painter.edit_photo(photo, ask(painter, "red head"))


def test_nothing_changes_outside_a_box(painter):
    box = (20, 25, 60, 70)
    edited = painter.edit_box(WHOLE, ask(painter, "this bird is yellow"), box)
    outside = torch.ones(120, 160, dtype=torch.bool)
    outside[25:95, 20:80] = False
    assert torch.equal(edited[0][:, outside], WHOLE[0][:, outside])
    assert not torch.equal(edited, WHOLE)


@pytest.mark.slow
def test_an_editor_takes_any_localiser(editor):
    assert editor.model.name == "painter"
    photo = open_image(((WHOLE[0] + 1) / 2).permute(1, 2, 0).numpy())
    red = editor.edit_photo(photo, "make its head crimson, please")
    assert red.pixels.shape == photo.pixels.shape
    assert editor.edit_photo(photo, "red head", size="model").tensor.shape == (3, 64, 64)
    pictures = torch.cat([WHOLE, bird()])
    edited = editor.edit_batch(pictures, ["red head", "red head"])
    assert not torch.equal(edited[0], pictures[0])
    assert torch.equal(edited[1], pictures[1])
    assert torch.equal(editor.edit_batch(pictures, ["a bird", "zebra"]), pictures)


def test_what_is_not_painted_is_warned_of_and_nothing_to_paint_is_an_error(editor):
    with pytest.warns(UnknownWordWarning, match="speckled"):
        editor.caption("a red head and speckled wings")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert editor.caption("red head") == "red head"
    with pytest.raises(TextError, match="says no colour"):
        editor.caption("a nice bird")


def test_tokens_say_as_much_as_captions(painter):
    small = torch.nn.functional.interpolate(WHOLE, (64, 64))
    request = ask(painter, "red head")
    assert torch.equal(painter.edit(small, request.tokens), painter.edit_photo(small, request))


@pytest.mark.slow
def test_pairs_change_what_the_altered_caption_says(painter):
    vocabulary = Vocabulary.build(["this bird has a brown head and a gray belly red blue white"])
    caption = "this bird has a brown head and a gray belly"
    pairs = list(painted_pairs(painter, [(WHOLE[0], caption)] * 6, vocabulary, seed=1))
    assert pairs
    for pair in pairs:
        assert pair.caption == caption != pair.target_caption
        assert torch.equal(pair.photo[:, ~pair.change], pair.target[:, ~pair.change])
        assert pair.change.any()
    again = list(painted_pairs(painter, [(WHOLE[0], caption)] * 6, vocabulary, seed=1))
    assert [pair.target_caption for pair in again] == [pair.target_caption for pair in pairs]


def test_a_picture_that_fits_already_is_told_of(painter):
    red = painter.edit_photo(WHOLE, ask(painter, "red head"))
    with pytest.warns(FittingAlreadyWarning, match="taken to show that already, so nothing is changed"):
        assert torch.equal(painter.edit_photo(red, ask(painter, "red head")), red)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        painter.edit_photo(red, ask(painter, "red head", skip=True))
