"""Concatenation: two fully connected layers on the embeddings of picture and text side by side, the baseline of TIRG
(Vo et al., CVPR 2019, §4.1), by the layers of the authors' release.

Differs from the release: the first linear layer has no bias, which the batch normalisation after it would take away.
See `tgim.models.retrieval.base` for the loss and for the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tgim.checkpoints.registry import register
from tgim.models.retrieval.base import Composer
from tgim.nn.layers import RowNorm


class SideBySide(nn.Module):
    """Embeddings of pictures and texts, (B, D) each, to those of the pictures meant."""

    def __init__(self, size: int) -> None:
        super().__init__()
        both = 2 * size
        self.layers = nn.Sequential(
            RowNorm(both),
            nn.ReLU(),
            nn.Linear(both, both, bias=False),
            RowNorm(both),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(both, size),
        )

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        meant: Tensor = self.layers(torch.cat([image, text], 1))
        return meant


@register("compose_concat")
class ComposeConcat(Composer):
    """The embeddings of picture and text side by side, through two layers."""

    @staticmethod
    def join(size: int) -> SideBySide:
        return SideBySide(size)
