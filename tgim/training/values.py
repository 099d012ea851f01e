"""Unchecked values of a recipe: read from YAML, replaced by overrides, and checked so that each fault is one line."""

from __future__ import annotations

import difflib
import os
import re
import types
import typing
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from tgim.data.config import RENAMED, DataConfig, current_key, in_sections, key_hints
from tgim.errors import RecipeError
from tgim.system.lines import whole
from tgim.training.config import TrainConfig

LONGEST = 2**18  # characters of a recipe
TEXT = 2000  # characters of one value
MOST, DEPTH = 20_000, 20  # values in a recipe, and levels of them


def read(path: str | Path) -> Any:
    """The unchecked values of a recipe file; RecipeError when it cannot be read or is no YAML."""
    path = Path(os.path.expanduser(path))
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RecipeError(
            f"recipe {path} cannot be read: {reason}; expected a YAML file with model, data and train"
        ) from None
    return _yaml(text, str(path))


def data_in_sections(values: dict[str, Any], source: str) -> dict[str, Any]:
    """`values` of a recipe or stage with the keys of `data` in their sections, those of older recipes, too.

    Raises:
        RecipeError: a value is given under its old and its new key.
    """
    if not isinstance(values.get("data"), dict):
        return values
    try:
        return {**values, "data": in_sections(values["data"])}
    except ValueError as error:
        raise RecipeError(f"{source}: data: {error}") from None


def copied(values: Any) -> Any:
    """Copy `values` with the dictionaries in them."""
    return {key: copied(value) for key, value in values.items()} if isinstance(values, dict) else values


TAG = "tag:yaml.org,2002:"
CANONICAL = {TAG + "bool": re.compile("(?:true|false)$", re.I), TAG + "int": re.compile(r"-?[1-9][0-9]*$|0$")}


class _Twice(yaml.constructor.ConstructorError):
    """A key that is given twice."""


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, where plain YAML silently keeps the last.

    What YAML has several spellings for (yes, 007, 2.10, 2024-01-31) stays text, unless it is the one that Python
    writes: so a folder may have any such name, and a number or truth value is read from the text when it is checked.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, CANONICAL.get(tag, pattern)) for tag, pattern in resolvers if tag != TAG + "timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_yaml_float(self, node: yaml.ScalarNode) -> Any:
        """A number, or the text of one such as 2.10, which could be a name."""
        value = super().construct_yaml_float(node)
        return value if not re.fullmatch(r"[-+]?[\d_.:]+", node.value) or repr(value) == node.value else node.value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for each, _ in node.value:
            key = self.construct_object(each, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise _Twice(None, None, f"key {str(key)[:60]!r} is given twice", node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_constructor(TAG + "float", _Loader.construct_yaml_float)


def _yaml(text: str, source: str, *, or_text: bool = False) -> Any:
    """The value of a YAML text; with `or_text` a text that is no YAML, or a bare word, is itself the value."""
    if len(text) > LONGEST:
        raise RecipeError(f"{source} has {len(text):,} characters, expected a recipe of at most {LONGEST:,}")
    try:
        value = yaml.load(text, Loader=_Loader)  # a SafeLoader
        word = isinstance(value, str) or (value is None and text.strip().lower() not in ("", "null"))
        if or_text and word and text.strip()[:1] not in ("'", '"'):
            return text.strip()  # of "a # b", too
    except yaml.YAMLError as error:
        if or_text and not isinstance(error, _Twice):
            return text.strip()
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = str(getattr(error, "problem", None) or "cannot be parsed")[:200]
        raise RecipeError(f"{source} is not YAML{line}: {problem}") from None
    except (ValueError, OverflowError) as error:  # a date or a number that is none
        raise RecipeError(f"{source} has a value that is none: {str(error)[:200]}") from None
    except RecursionError:
        raise RecipeError(f"{source} is nested too deeply for a recipe; flatten it") from None
    if fault := _fault(value):
        raise RecipeError(f"{source} has {fault}")
    return value


def _fault(value: Any) -> str:
    """Describe what no recipe has: too many values (by references to references), or too deep, long or odd ones."""
    level, count = [value], 0
    for _ in range(DEPTH):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, int) and each.bit_length() > 64:
                return "a number of more than 64 bits"
            if isinstance(each, str) and len(each) > TEXT:
                return f"a text of {len(each):,} characters, expected at most {TEXT:,}"
            if isinstance(each, str) and not each.isascii() and whole(each) != each:
                return "half a character (a lone surrogate) in a text"
            inner += [*each, *each.values()] if isinstance(each, dict) else each if isinstance(each, list) else ()
            if count + len(inner) > MOST:
                return f"more than {MOST:,} values"
        count, level = count + len(inner), inner
        if not level:
            return ""
    return f"values more than {DEPTH} deep in one another"


def refuse_twice(overrides: Sequence[str], *, stages: Collection[str] = ()) -> None:
    """Refuse overrides of which one would silently replace another; keys may begin with one of `stages`.

    Raises:
        RecipeError: a key is given twice, or one of them is no key=value.
    """
    scratch: dict[str, dict[str, Any]] = {}
    given: dict[str, dict[str, str]] = {}
    for text in overrides:
        first, dot, rest = text.strip().partition(".")
        stage, own = (first, rest) if dot and first in stages else ("", text)
        before, filled = given.setdefault(stage, {}), copied(scratch.get(stage, {}))
        key, _ = apply(scratch.setdefault(stage, {}), own)
        for other, said in before.items():
            above = key.startswith(f"{other}.") and _has(filled, key)
            if other == key or other.startswith(f"{key}.") or above:
                raise RecipeError(f"overrides {said!r} and {text!r} give {key} twice; give it once")
        before[key] = text


def _has(values: Any, key: str) -> bool:
    """Tell whether there is a value at a dotted key."""
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def apply(values: dict[str, Any], override: str) -> tuple[str, str]:
    """Put "key=value" into `values`; returns the key (the present one, where an old one was given) and the text."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"override {override!r} is not key=value; write for example train.steps=100")
    source = f"override {override!r}"
    value = _yaml(text, source, or_text=True)
    if parts[0] == "data" and len(parts) > 1:
        parts = ["data", *current_key(".".join(parts[1:]), value).split(".")]
    elif parts[0] == "data":
        value = data_in_sections({"data": value}, source)["data"]
    place = values
    for i, part in enumerate(parts[:-1]):
        inner = place.setdefault(part, {})
        if inner is None:
            inner = place[part] = {}
        if not isinstance(inner, dict):
            raise RecipeError(f"{source}: {'.'.join(parts[: i + 1])} is a value and has no keys")
        place = inner
    place[parts[-1]] = value
    return ".".join(parts), override


_M = typing.TypeVar("_M", bound=BaseModel)


def check(
    model: type[_M],
    values: Any,
    where: str,
    problems: list[tuple[str, str]],
    *,
    given: Mapping[str, str] | None = None,
) -> _M | None:
    """Build `model`, or add (dotted key, what is wrong) for each fault to `problems`.

    Where a text is expected, a number or truth value is taken as it was written, and any value of an override (`given`,
    by dotted key) as its text: a folder may be named 2024, or [pics].
    """
    if values is None:
        values = {}
    if not isinstance(values, dict):
        problems.append((where, f"must be keys and values, got {shown(values)}"))
        return None
    try:
        return model(**values) if all(isinstance(key, str) for key in values) else model.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        written = {fault["loc"]: _written(fault, where, given or {}) for fault in faults}
        if any(text is not None for text in written.values()):
            values = copied(values)
            for place, text in written.items():
                if text is not None:
                    _put(values, place, text)
            return check(model, values, where, problems)
        for fault in faults:
            path = tuple(str(part) for part in (*([where] if where else []), *fault["loc"]))
            if fault["type"] == "extra_forbidden":
                problems.append(unknown(path, _keys_at(model, fault["loc"][:-1])))
            else:
                message = re.sub(r"^Value error, ", "", fault["msg"])
                got = "" if fault["type"] in ("value_error", "missing") else f", got {shown(fault['input'])}"
                problems.append((".".join(path), message[:1].lower() + message[1:] + got))
    return None


def _written(fault: Any, where: str, given: Mapping[str, str]) -> str | None:
    """The text that stands where a fault says that one is expected; None for other faults, or if it is not known."""
    if fault["type"] != "string_type" or fault["input"] is None:
        return None
    override = given.get(".".join(map(str, filter(None, (where, *fault["loc"])))))
    if override is not None:
        return override.partition("=")[2].strip()
    value = fault["input"]
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | float) else None


def _put(values: Any, location: Sequence[int | str], text: str) -> None:
    """Put `text` in the place of a value deep in `values`."""
    *way, last = location
    for part in way:
        values = values[part]
    values[last] = text


def shown(value: Any) -> str:
    """Write a value for a message, its beginning where it is long.

    >>> len(shown("x" * 1000))
    103
    """
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def unknown(place: tuple[str, ...], known: Sequence[str]) -> tuple[str, str]:
    """Describe an unknown key: the dotted key, and a message that names the nearest known one."""
    return ".".join(place), f"is not a key of a recipe{_hint(place, known)}"


def _hint(place: tuple[str, ...], known: Sequence[str]) -> str:
    """The key that is nearest to an unknown one at a dotted place: of its section, or of another one."""
    names = {key: key for key in known}
    if len(place) == 2 and place[0] == "data":  # of a section, too, and then with the whole path
        names |= {key: f"data.{path}" if "." in path else path for key, path in key_hints().items()}
    if close := difflib.get_close_matches(place[-1], names, n=1, cutoff=0.6):
        return f"; did you mean {names[close[0]]!r}?"
    elsewhere = [*_paths(TrainConfig, "train"), *_paths(DataConfig, "data")]
    found = next((path for path in elsewhere if path.rpartition(".")[2] == place[-1]), None)
    if found is None and place[-1] in RENAMED:
        found = f"data.{RENAMED[place[-1]]}"
    return f"; did you mean {found!r}?" if found else f"; keys here: {', '.join(known)}"


def _paths(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """The dotted keys of a model and of the sections in it."""
    for name, field in model.model_fields.items():
        yield f"{prefix}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _paths(field.annotation, f"{prefix}.{name}")


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
