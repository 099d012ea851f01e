"""Laws of a recipe of stages: who gets an override, what a stage may name, that a killed run ends as a whole one."""

from __future__ import annotations

import json
import os
import signal
import warnings
from pathlib import Path

import pytest
import torch
import yaml

from support import ROOT, toy
from support.commands import is_refused, tgim
from support.small import SIZES
from tgim.checkpoints import checkpoint
from tgim.errors import DataError, RecipeError
from tgim.evaluation import read_lines
from tgim.inference.editor import Editor
from tgim.training import loop as trainer
from tgim.training import recipe as recipes
from tgim.training import stages
from tgim.training.loop import Interrupted, TrainingError

RECIPE = ROOT / "recipes" / "tagrid.yaml"
GUIDE = {"name": "late_interaction", **SIZES["late_interaction"]}
JUDGE = {"name": "late_interaction", **SIZES["late_interaction"], "members": 1}
EDITOR = {"name": "tagrid", "matching": "stage:guide", "width": 16, "bins": 2}
CAPTION = "a square that is green, green"
TRAIN = {"batch_size": 4, "log_every": 1, "checkpoint_every": 2, "sample_every": 0, "device": "cpu", "ema": 0.9}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write_dataset(tmp_path_factory.mktemp("squares") / "pictures", count=40, size=32)


def values(root: Path | None = None, **report: object) -> dict:
    """A small recipe of all four stages."""
    data = {"name": "folder", "root": str(root)} if root else {"name": "synthetic", "drawn_pool": 40}
    return {
        "data": {**data, "split": "trainval", "flip": True},
        "train": {**TRAIN, "lr": 1e-3},
        "card": {"licence": "none"},
        "stages": {
            "guide": {"model": GUIDE, "train": {"steps": 2}},
            "editor": {"model": EDITOR, "train": {"steps": 5, "lr": 2e-3}, "card": {"title": "Mine"}},
            "judge": {"model": JUDGE, "train": {"steps": 2, "seed": 1}},
            "report": {
                "editor": "stage:editor",
                "judge": "stage:judge",
                "protocols": ["retrieval", "l2-own-caption"],
                "captions": [CAPTION],
                **report,
            },
        },
    }


def run(recipe: dict, out: Path, *overrides: str, resume: bool = False, tell: object = None) -> stages.Outcome:
    return stages.fit(stages.parse(recipe, overrides), out=out, resume=resume, progress=False, tell=tell)


def same_models(a: Path, b: Path) -> bool:
    for name in ("guide", "editor", "judge"):
        first, second = (checkpoint.read_tensors(out / name / "model.safetensors") for out in (a, b))
        if first.keys() != second.keys() or not all(torch.equal(first[key], second[key]) for key in first):
            return False
    return True


def figures(out: Path) -> list:
    lines = read_lines(out / "report" / "results.jsonl")
    return [(line.protocol, line.kind, line.metric, line.value) for line in lines]


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "mine"
    told: list[str] = []
    outcome = run(values(pictures), out, tell=told.append)
    assert told == [
        "stage 1 of 4: guide, 2 steps",
        "stage 2 of 4: editor, 5 steps",
        "stage 3 of 4: judge, 2 steps",
        "stage 4 of 4: report",
    ]
    assert "| `mine` |" in outcome.summary()
    return out


# What a run leaves


@pytest.mark.slow
def test_a_run_leaves_an_editor_and_a_report(whole: Path, pictures: Path) -> None:
    assert {path.name for path in whole.iterdir()} == {
        *("guide", "editor", "judge", "report"),
        *("model.safetensors", "recipe.yaml"),
    }
    assert (whole / "model.safetensors").read_bytes() == (whole / "editor" / "model.safetensors").read_bytes()
    edit = Editor.from_pretrained(whole / "model.safetensors")
    assert edit(next(pictures.glob("images/*.png")), "a red square").size == (32, 32)
    page = (whole / "report" / "report.html").read_text()
    assert CAPTION in page
    assert "data:image/jpeg" in page
    assert "| `mine` |" in (whole / "report" / "summary.md").read_text()
    models = {line.model: line for line in read_lines(whole / "report" / "results.jsonl") if line.kind == "model"}
    assert list(models) == ["mine"]
    assert models["mine"].split == "test"
    header = checkpoint.read_header(whole / "judge" / "model.safetensors")
    assert header["history"]["recipe"]["train"]["seed"] == 1
    assert header["card"] == {"licence": "none"}


@pytest.mark.slow
def test_the_editor_stands_on_the_guide_and_holds_no_path(whole: Path, pictures: Path) -> None:
    guide = checkpoint.read_tensors(whole / "guide" / "model.safetensors")
    editor = checkpoint.read_tensors(whole / "model.safetensors")
    assert all(torch.equal(value, editor[f"matching.{name}"]) for name, value in guide.items())
    header = checkpoint.read_header(whole / "model.safetensors")
    assert header["config"]["matching"] == "stage:guide"
    assert str(whole) not in json.dumps(header)
    assert header["card"] == {"licence": "none", "title": "Mine"}


@pytest.mark.slow
def test_the_written_recipe_says_the_same_again(whole: Path, pictures: Path) -> None:
    written, given = stages.load(whole / "recipe.yaml"), stages.parse(values(pictures))
    assert (written.trainings, written.report) == (given.trainings, given.report)


@pytest.mark.slow
def test_drawn_pictures_need_no_files(tmp_path: Path) -> None:
    recipe = values(limit=4, baselines=False)
    del recipe["stages"]["judge"], recipe["stages"]["report"]["judge"]
    recipe["stages"]["report"]["protocols"] = "l2-own-caption"
    outcome = run(recipe, tmp_path / "drawn", "guide.train.steps=1", "editor.train.steps=1", "data.image_size=32")
    assert [line.n for line in outcome.lines if line.metric == "rmse"] == [4]
    assert outcome.page
    assert "<table" in outcome.page.read_text()


@pytest.mark.slow
def test_without_a_report_the_last_editor_is_the_model(pictures: Path, tmp_path: Path) -> None:
    recipe = values(pictures)
    del recipe["stages"]["report"]
    recipe["stages"]["guide"]["train"]["steps"] = recipe["stages"]["editor"]["train"]["steps"] = 1
    outcome = run(recipe, tmp_path / "two", "judge.train.steps=1")
    assert (outcome.summary(), outcome.page, Editor.from_pretrained(outcome.model).model.name) == ("", None, "tagrid")


# Stopping and going on


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(whole: Path, pictures: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "mine", values(pictures)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        step = trainer.Trainer.train_step

        def killed(self: trainer.Trainer, batch: object) -> None:
            if self.model.name == "tagrid" and self.step == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            step(self, batch)

        trainer.Trainer.train_step = killed
        run(recipe, out)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not (out / "model.safetensors").exists()
    assert not (out / "judge").exists()
    before = (out / "guide" / "model.safetensors").stat()
    with pytest.raises(TrainingError, match=r"not empty.*--resume"):
        run(recipe, out)
    told: list[str] = []
    run(recipe, out, resume=True, tell=told.append)
    assert told[0] == "stage 1 of 4: guide, 2 steps, done before"
    after = (out / "guide" / "model.safetensors").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert same_models(out, whole)
    assert figures(out) == figures(whole)


@pytest.mark.slow
def test_a_finished_run_does_nothing_again(
    whole: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(trainer.Trainer, "train_step", never)
    before = figures(whole)
    monkeypatch.chdir(whole.parent)  # called by another path
    outcome = run(values(pictures), Path("mine"), resume=True)
    assert figures(whole) == before
    assert len(outcome.lines) == len(before)


@pytest.mark.slow
def test_another_recipe_is_not_gone_on_with(whole: Path, pictures: Path) -> None:
    with pytest.raises(TrainingError, match=r"judge.* has another recipe: train\.seed"):
        run(values(pictures), whole, "judge.train.seed=4", resume=True)
    with pytest.raises(TrainingError, match="editor was trained on guide, which has steps to go"):
        run(values(pictures), whole, "guide.train.steps=9", resume=True)


@pytest.mark.slow
def test_ctrl_c_in_the_report_is_said(whole: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tgim.training.stages.run.evaluate", interrupted)
    with pytest.raises(Interrupted, match="--resume"):
        run(values(pictures), whole, resume=True)


def test_folders_of_other_things_are_refused(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(TrainingError, match="is a file"):
        run(values(pictures), tmp_path / "file")
    with pytest.raises(TrainingError, match="holds no run of stages"):
        run(values(pictures), tmp_path, resume=True)


def test_what_the_report_lacks_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    few = toy.write_dataset(tmp_path / "few", count=4)
    with pytest.raises(DataError, match="has 1 picture in split"):
        run(values(few), tmp_path / "mine")
    with pytest.raises(DataError, match="not there"):
        run(values(tmp_path / "nowhere"), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


# Reading


def test_overrides_go_to_the_stages_that_they_are_for() -> None:
    recipe = values(Path("somewhere"))
    recipe["stages"]["judge"]["data"] = {"root": "elsewhere", "flip": False}
    given = ["train.lr=5e-4", "data.root=here", "data.flip=true", "editor.train.steps=7", "train.batch_size=9"]
    found = stages.parse(recipe, [*given, "report.limit=5", "judge.card.title=J"])
    of = found.trainings
    assert {name: each.train.lr for name, each in of.items()} == {"guide": 5e-4, "editor": 2e-3, "judge": 5e-4}
    assert {name: each.data.root for name, each in of.items()} == dict.fromkeys(of, "here")
    assert [each.data.augment.flip for each in of.values()] == [True, True, False]
    assert [each.train.steps for each in of.values()] == [2, 7, 2]
    assert [each.train.batch_size for each in of.values()] == [9, 9, 9]
    assert found.report
    assert found.report.limit == 5
    assert found.report.protocols == ("retrieval@1", "l2-own-caption@1")
    assert [each.card for each in of.values()] == [
        {"licence": "none"},
        {"licence": "none", "title": "Mine"},
        {"licence": "none", "title": "J"},
    ]
    recipe["stages"]["judge"]["data"] = {"augment": {"flip": False}}  # as in older and in newer recipes
    again = stages.parse(recipe, ["data.augment.flip=true", "editor.data.margin=4", "data.drawn_pool=50"]).trainings
    assert [each.data.augment.flip for each in again.values()] == [True, True, False]
    assert [(each.data.augment.margin, each.data.synthetic.pool) for each in again.values()] == [
        (0, 50),
        (4, 50),
        (0, 50),
    ]
    apart = stages.parse(recipe, ["judge.data.split=train", "data.split=trainval"]).trainings
    assert [each.data.split for each in apart.values()] == ["trainval", "trainval", "train"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("editr.train.steps=1", "'editr' is neither a stage nor a common key; did you mean 'editor'"),
        ("model.width=2", "'model' is neither a stage nor a common key"),
        ("train.steps=3", r"every stage has its own train\.steps; name the stage, as in guide\.train\.steps=3"),
        ("editor.train.stepz=3", r"override 'editor\.train\.stepz=3': train\.stepz .*'steps'"),
        ("train.lrr=3", r"override 'train\.lrr=3': train\.lrr .*'lr'"),
        ("editor.train.steps", "is not key=value"),
        ("report.limits=3", r"override 'report\.limits=3': limits .*'limit'"),
        ("report.limit=1", "greater than or equal to 2"),
        ("report.protocols=retreival", "no protocol 'retreival'; did you mean 'retrieval'"),
        ("report.judge=stage:guide", "stage:guide guides the editor and cannot judge it"),
        ("report.judge=stage:editor", "judge must be a stage whose model matches"),
        ("report.judge=stage:jugde", "stage:jugde is not a stage .*'judge'"),
        ("report.editor=stage:judge", "editor must be a stage whose model edits"),
        ("report.editor=runs/x", "is not a stage"),
        ("report.split=train", r"holds pictures that guide is trained on \('trainval'\)"),
        ("data.split=all", "holds pictures that guide is trained on"),
        ("judge.data.split_seed=3", r"data\.split_seed of judge is not the editor's"),
        ("editor.model.matching=stage:guied", "stage editor: stage:guied is not an earlier stage.*'guide'"),
        ("editor.model.matching=stage:judge", r"stage:judge is not an earlier stage than editor \(there are: guide\)"),
        ("editor.model.start=stage:editor", "stage:editor is not an earlier stage than editor"),
        ("guide.model.name=dual_encodr", "stage guide: model.name 'dual_encodr' is unknown"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(override: str, expected: str) -> None:
    with pytest.raises(RecipeError, match=expected) as error:
        stages.parse(values(Path("x")), [override])
    assert "\n" not in str(error.value)


def test_stages_themselves_are_checked() -> None:
    good = values(Path("x"))
    of = good["stages"]
    report = {name: of[name] for name in ("guide", "report", "editor", "judge")}
    for wrong, expected in (
        ({**good, "stages": {}}, "must be names and recipes"),
        ({**good, "stages": {**of, "a b": {}}}, "'a b' must be named by letters"),
        ({**good, "stages": {**of, "train": {}}}, "'train' must be named"),
        ({**good, "stages": {"guide": 3}}, "stage guide must be keys and values"),
        ({**good, "stages": {"guide": None}}, "stage guide: model must give a name"),
        ({**good, "stages": report}, "must come last"),
        ({**good, "stages": {"report": of["report"]}}, "trains nothing"),
        ({**good, "model": {}}, "model is no key .*belongs into a stage"),
        ({**good, "trian": {}}, "did you mean 'train'"),
    ):
        with pytest.raises(RecipeError, match=expected):
            stages.parse(wrong)
    with pytest.raises(RecipeError, match="holds several stages"):
        recipes.parse(good)


@pytest.mark.parametrize("name", ["folder", "cub", "oxford102", "synthetic"])
def test_the_recipe_in_the_repository_is_for_every_data_set(name: str) -> None:
    found = stages.load(RECIPE, [f"data.name={name}", "data.root=my_pictures"])
    assert {each.data.name for each in found.trainings.values()} == {found.report_data().name} == {name}
    parts, guide, lessons, editor, judge = found.trainings.values()
    assert [each.model["name"] for each in found.trainings.values()] == [
        *("part_localiser", "frozen_interaction", "part_curves", "part_curves", "frozen_interaction")
    ]
    assert guide.train.seed != judge.train.seed
    assert all(guide.model[key] != judge.model[key] for key in ("backbone", "image_size", "taps"))
    assert [each.train.steps for each in found.trainings.values()] == [700, 600, 1200, 700, 600]
    assert (lessons.model["localiser"], lessons.model["matching"]) == ("stage:parts", "stage:guide")
    assert (editor.model["start"], editor.model["matching"]) == ("stage:lessons", "stage:guide")
    assert (parts.model["part_names"], parts.data.captions.pick) == ("points", "none")
    assert parts.data.views.unlabelled
    assert found.needs("editor") == {"parts", "guide", "lessons"}
    assert not found.needs("judge")


# The command


@pytest.mark.slow
@pytest.mark.parametrize("drawn", [False, True])
def test_a_dry_run_tells_of_all_stages_and_leaves_nothing(
    drawn: bool, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(values(None if drawn else pictures), sort_keys=False))
    done = tgim("train", file, "data.image_size=32", "--dry-run")
    assert done.exit_code == 0, done.output
    for text in ("# stage 1 of 4: guide", "# stage 2 of 4: editor", "# stage 4 of 4: report", "total time", "frozen"):
        assert text in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


@pytest.mark.slow
def test_the_command_prints_the_summary_and_goes_on(whole: Path, pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(values(pictures), sort_keys=False))
    is_refused(tgim("train", file, "--out", whole))
    is_refused(tgim("train", file, "trian.lr=1", "--out", tmp_path / "no"))
    is_refused(tgim("train", file))
    done = tgim("train", file, "--out", whole, "--resume")
    assert done.exit_code == 0, done.output
    assert "| `mine` |" in done.stdout
    assert done.stdout.splitlines()[-2:] == [str(whole / "model.safetensors"), str(whole / "report" / "report.html")]
    assert "tgim: stage 2 of 4: editor, 5 steps, done before" in done.stderr
