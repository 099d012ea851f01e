"""What a measurement leaves: a figure with its interval, as one JSON line that can be argued with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

RESAMPLES = 1000  # of the bootstrap
VOLATILE = frozenset(
    {"value", "low", "high", "commit", "tgim", "torch", "machine", "seconds"}
)  # no part of a line's key
Kind = Literal["model", "baseline", "reference"]


class Line(BaseModel):
    """One figure; one line of a results file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str  # "retrieval@1"
    model: str  # name of the contender or of the reference row: "birds", "identity", "real"
    kind: Kind
    checkpoint: str | None  # sha256 of the checkpoint file, first 16 hex digits
    data: str
    split: str
    content: str  # hash (16 hex digits) of the pictures' names and bytes and of their captions
    size: int  # pixels, side of the pictures that were compared
    n: int  # pictures that the figure is a mean over
    seed: int
    judge: str | None  # "judge-birds:0123456789abcdef"
    extractor: str | None  # label of a feature extractor
    strength: float | None
    metric: str  # "recall@1", "rmse", "area"
    higher_is_better: bool
    options: dict[str, int | float | str] = {}  # what else the figure depends on: {"candidates": 100}, {"limit": 200}
    value: float
    low: float  # 95 % bootstrap interval over pictures
    high: float
    commit: str | None
    tgim: str
    torch: str
    machine: str
    seconds: float  # since the protocol began on this contender

    @property
    def key(self) -> str:
        """What the figure is of: equal keys are measurements of the same thing."""
        return json.dumps(self.model_dump(exclude=set(VOLATILE)), sort_keys=True)


@dataclass(frozen=True)
class Measured:
    """One figure of one contender: the mean of `values`, or `interval` where the figure is no mean over pictures."""

    metric: str
    values: NDArray[np.float64] | None = None  # (n,), one for each picture
    strength: float | None = None
    higher_is_better: bool = True
    interval: tuple[float, float, float] | None = None  # value, low, high; instead of `values`
    n: int | None = None  # pictures; needed with `interval` only, and then the bench's by default
    options: dict[str, int | float | str] = field(default_factory=dict)


def read_lines(path: Path) -> list[Line]:
    """The figures of a results file."""
    raise NotImplementedError
