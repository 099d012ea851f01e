"""How well pictures are edited: named protocols, an independent judge, and trivial baselines in every table.

>>> from tgim.evaluation import PROTOCOLS
>>> "retrieval@1" in PROTOCOLS  # doctest: +SKIP
True
"""

from __future__ import annotations

from tgim.evaluation.bench import Bench, Protocol
from tgim.evaluation.contenders import Contender, ModelContender
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
