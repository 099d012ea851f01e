"""Laws of runs of `parts@1`: who stands in the table, what is measured again, what is printed, and real photographs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from support import parts_world as world
from support.commands import is_refused, tgim
from tgim.data.config import DataConfig
from tgim.errors import DataError
from tgim.evaluation import PROTOCOLS, Bench, evaluate
from tgim.evaluation.baselines import Identity
from tgim.evaluation.contenders import ModelContender
from tgim.evaluation.part_scores import scene_of
from tgim.evaluation.parts import ASKS, PARTS, parts_task, pixels_of
from tgim.images.photo import from_uint8


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    return world.build(tmp_path_factory.mktemp("parts") / "birds")


@pytest.mark.slow
def test_editors_of_any_size_stand_in_one_table_and_are_measured_once(
    birds, tagrid_file, tagan_file, tmp_path, monkeypatch
):
    options = {
        "data": DataConfig(name="cub", root=str(birds), split="test"),
        "protocols": ["parts@1"],
        "photos": birds / "photos",
        "cache": tmp_path / "cache",
        "limit": 2,
    }
    out = tmp_path / "results.jsonl"
    lines = evaluate([tagrid_file, tagan_file], **options, out=out)
    assert {line.model for line in lines} == {
        *("identity", "mean_colour", "blur16", "unrelated", "colour_shift", "tagrid", "tagan"),
    }
    hits = [line for line in lines if line.metric == "hit"]
    assert {line.n for line in hits} == {2}
    assert {(line.data, line.size, line.split, line.options["asks"]) for line in lines} == {
        ("cub photographs", 0, "test", ASKS)
    }
    assert all(line.low <= line.value <= line.high for line in lines)
    assert set(PARTS.metrics) <= {line.metric for line in lines}

    def never(*args):
        raise AssertionError("edited again")

    monkeypatch.setattr(ModelContender, "edit_photo", never)
    assert evaluate([tagrid_file, tagan_file], **options, out=out) == lines  # from the file
    again = evaluate([tagrid_file, tagan_file], **options)  # from the cache
    assert [line.value for line in again] == [line.value for line in lines]
    cut = evaluate([], **{**options, "photos": None})
    assert {line.data for line in cut} == {"cub"}
    assert {line.content for line in cut}.isdisjoint({line.content for line in lines})


@pytest.mark.slow
def test_it_is_measured_where_there_are_points(birds, tmp_path):
    flowers = world.folder_of_flowers(tmp_path / "mine")
    options = {"size": 32, "limit": 3}

    def protocols(root, name):
        return {
            line.protocol for line in evaluate([], data=DataConfig(name=name, root=str(root), split="all"), **options)
        }

    assert "parts@1" in protocols(flowers, "folder")
    records = [json.loads(line) for line in (flowers / "metadata.jsonl").read_text().splitlines()]
    bare = "\n".join(json.dumps({k: v for k, v in record.items() if k != "points"}) for record in records)
    (flowers / "metadata.jsonl").write_text(bare)
    assert "parts@1" not in protocols(flowers, "folder")
    data = DataConfig(name="folder", root=str(flowers), split="all")
    with pytest.raises(DataError, match="no points that say where parts are"):
        evaluate([], data=data, protocols=["parts@1"])
    with pytest.raises(DataError, match="whole photographs are those of cub's pictures"):
        evaluate([], data=data, protocols=["parts@1"], photos=birds / "photos")
    cub = DataConfig(name="cub", root=str(birds), split="test")
    with pytest.raises(DataError, match="no photograph that is named like"):
        evaluate([], data=cub, protocols=["parts@1"], photos=flowers / "images")


@pytest.mark.slow
def test_the_command_prints_the_table(birds, tagrid_file, tmp_path):
    args = ("eval", "--model", tagrid_file, "--data", birds, "--protocol", "parts", "--limit", 3)
    result = tgim(*args, "--photos", birds / "photos")
    assert result.exit_code == 0, result.output
    first = result.stdout.splitlines()
    assert first[0] == "cub photographs, test split, n 3, seed 0: parts@1, own size"
    assert first[2].split()[:4] == ["contender", "hit", "half", "way"]
    assert all(
        part in result.stdout for part in ("tagrid", "colour shift", "hit by part", "hit by colour", "outside, of 255")
    )
    assert "is no folder" in is_refused(tgim(*args, "--photos", tmp_path / "nowhere"))
    assert "parts@1" in PROTOCOLS


# real photographs


@pytest.mark.slow
@pytest.mark.data
def test_real_photographs_of_test_classes_are_asked_about():
    home = Path(os.environ["TGIM_DATA"])
    data = DataConfig(name="cub", split="test")
    bench = Bench(data, size=64, photos=home / "photos" / "birds", limit=6)
    found = parts_task(bench)
    assert len(found.pictures) == 6
    test = {line.strip() for line in (home / "cub" / "testclasses.txt").read_text().splitlines()}
    names = {line.split()[1] for line in (home / "cub" / "images.txt").read_text().splitlines()}
    classes = {name.split("/")[1]: name.split("/")[0] for name in names}
    assert all(classes[asked.picture.path.name] in test for asked in found.pictures)
    flat = world.figures(bench, RealFlat(found))
    assert flat["hit"] == 1
    assert flat["spilt"] < 0.05
    assert flat["outside"] < 0.1
    assert abs(flat["texture"]) < 0.05
    assert world.figures(bench, Identity())["hit"] < 0.1


class RealFlat(world.Known):
    """Flat paint in squares around the points."""

    def __init__(self, asking):
        super().__init__(world.flat_part, asking)

    def edit_photo(self, photo, text):
        asked = next(each for path, each in self.scenes.items() if path == photo.name.rpartition("/")[2])
        ask = next(ask for ask in asked.asks if ask.text == text)
        picture = pixels_of(photo)
        scene = scene_of(asked.picture.points, asked.picture.box, height=photo.height, width=photo.width)
        mask = np.zeros(picture.shape[:2], bool)
        for x, y in scene.points[ask.part]:
            mask[max(0, y - scene.reach) : y + scene.reach + 1, max(0, x - scene.reach) : x + scene.reach + 1] = True
        painted = world.flat_part(picture, mask, ask.colour)
        return photo.with_pixels(from_uint8(torch.from_numpy(painted).permute(2, 0, 1)))
