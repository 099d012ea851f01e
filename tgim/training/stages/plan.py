"""A recipe of stages: models trained one after another, each on the earlier ones, and a report of the edits at the end.

    data: {name: folder, split: trainval}
    stages:
      guide: {model: {name: late_interaction}, train: {steps: 1200}}
      editor: {model: {name: tagrid, matching: stage:guide}, train: {steps: 2200}}
      judge: {model: {name: late_interaction, members: 3}, train: {steps: 900, seed: 77}}
      report: {editor: stage:editor, judge: stage:judge}

Each stage is a recipe of its own (`tgim.training.recipe`). What stands beside `stages` (data, train, template, card)
holds for every stage that does not say otherwise, key by key. "stage:guide" is the model of the earlier stage `guide`;
that name, not a path, is what checkpoints keep. The stage `report` trains nothing: it comes last and measures the
editor.

An override names a stage ("editor.train.steps=100"), or is for all of them ("train.lr=1e-3"): a stage's own
value still has precedence then, except for `data.name`, `data.root` and `data.split`, which are set in every stage.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tgim.checkpoints.registry import Role
from tgim.data.base import Split
from tgim.data.config import DataConfig
from tgim.errors import RecipeError, UserError, nearest
from tgim.evaluation.catalogue import entries
from tgim.models.base import Editing, Matching
from tgim.training import recipe as recipes
from tgim.training.loop import MODEL
from tgim.training.recipe import Recipe
from tgim.training.values import apply, check, copied, data_in_sections, fail, read

COMMON = ("data", "train", "template", "card")  # keys beside `stages`, for all of them
EVERYWHERE = ("name", "root", "split")  # keys of data whose common override holds for every stage
REPORT, PREFIX = "report", "stage:"
OF_EDITORS: tuple[Role, ...] = ("editor", "generator")  # models whose protocols a report may have: a generator may edit
PARTS: dict[Split, frozenset[str]] = {
    "train": frozenset({"train"}),
    "val": frozenset({"val"}),
    "trainval": frozenset({"train", "val"}),
    "test": frozenset({"test"}),
    "all": frozenset({"train", "val", "test"}),
}


class Report(BaseModel):
    """Settings of the report, the last stage; see `tgim.evaluation.evaluate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    editor: str  # stage:NAME
    judge: str | None = None  # stage:NAME, or name or path of a matching model that no editor learned from
    protocols: Literal["all"] | tuple[str, ...] = "all"  # versions may be left out
    split: Split = "test"
    limit: int | None = Field(None, ge=2)  # pictures, a seeded choice
    size: int | None = Field(None, ge=16, le=1024)  # pixels; the editor's unless given
    seed: int = Field(0, ge=0)
    baselines: bool = True
    captions: tuple[str, ...] = ()  # rows of the contact sheet; the data set's own unless given
    title: str = "How well pictures are edited"

    @field_validator("protocols", mode="before")
    @classmethod
    def _protocols(cls, value: Any) -> Any:
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) and value != "all" else value
        if not isinstance(names, list | tuple):
            return names
        try:
            return tuple(entry.name for entry in entries(map(str, names), roles=OF_EDITORS))
        except UserError as error:
            raise ValueError(str(error)) from None


@dataclass(frozen=True)
class Stages:
    """Checked recipes by stage name, in the order of their training, and what is reported."""

    trainings: Mapping[str, Recipe]
    report: Report | None
    values: Mapping[str, Any] = field(default_factory=dict)  # as a recipe file that says the same of each stage

    @property
    def editor(self) -> str:
        """The stage whose model is the run's: the reported one, else the last that edits, else the last."""
        if self.report is not None:
            return self.report.editor.removeprefix(PREFIX)
        editing = [name for name, recipe in self.trainings.items() if issubclass(recipe.model_class, Editing)]
        return (editing or list(self.trainings))[-1]

    @property
    def count(self) -> int:
        """Number of stages, the report among them."""
        return len(self.trainings) + (self.report is not None)

    def needs(self, name: str) -> set[str]:
        """The stages that a stage is trained on, directly and through others."""
        found: set[str] = set()
        for each in references(self.trainings[name].model):
            found |= {each, *self.needs(each)}
        return found

    def files(self, out: Path) -> dict[str, Path]:
        """ "stage:NAME" -> its model, for a run in `out`."""
        return {f"{PREFIX}{name}": out / name / MODEL for name in self.trainings}

    def report_data(self) -> DataConfig:
        """Make the config of the pictures to edit: another split of the editor's data set, without augmentation."""
        kept = dict.fromkeys(("name", "root", "split_seed", "crop", "fit", "image_size"), True)
        pool = {"synthetic": {"kind", "pool", "seed"}}
        data = self.trainings[self.editor].data.model_dump(include={**kept, **pool})
        return DataConfig(**data, split=self.report.split if self.report else "test")


def references(model: Mapping[str, Any]) -> list[str]:
    """The stages that the `model` section of a recipe names.

    >>> references({"name": "tagrid", "matching": "stage:guide"})
    ['guide']
    """
    return [value.removeprefix(PREFIX) for value in model.values() if isinstance(value, str) and is_stage(value)]


def is_stage(name: str) -> bool:
    """Tell whether `name` is that of a stage's model."""
    return name.startswith(PREFIX)


# Reading


def load(path: str | Path, overrides: Sequence[str] = ()) -> Stages:
    """Read a recipe file of stages; see `parse`."""
    return parse(read(path), overrides, source=os.path.expanduser(path))


def parse(values: Any, overrides: Sequence[str] = (), *, source: str = "recipe") -> Stages:
    """Check the values of a recipe of stages.

    Args:
        values: what a recipe file holds.
        overrides: "key=value"; keys are those of the file (data.root, train.lr, ...) or begin with a stage's name.
        source: named by the errors.

    Raises:
        RecipeError: unknown keys or stages (the nearest is named), or values that do not fit.
    """
    if not isinstance(values, dict) or not isinstance(values.get("stages"), dict) or not values["stages"]:
        raise RecipeError(f"{source}: stages must be names and recipes, e.g. stages: {{editor: {{model: ...}}}}")
    common = data_in_sections(copied({key: value for key, value in values.items() if key != "stages"}), source)
    bodies = copied({name: {} if body is None else body for name, body in values["stages"].items()})
    for key in common:
        if key not in COMMON:
            hint = "; it belongs into a stage" if key == "model" else nearest(str(key), [*COMMON, "stages"])
            hint = hint or f" (there are: stages, {', '.join(COMMON)})"
            raise RecipeError(f"{source}: {key} is no key of a recipe of stages{hint}")
    for name, body in bodies.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in (*COMMON, "model"):
            raise RecipeError(f"{source}: stage {name!r} must be named by letters, digits, _ and -, as no other key is")
        if not isinstance(body, dict):
            raise RecipeError(f"{source}: stage {name} must be keys and values, got {body!r}")
        bodies[name] = data_in_sections(body, f"{source}, stage {name}")
    order = list(bodies)
    if order == [REPORT]:
        raise RecipeError(f"{source} trains nothing; {REPORT} needs a stage before it")
    given = _override(common, bodies, overrides)
    if REPORT in order[:-1]:
        raise RecipeError(f"{source}: stage {REPORT} measures what was trained and must come last")
    trainings, resolved = {}, {}
    for name in (name for name in order if name != REPORT):
        resolved[name] = _merged(common, bodies[name])
        trainings[name] = recipes.parse(resolved[name], source=f"{source}, stage {name}", given=given[name])
        for other in references(trainings[name].model):
            if other not in trainings or other == name:
                close = [] if other in bodies else order
                _no_stage(
                    other, list(trainings)[:-1], f"{source}, stage {name}", f"an earlier stage than {name}", close
                )
    stages = Stages(trainings, None, {"stages": resolved})
    return (
        _with_report(stages, bodies[REPORT], f"{source}, stage {REPORT}", given[REPORT]) if REPORT in order else stages
    )


def _override(common: dict[str, Any], bodies: dict[str, Any], overrides: Sequence[str]) -> dict[str, dict[str, str]]:
    """Put overrides into the common values and the stages', in place; returns those of each stage, by their keys."""
    given: dict[str, dict[str, str]] = {name: {} for name in bodies}
    trained = [name for name in bodies if name != REPORT]
    for text in overrides:
        first, dot, rest = text.strip().partition(".")
        if first in bodies and dot:
            continue
        key, _ = apply(common, text)
        if (section := key.split(".")[0]) not in COMMON:
            hint = nearest(section, [*bodies, *COMMON]) or f" (there are: {', '.join([*bodies, *COMMON])})"
            raise RecipeError(f"override {text!r}: {section!r} is neither a stage nor a common key{hint}")
        for name in trained:
            data = bodies[name].get("data")
            for each in EVERYWHERE:
                if isinstance(data, dict) and (
                    key == f"data.{each}" or (key == "data" and each in (common["data"] or {}))
                ):
                    data.pop(each, None)
        taking = [name for name in trained if not _says(bodies[name], key)]
        if not taking:
            raise RecipeError(
                f"override {text!r}: every stage has its own {key}; name the stage, as in {trained[0]}.{text.strip()}"
            )
        for name in taking:
            given[name][key] = text
    for text in overrides:
        first, dot, rest = text.strip().partition(".")
        if first in bodies and dot:
            given[first][apply(bodies[first], rest)[0]] = text
    return given


def _says(body: Mapping[str, Any], key: str) -> bool:
    """Tell whether a stage has a value of its own at a dotted key."""
    place: Any = body
    for part in key.split("."):
        if not isinstance(place, dict):
            return True
        if part not in place:
            return False
        place = place[part]
    return not isinstance(place, dict)


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `own` over `common`, key by key."""
    found = copied(dict(common))
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _merged(found[key], value) if both else copied(value)
    return dict(found)


def _no_stage(name: str, known: Sequence[str], source: str, what: str, close: Sequence[str]) -> None:
    hint = nearest(name, close) or f" (there are: {', '.join(known) or 'none'})"
    raise RecipeError(f"{source}: {PREFIX}{name} is not {what}{hint}")


def _with_report(stages: Stages, body: Mapping[str, Any], source: str, given: Mapping[str, str]) -> Stages:
    """Add the report to the stages.

    Raises:
        RecipeError: it names the wrong models, or would be of pictures that were trained on.
    """
    problems: list[tuple[str, str]] = []
    report = check(Report, dict(body), "", problems, given=given)
    if report is None:
        fail(problems, source, given)
        raise RecipeError(source)
    for key, name, kind in (("editor", report.editor, Editing), ("judge", report.judge, Matching)):
        if name is None or (key == "judge" and not is_stage(name)):
            continue
        bare = name.removeprefix(PREFIX)
        if not is_stage(name) or bare not in stages.trainings:
            known = list(stages.trainings)
            _no_stage(bare, known, source, f"a stage ({key})", known)
        if not issubclass(stages.trainings[bare].model_class, kind):
            what = "edits" if key == "editor" else "matches pictures and captions"
            raise RecipeError(f"{source}: {key} must be a stage whose model {what}, and that of {bare} does not")
    stages = replace(
        stages,
        report=report,
        values={"stages": {**stages.values["stages"], REPORT: dict(body)}},
    )
    if report.judge is not None and report.judge.removeprefix(PREFIX) in stages.needs(stages.editor):
        raise RecipeError(f"{source}: {report.judge} guides the editor and cannot judge it, too; train another model")
    measured = stages.report_data()
    pool = ("synthetic.kind", "synthetic.pool", "synthetic.seed") if measured.name == "synthetic" else ()
    for name, recipe in stages.trainings.items():
        if (recipe.data.name, recipe.data.root) != (measured.name, measured.root):
            continue
        if PARTS[recipe.data.split] & PARTS[report.split]:
            raise RecipeError(
                f"{source}: split {report.split!r} holds pictures that {name} is trained on ({recipe.data.split!r}); "
                "train on data.split=trainval and report on report.split=test"
            )
        if other := [k for k in ("split_seed", *pool) if attrgetter(k)(recipe.data) != attrgetter(k)(measured)]:
            raise RecipeError(
                f"{source}: data.{other[0]} of {name} is not the editor's; what splits the data must be equal"
            )
    return stages
