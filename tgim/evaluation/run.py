"""Measure models by protocols: one call, one results file, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tgim.data.loader import DataConfig
from tgim.evaluation.bench import Progress
from tgim.evaluation.records import Line


def evaluate(
    models: Sequence[str],
    *,
    data: DataConfig,
    protocols: Sequence[str] | Literal["all"] = "all",
    judge: str | None = None,
    seed: int = 0,
    out: Path | None = None,
    baselines: bool = True,
    limit: int | None = None,
    size: int | None = None,
    cache: Path | None = None,
    extractor: str | None = None,
    progress: Progress | None = None,
) -> list[Line]:
    """Measure models, baselines and references."""
    raise NotImplementedError
