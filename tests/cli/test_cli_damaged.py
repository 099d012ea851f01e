"""No picture ends a verb: whatever lies in a folder, each verb names what it cannot read, in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import Result

from support import small, toy_runs
from support.commands import tgim
from support.datasets import make
from support.mutants import SAMPLES, SUFFIX, mutants
from tgim.checkpoints import checkpoint

TEXT = "red head"


@pytest.fixture(scope="module")
def matcher(tmp_path_factory) -> Path:
    """A small, untrained matching model."""
    folder = tmp_path_factory.mktemp("models")
    return checkpoint.save(
        folder / "m.safetensors", small.model_of("dual_encoder"), vocabulary=small.VOCABULARY, template="a {} bird"
    )


def ends_well(result: Result) -> str:
    """No traceback, nothing but the exit codes of the help; returns what was said."""
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in (0, 1, 2)
    assert "Traceback" not in result.output
    return result.output


def fill(folder: Path, kinds: list[str], turn: int) -> list[Path]:
    """Write a sound picture, a mutant of each kind, and what is no picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, kind in enumerate(kinds):
        name = f"m{number:02d}.{SUFFIX[kind.split()[0]]}"
        (folder / name).write_bytes(list(mutants(kind, turn + 1))[turn])
    (folder / "a.png").write_bytes(SAMPLES["PNG"])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.png").write_bytes(b"<html>not found</html>")
    if not (folder / "pipe.jpg").exists():
        os.mkfifo(folder / "pipe.jpg")
    return sorted(folder.iterdir())


def through_the_readers(paths: list[Path], matcher: Path, tagrid_file: Path) -> None:
    """Show a folder, and each of its pictures, to the verbs that read pictures."""
    folder = paths[0].parent
    told = ends_well(tgim("match", folder, "--text", TEXT, "--model", matcher))
    assert "pipe.jpg is a device or pipe" in told
    assert "empty.jpg is empty" in told
    ends_well(tgim("search", folder, "--image", folder / "a.png", "--text", TEXT, "--model", matcher))
    edit = ("--text", TEXT, "--model", tagrid_file)
    told = ends_well(tgim("edit", "--images", folder, *edit, "--out", folder.parent / "edited"))
    assert "pipe.jpg is a device or pipe" in told
    for path in paths:
        ends_well(tgim("search", folder, "--image", path, "--text", TEXT, "--model", matcher))
        ends_well(tgim("edit", "--image", path, *edit, "--out", folder.parent / "out.png", "--force"))


@pytest.mark.slow
def test_folders_of_damaged_pictures(tmp_path, matcher, tagrid_file) -> None:
    paths = fill(tmp_path / "in", ["JPEG with all", "TIFF jpeg", "PNG 16 RGB"], 0)
    through_the_readers(paths, matcher, tagrid_file)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(2))
def test_folders_of_damaged_pictures_of_all_kinds(turn: int, tmp_path, matcher, tagrid_file) -> None:
    paths = fill(tmp_path / "in", list(SAMPLES), turn)
    through_the_readers(paths, matcher, tagrid_file)
    for path in paths[:12]:
        ends_well(tgim("parts", path, "--out", tmp_path / "parts.png"))
        frames = ("--out", tmp_path / "strip.png", "--steps", 2)
        ends_well(tgim("interpolate", "--image", path, "--text", TEXT, "--text", "blue wings", *frames))


def damaged_set(root: Path, turn: int) -> Path:
    make(root, "folder")
    kinds = list(SAMPLES)[7 * turn : 7 * turn + 6]
    for path, kind in zip(sorted((root / "images").iterdir()), kinds, strict=False):
        path.write_bytes(list(mutants(kind, turn + 1))[turn])
    return root


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(6))
def test_damaged_pictures_of_a_data_set(turn: int, tmp_path, matcher, tagrid_file, monkeypatch) -> None:
    root = damaged_set(tmp_path / "set", turn)
    report = json.loads(tgim("data", "check", root, "--json").stdout)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(toy_runs.values(root, steps=2)))
    told = ends_well(tgim("train", recipe, "--out", tmp_path / "run"))
    if report["pictures"]:
        assert (tmp_path / "run" / "model.safetensors").exists(), told
    usual = ("--data", root, "--split", "all", "--judge", matcher, "--model", tagrid_file, "--limit", 4)
    ends_well(tgim("eval", *usual, "--protocol", "l2-edit", "--out", tmp_path / "results.jsonl"))


def test_a_picture_that_disappears_ends_a_run_in_one_line(tmp_path, matcher, tagrid_file) -> None:
    root = make(tmp_path / "set", "folder")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(toy_runs.values(root, steps=2)))
    (root / "images" / "image_00003.jpg").unlink()
    told = ends_well(tgim("train", recipe, "--out", tmp_path / "run"))
    assert (tmp_path / "run" / "model.safetensors").exists(), told
