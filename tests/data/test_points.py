"""Points of parts come out of each data set's own files as fractions of the pictures, and faulty ones are told."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from support.datasets import make
from tgim.data import check, cub, folder, oxford102
from tgim.data.points import Points, Spot, faults_of, read_points
from tgim.errors import DataError

PARTS = "1 back\n2 beak\n7 left eye\n9 left wing\n13 right wing\n"


def add_locations(root, lines):
    (root / "parts").mkdir()
    (root / "parts" / "parts.txt").write_text(PARTS)
    (root / "parts" / "part_locs.txt").write_text("\n".join(lines) + "\n")


def test_cub_is_read_in_fractions_of_whole_pictures(tmp_path):
    root = make(tmp_path, "cub")  # pictures of 40 x 30, boxes 5 5 30 20
    add_locations(root, ["1 9 20.0 15.0 1", "1 13 30.0 6.0 1", "1 7 10.0 6.0 1", "1 1 0.0 0.0 0", "2 2 39.0 29.0 1"])
    found = read_points(cub.load(root, split="all"))
    first, second = (found[path] for path in sorted(found))
    assert first.spots == {"wings": (Spot(0.5, 0.5), Spot(0.75, 0.2)), "head": (Spot(0.25, 0.2),)}  # the back is hidden
    assert first.box == pytest.approx((5 / 40, 5 / 30, 30 / 40, 20 / 30))
    assert second.spots == {"beak": (Spot(39 / 40, 29 / 30),)}


def test_cub_pictures_that_are_cropped_already_are_recognised(tmp_path):
    root = make(tmp_path, "cub", size=(30, 20))  # as large as their boxes, which begin at 5, 5
    add_locations(root, ["1 2 20.0 15.0 1"])
    (points,) = read_points(cub.load(root, split="all")).values()
    assert points.spots == {"beak": (Spot(0.5, 0.5),)}
    assert points.box == (0, 0, 1, 1)


def test_a_broken_line_of_locations_is_named(tmp_path):
    root = make(tmp_path, "cub")
    add_locations(root, ["1 2 20.0"])
    with pytest.raises(DataError, match=re.escape("'1 2 20.0'")):
        read_points(cub.load(root, split="all"))


def test_oxford_is_read_by_name_and_other_counts_as_background(tmp_path):
    root = make(tmp_path, "oxford102")
    record = {"file": "image_00001", "center": [[0.5, 0.4, 0.1]], "petals": [[0.3, 0.3]], "background": [[0.1, 0.1]]}
    (root / "points.jsonl").write_text(json.dumps({**record, "other": [[0.6, 0.9]]}) + "\n")
    found = read_points(oxford102.load(root, split="all"))
    assert list(found.values()) == [
        Points(
            {
                "center": (Spot(0.5, 0.4, 0.1),),
                "petals": (Spot(0.3, 0.3),),
                "background": (Spot(0.1, 0.1), Spot(0.6, 0.9)),
            }
        )
    ]


def add_points(root, values):
    """Give the first pictures of a folder points, and the one after them no captions."""
    lines = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    for line, value in zip(lines, values, strict=False):
        line["points"] = value
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return lines


def test_a_folder_keeps_good_points_and_tells_of_faulty_ones(tmp_path):
    root = make(tmp_path, "folder")
    add_points(root, [{"roof": [[0.5, 0.1]], "background": []}, {"roof": [[0.5, 1.5]]}, [[0.1, 0.2]]])
    data = folder.load(root, split="all")
    assert [points.spots for points in read_points(data).values()] == [{"roof": (Spot(0.5, 0.1),)}]
    told = [problem.message for problem in data.problems if problem.kind == "faulty points"]
    assert len(told) == 2
    assert "0 to 1" in told[0]
    report = check(root)
    assert report.points == {"roof": 1}
    assert report.counts == {"faulty points": 2}
    assert report.as_dict()["points"] == {"roof": 1}
    assert "roof 1" in str(report)


def test_pictures_with_points_need_no_caption_where_none_is_asked_for(tmp_path):
    root = make(tmp_path, "folder")
    lines = add_points(root, [{"roof": [[0.5, 0.1]]}])
    del lines[0]["captions"]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert len(folder.load(root, split="all")) == 7
    data = folder.load(root, split="all", captions=False)
    assert len(data) == 8
    assert not data.problems
    assert "1 pictures have points but no caption" in str(check(root))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([1, 2], "shape"),
        ({"head": 3}, "not a list"),
        ({"head": [[0.1]]}, r"\[x, y\]"),
        ({"head": [[0.1, "left"]]}, "not numbers"),
        ({"head": [[0.1, True]]}, "not numbers"),
        ({"head": [[0.1, -0.1]]}, "0 to 1"),
        ({"head": [[0.1, float("nan")]]}, "not numbers"),
    ],
)
def test_each_fault_is_said(raw, said):
    (fault,) = faults_of(raw)
    assert re.search(said, fault)


def test_right_points_have_no_fault():
    assert faults_of({"head": [[0, 1], [0.5, 0.5, 0.1]], "background": []}) == []


def test_reading_other_data_gives_no_points(tmp_path):
    data = folder.load(make(tmp_path, "folder"), split="all")
    assert read_points(data) == {}
    assert read_points(replace(data, items=())) == {}
