"""`check` tells what a data set holds and lacks, and never stops at a broken picture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.datasets import make
from tgim.data import check
from tgim.errors import DataError


@pytest.mark.parametrize("kind", ["cub", "oxford102", "folder"])
def test_a_whole_set_is_recognised_and_counted(kind, tmp_path):
    calls = []
    report = check(make(tmp_path, kind), progress=lambda done, total: calls.append((done, total)))
    assert (report.kind, report.pictures, report.captions, report.classes) == (kind, 8, 16, 4)
    assert report.usable
    assert not report.problems
    assert sum(part["pictures"] for part in report.splits.values()) == 8
    assert report.smallest == report.largest == (40, 30)
    assert calls == [(i, 8) for i in range(1, 9)]
    assert "no problems" in str(report)
    assert json.loads(json.dumps(report.as_dict()))["pictures"] == 8


def test_every_fault_is_told_picture_by_picture(tmp_path):
    root = make(tmp_path, "cub")
    pictures = sorted((root / "images").rglob("*.jpg"))
    pictures[0].unlink()
    pictures[1].write_bytes(b"")
    pictures[2].write_bytes(pictures[2].read_bytes()[:-200])
    pictures[3].write_bytes(b"<html>not found</html>")
    (root / "text" / "class_00003" / "image_00005.txt").unlink()
    (root / "text" / "class_00003" / "image_00006.txt").write_text("a red bird\nbird")
    report = check(root)
    faults = {problem.path: problem.kind for problem in report.problems}
    assert faults == {
        "images/class_00001/image_00001.jpg": "missing picture",
        "images/class_00001/image_00002.jpg": "unreadable picture",
        "images/class_00002/image_00003.jpg": "unreadable picture",
        "images/class_00002/image_00004.jpg": "unreadable picture",
        "text/class_00003/image_00005.txt": "missing captions",
        "text/class_00003/image_00006.txt": "one-word caption",
    }
    assert report.pictures == 3
    assert report.splits["test"]["pictures"] == 2
    assert not report.usable  # what is left of the training classes is one picture
    text = str(report)
    assert "NOT USABLE" in text
    assert "unreadable picture: 3" in text
    assert all(path in text for path in faults)
    assert str(tmp_path) not in "".join(problem.message for problem in report.problems)


@pytest.mark.parametrize(("size", "advice"), [((40, 30), "crop=box"), ((20, 20), "crop=none")])
def test_it_says_which_crop_fits_the_pictures(size, advice, tmp_path):
    assert any(advice in note for note in check(make(tmp_path, "cub", size=size)).notes)


def test_lists_that_are_missing_make_it_unusable_but_are_not_fatal(tmp_path):
    root = make(tmp_path, "cub")
    (root / "testclasses.txt").unlink()
    report = check(root)
    assert report.pictures == 8
    assert not report.usable
    assert any("testclasses.txt" in note for note in report.notes)


def test_a_long_list_of_problems_is_cut_in_the_text_alone(tmp_path):
    root = make(tmp_path, "oxford102")
    for path in (root / "jpg").iterdir():
        path.unlink()
    report = check(root)
    assert len(report.problems) == 8
    assert "... and 5 more" in str(report)
    assert len(report.as_dict()["problems"]) == 8
    assert not report.usable


@pytest.mark.parametrize("root", ["gone", "empty", "file.txt"])
def test_what_is_no_data_set_is_one_clear_line(root, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(DataError) as caught:
        check(tmp_path / root)
    assert "\n" not in str(caught.value)
    if root == "empty":
        assert all(kind in str(caught.value) for kind in ("cub", "oxford102", "folder", "metadata.jsonl"))


@pytest.mark.slow
def test_checking_costs_no_torch():
    code = "import sys; from tgim.data import check; import tgim.data.report; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif("TGIM_DATA" not in os.environ, reason="TGIM_DATA is not set")
@pytest.mark.parametrize(("name", "pictures", "classes"), [("cub", 5693, 97), ("oxford102", 7543, 95)])
def test_the_real_sets_pass(name, pictures, classes):
    report = check(Path(os.environ["TGIM_DATA"]) / name)
    assert (report.kind, report.pictures, report.classes) == (name, pictures, classes)
    assert report.usable
    assert report.counts["missing picture"] > 0
