"""tgim: text-guided image editing.

>>> import tgim
>>> tgim.__version__.count(".")
2
>>> sorted(tgim.__all__)[:3]
['Editor', 'Generator', '__version__']
"""

from tgim.system import runtime

runtime.prepare()  # before any other module is imported

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from tgim._version import __version__  # noqa: E402

if TYPE_CHECKING:
    from tgim import metrics
    from tgim.inference import interpolate, steer
    from tgim.inference.editor import Editor, list_models, load
    from tgim.inference.generator import Generator
    from tgim.inference.ranking import rank
    from tgim.inference.search import search

__all__ = [
    "Editor",
    "Generator",
    "__version__",
    "interpolate",
    "list_models",
    "load",
    "metrics",
    "rank",
    "search",
    "steer",
]
_MODULES = {
    "interpolate": "tgim.inference.interpolate",
    "metrics": "tgim.metrics",
    "steer": "tgim.inference.steer",
}
_HOMES = {
    "Editor": "tgim.inference.editor",
    "Generator": "tgim.inference.generator",
    "list_models": "tgim.inference.editor",
    "load": "tgim.inference.editor",
    "rank": "tgim.inference.ranking",
    "search": "tgim.inference.search",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import tgim` costs no torch (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tgim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
