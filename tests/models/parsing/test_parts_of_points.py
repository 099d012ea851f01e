"""The parts of a localiser are those that points name; pictures without points are learned from, too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.by_colour import SMALL
from support.houses import PARTS, folder_of_houses
from tgim.data import open_dataset
from tgim.data.config import DataConfig
from tgim.data.guesses import guesser
from tgim.data.points import Points, Spot, read_points
from tgim.data.views import GUESSED, SUBJECT, read_picture
from tgim.errors import DataError
from tgim.models.parsing.batches import ViewBatches, mixed, open_views, part_names
from tgim.models.parsing.localiser import PartLocaliser, PartLocaliserConfig


def config_of(root: Path, **views: object) -> DataConfig:
    settings = {"count": 24, "near": (0.9, 1.1), "rotate": 0.0, "colours": 0.0, "small": 0.0, **views}
    return DataConfig.model_validate(
        {"name": "folder", "root": str(root), "split": "trainval", "captions": {"pick": "none"}, "views": settings}
    )


def completed(root: Path, **model: object) -> PartLocaliserConfig:
    data = config_of(root)
    given = PartLocaliserConfig.model_validate({"part_names": "points", **SMALL, **model})
    return PartLocaliser.config_for(given, dataset=open_dataset(data), data=data)


def views_of(root: Path, **settings: object):
    model = PartLocaliser(completed(root), vocabulary_size=0)
    data = config_of(root, **settings)
    return open_views(model, open_dataset(data), data)


def test_parts_are_those_that_the_points_name(tmp_path):
    config = completed(folder_of_houses(tmp_path, pointed=20))
    assert config.part_names == PARTS
    assert PartLocaliser(config, vocabulary_size=0).parts == ("background", *PARTS)
    assert "door" in PartLocaliser.vocabulary_for(config)


def test_without_points_there_is_the_subject_alone(tmp_path):
    root = folder_of_houses(tmp_path, pointed=0)
    assert completed(root).part_names == ("subject",)
    lines = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    lines[0]["points"] = {"background": [[0.1, 0.1]]}  # says of no part where it is
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert completed(root).part_names == ("subject",)


@pytest.mark.parametrize(
    ("kind", "names"),
    [("birds", ("head", "throat", "breast", "belly")), ("flowers", ("petals", "center"))],
)
def test_parts_of_synthetic_pictures_are_those_of_the_renderer(kind, names):
    data = DataConfig.model_validate({"name": "synthetic", "synthetic": {"pool": 20, "kind": kind}})
    assert part_names(None, data)[: len(names)] == names


def test_names_that_a_recipe_gives_stay(tmp_path):
    data = config_of(folder_of_houses(tmp_path))
    given = PartLocaliserConfig.model_validate({"part_names": ["roof"], **SMALL})
    assert PartLocaliser.config_for(given, dataset=open_dataset(data), data=data) is given


def test_a_part_with_points_in_too_few_pictures_is_one_clear_line(tmp_path):
    with pytest.raises(DataError, match=r"points of 'door' in 2 of the pictures .*3 or more") as error:
        completed(folder_of_houses(tmp_path, count=2))
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"lean names 'window'.*door, roof, wall"):
        completed(folder_of_houses(tmp_path / "more"), lean={"window": 1.0})


def test_pictures_without_points_join_by_their_guessed_outline(tmp_path):
    root = folder_of_houses(tmp_path, pointed=6)
    pointed = read_points(open_dataset(config_of(root))).keys()
    alone, joined = views_of(root), views_of(root, unlabelled=0.5)
    assert {path for path, _ in alone.pictures} == set(pointed)
    others = [path for path, _ in joined.pictures if path not in pointed]
    assert {path.name for path in others} | {path.name for path in pointed} == {
        item.path.name for item in open_dataset(config_of(root)).items
    }
    assert len(others) / len(joined.pictures) == pytest.approx(0.5, abs=0.1)
    only = views_of(root, guess="none", unlabelled=0.9)
    for number in range(len(only)):
        path, _ = only.pictures[only._row(number)]
        cells = only.view(number).cells
        assert bool(np.isin(cells, (SUBJECT, GUESSED)).any()) is (path not in pointed)


def test_without_points_all_is_learned_from_guesses(tmp_path):
    root = folder_of_houses(tmp_path, pointed=0)
    with pytest.raises(DataError, match="no points of parts"):
        views_of(root)
    views = views_of(root, unlabelled=0.5)
    cells = np.stack([views.view(i).cells for i in range(12)])
    assert set(np.unique(cells)) <= {SUBJECT, GUESSED, 255}
    assert (cells[:, 7:9, 7:9] == SUBJECT).mean() > 0.7  # a house is in the middle
    assert (cells[:, 0] != SUBJECT).all()


def test_a_guess_without_points_finds_what_is_in_the_middle(tmp_path):
    root = folder_of_houses(tmp_path, count=3)
    guess, pointed_only = guesser(pointed=False, others=True), guesser(pointed=True, others=False)
    few = Points({"roof": (Spot(0.5, 0.5),)})
    for item in open_dataset(config_of(root)).items:
        picture = read_picture(item.path)
        found = guess(picture, Points({}))
        assert found.frame == (0, 0, picture.shape[1], picture.shape[0])
        house = np.abs(picture.astype(int) - picture.mean(2, keepdims=True)).max(2) > 40
        rows = (np.arange(picture.shape[0]) * found.subject.shape[0] / picture.shape[0]).astype(int)
        columns = (np.arange(picture.shape[1]) * found.subject.shape[1] / picture.shape[1]).astype(int)
        assert (found.subject[rows][:, columns] == house).mean() > 0.85
        assert guess(picture, few) is pointed_only(picture, None) is None
    assert guesser(pointed=False, others=False) is None


def test_shares_of_pictures_without_points():
    one, other = (Path("a"), Points({})), (Path("b"), Points({}))
    for pointed, rest, share in ((3, 300, 0.5), (3, 300, 0.2), (10, 10, 0.5), (50, 5, 0.5), (0, 7, 0.5)):
        found = mixed([one] * pointed, [other] * rest, share=share)
        assert found.count(other) == rest
        if rest > pointed > 0:
            assert rest / len(found) == pytest.approx(share, abs=0.05)
        assert found.count(one) >= pointed


def test_pictures_that_cannot_be_read_are_left_out(tmp_path):
    root = folder_of_houses(tmp_path / "data", count=12)
    data = config_of(root, count=4)
    dataset = open_dataset(data)
    dataset.items[0].path.write_bytes(dataset.items[0].path.read_bytes()[:-300])
    dataset.items[1].path.unlink()
    model = PartLocaliser(completed(root), vocabulary_size=0)
    settings = {"batch_size": 2, "vocabulary": model.vocabulary_for(model.config), "cache": tmp_path / "cache"}
    batches = ViewBatches(model, dataset, data, **settings)
    assert batches.batch(0).image.isfinite().all()
    for item in dataset.items:
        item.path.unlink(missing_ok=True)
    with pytest.raises(DataError, match="none of its pictures can be read"):
        ViewBatches(model, dataset, data, **settings)
