"""TIRG: the gated residual of Vo et al., "Composing Text and Image for Image Retrieval", CVPR 2019.

The picture's embedding passes a gate, and a residual is added to it (eq. 1-3), so that the result starts from the
picture and stays in its space:

    meant = w_g sigmoid(gate(x, t)) * x + w_r residual(x, t) + w_t t

The last embedding is composed, as in the paper's runs on Fashion200k and MIT-States; the variant on the last
convolutional map (theirs on CSS) is left out: a matching model of tgim need not have one. Layers, batch normalisation
before the first ReLU included, are those of the authors' release (which has two more weights that nothing uses). See
`tgim.models.retrieval.base` for the loss and for what differs.

Differs from the paper: a matching model has pictures and texts in one space already, where x + t is a good guess. So t
is a summand of its own, and residual and gate start with nothing to say: training begins at the direction of x + t. The
paper's start, w_g = 1, w_r = 10, w_t = 0, forgets that space, and needs many more triples to find it again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tgim.checkpoints.registry import register
from tgim.models.retrieval.base import Composer
from tgim.nn.layers import RowNorm


class GatedSum(nn.Module):
    """Embeddings of pictures and texts, (B, D) each, to those of the pictures meant."""

    def __init__(self, size: int) -> None:
        super().__init__()
        both = 2 * size
        self.gate = nn.Sequential(RowNorm(both), nn.ReLU(), nn.Linear(both, size))
        self.residual = nn.Sequential(RowNorm(both), nn.ReLU(), nn.Linear(both, both), nn.ReLU(), nn.Linear(both, size))
        self.gate_weight, self.text_weight = (nn.Parameter(torch.tensor(value)) for value in (2.0, 1.0))
        self.residual_weight = nn.Parameter(torch.tensor(1.0))
        for parameter in (*self.gate[-1].parameters(), *self.residual[-1].parameters()):
            nn.init.zeros_(parameter)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        both = torch.cat([image, text], 1)
        kept = torch.sigmoid(self.gate(both)) * image
        composed: Tensor = (
            self.gate_weight * kept + self.residual_weight * self.residual(both) + self.text_weight * text
        )
        return composed


@register("tirg")
class TIRG(Composer):
    """Vo et al. 2019: the picture's embedding gated, and a residual."""

    @staticmethod
    def join(size: int) -> GatedSum:
        return GatedSum(size)
