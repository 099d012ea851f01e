"""Views say what they show, the localiser learns from what is known, looks closer, and draws parts to edges."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import is_refused, tgim
from PIL import Image, ImageDraw
from test_data_check import make

from tgim.checkpoints import checkpoint
from tgim.data.points import Points, Spot
from tgim.data.views import GUESSED, SUBJECT, UNKNOWN, Guessed, ViewConfig, Views
from tgim.errors import CheckpointError, DataError, UserError
from tgim.inference.part_overlay import mask_of, open_localiser, part_named
from tgim.models.base import Localising
from tgim.models.parsing import PartLocaliser, find_parts, lift
from tgim.models.parsing.batches import ViewBatches
from tgim.models.parsing.lifting import guided
from tgim.models.parsing.localiser import PartLocaliserConfig, cell_terms
from tgim.models.parsing.teacher import Teacher
from tgim.training import recipe
from tgim.training import run as training

NAMES = ("background", "head", "tail")
SMALL = {"image_size": 64, "widths": (8, 8, 8, 8), "blocks": (1, 1, 1, 1), "pretrained": False}
HEAD, TAIL = (250, 30, 30), (30, 30, 250)


class ByColour(Localising):
    """Sees a head where a picture is red, a tail where it is blue; nothing is learned."""

    name = "by_colour"
    image_size = 192
    parts = NAMES
    presence = 1.0

    def __init__(self):
        super().__init__()
        self.sides = []

    def look(self, image):
        small = torch.nn.functional.avg_pool2d(image, 4)
        self.sides.append(image.shape[-1])
        red, blue = (small[:, 0] - small[:, 2]).clamp(0, 1), (small[:, 2] - small[:, 0]).clamp(0, 1)
        return torch.stack([1 - red - blue, red, blue], 1), image.new_full((len(image),), self.presence)


def scene(*boxes, size=(200, 120)):
    """A gray photograph (1, 3, H, W) with a bird, half head and half tail, in each box."""
    picture = Image.new("RGB", size, (120, 120, 120))
    for x, y, w, h in boxes:
        ImageDraw.Draw(picture).rectangle((x, y, x + w // 2 - 1, y + h - 1), fill=HEAD)
        ImageDraw.Draw(picture).rectangle((x + w // 2, y, x + w - 1, y + h - 1), fill=TAIL)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1


def overlap(a, b):
    w = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    h = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


# Finding parts


@pytest.mark.parametrize(
    "box", [(30, 40, 60, 30), (5, 5, 24, 16), (150, 20, 50, 90), (0, 0, 200, 120), (90, 50, 16, 10)]
)
def test_a_subject_is_found_wherever_it_is_and_however_large(box):
    photo = scene(box)
    found = find_parts(ByColour(), photo)
    assert overlap(found.subject, box) > 0.75
    assert found.names == NAMES
    torch.testing.assert_close(found.maps.sum(0), torch.ones(found.maps.shape[1:]))
    maps = lift(found, photo)
    assert maps.shape == (3, 120, 200)
    torch.testing.assert_close(maps.sum(0), torch.ones(120, 200), atol=1e-4, rtol=0)
    x, y, w, h = box
    assert maps[1, y + h // 2, x + w // 4] > 0.8
    assert maps[2, y + h // 2, x + 3 * w // 4] > 0.8


def test_the_largest_of_several_subjects_is_taken_and_the_others_are_named():
    large, small = (20, 20, 70, 60), (140, 60, 40, 40)
    photo = scene(small, large)
    found = find_parts(ByColour(), photo)
    assert overlap(found.subject, large) > 0.75
    assert [overlap(box, small) > 0.5 for box in found.others] == [True]
    assert lift(found, photo)[0, 80, 150] > 0.9  # background here, though it is another's head
    chosen = find_parts(ByColour(), photo, box=small)
    assert overlap(chosen.subject, small) > 0.75
    assert chosen.others == ()


def test_subjects_that_belong_together_are_found_together():
    class Blossoms(ByColour):
        together = True

    boxes = (20, 20, 70, 60), (140, 60, 40, 40)
    found = find_parts(Blossoms(), scene(*boxes))
    assert overlap(found.subject, (20, 20, 160, 80)) > 0.8
    maps = lift(found, scene(*boxes))
    assert maps[1, 80, 150] > 0.8
    assert maps[1, 50, 40] > 0.8


def test_without_a_subject_there_is_nothing_unless_a_box_says_so():
    photo = scene()
    assert find_parts(ByColour(), photo) is None
    found = find_parts(ByColour(), photo, box=(20, 30, 50, 40))
    assert found.subject == (20, 30, 50, 40)
    unlikely = ByColour()
    unlikely.presence = 0.001  # it looks like a bird, and is none
    assert find_parts(unlikely, scene((30, 40, 60, 30))) is None
    assert find_parts(unlikely, scene((30, 40, 60, 30)), box=(30, 40, 60, 30)) is not None


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 2), (64, 64)])
def test_odd_photographs_are_looked_at(size):
    photo = torch.zeros(1, 3, *size)
    assert find_parts(ByColour(), photo) is None
    found = find_parts(ByColour(), photo, box=(0, 0, size[1], size[0]))
    assert lift(found, photo).shape == (3, *size)


def test_lifted_maps_end_where_the_photograph_has_its_edge():
    box = (61, 33, 83, 57)  # between the cells of any look
    photo = scene(box)
    maps = lift(find_parts(ByColour(), photo), photo)
    truth = torch.zeros(120, 200)
    truth[33 : 33 + 57, 61 : 61 + 83] = 1
    assert ((1 - maps[0] > 0.5).float() - truth).abs().mean() < 0.01


def test_filtering_several_maps_is_filtering_each():
    source = torch.Generator().manual_seed(0)
    guide, masks = torch.rand(1, 3, 40, 30, generator=source) * 2 - 1, torch.rand(1, 3, 40, 30, generator=source)
    together = guided(guide, masks)
    alone = torch.cat([guided(guide, masks[:, i : i + 1]) for i in range(3)], 1)
    torch.testing.assert_close(together, alone)
    flat = torch.full((1, 1, 40, 30), 0.3)
    torch.testing.assert_close(guided(guide, flat), flat)


# Views


@pytest.fixture
def pictures(tmp_path):
    """Red and blue birds on gray with a point each on head, tail and background."""
    rows = []
    for i in range(4):
        picture = Image.new("RGB", (60, 40), (120, 120, 120))
        ImageDraw.Draw(picture).rectangle((10, 8, 29, 31), fill=HEAD)
        ImageDraw.Draw(picture).rectangle((30, 8, 49, 31), fill=TAIL)
        path = tmp_path / f"{i}.png"
        picture.save(path)
        spots = {"head": (Spot(20 / 60, 0.5),), "tail": (Spot(40 / 60, 0.5),), "background": (Spot(5 / 60, 0.1),)}
        rows.append((path, Points(spots, (10 / 60, 8 / 40, 40 / 60, 24 / 40))))
    scenes = []
    for i in range(2):
        scenes.append((tmp_path / f"scene{i}.png", None))
        Image.new("RGB", (50, 50), (90, 160, 90)).save(scenes[-1][0])
    return rows, scenes


def by_colour(picture, points):
    values = picture.astype(np.float32)
    subject = (np.abs(values[..., 0] - values[..., 2]) > 60).astype(np.float32)
    return Guessed(subject[..., None], (0.0, 0.0, float(picture.shape[1]), float(picture.shape[0])))


def views_of(pictures, *, guess=by_colour, **options):
    rows, scenes = pictures
    settings = {"count": 40, "colours": 0.0, "empty": 0.2, "small": 0.3, **options}
    return Views(rows, scenes, ViewConfig(**settings), NAMES, 64, seed=3, guess=guess)


def test_views_label_what_they_show(pictures):
    views = views_of(pictures)
    counts = dict.fromkeys(("head", "tail", "background", "subject"), 0)
    for number in range(len(views)):
        view = views.view(number)
        assert view.picture.shape == (64, 64, 3)
        pixels = view.picture.astype(int).reshape(16, 4, 16, 4, 3)
        bluer = (pixels[..., 2] - pixels[..., 0]).mean((1, 3))
        coloured = np.abs(pixels[..., 2] - pixels[..., 0]).mean((1, 3))
        for label, wanted in (
            (1, bluer < -60),
            (2, bluer > 60),
            (0, coloured < 60),
            (SUBJECT, coloured > 60),
        ):
            at = view.cells == label
            assert wanted[at].mean() > 0.85 if at.sum() > 3 else True, (number, label)
            counts[(*("background", "head", "tail"), "subject")[min(label, 3)]] += int(at.sum())
    assert min(counts.values()) > 30


def test_a_view_depends_on_seed_and_number_alone(pictures):
    first, second = views_of(pictures), views_of(pictures)
    later = [second.view(i) for i in (7, 3)]
    for number, again in zip((7, 3), later, strict=True):
        view = first.view(number)
        assert np.array_equal(view.picture, again.picture)
        assert np.array_equal(view.cells, again.cells)
    assert not np.array_equal(first.view(3).picture, first.view(4).picture)


def test_a_view_without_subject_is_background_and_a_drawn_one_is_known_nearly_everywhere(pictures):
    empty = views_of(pictures, empty=1.0).view(0)
    assert not empty.cells.any()
    parts = ("background", *("back", "beak", "belly", "breast", "head", "legs", "wings", "tail", "throat"))
    drawn = Views((), (), ViewConfig(drawn=1.0), parts, 64).view(1)
    assert (drawn.cells == UNKNOWN).mean() < 0.3
    assert len(set(drawn.cells.flat) - {UNKNOWN}) > 4


def test_guesses_of_parts_are_marked_as_such(pictures):
    def told(picture, points):
        subject = by_colour(picture, points).subject
        head = subject * (np.arange(picture.shape[1]) < picture.shape[1] / 2)
        return Guessed(np.stack([1 - subject, head, subject - head], -1), (0, 0, picture.shape[1], picture.shape[0]))

    cells = np.concatenate([views_of(pictures, guess=told, empty=0.0).view(i).cells for i in range(8)])
    assert {GUESSED + 1, GUESSED + 2} <= set(cells.flat)


# Learning


def test_terms_are_means_over_the_cells_that_they_are_about():
    logits = torch.zeros(1, 3, 1, 6, requires_grad=True)
    shifted = logits + torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    cells = torch.tensor([[[0, 1, 2, SUBJECT, GUESSED + 1, UNKNOWN]]])
    logs = torch.tensor([0.0, 1.0, 0.0]).log_softmax(0)
    terms = cell_terms(shifted, cells, guess_weight=0.5)
    assert terms["parts"].item() == pytest.approx(-(logs[1] + logs[2]).item() / 2)
    assert terms["background"].item() == pytest.approx(-logs[0].item())
    assert terms["subject"].item() == pytest.approx(-np.log(1 - logs[0].exp().item()))
    assert terms["guess"].item() == pytest.approx(-logs[1].item() / 2)
    sum(terms.values()).backward()
    assert not logits.grad[..., 5].any()  # where nothing is known


def test_balanced_parts_weigh_the_same_however_many_cells_are_known():
    logits = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    cells = torch.tensor([[[1, 1, 1, 2]]])
    logs = torch.tensor([0.0, 1.0, 0.0]).log_softmax(0)
    found = [cell_terms(logits, cells, balance=balance)["parts"].item() for balance in (0.0, 1.0)]
    assert found == pytest.approx([-(3 * logs[1] + logs[2]).item() / 4, -(logs[1] + logs[2]).item() / 2])


def folder_with_points(root):
    make(root, "folder", size=(60, 40))
    lines = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    for line in lines:
        picture = Image.new("RGB", (60, 40), (120, 120, 120))
        ImageDraw.Draw(picture).rectangle((10, 8, 29, 31), fill=HEAD)
        ImageDraw.Draw(picture).rectangle((30, 8, 49, 31), fill=TAIL)
        picture.save(root / "images" / line["file_name"])
        line["points"] = {"head": [[0.3, 0.5]], "tail": [[0.7, 0.5]], "background": [[0.05, 0.05], [0.95, 0.9]]}
        del line["captions"]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def recipe_for(root, **model):
    return recipe.parse(
        {
            "model": {"name": "part_localiser", "part_names": ["head", "tail"], **SMALL, **model},
            "data": {"name": "folder", "root": str(root), "captions": "none", "views": {"count": 12, "guess": "none"}},
            "train": {"steps": 3, "batch_size": 4, "device": "cpu", "lr": 0.01},
        }
    )


def test_a_run_on_ones_own_points_can_be_stopped_and_resumed(tmp_path):
    given = recipe_for(folder_with_points(tmp_path / "data"))
    whole = checkpoint.load(training.fit(given, out=tmp_path / "whole", progress=False))
    first = recipe.parse({**given.values(), "train": {**given.values()["train"], "steps": 1}})
    training.fit(first, out=tmp_path / "parted", progress=False)
    parted = checkpoint.load(training.fit(given, out=tmp_path / "parted", resume=True, progress=False))
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, parted.model.state_dict()[key]), key
    assert whole.model.parts == NAMES
    assert whole.kind == "parser"


def test_maps_are_computed_once_and_kept(tmp_path, monkeypatch):
    given = recipe_for(folder_with_points(tmp_path / "data"))
    training.fit(given, out=tmp_path / "first", progress=False)
    monkeypatch.setattr("tgim.models.parsing.batches._maps", lambda *_: pytest.fail("looked again"))
    training.fit(given, out=tmp_path / "second", progress=False)


def test_a_dry_run_tells_what_is_frozen(tmp_path):
    found = training.dry_run(recipe_for(folder_with_points(tmp_path / "data")))
    assert found.parameters["backbone"][0] == 0 < found.parameters["backbone"][1]
    assert found.parameters["decoder"][1] == 0 < found.parameters["decoder"][0]


@pytest.mark.parametrize(("names", "said"), [(["head"], "'tail'"), (["head", "tail", "foot"], "'foot'")])
def test_parts_that_data_and_model_do_not_share_are_named(names, said, tmp_path):
    with pytest.raises(DataError, match=said):
        training.fit(
            recipe_for(folder_with_points(tmp_path / "data"), part_names=names), out=tmp_path / "run", progress=False
        )


def test_a_teacher_must_know_the_same_parts(tmp_path):
    path = saved(tmp_path, background=0.0)
    assert Teacher.load(str(path), NAMES)(np.zeros((30, 40, 3), np.uint8), None).maps.shape[2] == 3
    with pytest.raises(CheckpointError, match="same parts"):
        Teacher.load(str(path), ("background", "petals"))


def test_a_teacher_is_learned_from(tmp_path):
    teacher = saved(tmp_path, background=-9.0, head=9.0)
    given = recipe_for(folder_with_points(tmp_path / "data"), teacher=str(teacher))
    model = PartLocaliser(given.model_settings(), vocabulary_size=3)
    from tgim.data import open_dataset

    batches = ViewBatches(
        model, open_dataset(given.data), given.data, batch_size=4, vocabulary=model.vocabulary_for(model.config)
    )
    assert (batches.batch(0).views.cells == GUESSED + 1).any()


# The command


def saved(folder: Path, **bias: float) -> Path:
    """An untrained localiser whose answer is the same everywhere."""
    torch.manual_seed(0)
    model = PartLocaliser(PartLocaliserConfig(part_names=("head", "tail"), **SMALL), vocabulary_size=5).eval()
    with torch.no_grad():
        last = model.decoder.output[-1]
        last.weight.zero_()
        last.bias.copy_(torch.tensor([bias.get(name, 0.0) for name in NAMES]))
    return checkpoint.save(
        folder / "parts.safetensors", model, vocabulary=model.vocabulary_for(model.config), half=True
    )


@pytest.fixture
def here(tmp_path, monkeypatch, drawn_bird):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bird.jpg").write_bytes(drawn_bird)
    return tmp_path


def test_the_command_writes_an_overlay_a_mask_and_figures(here):
    model = saved(here, background=-9.0, head=9.0)
    result = tgim("parts", "bird.jpg", "--model", model, "--out", "parts.png")
    assert result.exit_code == 0, result.output
    shown = Image.open("parts.png")
    assert shown.width == 120
    assert shown.height > 90  # the legend is below
    assert tgim("parts", "bird.jpg", "--model", model, "--mask", "head").stdout.strip() == "bird-head.png"
    mask = Image.open("bird-head.png")
    assert (mask.mode, mask.size) == ("L", (120, 90))
    assert np.asarray(mask).min() > 250
    result = tgim("parts", "bird.jpg", "--model", model, "--json")
    told = json.loads(result.stdout)
    assert told["subject"] == [0, 0, 120, 90]
    assert told["shares"]["head"] > 0.99
    assert told["out"] is None
    assert sorted(path.name for path in here.iterdir()) == [
        "bird-head.png", "bird.jpg", "parts.png", "parts.safetensors",
    ]  # fmt: skip


def test_without_a_subject_one_line_says_so_and_nothing_is_written(here):
    model = saved(here, background=9.0)
    before = sorted(here.iterdir())
    assert "no subject" in is_refused(tgim("parts", "bird.jpg", "--model", model, "--out", "parts.png"))
    assert sorted(here.iterdir()) == before
    assert tgim("parts", "bird.jpg", "--model", model, "--out", "p.png", "--box", "9,9,40,40").exit_code == 0


def test_what_cannot_be_shown_is_one_line(here, tagrid_file):
    model = saved(here, head=9.0)
    assert "'beak'" in is_refused(tgim("parts", "bird.jpg", "--model", model, "--mask", "beak"))
    assert "knows no parts" in is_refused(tgim("parts", "bird.jpg", "--model", tagrid_file))
    assert "not there" in is_refused(tgim("parts", "none.jpg", "--model", model))
    assert "the picture itself" in is_refused(tgim("parts", "bird.jpg", "--model", model, "--out", "bird.jpg"))
    assert "box" in is_refused(tgim("parts", "bird.jpg", "--model", model, "--box", "9,9,400,40"))


def test_parts_go_by_other_names_too():
    names = ("background", "beak", "wings")
    assert [part_named(word, names) for word in ("bill", "Wing", "wings", "bird")] == [
        "beak",
        "wings",
        "wings",
        "subject",
    ]
    with pytest.raises(UserError, match="beak"):
        part_named("beek", names)


def test_the_subject_is_all_parts_together():
    photo = scene((30, 40, 60, 30))
    found = find_parts(ByColour(), photo)
    maps = lift(found, photo)
    whole, head, tail = (mask_of(found, maps, name).astype(int) for name in ("subject", "head", "tail"))
    assert np.abs(whole - head - tail).max() <= 2


def test_an_editor_with_a_localiser_is_opened_for_its_parts(tmp_path, monkeypatch):
    path = saved(tmp_path)
    inside = checkpoint.load(path).model

    class Editor(torch.nn.Module):
        name = "editor"
        localiser = inside

    monkeypatch.setattr(
        "tgim.checkpoints.checkpoint.load", lambda *_, **__: checkpoint.Checkpoint(Editor(), None, "{}")
    )
    assert open_localiser("any") is inside


def test_closer_looks_see_more_cells_of_the_subject():
    small = find_parts(ByColour(), scene((90, 50, 24, 16)))
    x, _, w, _ = small.frame
    assert w < 60  # of 200
    assert all(a <= b for a, b in pairwise((x, 90, 90 + 24, x + w)))
