"""All protocols by name."""

from __future__ import annotations

from tgim.evaluation.bench import Protocol

PROTOCOLS: dict[str, Protocol] = {}
