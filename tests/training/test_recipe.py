"""Laws of a recipe: every key is known or refused with the nearest one named; what is given is what is used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import toy
from tgim.checkpoints import registry
from tgim.errors import RecipeError
from tgim.training import recipe
from tgim.training.values import refuse_twice

assert registry.find_model("toy") is toy.Toy


def values(**train: Any) -> dict[str, Any]:
    return {
        "model": {"name": "toy", "width": 5},
        "data": {"name": "folder", "root": "somewhere"},
        "train": {"steps": 3, **train},
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(values()))
    return path


def test_values_and_defaults(file: Path) -> None:
    loaded = recipe.load(file)
    assert loaded.model == {"name": "toy", "image_size": 16, "width": 5, "weight": 1.0, "fail_at": -1}
    assert loaded.model_settings() == toy.ToyConfig(width=5)
    assert (loaded.train.steps, loaded.train.batch_size, loaded.data.name) == (3, 16, "folder")
    assert loaded.data.image_size == 16  # the model's


def test_a_resolved_recipe_is_a_recipe_that_resolves_to_itself(tmp_path: Path) -> None:
    first = recipe.parse(values(optimizers={"discriminator": {"lr": 1e-3}}, clip=2))
    (tmp_path / "resolved.yaml").write_text(first.to_yaml())
    again = recipe.load(tmp_path / "resolved.yaml")
    assert again.values() == first.values()
    assert again.train.optimizer("discriminator") == first.train.optimizer("discriminator")


def test_overrides(file: Path) -> None:
    given = ["train.steps=7", "model.width=2", "train.lr=1e-3", "train.betas=[0, 0.9]", "card.title=My birds"]
    loaded = recipe.load(file, [*given, "train.optimizers.generator.lr=5e-4"])
    assert (loaded.train.steps, loaded.model["width"], loaded.train.lr) == (7, 2, 1e-3)
    assert loaded.train.betas == (0.0, 0.9)
    assert loaded.card == {"title": "My birds"}
    assert loaded.train.optimizer("generator").lr == 5e-4
    assert loaded.train.optimizer("discriminator").lr == 1e-3
    assert recipe.load(file).train.steps == 3


def test_a_network_takes_the_common_settings_but_its_own() -> None:
    train = recipe.parse(values(lr=1e-3, clip=5, optimizers={"discriminator": {"clip": 0}})).train
    assert train.optimizer("generator").clip == 5
    assert train.optimizer("discriminator").clip == 0
    assert train.optimizer("discriminator").lr == 1e-3


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.batch_sise=4", r"train\.batch_sise .*'batch_size'"),
        ("trian.lr=1", "trian .*'train'"),
        ("model.widht=1", "'width'"),
        ("data.captoins=first", "'captions'"),
        ("train.optimizers.discriminator.lrr=1", "'lr'"),
        ("train.optimizers.generatr.lr=1", "no network of toy; did you mean 'generator'"),
        ("data.checkpoint_every=3", r"'train\.checkpoint_every'"),
        ("data.augment.flpi=true", r"data\.augment\.flpi .*'flip'"),
        ("data.flpi=true", r"data\.flpi .*'data\.augment\.flip'"),
        ("data.drawn_pol=40", r"data\.drawn_pol .*'data\.synthetic\.pool'"),
        ("data.synthetic.drawn_pool=40", r"'data\.synthetic\.pool'"),
        ("train.min_word_count=2", r"'data\.captions\.min_word_count'"),
        ("data.flip=perhaps", r"override 'data\.flip=perhaps': data\.augment\.flip .*got 'perhaps'"),
        ("data.augment=3", r"data\.augment .*got 3"),
        ("crad.title=x", "'card'"),
        ("train.lr=-1", r"train\.lr .*greater than 0, got -1"),
        ("train.lr=fast", r"train\.lr .*number"),
        ("train.precision=fp8", "'auto', 'fp32' or 'bf16'"),
        ("train.betas=[0.5, 1.5]", "betas must lie"),
        ("train.schedule=halve", "halve_every"),
        ("train.epochs=3", "either train.steps or train.epochs"),
        ("train=3", "train must be keys and values, got 3"),
        ("model.name=tgn", "'tgn' is unknown; did you mean"),
        ("template=blue", "template must hold"),
        ("train.steps", "not key=value"),
        ("train..steps=3", "not key=value"),
        ("train.steps.more=3", r"train\.steps is a value"),
        ("train.steps=[1", "train.steps .* valid integer"),
    ],
)
def test_what_does_not_fit_is_one_line_that_helps(file: Path, override: str, expected: str) -> None:
    with pytest.raises(RecipeError, match=expected) as caught:
        recipe.load(file, [override])
    assert "\n" not in str(caught.value)


OLD = {"margin": 4, "flip": True, "captions": "first", "min_word_count": 2, "drawn": 3, "drawn_pool": 40}
NEW = {
    "augment": {"margin": 4, "flip": True},
    "captions": {"pick": "first", "min_word_count": 2},
    "synthetic": {"pairs": 3, "pool": 40},
}


def test_a_recipe_of_flat_keys_is_read_as_sections() -> None:
    old, new = values(), values()
    old["data"] |= OLD
    new["data"] |= NEW
    assert recipe.parse(old) == recipe.parse(new)
    assert not set(OLD) - {"captions"} & recipe.parse(old).values()["data"].keys()


@pytest.mark.parametrize("data", [OLD, NEW])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("data.flip=false", "data.augment.flip=false"),
        ("data.captions=random", "data.captions.pick=random"),
        ("data.captions={phrases: 0.5}", "data.captions={phrases: 0.5}"),
        ("data.drawn_pool=50", "data.synthetic.pool=50"),
        (
            "data={name: folder, flip: true, augment: {margin: 3}}",
            "data={name: folder, augment: {flip: on, margin: 3}}",
        ),
    ],
)
def test_an_old_override_does_what_the_new_one_does(data: dict[str, Any], old: str, new: str) -> None:
    given = values()
    given["data"] |= data
    changed = recipe.parse(given, [old])
    assert changed == recipe.parse(given, [new])
    assert changed != recipe.parse(given)


@pytest.mark.parametrize(
    "twice",
    [
        ["train.steps=1", "train.steps=1"],
        ["data.flip=true", "data.augment.flip=false"],
        ["data={augment: {flip: true}}", "data.flip=false"],
        ["data.augment.flip=true", "data={name: synthetic}"],
        ["train={steps: 2, steps: 3}"],
    ],
)
def test_what_one_override_says_another_may_not_say_again(twice: list[str]) -> None:
    with pytest.raises(RecipeError, match="twice"):
        refuse_twice(twice)
    refuse_twice(["data={name: synthetic, augment: {flip: true}}", "data.augment.margin=3"])
    refuse_twice(["editor.train.steps=2", "train.steps=3"], stages=["editor"])
    with pytest.raises(RecipeError, match="twice"):
        refuse_twice(["editor.train.steps=2", "editor.train.steps=3"], stages=["editor"])
    apart = recipe.parse(values(), ["data={name: synthetic, augment: {flip: true}}", "data.augment.margin=3"])
    assert apart.data.augment.flip
    assert apart.data.augment.margin == 3


FOLDERS = ("2024", "no", "on", "true", "[pics]", "1e3", "1.50", "007", "0x1f", "1_000", "2024-01-31", "12:30", "a # b")
FOLDERS += (
    "{pics}",
    "[pics",
    "*pics",
    "&a",
    "@pics",
    "%pics",
    "!pics",
    "- a",
    "a: b",
    "?",
    "|",
    "pics\udcf6",
    "~",
    "null ",
)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_may_have_any_name(file: Path, name: str) -> None:
    assert recipe.load(file, [f"data.root={name}"]).data.root == (None if name == "null " else os.path.expanduser(name))


@pytest.mark.parametrize("name", ["2024", "no", "true", "1e3", "1.50", "007", "0x1f", "1_000", "2024-01-31", "12:30"])
def test_a_folder_may_be_named_by_a_number_in_the_file(file: Path, name: str) -> None:
    file.write_text(file.read_text().replace("root: somewhere", f"root: {name}"))
    assert recipe.load(file).data.root == name


def test_text_is_read_as_numbers_and_truth_values_where_those_are_expected(file: Path) -> None:
    given = ["train.steps=1_000", "train.lr=1e-3", "data.augment.flip=yes", "data.augment.contrast=0.50"]
    found = recipe.load(file, [*given, "data.augment.zoom=[0.50, 1]"])
    assert (found.train.steps, found.train.lr, found.data.augment.flip) == (1000, 1e-3, True)
    assert (found.data.augment.contrast, found.data.augment.zoom) == (0.5, (0.5, 1.0))


def test_a_value_under_its_old_and_new_key_is_refused(file: Path) -> None:
    given = values()
    given["data"] |= {"flip": True, "augment": {"flip": True}}
    with pytest.raises(RecipeError, match=r"flip and augment\.flip are the same key"):
        recipe.parse(given)
    with pytest.raises(RecipeError, match=r"flip and augment\.flip are the same key"):
        recipe.load(file, ["data={flip: true, augment: {flip: true}}"])


def test_faults_of_the_file_name_the_file(file: Path) -> None:
    for text, expected in (
        (file.read_text() + "\nextra: 1\n", "extra is not a key"),
        (file.read_text().replace("steps", "stpes"), "'steps'"),
        ("model: {name: toy}\nmodel: {name: toy}\n", "given twice"),
        ("a: [1,\n", "not YAML"),
        ("", "NoneType"),
        ("- 1\n", "list"),
        ("data: {}\n", "model must give a name"),
    ):
        file.write_text(text)
        with pytest.raises(RecipeError, match=expected) as caught:
            recipe.load(file)
        assert str(file) in str(caught.value)
    with pytest.raises(RecipeError, match="No such file"):
        recipe.load(file.with_name("absent.yaml"))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not UTF-8"):
        recipe.load(file)


def test_all_faults_are_told_at_once(file: Path) -> None:
    with pytest.raises(RecipeError, match=r"'width'.*'batch_size'|'batch_size'.*'width'"):
        recipe.load(file, ["model.widht=1", "train.batch_sise=4"])


def test_home_and_variables_in_the_root(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTURES", "/pictures")
    monkeypatch.setenv("HOME", "/home/me")
    assert recipe.load(file, ["data.root=$PICTURES/birds"]).data.root == "/pictures/birds"
    assert recipe.load(file, ["data.root=~/birds"]).data.root == "/home/me/birds"
    with pytest.raises(RecipeError, match="variable NOWHERE"):
        recipe.load(file, ["data.root=$NOWHERE/birds"])
