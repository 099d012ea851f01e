"""Head of `part_curves`: the parts of a picture read a caption; each decides whether it changes, and to what."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tgim.models.editing.part_curves.curves import NUMBERS
from tgim.models.editing.part_curves.described import STATISTICS
from tgim.models.efficientnet import Variant, widths
from tgim.models.matching.dual_encoder import DualEncoderConfig, TextEncoder
from tgim.text.vocabulary import TextCode

CHROMA = 110.0  # largest a or b
HEADS = 4  # of the attention


class PartHead(nn.Module):
    """Transformer decoder (Vaswani et al., NeurIPS 2017, section 3.1) over the parts, with the words as its memory.

    Args:
        parts: P, the whole subject and its parts.
        features: F, of a part.
        vocabulary_size: words of captions.
        width: channels of the decoder.
        layers: of the decoder.
        dropout: share of the parts' features that is left out in training.
        text: sizes of the text encoder.
    """

    def __init__(
        self,
        *,
        parts: int,
        features: int,
        vocabulary_size: int,
        width: int,
        layers: int,
        dropout: float,
        text: DualEncoderConfig,
    ) -> None:
        super().__init__()
        self.text = TextEncoder(text, vocabulary_size)
        self.level = nn.BatchNorm1d(features, affine=False)
        self.enter = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))
        self.part = nn.Embedding(parts, width)
        self.word = nn.Linear(2 * text.word_size, width)
        self.sentence = nn.Linear(text.embedding_size, width)
        layer = nn.TransformerDecoderLayer(
            width, HEADS, 2 * width, 0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))
        self.gate = nn.Linear(width, 1)
        self.curve = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, NUMBERS))
        nn.init.constant_(self.gate.bias, -1.0)

    def enter_parts(self, features: Tensor) -> Tensor:
        """Embed the features (B, P, F) of parts: (B, P, width)."""
        level = self.level(features.flatten(0, 1)).clamp(-6, 6).view_as(features)
        entered: Tensor = self.enter(level) + self.part.weight
        return entered

    def forward(self, parts: Tensor, hidden: Tensor, code: TextCode) -> tuple[Tensor, Tensor]:
        """Let parts read captions.

        Args:
            parts: (B, P, width) from `enter_parts`.
            hidden: (B, P) bool, parts that are not in view.
            code: B captions, from `text`.

        Returns:
            Logits (B, P) that a part changes, the first of which means nothing, and curves (B, P, 9).
        """
        none = ~code.mask.any(1, keepdim=True)
        found = self.layers(
            parts + self.sentence(code.sentence)[:, None],
            self.word(code.words),
            tgt_key_padding_mask=hidden,
            memory_key_padding_mask=~code.mask & ~none,
        )
        return self.gate(found).squeeze(-1).float(), to_curve(self.curve(found).float())


def feature_count(backbone: Variant) -> int:
    """F, features of a part: the backbone's maps, averaged over it, and statistics of its colours."""
    return sum(widths(backbone)) + STATISTICS


def to_curve(x: Tensor) -> Tensor:
    """Bring any numbers (..., 9) into the ranges of a curve, darkest tone before usual before lightest."""
    usual = 100 * torch.sigmoid(x[..., :1])
    low = usual * torch.sigmoid(x[..., 1:2])
    high = usual + (100 - usual) * torch.sigmoid(x[..., 2:3])
    return torch.cat([low, usual, high, CHROMA * torch.tanh(x[..., 3:])], -1)
