"""Learning rates: a factor for each step."""

from __future__ import annotations

import math

from tgim.training.config import OptimizerConfig


def schedule(settings: OptimizerConfig, step: int, total: int) -> float:
    """Factor of the learning rate at `step` (0, 1, ...) of `total`.

    "one_cycle" is that of Smith and Topin (2018) as torch has it: cosines from 1/25 up to 1 and down to 1/250000.

    >>> [schedule(OptimizerConfig(warm_up=4), step, 10) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    >>> [schedule(OptimizerConfig(schedule="halve", halve_every=2), step, 10) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    if settings.schedule == "one_cycle":
        peak = (settings.warm_up or 0.3 * total) - 1
        if step <= peak:
            return _cosine(1 / 25, 1.0, step / peak if peak else 1.0)
        return _cosine(1.0, 1 / 25e4, min(1.0, (step - peak) / max(1e-9, total - 1 - peak)))
    warm = min(1.0, (step + 1) / settings.warm_up) if settings.warm_up else 1.0
    if settings.schedule == "cosine":
        left = max(1, total - settings.warm_up)
        return warm * _cosine(1.0, 0.0, min(1.0, max(0, step - settings.warm_up) / left))
    if settings.schedule == "halve":
        return float(warm * 0.5 ** (step // settings.halve_every))
    return warm


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
