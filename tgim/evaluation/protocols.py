"""All protocols by name, in the order in which they are measured."""

from __future__ import annotations

from tgim.evaluation.bench import Protocol
from tgim.evaluation.generation import GENERATION
from tgim.evaluation.l2 import L2_EDIT, L2_OWN_CAPTION
from tgim.evaluation.parts import PARTS_AT
from tgim.evaluation.realism import REALISM
from tgim.evaluation.retrieval import DIRECTIONAL, MP, RETRIEVAL
from tgim.evaluation.swaps import SWAPS
from tgim.evaluation.tradeoff import TRADEOFF
from tgim.evaluation.truth import TRUTH

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        RETRIEVAL, TRADEOFF, MP, DIRECTIONAL, L2_EDIT, L2_OWN_CAPTION, TRUTH, PARTS_AT, SWAPS, REALISM, GENERATION,
    )
}  # fmt: skip
