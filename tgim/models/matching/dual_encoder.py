"""A small dual encoder: pictures and captions as unit vectors of one space, close where they fit.

Contrastive training with the other captions of the batch as negatives (Radford et al., "CLIP", ICML 2021, fig. 3:
the symmetric cross-entropy over cosine similarities with a learned temperature), from scratch on one narrow domain.

Differs from CLIP:
- captions of the same class as the picture are not used as negatives, because they may well fit it;
- the picture is pooled by learned spatial attention: captions speak of the subject, so the pooling learns where it is;
- the networks are a small residual net and a bidirectional GRU (or word convolutions), to train on a plain CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.models.base import Config, Terms
from tgim.models.matching.trunk import residual_trunk, trunk_to_quarter
from tgim.models.matching.two_tower import TwoTower
from tgim.nn.encoders import run_in_fp32
from tgim.nn.losses import contrastive
from tgim.nn.parallel import gathered, rand
from tgim.text.vocabulary import UNKNOWN, TextCode, Tokens


class DualEncoderConfig(Config):
    """Sizes of the dual encoder; the defaults train in a quarter of an hour on one CPU core."""

    image_size: int = Field(64, ge=32, multiple_of=8)  # pixels, square
    width: int = Field(32, ge=8)  # channels at half resolution; doubled at a quarter and again at an eighth
    blocks: int = Field(2, ge=1)  # residual blocks at each of the two coarse resolutions
    pooling: Literal["attention", "mean"] = "attention"  # of the picture
    text: Literal["bigru", "convolution"] = "bigru"
    word_size: int = Field(128, ge=8)  # E, width of a word vector and of each direction of the text encoder
    embedding_size: int = Field(128, ge=8)  # of the common space
    word_dropout: float = Field(0.1, ge=0, lt=1)  # probability that a training word is replaced by "unknown"


class ImageCode(NamedTuple):
    """Code of pictures of side S by the image encoder."""

    fine: Tensor  # (B, 2 width, S/4, S/4)
    coarse: Tensor  # (B, 4 width, S/8, S/8)
    attention: Tensor  # (B, 1, S/8, S/8), sums to one
    embedding: Tensor  # (B, D), unit length


class ImageEncoder(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] to an `ImageCode`."""

    def __init__(self, config: DualEncoderConfig) -> None:
        super().__init__()
        eighth, quarter = 4 * config.width, trunk_to_quarter(config.blocks)
        layers = residual_trunk(config.width, config.blocks)
        self.fine, self.coarse = nn.Sequential(*layers[:quarter]), nn.Sequential(*layers[quarter:])
        self.saliency = nn.Conv2d(eighth, 1, 1) if config.pooling == "attention" else None
        self.project = nn.Linear(2 * eighth, config.embedding_size)

    def forward(self, x: Tensor) -> ImageCode:
        fine = self.fine(x)
        coarse = self.coarse(fine)
        logits = coarse.new_zeros(coarse[:, :1].shape) if self.saliency is None else self.saliency(coarse)
        attention = logits.float().flatten(2).softmax(-1).view_as(logits)
        pooled = torch.cat([(coarse * attention).sum((2, 3)), coarse.mean((2, 3))], 1)  # B, 8 width
        return ImageCode(fine, coarse, attention, F.normalize(self.project(pooled).float(), dim=1))


class TextEncoder(nn.Module):
    """Token ids (B, T) to a `TextCode`: `words` (B, T, 2 E) in context, `sentence` (B, D) of unit length."""

    def __init__(self, config: DualEncoderConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.word_dropout = config.word_dropout
        self.embed = nn.Embedding(vocabulary_size, config.word_size, padding_idx=0)
        if config.text == "bigru":
            self.mix: nn.Module = nn.GRU(config.word_size, config.word_size, batch_first=True, bidirectional=True)
        else:
            wide = 2 * config.word_size
            sizes = ((config.word_size, wide), (wide, wide))
            self.mix = nn.ModuleList(nn.Conv1d(inputs, outputs, 3, padding=1) for inputs, outputs in sizes)
        self.project = nn.Linear(2 * config.word_size, config.embedding_size)

    def forward(self, tokens: Tokens, *, each: int = 1) -> TextCode:
        """Code of captions, `each` of them in a row of one picture."""
        ids, mask = tokens
        if self.training and self.word_dropout:
            dropped = rand(*ids.shape, device=ids.device, each=each) < self.word_dropout
            ids = ids.masked_fill(dropped & mask, UNKNOWN)
        return self.summed(self._in_context(self.embed(ids), mask).float(), mask)

    def summed(self, words: Tensor, mask: Tensor) -> TextCode:
        """Code of captions from words (B, T, 2 E) in context; padding becomes 0."""
        weight = mask[..., None].float()
        sentence = self.project((words * weight).sum(1) / weight.sum(1).clamp(min=1))
        return TextCode(words * weight, F.normalize(sentence.float(), dim=1), mask)

    def _in_context(self, vectors: Tensor, mask: Tensor) -> Tensor:
        if isinstance(self.mix, nn.GRU):
            lengths = mask.sum(1).clamp(min=1).cpu()
            packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
            out, _ = pad_packed_sequence(run_in_fp32(self.mix, packed)[0], batch_first=True, total_length=mask.shape[1])
            return out
        x, real = vectors.mT, mask[:, None]
        for i, convolution in enumerate(self.mix.children()):
            x = convolution((F.relu(x) if i else x) * real)  # padding stays zero
        return x.mT


class Encoders(nn.Module):
    """Encoders of pictures and captions, and the temperature."""

    def __init__(self, config: DualEncoderConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.image = ImageEncoder(config)
        self.text = TextEncoder(config, vocabulary_size)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))  # inverse temperature of the softmax


@register("dual_encoder")
class DualEncoder(TwoTower):
    """Image-text matching by cosine similarity in one space."""

    Config: ClassVar[type[Config]] = DualEncoderConfig

    def __init__(self, config: DualEncoderConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.encoders = Encoders(config, vocabulary_size)

    def encode_image(self, image: Tensor) -> ImageCode:
        """Code of pictures (B, 3, S, S) in [-1, 1]."""
        code: ImageCode = self.encoders.image(image)
        return code

    def encode_text(self, tokens: Tokens) -> TextCode:
        """Code of captions."""
        code: TextCode = self.encoders.text(tokens)
        return code

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the symmetric cross-entropy; same-class pairs are left out of the negatives."""
        images = gathered(self.encode_image(batch.image).embedding)
        captions = gathered(self.encode_text(batch.text).sentence)
        scale = self.encoders.log_scale.exp().clamp(max=100)
        image_to_text, text_to_image = contrastive(scale * images @ captions.T, gathered(batch.labels))
        yield "encoders", {"image_to_text": 0.5 * image_to_text, "text_to_image": 0.5 * text_to_image}
