"""From a folder of captioned pictures to an editor: the recipe in the repository, tiny and without ImageNet weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from support import ROOT
from support.commands import is_refused, tgim
from support.houses import PARTS, folder_of_houses
from tgim.checkpoints import checkpoint
from tgim.errors import DataError
from tgim.evaluation import read_lines
from tgim.inference.editor import Editor
from tgim.training import stages

RECIPE = ROOT / "recipes" / "tagrid.yaml"
STAGES = ("parts", "guide", "lessons", "editor", "judge")
HEAD = ("width=16", "word_size=8", "embedding_size=16", "match_size=8", "members=1", "pretrained=false")
TINY = [
    *(f"parts.model.{each}" for each in ("image_size=64", "pretrained=false")),
    *("parts.model.widths=[8,8,8,8]", "parts.model.blocks=[1,1,1,1]", "parts.data.views.count=12"),
    *(f"{stage}.model.{each}" for stage in ("guide", "judge") for each in ("image_size=64", *HEAD)),
    *("data.synthetic.pool=20", "guide.data.synthetic.pairs=2", "judge.data.synthetic.pairs=2"),
    *(
        f"{stage}.model.{each}"
        for stage in ("lessons", "editor")
        for each in ("learning_size=64", "view_size=64", "width=32", "layers=1", "word_size=8", "taught=2", "edited=2")
    ),
    *(f"{stage}.train.{each}" for stage in STAGES for each in ("steps=2", "batch_size=4")),
    *(f"{stage}.train.warm_up=0" for stage in STAGES[1:]),
    *("train.device=cpu", "report.limit=4", "report.baselines=false", "report.protocols=[retrieval, parts]"),
]


def plan(root: Path, *overrides: str) -> stages.Stages:
    return stages.load(RECIPE, [f"data.root={root}", *TINY, *overrides])


def fit(root: Path, out: Path, *overrides: str, **options: object) -> stages.Outcome:
    return stages.fit(plan(root, *overrides), out=out, progress=False, **options)


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty houses, of which twenty-two have points."""
    return folder_of_houses(tmp_path_factory.mktemp("houses") / "pictures", pointed=22)


@pytest.fixture(scope="module")
def whole(houses: Path) -> Path:
    """A run on them."""
    out = houses.parent / "mine"
    assert "| `mine` |" in fit(houses, out).summary()
    return out


@pytest.mark.slow
def test_each_stage_stands_on_the_parts_that_the_points_name(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    assert names == {*STAGES, "report", "model.safetensors", "recipe.yaml"}
    parts, lessons, editor = (
        checkpoint.read_header(whole / name / "model.safetensors") for name in ("parts", "lessons", "editor")
    )
    assert parts["config"]["part_names"] == list(PARTS)
    assert editor["config"]["sight"]["part_names"] == list(PARTS)
    assert (lessons["config"]["localiser"], lessons["config"]["matching"]) == ("stage:parts", "stage:guide")
    assert (editor["config"]["start"], editor["config"]["matching"]) == ("stage:lessons", "stage:guide")
    assert str(whole) not in json.dumps(editor)
    localiser, copy = (
        checkpoint.read_tensors(path) for path in (whole / "parts" / "model.safetensors", whole / "model.safetensors")
    )
    assert all(torch.equal(value, copy[f"localiser.{name}"]) for name, value in localiser.items())
    assert {"door", "roof", "wall"} <= set(editor["vocabulary"])
    assert "part_names: points" in (whole / "recipe.yaml").read_text()
    assert "door" in (whole / "parts" / "recipe.yaml").read_text()
    found = {line.protocol for line in read_lines(whole / "report" / "results.jsonl")}
    assert found == {"retrieval@1", "parts@1"}


@pytest.mark.slow
def test_the_editor_knows_the_names_of_the_parts(whole: Path, houses: Path) -> None:
    edit = Editor.from_pretrained(whole / "model.safetensors")
    picture = next(houses.glob("images/*.png"))
    assert edit(picture, "red door", box=(20, 10, 56, 52)).size == (96, 72)


@pytest.mark.slow
def test_a_finished_run_does_nothing_again_and_a_stopped_one_goes_on(
    whole: Path, houses: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (whole / "parts" / "model.safetensors").read_bytes()
    told: list[str] = []
    fit(houses, whole, resume=True, tell=told.append)
    assert [line.endswith("done before") for line in told] == [*[True] * 5, False]
    fit(houses, whole, "judge.train.steps=3", resume=True)
    assert (whole / "parts" / "model.safetensors").read_bytes() == before
    assert checkpoint.read_header(whole / "judge" / "model.safetensors")["history"]["of"] == 3


@pytest.mark.slow
def test_without_points_the_subject_is_edited_as_a_whole(tmp_path: Path) -> None:
    root = folder_of_houses(tmp_path / "pictures", pointed=0)
    outcome = fit(root, tmp_path / "mine", "report.protocols=[retrieval]")
    header = checkpoint.read_header(outcome.model)
    assert header["config"]["sight"]["part_names"] == ["subject"]
    edit = Editor.from_pretrained(outcome.model)
    picture = next(root.glob("images/*.png"))
    assert edit(picture, "a red house", box=(20, 10, 56, 52)).size == (96, 72)


@pytest.mark.slow
@pytest.mark.parametrize("pointed", [0, 22])
def test_a_dry_run_tells_of_all_stages(pointed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    root = folder_of_houses(tmp_path / "pictures", pointed=pointed)
    done = tgim("train", RECIPE, f"data.root={root}", *TINY, "--dry-run")
    assert done.exit_code == 0, done.output
    for text in ("stage 1 of 6: parts", "stage 4 of 6: editor", "stage 6 of 6: report", "total time"):
        assert text in done.stdout
    assert f"part_names: [{'door, roof, wall' if pointed else 'subject'}]" in done.stdout


@pytest.mark.slow
def test_synthetic_pictures_have_the_renderers_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    options = ["data.name=synthetic", "data.synthetic.kind=flowers", "report.protocols=[truth]"]
    outcome = fit(tmp_path, tmp_path / "mine", *options)
    assert checkpoint.read_header(outcome.model)["config"]["sight"]["part_names"] == ["petals", "center"]
    assert {line.protocol for line in outcome.lines} == {"truth@1"}


def test_what_a_folder_lacks_is_one_clear_line(tmp_path: Path) -> None:
    bare = folder_of_houses(tmp_path / "bare", captions=False)
    with pytest.raises(DataError) as error:
        fit(bare, tmp_path / "mine")
    assert "\n" not in str(error.value)
    assert "captions" in str(error.value)
    assert not (tmp_path / "mine").exists()
    few = folder_of_houses(tmp_path / "few", pointed=2)
    is_refused(tgim("train", RECIPE, f"data.root={few}", *TINY, "--dry-run"))
