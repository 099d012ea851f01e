"""tgim: text-guided image editing.

>>> import tgim
>>> tgim.__version__.count(".")
2
"""

from tgim import runtime

runtime.prepare()  # before any other module is imported

from typing import TYPE_CHECKING, Any  # noqa: E402

from tgim._version import __version__  # noqa: E402

if TYPE_CHECKING:
    from tgim import metrics
    from tgim.inference.editor import Editor, list_models, load
    from tgim.inference.generator import Generator

__all__ = ["Editor", "Generator", "__version__", "list_models", "load", "metrics"]
_HOMES = {
    "Editor": "tgim.inference.editor",
    "Generator": "tgim.inference.generator",
    "load": "tgim.inference.editor",
    "list_models": "tgim.inference.editor",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that `import tgim` costs no torch (PEP 562)."""
    import importlib

    if name == "metrics":
        return importlib.import_module("tgim.metrics")
    if name not in _HOMES:
        raise AttributeError(f"module 'tgim' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
