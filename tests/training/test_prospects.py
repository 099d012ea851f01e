"""What `data check` says of each verb is what the verb does, for folders of any size, with classes or without."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from support import ROOT
from support.commands import tgim
from support.houses import folder_of_houses
from tgim.data import check, open_dataset
from tgim.data.config import DataConfig
from tgim.data.readable import only_readable
from tgim.data.report import Report
from tgim.errors import UserError
from tgim.evaluation.task import choose_task, in_order
from tgim.models.parsing.batches import part_names
from tgim.training import stages
from tgim.training.prospects import STAGES, prospects
from tgim.training.stages.run import report_pictures

RECIPE = ROOT / "recipes" / "tagrid.yaml"
CLASSES = {"none": lambda n: None, "one": lambda n: "house", "own": lambda n: f"house {n}", "six": lambda n: n % 6}


def a_folder(root: Path, *, count: int, classes: str = "none", captions: str = "own", pointed: int | None = 0) -> Path:
    """Houses, labelled by `CLASSES`; captions are each picture's own, or the same two for all."""
    folder_of_houses(root, count=count, pointed=pointed)
    file = root / "metadata.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["class"] = CLASSES[classes](number)
        if captions == "same":
            row["captions"] = ["a red house with a blue roof", "this house has a red door"]
    file.write_text("\n".join(map(json.dumps, rows)))
    return root


def works(call: object, *args: object, **options: object) -> bool:
    try:
        call(*args, **options)  # type: ignore[operator]
    except UserError:
        return False
    return True


def said(report: Report) -> dict[str, bool]:
    return {verb: answer.startswith("yes") for verb, answer in prospects(report).items()}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 10, 30])
def test_what_is_said_holds(count: int, tmp_path: Path) -> None:
    for number, (classes, captions, pointed) in enumerate(product(CLASSES, ("own", "same"), (0, 2, None))):
        root = a_folder(tmp_path / str(number), count=count, classes=classes, captions=captions, pointed=pointed)
        report, what = check(root), (count, classes, captions, pointed)
        verbs = said(report)
        plan = stages.load(RECIPE, [f"data.root={root}"])
        whole = works(report_pictures, plan)
        data = DataConfig(name="folder", root=str(root), split="trainval", captions="none")
        if whole:
            whole = works(lambda data=data: part_names(open_dataset(data), data))
        assert verbs[f"train {STAGES}"] == whole, what
        assert verbs["train"] == report.usable == (count >= 2), what
        if count >= 5 and captions == "own" and pointed != 2:
            assert whole, what  # nothing but too few pictures, captions or points is in the way


@pytest.mark.slow
def test_thirty_pictures_in_six_classes_are_enough(tmp_path: Path) -> None:
    report = check(a_folder(tmp_path, count=30, classes="six"))
    assert report.splits["test"]["classes"] == 2
    assert all(part["pictures"] for part in report.splits.values())
    verbs = prospects(report)
    assert verbs[f"train {STAGES}"] == "yes, of subject; the report edits 10 pictures"
    assert verbs["train"] == "yes"
    answers = {name: told for verb, told in verbs.items() for name in verb.rpartition(" ")[2].split(",")}
    assert answers["retrieval"] == answers["matching"] == "yes"
    assert answers["parts"].startswith("no: it has no points")


@pytest.mark.parametrize("count", [4, 12])
def test_few_classes_are_split_by_picture_and_it_is_said(
    count: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = a_folder(tmp_path, count=count, classes="one")
    report = check(root)
    assert any("1 class, too few to split by" in note for note in report.notes)
    assert not caplog.messages
    open_dataset(DataConfig(name="folder", root=str(root)))
    open_dataset(DataConfig(name="folder", root=str(root), split="test"))
    assert len(caplog.messages) == 1
    assert "split by picture" in caplog.messages[0]


def test_pictures_of_one_class_are_edited_by_captions_of_each_other(tmp_path: Path) -> None:
    root = a_folder(tmp_path, count=12, classes="one")
    task = choose_task(
        in_order(open_dataset(DataConfig(name="folder", root=str(root), split="test"))), split="test", seed=0
    )
    assert "of one class" in task.note
    assert (task.targets != task.rows).all()


def test_training_leaves_out_what_the_check_calls_unreadable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = a_folder(tmp_path / "data", count=10)
    for name in ("03.png", "07.png"):
        file = root / "images" / name
        file.write_bytes(file.read_bytes()[:200])
    report = check(root)
    bad = {problem.path for problem in report.problems if problem.kind == "unreadable picture"}
    data = open_dataset(DataConfig(name="folder", root=str(root), split="all"))
    for _ in range(2):  # looked at, and remembered
        left = only_readable(data, cache=tmp_path / "cache")
        assert {item.path.name for item in data.items} - {item.path.name for item in left.items} == {"03.png", "07.png"}
    assert bad == {"images/03.png", "images/07.png"}
    assert "2 of 10 pictures cannot be read and are left out" in caplog.messages[0]
    assert len(caplog.messages) == 1
    assert len(only_readable(data, cache=tmp_path / "other", limit=3)) >= 3
    for item in data.items:
        item.path.write_bytes(b"")
    with pytest.raises(UserError, match="none of 10 pictures can be read"):
        only_readable(data, cache=tmp_path / "cache")


@pytest.mark.slow
def test_the_check_says_it_and_a_single_picture_is_refused(tmp_path: Path) -> None:
    done = tgim("data", "check", a_folder(tmp_path / "ten", count=10))
    assert done.exit_code == 0, done.output
    assert "tgim train: yes" in done.stdout
    assert "tgim eval --protocol retrieval," in done.stdout
    one = a_folder(tmp_path / "one", count=1)
    done = tgim("data", "check", one, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["verbs"]["train"] == "no: split 'train' has 1 picture; 2 or more are needed"
    options = ("data.name=folder", f"data.root={one}", "train.steps=1", "--out", tmp_path / "run")
    refused = tgim("train", ROOT / "recipes" / "vse_birds.yaml", *options)
    assert refused.exit_code == 2
    assert "1 picture in split 'trainval'" in refused.stderr
