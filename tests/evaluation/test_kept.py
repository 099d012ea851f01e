"""Laws of what is kept between runs: it is made anew when the code that makes it changed, and only then."""

from __future__ import annotations

import ast
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import tgim
from tgim.evaluation import kept

HOME = Path(tgim.__file__).parent
MAKERS = (
    *("inference/editor.py", "inference/inversion.py"),
    *("evaluation/contenders.py", "evaluation/matcher.py", "evaluation/ways.py"),
)
ELSEWHERE = ("data", "errors.py", "_version.py", "__init__.py", "evaluation")  # rooms and files


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The package's code, to be changed; a file that was not is parsed once."""
    home = tmp_path_factory.mktemp("code") / "tgim"
    shutil.copytree(HOME, home, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "without_docstrings", cache(kept.without_docstrings))
        yield home


def changed(copy, name, old="", new="\nADDED = 1\n"):
    """True if the key of what is kept changes with a file, which is put back."""
    file = copy / name
    text, before = file.read_text(encoding="utf-8"), kept.hash_of(copy, kept.CODE)
    assert old in text
    file.write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")
    after = kept.hash_of(copy, kept.CODE)
    file.write_text(text, encoding="utf-8")
    return after != before


def imported(file):
    """Files of the package that a file imports when it is imported."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tgim":
            base = HOME.joinpath(*node.module.split(".")[1:])
            places = [base, *(base / alias.name for alias in node.names)]
            found |= {f for place in places for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()}
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["models/editing/tagrid.py", "nn/layers.py", "images/resample.py", "inference/editor.py",
             "system/runtime.py", "data/synthetic/birds.py", "models/matching/late_interaction.py",
             "evaluation/contenders.py"],
)  # fmt: skip
def test_what_can_change_an_edit_changes_the_key(copy, name):
    assert changed(copy, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["cli/evaluate.py", "cli/edit.py", "evaluation/catalogue.py", "evaluation/run.py", "reporting/page.py",
             "training/recipe.py", "inference/ranking.py", "checkpoints/card.py", "data/report.py", "__init__.py"],
)  # fmt: skip
def test_what_cannot_does_not(copy, name):
    assert not changed(copy, name)


@pytest.mark.slow
def test_a_docstring_does_not_and_a_table_does(copy):
    first = (HOME / "inference" / "editor.py").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith('"""')
    assert not changed(copy, "inference/editor.py", first, '"""Another sentence."""')
    assert changed(copy, "models/editing/painting/colour_names.json", new=" ")


def test_every_part_is_there():
    for part in kept.CODE:
        assert list(kept.files_of(HOME, (part,))), part


@pytest.mark.slow
def test_all_that_an_edit_imports_is_in_the_key():
    """Data sets and errors aside: pictures and captions are in the names of what is kept themselves."""
    named = set(kept.files_of(HOME, kept.CODE))
    seen, todo = set(), [HOME / name for name in MAKERS]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += imported(file)
    assert len(seen) > 40
    missing = {file.relative_to(HOME).as_posix() for file in seen - named}
    assert {each for each in missing if each.split("/")[0] not in ELSEWHERE} <= {"checkpoints/__init__.py"}


def test_what_is_kept_is_made_once_for_each_model(tmp_path):
    store, made = kept.Store(tmp_path), []

    def make():
        made.append(1)
        return np.arange(3)

    for who in ("birds:1", "birds:1", "birds:2"):
        assert store.get("edits", make, who, "a caption", 0.5).tolist() == [0, 1, 2]
    assert len(made) == 2
