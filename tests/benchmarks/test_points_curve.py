"""What `benchmarks/points_curve.py` trains on: points lie on their parts, and only so many pictures have some."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from support.scripts import run, script
from tgim.data import folder
from tgim.data.base import random_source
from tgim.data.points import faults_of
from tgim.data.synthetic import pairs as synthetic
from tgim.text.lexicon.synthetic import LOCALISED

CURVE = script("points_curve")


def pointed(root, split="all"):
    return {item.path.name for item in folder.load(root, split=split).items if item.points}


def test_so_many_pictures_have_points_and_all_that_are_measured(tmp_path):
    birds = CURVE.Birds(tmp_path / "birds", pictures=20, seed=0)
    test = {item.path.name for item in folder.load(birds.root, split="test").items}
    assert len(pointed(birds.root)) == 20
    before: set[str] = set()
    for count in (0, 3, 6):
        birds.give_points(count)
        assert pointed(birds.root, "test") == test
        taught = pointed(birds.root, "trainval")
        assert len(taught) == count
        assert before <= taught  # a longer list goes on where the shorter one ends
        before = taught
    with pytest.raises(Exception, match="99 pictures with points"):
        birds.give_points(99)


def test_points_lie_on_their_parts():
    names = LOCALISED["birds"]
    for seed in range(3):
        source = random_source(seed, 1)
        rendered = synthetic.render(synthetic.random_scene("bird", source), (120, 160))
        found = CURVE.points_of(rendered, source)
        assert not faults_of(found)
        assert {"head", "wings", "background"} <= found.keys()
        for part, places in found.items():
            for x, y in places:
                at = int(y * 120), int(x * 160)
                if part == "background":
                    assert rendered.subject[at] < 0.01
                else:
                    shares = [mask[at] for name, mask in rendered.parts.items() if names.get(name) == part]
                    assert sum(shares) > 0.9


def test_the_recipe_is_the_one_of_the_repository_but_shorter(tmp_path):
    short = CURVE.recipe(tmp_path, CURVE.Birds.options, budget=0.1, seed=2, guided=True)
    assert [recipe.train.steps for recipe in short.trainings.values()] == [70, 60, 120, 70]
    assert [recipe.train.seed for recipe in short.trainings.values()] == [2, 7, 2, 3]
    assert short.report is None
    alone = CURVE.recipe(tmp_path, CURVE.Flowers.options, budget=0.1, seed=0, guided=False)
    assert {name: recipe.train.steps for name, recipe in alone.trainings.items()} == {"parts": 70, "lessons": 120}
    assert alone.trainings["lessons"].model["matching"] is None
    assert alone.trainings["parts"].model["together"]


def test_the_table_has_a_row_for_each_number_of_points(tmp_path):
    lines = [
        {"data": "birds", "points": points, "metric": metric, "value": value, "n": 80}
        for points, value in ((10, 0.4), (0, 0.2))
        for metric in ("hit", "spilt")
    ]
    new = [{**lines[0], "value": 0.6}]
    file = tmp_path / "points.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in CURVE.kept(lines, new)))
    answer = run(CURVE.main, "--results", file)
    rows = [line for line in answer.output.splitlines() if line.startswith("| birds")]
    assert [[each.strip() for each in row.split("|")[2:5]] for row in rows] == [["0", "80", "0.2"], ["10", "80", "0.6"]]
    assert "hit" in answer.output
    assert run(CURVE.main, "--run", "--results", file).exit_code == 2


@pytest.mark.data
def test_flowers_are_links_and_the_split_is_the_data_sets(tmp_path):
    flowers = CURVE.Flowers(tmp_path, pictures=260, seed=0)
    taught, tested = (folder_of(tmp_path, split) for split in ("trainval", "test"))
    assert len(taught.items) == 260
    assert {item.path.stem for item in tested.items} == flowers.test
    assert all(item.path.is_symlink() for item in taught.items)
    flowers.give_points(10)
    assert len((tmp_path / "points.jsonl").read_text().splitlines()) == 10 + len(flowers.test)
    assert np.asarray(Image.open(taught.items[0].path)).ndim == 3


def folder_of(root, split):
    from tgim.data import oxford102

    return oxford102.load(root, split=split)
