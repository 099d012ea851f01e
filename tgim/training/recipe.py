"""Recipes: YAML files that name a model, its data and the settings of its training. Every key is checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, field_validator

from tgim.checkpoints.registry import find_model, import_system
from tgim.data.config import DataConfig
from tgim.errors import PluginError, RecipeError, nearest
from tgim.models.base import Config, Model
from tgim.training.config import TrainConfig
from tgim.training.values import apply, check, copied, data_in_sections, fail, read, unknown


class Recipe(BaseModel):
    """Resolved recipe: the model, its data and the settings of its training, every key with its value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: dict[str, Any]  # name and the keys of the model's config
    data: DataConfig
    train: TrainConfig
    template: str = "{}"  # completes a bare phrase to a caption, "{}" stands for the phrase
    card: dict[str, Any] = {}  # title, licence, notes: what `tgim info` shows

    @field_validator("template")
    @classmethod
    def _template(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError(f"template must hold '{{}}' once, where the phrase goes, got {value!r}")
        return value

    @property
    def model_class(self) -> type[Model]:
        """The class that `model.name` names."""
        return find_model(self.model["name"])

    def model_settings(self) -> Config:
        """The model's config."""
        return self.model_class.Config(**{key: value for key, value in self.model.items() if key != "name"})

    def values(self) -> dict[str, Any]:
        """The resolved recipe as JSON values."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The resolved recipe as YAML."""
        return yaml.safe_dump(self.values(), sort_keys=False, default_flow_style=None, width=110)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    Args:
        path: of a YAML file.
        overrides: "key=value", the key with dots ("train.steps=100"), the value in YAML.

    Raises:
        RecipeError: no such file, no YAML, unknown keys (the nearest is named) or values that do not fit.
    """
    return parse(read(path), overrides, source=os.path.expanduser(path))


def parse(
    values: Any,
    overrides: Sequence[str] = (),
    *,
    source: str = "recipe",
    given: Mapping[str, str] | None = None,
) -> Recipe:
    """Check the values of a recipe; see `load`.

    Args:
        values: what a recipe file holds.
        overrides: "key=value", as for `load`.
        source: named by the errors.
        given: overrides that `values` have taken in already, dotted key -> text: named by the errors, too.

    Raises:
        RecipeError: as `load`.
    """
    if not isinstance(values, dict):
        raise RecipeError(f"{source} holds {type(values).__name__}, expected the keys model, data and train")
    values = data_in_sections(copied(values), source)
    given = {**(given or {}), **dict(apply(values, text) for text in overrides)}
    if "stages" in values and "model" not in values:
        raise RecipeError(f"{source} holds several stages, where one model is expected; tgim train takes both")
    for name in values:
        if name not in Recipe.model_fields:
            fail([unknown((str(name),), list(Recipe.model_fields))], source, given)
    section = values.get("model")
    if not isinstance(section, dict) or not isinstance(section.get("name"), str):
        raise RecipeError(
            f"{source}: model must give a name and its keys, e.g. model: {{name: tagan, image_size: 128}}"
        )
    try:
        model_class = (import_system if ":" in section["name"] else find_model)(section["name"])
    except PluginError as error:
        raise RecipeError(f"{source}: model.name {section['name']!r}: {error}") from None
    except KeyError as error:
        known = error.args[0]
        raise RecipeError(
            f"{source}: model.name {section['name']!r} is unknown{nearest(section['name'], known)} "
            f"(there are: {', '.join(known)})"
        ) from None
    problems: list[tuple[str, str]] = []
    checked: dict[str, Any] = {name: values[name] for name in ("template", "card") if name in values}
    keys = {key: value for key, value in section.items() if key != "name"}
    config = check(model_class.Config, keys, "model", problems, given=given)
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("root"), str):
        data = {**data, "root": _expand(data["root"], source)}
    if isinstance(data, dict) and "image_size" not in data and config is not None and hasattr(config, "image_size"):
        data = {**data, "image_size": config.image_size}
    checked["data"] = check(DataConfig, data, "data", problems, given=given)
    train = checked["train"] = check(TrainConfig, values.get("train"), "train", problems, given=given)
    for network in train.optimizers if train else ():
        if network not in model_class.networks:
            hint = nearest(network, model_class.networks) or f"; there are: {', '.join(model_class.networks)}"
            problems.append((f"train.optimizers.{network}", f"is no network of {section['name']}{hint}"))
    if problems or config is None:
        fail(problems, source, given)
        raise RecipeError(source)
    checked["model"] = {"name": section["name"], **config.model_dump(mode="json")}
    recipe = check(Recipe, checked, "", problems, given=given)
    if recipe is None:
        fail(problems, source, given)
        raise RecipeError(source)
    return recipe


def _expand(root: str, source: str) -> str:
    """`root` with ~ and environment variables filled in."""
    full = os.path.expanduser(os.path.expandvars(root))
    if left := re.search(r"\$\{?(\w+)\}?", full):
        raise RecipeError(f"{source}: data.root {root!r} needs the environment variable {left[1]}, which is not set")
    return full
