"""The code of all protocols by name, in the order in which they are measured; names alone are in `catalogue`."""

from __future__ import annotations

from tgim.evaluation.catalogue import CATALOGUE
from tgim.evaluation.protocol import Protocol, load

PROTOCOLS: dict[str, Protocol] = {name: load(entry) for name, entry in CATALOGUE.items()}
