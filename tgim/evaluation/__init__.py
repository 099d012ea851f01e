"""Evaluation of models by named protocols, with an independent judge, and trivial baselines in every table.

>>> from tgim.evaluation import PROTOCOLS
>>> "retrieval@1" in PROTOCOLS
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tgim.evaluation.bench import Bench
    from tgim.evaluation.contenders import Contender, ModelContender
    from tgim.evaluation.protocol import Protocol
    from tgim.evaluation.protocols import PROTOCOLS
    from tgim.evaluation.records import Line, Measured, read_lines
    from tgim.evaluation.run import counting, evaluate

__all__ = [
    "PROTOCOLS",
    "Bench",
    "Contender",
    "Line",
    "Measured",
    "ModelContender",
    "Protocol",
    "counting",
    "evaluate",
    "read_lines",
]
_HOMES = {
    "PROTOCOLS": "protocols",
    "Bench": "bench",
    "Contender": "contenders",
    "Line": "records",
    "Measured": "records",
    "ModelContender": "contenders",
    "Protocol": "protocol",
    "counting": "run",
    "evaluate": "run",
    "read_lines": "records",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: `catalogue` is read without torch (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tgim.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tgim.evaluation.{_HOMES[name]}"), name)
