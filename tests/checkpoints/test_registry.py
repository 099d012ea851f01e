"""Laws of the registry: every class is found by its name, from outside only with leave, and says what it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import ROOT, toy
from support.commands import is_refused, tgim
from tgim.checkpoints import checkpoint, registry
from tgim.errors import CheckpointError, PluginError, RecipeError
from tgim.models.base import Composing, Editing, Generating, Localising, Matching
from tgim.text.vocabulary import Vocabulary
from tgim.training import recipe

CLASSES = {
    "editor": Editing, "generator": Generating, "matching": Matching, "retrieval": Composing, "parsing": Localising,
}  # fmt: skip
BARE = """

class Bare(Editing):
    Config = TintConfig
"""


def example(language: str) -> str:
    """The first block of a language in CONTRIBUTING.md's chapter on adding a model."""
    chapter = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Adding a model")[2]
    return chapter.partition(f"```{language}\n")[2].partition("```")[0]


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The module `my_editors` of CONTRIBUTING.md on the import path, forgotten afterwards."""
    (tmp_path / "my_editors.py").write_text(example("python") + BARE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(registry.PLUGINS, raising=False)
    yield tmp_path
    forget()


def forget() -> None:
    sys.modules.pop("my_editors", None)
    registry.SYSTEMS.pop("tint", None)


@pytest.fixture
def file(plugin):
    """A checkpoint of the plugin's editor, its module not imported."""
    tint = registry.import_system("my_editors:Tint")
    model = tint(tint.Config(), vocabulary_size=4)
    path = checkpoint.save(plugin / "tint.safetensors", model, vocabulary=Vocabulary(["red", "blue"]))
    forget()
    return path


def test_each_class_is_found_by_its_name_and_its_line():
    every = registry.systems()
    own = {name: system for name, system in every.items() if system.__module__.startswith("tgim.")}
    assert {name: system.__module__ for name, system in own.items()} == dict(registry.built_in())
    for name, system in own.items():
        assert registry.find_model(name) is system
        assert registry.reference(system) == system.name == name


def test_a_class_says_its_role():
    for name, system in registry.systems().items():
        assert issubclass(system, CLASSES[system.role]), name
        assert registry.find_model(name, role=system.role) is system
    assert [role for role in CLASSES if "attngan" in registry.systems(role)] == ["generator"]
    with pytest.raises(KeyError, match="dual_encoder") as refused:
        registry.find_model("tagan", role="matching")
    assert "tagan" not in refused.value.args[0]


@pytest.mark.slow
def test_looking_up_one_system_imports_no_other():
    script = "from tgim.checkpoints.registry import find_model; find_model('sisgan'); import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    found = set(registry.built_in().values()) & set(loaded)
    assert found == {"tgim.models.editing.sisgan"}


def test_a_name_belongs_to_one_class():
    with pytest.raises(PluginError, match=r"cannot be the system 'toy', support\.toy:Toy is"):
        registry.register("toy")(type("Other", (toy.Toy,), {}))
    with pytest.raises(PluginError, match=r"cannot be the system 'vse', tgim\.models\.matching\.vse"):
        registry.register("vse")(type("Other", (toy.Toy,), {}))
    assert registry.register("toy")(toy.Toy) is toy.Toy
    assert toy.Toy.name == "toy"


@pytest.mark.parametrize(
    ("kind", "old", "role"),
    [
        ("editor", None, "editor"),
        ("editor", "generator", "generator"),
        ("matcher", None, "matching"),
        ("matcher", "matching model", "matching"),
        ("composer", "composing model", "retrieval"),
        ("parser", "part localiser", "parsing"),
        ("parser", ["nonsense"], "parsing"),
        ("parser", "nonsense", "parsing"),
    ],
)
def test_words_of_old_headers_are_understood(kind, old, role):
    assert registry.role_of(kind, old) == role


def test_embedded_checkpoints_have_the_roles_of_their_classes():
    for name in checkpoint.list_embedded():
        header = checkpoint.read_header(name)
        assert header["role"] == registry.find_model(header["name"]).role, name
        assert header["address"] == header["name"]


def test_a_checkpoint_from_outside_loads_only_with_leave(file, monkeypatch):
    header = checkpoint.read_header(file)
    assert (header["name"], header["address"], header["role"]) == ("tint", "my_editors:Tint", "editor")
    with pytest.raises(CheckpointError, match=r"runs its code; if you trust it, set TGIM_PLUGINS=my_editors"):
        checkpoint.load(file)
    monkeypatch.setenv(registry.PLUGINS, "my_editor, others")
    with pytest.raises(CheckpointError, match=r"TGIM_PLUGINS=my_editors"):
        checkpoint.load(file)
    assert "my_editors" not in sys.modules
    monkeypatch.setenv(registry.PLUGINS, "my_editors")
    assert checkpoint.load(file).name == "tint"
    monkeypatch.delenv(registry.PLUGINS)
    assert checkpoint.load(file).name == "tint"  # what is imported already need not be asked for


def test_a_module_that_is_gone_is_named(file, monkeypatch):
    (file.parent / "my_editors.py").rename(file.parent / "elsewhere.py")
    monkeypatch.setenv(registry.PLUGINS, "my_editors")
    with pytest.raises(CheckpointError, match=r"no module 'my_editors' to import; .*PYTHONPATH"):
        checkpoint.load(file)
    with pytest.raises(PluginError, match=r"TGIM_PLUGINS names 'my_editors', but there is no module 'my_editors'"):
        registry.systems()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_editors:Tnt", r"module 'my_editors' has no class 'Tnt'; did you mean 'Tint'"),
        ("my_editors:Bare", r'my_editors:Bare is not registered; write @register\("its_name"\)'),
        ("my_editors:TintConfig", r"not registered"),
        ("my_editor:Tint", r"there is no module 'my_editor' to import"),
        ("my_editors.deep:Tint", r"there is no module 'my_editors\.deep'|'my_editors' is not a package"),
        ("broken:Model", r"module 'broken' cannot be imported: No module named 'not_there'"),
        ("my_editors:", r"no address of a class; write package\.module:Class"),
        ("../my_editors:Tint", r"no address of a class"),
    ],
)
def test_a_recipe_says_what_is_missing(plugin, name, message):
    (plugin / "broken.py").write_text("import not_there\n")
    values = {"model": {"name": name}, "data": {"name": "synthetic"}, "train": {"steps": 1}}
    with pytest.raises(RecipeError, match=message) as refused:
        recipe.parse(values)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_an_editor_from_outside_goes_the_whole_way(plugin, tmp_path, monkeypatch):
    """One file and a recipe are trained, described, listed, used and measured by the commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tint.yaml").write_text(example("yaml"))
    toy.write_dataset(Path("squares"))
    Image.fromarray(np.full((20, 30, 3), 128, np.uint8)).save("gray.png")
    model = "run/model.safetensors"

    def run(*words: str) -> str:
        forget()  # as in a process of its own
        result = tgim(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    quick = ("tint.yaml", "data={name: folder, root: squares, split: all}", "--out", "run")
    run("train", *quick, "train.steps=2", "train.batch_size=4")
    run("train", *quick, "train.steps=3", "train.batch_size=4", "--resume")
    card = json.loads(run("info", model, "--json"))
    assert (card["system"], card["role"], card["address"]) == ("tint", "editor", "my_editors:Tint")
    assert card["recipe"]["model"]["name"] == "my_editors:Tint"
    assert "my_editors" not in sys.modules
    edit = ("edit", "--image", "gray.png", "--text", "a red square", "--model", model, "--out", "out.png")
    assert "TGIM_PLUGINS=my_editors" in is_refused(tgim(*edit))
    monkeypatch.setenv(registry.PLUGINS, "my_editors")
    run(*edit)
    assert Image.open("out.png").size == (30, 20)
    assert json.loads(run("list", "--json"))["systems"]["tint"].startswith("editor: Tint: ")
    measured = ("--data", "squares", "--split", "all", "--protocol", "l2-own-caption", "--no-baselines")
    run("eval", "--model", model, *measured, "--out", "l2.jsonl")
    lines = map(json.loads, Path("l2.jsonl").read_text().splitlines())
    assert any((line["model"], line["kind"]) == ("run", "model") for line in lines)
