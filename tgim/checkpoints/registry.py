"""Systems by name: which class a checkpoint or a recipe means, and what models of that class do."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tgim.models.base import Model

ROLES = {"editor": "editor", "matcher": "matching model", "composer": "composing model", "parser": "part localiser"}
REGISTRIES = {
    "editor": ("tgim.models", "MODELS"),
    "matcher": ("tgim.models.matching", "MATCHERS"),
    "composer": ("tgim.models.retrieval", "COMPOSERS"),
    "parser": ("tgim.models.parsing", "PARSERS"),
}


def systems(kind: str) -> Mapping[str, type[Model]]:
    """The registered systems of a kind (a key of `REGISTRIES`), by name."""
    module, table = REGISTRIES[kind]
    found: Mapping[str, type[Model]] = getattr(importlib.import_module(module), table)
    return found


def find_model(name: str, *, kind: str | None = None) -> tuple[str, type[Model]]:
    """The kind and the class of a model by its name; only those of `kind` are looked at where it is given.

    Raises:
        KeyError: no such name; its argument lists the known ones.
    """
    known: list[str] = []
    for each in REGISTRIES if kind is None else (kind,):
        if name in systems(each):
            return each, systems(each)[name]
        known += systems(each)
    raise KeyError(known)


def role(model_class: type[Model]) -> str:
    """What models of a class do, in a word or two: a value of `ROLES`, or "generator"."""
    from tgim.models.base import Composing, Generating, Localising, Matching

    if issubclass(model_class, Generating):
        return "generator"
    if issubclass(model_class, Composing):
        return ROLES["composer"]
    if issubclass(model_class, Localising):
        return ROLES["parser"]
    return "matching model" if issubclass(model_class, Matching) else "editor"
