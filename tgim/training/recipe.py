"""A recipe: YAML of values that says which model is trained on what, and how. Every key is checked; none is guessed."""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

from tgim.checkpoints.checkpoint import find_model
from tgim.data.config import DataConfig
from tgim.errors import RecipeError, nearest
from tgim.models.base import Config, Model


class OptimizerConfig(BaseModel):
    """How one network is optimised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["adam", "adamw"] = "adam"
    lr: float = Field(2e-4, gt=0)  # learning rate at its highest
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(0.0, ge=0)  # largest norm of the network's gradient; 0 for none
    schedule: Literal["constant", "one_cycle", "cosine", "halve"] = "constant"
    warm_up: int = Field(0, ge=0)  # steps of rising rate; for one_cycle 0 means 30 % of all steps
    halve_every: int = Field(0, ge=0)  # steps, schedule "halve"
    halve_every_epochs: float = Field(0.0, ge=0)  # the same in epochs, as papers give it

    @field_validator("betas")
    @classmethod
    def _betas(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError(f"betas must lie in [0, 1), got {list(value)}")
        return value


class TrainConfig(OptimizerConfig):
    """The loop: how long, how fast, on what, and what is written down. The inherited keys hold for all networks."""

    steps: int | None = Field(None, ge=1)  # either this
    epochs: float | None = Field(None, gt=0)  # or this
    batch_size: int = Field(16, ge=1)
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the device computes with it
    device: Literal["auto", "cpu", "cuda"] = "auto"
    optimizers: dict[str, OptimizerConfig] = {}  # network -> keys that differ for it
    ema: float = Field(0.999, ge=0, lt=1)  # decay of the weight average; 0 for none
    log_every: int = Field(10, ge=1)  # steps
    checkpoint_every: int = Field(500, ge=1)  # steps
    sample_every: int = Field(500, ge=0)  # steps; 0 for no sample sheets
    sample_captions: tuple[str, ...] = ()  # of the sample sheet; three of the data set's own unless given
    channels_last: bool = False  # memory layout of pictures
    threads: int = Field(0, ge=0)  # CPU threads; 0 for torch's choice
    deterministic: bool = False  # on a GPU: repeatable kernels, where torch has them (slower)
    half: bool = False  # store the finished weights in 16 bits

    @model_validator(mode="after")
    def _checks(self) -> TrainConfig:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either train.steps or train.epochs")
        for network in (None, *self.optimizers):
            settings = self.optimizer(network)
            if settings.schedule == "halve" and bool(settings.halve_every) == bool(settings.halve_every_epochs):
                raise ValueError("schedule 'halve' needs either halve_every (steps) or halve_every_epochs")
        return self

    @field_serializer("optimizers")
    def _given(self, value: dict[str, OptimizerConfig]) -> dict[str, dict[str, Any]]:
        return {network: settings.model_dump(mode="json", exclude_unset=True) for network, settings in value.items()}

    def optimizer(self, network: str | None) -> OptimizerConfig:
        """The settings of one network: the common ones, and what `optimizers` says of it."""
        values = {name: getattr(self, name) for name in OptimizerConfig.model_fields}
        own = self.optimizers.get(network or "")
        return OptimizerConfig(**values | (own.model_dump(exclude_unset=True) if own else {}))

    def total_steps(self, steps_per_epoch: float) -> int:
        """How many steps the run has."""
        return self.steps if self.steps is not None else max(1, round((self.epochs or 0) * steps_per_epoch))


class Recipe(BaseModel):
    """What is trained on what, and how; resolved: every key has its value."""

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
        return find_model(self.model["name"])[1]

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
    return parse(read(path), overrides, source=str(Path(path).expanduser()))


def read(path: str | Path) -> Any:
    """The unchecked values of a recipe file; RecipeError when it cannot be read or is no YAML."""
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RecipeError(
            f"recipe {path} cannot be read: {reason}; expected a YAML file with model, data and train"
        ) from None
    return _yaml(text, str(path))


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
    values = copied(values)
    given = {**(given or {}), **dict(apply(values, text) for text in overrides)}
    if "stages" in values and "model" not in values:
        raise RecipeError(f"{source} holds several stages, where one model is expected; tgim train takes both")
    for name in values:
        if name not in Recipe.model_fields:
            fail([_unknown((str(name),), list(Recipe.model_fields))], source, given)
    section = values.get("model")
    if not isinstance(section, dict) or not isinstance(section.get("name"), str):
        raise RecipeError(
            f"{source}: model must give a name and its keys, e.g. model: {{name: tagan, image_size: 128}}"
        )
    try:
        model_class = find_model(section["name"])[1]
    except KeyError as error:
        known = error.args[0]
        raise RecipeError(
            f"{source}: model.name {section['name']!r} is unknown{nearest(section['name'], known)} "
            f"(there are: {', '.join(known)})"
        ) from None
    problems: list[tuple[str, str]] = []
    checked: dict[str, Any] = {name: values[name] for name in ("template", "card") if name in values}
    keys = {key: value for key, value in section.items() if key != "name"}
    config = check(model_class.Config, keys, "model", problems)
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("root"), str):
        data = {**data, "root": _expand(data["root"], source)}
    if isinstance(data, dict) and "image_size" not in data and config is not None and hasattr(config, "image_size"):
        data = {**data, "image_size": config.image_size}
    checked["data"] = check(DataConfig, data, "data", problems)
    train = checked["train"] = check(TrainConfig, values.get("train"), "train", problems)
    for network in train.optimizers if train else ():
        if network not in model_class.networks:
            hint = nearest(network, model_class.networks) or f"; there are: {', '.join(model_class.networks)}"
            problems.append((f"train.optimizers.{network}", f"is no network of {section['name']}{hint}"))
    if problems or config is None:
        fail(problems, source, given)
        raise RecipeError(source)
    checked["model"] = {"name": section["name"], **config.model_dump(mode="json")}
    recipe = check(Recipe, checked, "", problems)
    if recipe is None:
        fail(problems, source, given)
        raise RecipeError(source)
    return recipe


_M = typing.TypeVar("_M", bound=BaseModel)


def check(model: type[_M], values: Any, where: str, problems: list[tuple[str, str]]) -> _M | None:
    """Build `model`, or add (dotted key, what is wrong) for each fault to `problems`."""
    if values is None:
        values = {}
    if not isinstance(values, dict):
        problems.append((where, f"must be keys and values, got {values!r}"))
        return None
    try:
        return model(**values) if all(isinstance(key, str) for key in values) else model.model_validate(values)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            place = tuple(str(part) for part in (*([where] if where else []), *fault["loc"]))
            if fault["type"] == "extra_forbidden":
                problems.append(_unknown(place, _keys_at(model, fault["loc"][:-1])))
            else:
                message = re.sub(r"^Value error, ", "", fault["msg"])
                got = "" if fault["type"] in ("value_error", "missing") else f", got {fault['input']!r}"
                problems.append((".".join(place), message[:1].lower() + message[1:] + got))
    return None


def _unknown(place: tuple[str, ...], known: Sequence[str]) -> tuple[str, str]:
    """The dotted key, and that it is none."""
    hint = nearest(place[-1], known)
    if not hint:  # perhaps it stands in the wrong section
        sections: dict[str, type[BaseModel]] = {"train": TrainConfig, "data": DataConfig}
        paths = [f"{section}.{key}" for section, model in sections.items() for key in model.model_fields]
        same = [path for path in paths if path.split(".")[1] == place[-1]]
        hint = f"; did you mean {same[0]!r}?" if same else f"; keys here: {', '.join(known)}"
    return ".".join(place), f"is not a key of a recipe{hint}"


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The valid keys at a place inside `model`."""
    found: list[type[BaseModel]] = [model]
    for part in location:
        fields = [m.model_fields[str(part)].annotation for m in found if str(part) in m.model_fields]
        if fields:  # otherwise `part` is an index or a key of a dictionary
            found = [inner for annotation in fields for inner in _models_in(annotation)]
    return [key for inner in found for key in inner.model_fields]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, BaseModel)
    ):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models_in(inner)


def fail(problems: Sequence[tuple[str, str]], source: str, given: Mapping[str, str]) -> None:
    """Raise one line for all `problems`, each with the file or the override that it came from."""
    lines = []
    for key, message in problems:
        override = next(
            (
                text
                for name, text in given.items()
                if f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.")
            ),
            None,
        )
        lines.append(f"{f'override {override!r}' if override else source}: {key} {message}")
    raise RecipeError("; ".join(lines))


def apply(values: dict[str, Any], override: str) -> tuple[str, str]:
    """Put "key=value" into `values`; the key and the whole text come back."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"override {override!r} is not key=value; write for example train.steps=100")
    place = values
    for i, part in enumerate(parts[:-1]):
        inner = place.setdefault(part, {})
        if inner is None:
            inner = place[part] = {}
        if not isinstance(inner, dict):
            raise RecipeError(f"override {override!r}: {'.'.join(parts[: i + 1])} is a value and has no keys")
        place = inner
    place[parts[-1]] = _yaml(text, f"override {override!r}")
    return ".".join(parts), override


def _expand(root: str, source: str) -> str:
    """`root` with ~ and environment variables filled in."""
    full = os.path.expanduser(os.path.expandvars(root))
    if left := re.search(r"\$\{?(\w+)\}?", full):
        raise RecipeError(f"{source}: data.root {root!r} needs the environment variable {left[1]}, which is not set")
    return full


def copied(values: Any) -> Any:
    """`values` with dictionaries of their own."""
    return {key: copied(value) for key, value in values.items()} if isinstance(values, dict) else values


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, where plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise RecipeError(
            f"{source} is not YAML{line}: {getattr(error, 'problem', None) or 'cannot be parsed'}"
        ) from None
