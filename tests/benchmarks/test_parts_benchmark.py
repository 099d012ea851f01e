"""What `benchmarks/parts.py` counts: points, places outside of boxes, boxes, and subjects seen where there is none."""

from __future__ import annotations

import json

import pytest
from PIL import Image, ImageDraw

from support.by_colour import HEAD, TAIL, ByColour, folder_with_points, saved
from support.scripts import run, script
from tgim.data.points import Points, Spot
from tgim.evaluation.localisation import false_alarms, measure


def picture(path, *, subject=True):
    shown = Image.new("RGB", (200, 120), (120, 120, 120))
    if subject:
        ImageDraw.Draw(shown).rectangle((40, 30, 79, 79), fill=HEAD)
        ImageDraw.Draw(shown).rectangle((80, 30, 119, 79), fill=TAIL)
    shown.save(path)
    return path


def test_right_and_wrong_points_and_boxes_are_counted(tmp_path):
    path = picture(tmp_path / "bird.png")
    spots = {"head": (Spot(0.3, 0.45), Spot(0.5, 0.45)), "tail": (Spot(0.5, 0.45),), "background": (Spot(0.9, 0.9),)}
    told = measure(ByColour(), [(path, Points(spots, (0.2, 0.25, 0.4, 50 / 120)))]).as_dict()
    assert told["by_part"] == {"head": 0.5, "tail": 1.0}  # one of the points of the head lies on the tail
    assert told["parts"] == pytest.approx(2 / 3, abs=1e-4)
    assert (told["background_points"], told["background"]) == (21, 1.0)  # and twenty places outside of the box
    assert told["box_iou"] > 0.8
    assert (told["n"], told["missed"]) == (1, 0)


def test_a_subject_that_is_not_found_has_all_its_points_wrong(tmp_path):
    path = picture(tmp_path / "gray.png", subject=False)
    told = measure(ByColour(), [(path, Points({"head": (Spot(0.3, 0.45),)}, (0.2, 0.2, 0.3, 0.3)))]).as_dict()
    assert (told["missed"], told["parts"], told["box_iou"]) == (1, 0.0, 0.0)


def test_alarms_are_those_pictures_in_which_something_is_found(tmp_path):
    paths = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png", subject=False)]
    assert false_alarms(ByColour(), paths) == paths[:1]


@pytest.mark.slow
def test_the_script_prints_a_line_for_each_sort_of_picture(tmp_path):
    root = folder_with_points(tmp_path / "data")
    empty = tmp_path / "empty"
    empty.mkdir()
    picture(empty / "gray.png", subject=False)
    model, out = saved(tmp_path, background=-9.0, head=9.0), tmp_path / "lines.jsonl"
    options = ["--data", "folder", "--root", root, "--split", "trainval", "--empty", empty, "--out", out]
    answer = run(script("parts").main, "--model", model, *options)
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [line["what"] for line in lines] == ["folder", "no subject: empty"]
    assert lines[0]["by_part"] == {"head": 1.0, "tail": 0.0}
    assert lines[1]["false_alarms"] == 1
    assert all({"n", "seed", "commit", "machine", "model", "split"} <= line.keys() for line in lines)
    assert out.read_text().splitlines() == answer.stdout.splitlines()
