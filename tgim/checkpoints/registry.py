"""Registry of systems: the class of a model by the name that a checkpoint or a recipe gives.

A class is registered by `@register("its_name")`. The files of `tgim.models` are searched for that line, so that
looking up one system imports its module alone. A class from outside tgim has an address, "package.module:Class". A
recipe may give it as `model.name`, and its module is then imported (`import_system`). A checkpoint keeps it in its
header, where a stranger may have written it: the module is imported only if the user names it, or its package, in the
environment variable TGIM_PLUGINS. Modules named there are imported by the first look-up that needs them, so that their
systems are listed and found by name, too.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from tgim.errors import PluginError, nearest

AnyModel: TypeAlias = Any  # a `tgim.models.base.Model`; this room must not import `models`, which imports it
S = TypeVar("S", bound=type[AnyModel])
Role = Literal["editor", "generator", "matching", "retrieval", "parsing"]
KINDS: dict[Role, str] = {  # what headers call each role under "kind", which has one word for editors and generators
    "editor": "editor",
    "generator": "editor",
    "matching": "matcher",
    "retrieval": "composer",
    "parsing": "parser",
}
WORDS: dict[str, Role] = {  # of headers, new and old
    "editor": "editor",
    "generator": "generator",
    "matching": "matching",
    "retrieval": "retrieval",
    "parsing": "parsing",
    "matcher": "matching",
    "matching model": "matching",
    "composer": "retrieval",
    "composing model": "retrieval",
    "parser": "parsing",
    "part localiser": "parsing",
}
PLUGINS = "TGIM_PLUGINS"
SYSTEMS: dict[str, type[AnyModel]] = {}  # those whose modules are imported; `register` adds to it
_LINE = re.compile(r'^@register\("(\w+)"\)$', re.MULTILINE)


def register(name: str) -> Callable[[S], S]:
    """Register a class as the system `name`, and set its attribute `name`.

    Raises:
        PluginError: the name is taken by another class.
    """

    def join(system: S) -> S:
        other = address(SYSTEMS[name]) if name in SYSTEMS else built_in().get(name)
        if other not in (None, address(system), system.__module__):
            raise PluginError(f"{address(system)} cannot be the system {name!r}, {other} is; give it another name")
        system.name = name
        SYSTEMS[name] = system
        return system

    return join


def find_model(name: str, *, role: Role | None = None) -> type[AnyModel]:
    """Find the class of a system by its name or address, among all systems or those of `role`.

    Raises:
        KeyError: no such name; its argument lists the known ones.
        PluginError: an address whose module is not imported, and may not or cannot be.
    """
    found = _permitted(name) if ":" in name else _named(name)
    if found is None or role not in (None, found.role):
        raise KeyError(sorted(systems(role)) if role else sorted({*built_in(), *SYSTEMS}))
    return found


def systems(role: Role | None = None) -> Mapping[str, type[AnyModel]]:
    """Map names to systems, all or those of a role; every module of `tgim.models` that has one is imported."""
    for module in built_in().values():
        importlib.import_module(module)
    _import_plugins()
    return {name: system for name, system in sorted(SYSTEMS.items()) if role in (None, system.role)}


@cache
def built_in() -> Mapping[str, str]:
    """The module of each system of `tgim.models`, by its name, without importing any."""
    package = Path(__file__).parents[1]
    found: dict[str, str] = {}
    for file in sorted((package / "models").rglob("*.py")):
        module = ".".join((package.name, *file.relative_to(package).with_suffix("").parts))
        found |= dict.fromkeys(_LINE.findall(file.read_text(encoding="utf-8")), module)
    return found


def reference(system: type[AnyModel]) -> str:
    """Reference by which `find_model` finds a class in another process: its name, or its address from outside tgim.

    A class of a script that is run has no address that could be imported, and goes by its name.
    """
    return system.name if system.__module__.split(".")[0] in ("tgim", "__main__") else address(system)


def import_system(place: str) -> type[AnyModel]:
    """Import the class at an address, "package.module:Class", and with it whatever its module runs.

    Raises:
        PluginError: the module cannot be imported, or has no registered class of that name.
    """
    module_name, _, class_name = place.partition(":")
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", place):
        raise PluginError(f"{place!r} is no address of a class; write package.module:Class")
    found = vars(_import(module_name)).get(class_name)
    registered = [system.__name__ for system in SYSTEMS.values() if system.__module__ == module_name]
    if found is None:
        raise PluginError(f"module {module_name!r} has no class {class_name!r}{nearest(class_name, registered)}")
    if found not in SYSTEMS.values():
        raise PluginError(f'{place} is not registered; write @register("its_name") above the class')
    system: type[AnyModel] = found
    return system


def role_of(kind: str, role: Any) -> Role:
    """The role that a header means by its "kind", a value of `KINDS`, and by "role", which old ones lack."""
    return WORDS.get(role if isinstance(role, str) else kind) or WORDS[kind]


def address(system: type[AnyModel]) -> str:
    """Address that a class is imported from, "package.module:Class"."""
    return f"{system.__module__}:{system.__qualname__}"


def _named(name: str) -> type[AnyModel] | None:
    if name not in SYSTEMS:
        if module := built_in().get(name):
            importlib.import_module(module)
        else:
            _import_plugins()
    return SYSTEMS.get(name)


def _permitted(place: str) -> type[AnyModel]:
    """The class at an address: one that is registered already, or of a module that the user's TGIM_PLUGINS names."""
    for system in SYSTEMS.values():
        if address(system) == place:
            return system
    module = place.partition(":")[0]
    if not any(f"{module}.".startswith(f"{plugin}.") for plugin in _plugins()):
        raise PluginError(
            f"{place} is not part of tgim, and importing it runs its code; if you trust it, set "
            f"{PLUGINS}={module.split('.')[0]}"
        )
    return import_system(place)


def _plugins() -> list[str]:
    """The modules and packages that the user lets checkpoints import."""
    return [name.strip() for name in os.environ.get(PLUGINS, "").split(",") if name.strip()]


def _import_plugins() -> None:
    for name in _plugins():
        try:
            _import(name)
        except PluginError as error:
            raise PluginError(f"{PLUGINS} names {name!r}, but {error}") from None


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise PluginError(
                f"there is no module {error.name!r} to import; install its package, or add its folder to PYTHONPATH"
            ) from None
        raise PluginError(f"module {name!r} cannot be imported: {error}") from error
