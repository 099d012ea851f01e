"""TAGAN: Text-Adaptive Generative Adversarial Networks (Nam, Kim and Kim, NeurIPS 2018).

Generator §3.1: an encoder of the photograph, the sentence joined at an eighth of its size, residual blocks around
a skip, a decoder. Text-adaptive discriminator §3.2: each word makes a small classifier of its own for each of three
scales of the picture; their answers are averaged over scales and multiplied over words, each with its weight:

    D(x, t) = prod_i ( sum_j beta_ij sigmoid(W_ij . v_j + b_ij) ) ^ alpha_i

    L_D = BCE(D(x), 1) + BCE(D(G(x, t^)), 0) + lambda1 (BCE(D(x, t), 1) + BCE(D(x, t^), 0)) / 2
    L_G = BCE(D(G(x, t^)), 1) + lambda1 BCE(D(G(x, t^), t^), 1) + lambda2 |x - G(x, t)|_1 + KL(t)/2 + KL(t^)/2

with t the own caption and t^ the neighbour's in the batch (eq. 5-7).

Differs from the paper or the authors' release:
- the product over words and its cross-entropy are computed from logits in log space (same value, no underflow);
- an edited picture is made once per step and shown to both phases; the photograph is encoded once for both captions,
  by the first convolution after it, too;
- without a seed an edit takes the mean of the conditioning augmentation, so that equal calls give equal pictures;
- `halvings`: 2 at 64 px keep the map that the sentence joins as fine as the paper's, 16 px at 128 px;
- without given word vectors each network learns a word table of its own; given ones (`word_vectors`) are frozen in
  both, as in the paper, and a word that they lack is a zero vector (fastText's binary would guess from its letters);
- picture sizes other than 128: below, the last 4x4 convolution shrinks to the map it meets; above, its answers are
  averaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.models.base import Config, Terms
from tgim.models.editing.repainting import Repainter, Repainting
from tgim.nn.encoders import BiGru, WordTable
from tgim.nn.layers import (
    SLOPE,
    ConditioningAugmentation,
    Joint,
    Residual,
    conv_block,
    down,
    from_image,
    frozen,
    init_adversarial,
    to_image,
    up,
)
from tgim.nn.losses import gaussian_kl, log_mixture, real_fake, real_fake_log
from tgim.nn.parallel import rolled, rolled_all
from tgim.text.vocabulary import TextCode, Tokens


class TAGANConfig(Config):
    """Sizes and loss weights of TAGAN; the defaults are the paper's."""

    image_size: int = Field(128, ge=32, multiple_of=32)  # pixels, square
    width: int = Field(64, ge=1)  # channels at full resolution, doubled at each halving
    halvings: int = Field(3, ge=1, le=4)  # of the photograph, before the sentence joins
    residual_blocks: int = Field(4, ge=0)
    word_size: int = Field(300, ge=1)  # of a word vector
    text_size: int = Field(512, ge=1)  # E, of the text code
    condition_size: int = Field(128, ge=1)  # of the conditioning augmentation
    word_vectors: str | None = (
        None  # .vec or .npy file: its vectors are frozen, its words the vocabulary; None: learned
    )
    noise: float = Field(1.0, ge=0)  # standard deviation in training; 0 trains on the mean
    match_weight: float = Field(10.0, ge=0)  # lambda1
    reconstruction_weight: float = Field(0.2, ge=0)  # lambda2, the release's value
    kl_weight: float = Field(0.5, ge=0)  # of each of two captions


class CaptionEncoder(nn.Module):
    """Captions to a `TextCode` by a word table and a `BiGru`; generator and discriminator have one each."""

    def __init__(self, config: TAGANConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.table = WordTable(vocabulary_size, config.word_size, given=config.word_vectors is not None)
        self.gru = BiGru(config.word_size, config.text_size)

    def forward(self, tokens: Tokens) -> TextCode:
        code: TextCode = self.gru(self.table(tokens), tokens.mask)
        return code


class Generator(Repainter):
    """Photographs (B, 3, S, S) and sentences (B, E) to edited pictures (B, 3, S, S); reads captions, too."""

    skip = True

    def __init__(self, config: TAGANConfig, vocabulary_size: int) -> None:
        super().__init__()
        widths = [config.width * 2**i for i in range(config.halvings + 1)]  # 64, 128, 256, 512
        deep = widths[-1]
        self.read = CaptionEncoder(config, vocabulary_size)
        self.augment = ConditioningAugmentation(config.text_size, config.condition_size)
        self.encoder = nn.Sequential(from_image(widths[0]), *(down(a, b) for a, b in pairwise(widths)))
        self.residual = Joint(
            conv_block(deep + config.condition_size, deep), *(Residual(deep) for _ in range(config.residual_blocks))
        )
        self.decoder = nn.Sequential(*(up(a, b) for a, b in pairwise(widths[::-1])), to_image(widths[0]))
        self.apply(init_adversarial)


class PictureFeatures(NamedTuple):
    """Output of the discriminator for pictures alone."""

    logit: Tensor  # (B,) real or fake, whatever the caption
    scales: tuple[Tensor, ...]  # (B, 4 width), (B, 8 width), (B, 8 width): each scale, averaged over places


class Discriminator(nn.Module):
    """Text-adaptive discriminator: pictures alone (`encode`), and with captions, word by word (`match`)."""

    def __init__(self, config: TAGANConfig, vocabulary_size: int) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(SLOPE, inplace=True)
        widths = [config.width * m for m in (1, 2, 4, 8, 8)]  # 64, 128, 256, 512, 512
        scales = widths[2:]
        halvings = [down(a, b, activation=leaky) for a, b in pairwise(widths)]
        self.read = CaptionEncoder(config, vocabulary_size)
        first = nn.Sequential(from_image(widths[0], halve=True), *halvings[:2])
        self.encoder = nn.ModuleList([first, *halvings[2:]])
        self.pool = nn.ModuleList(conv_block(n, n, activation=leaky) for n in scales)
        self.word_filter = nn.ModuleList(nn.Linear(config.text_size, n + 1) for n in scales)  # W and b
        self.scale_weight = nn.Linear(config.text_size, len(scales))
        self.classify = nn.Conv2d(scales[-1], 1, min(4, config.image_size // 32))
        self.apply(init_adversarial)

    def encode(self, image: Tensor) -> PictureFeatures:
        """Logits and features of pictures (B, 3, S, S) in [-1, 1]."""
        x, scales = image, []
        for encode, pool in zip(self.encoder, self.pool, strict=True):
            x = encode(x)
            scales.append(pool(x).mean((2, 3)))
        return PictureFeatures(self.classify(x).float().mean((1, 2, 3)), tuple(scales))

    def match(self, features: PictureFeatures, text: TextCode) -> Tensor:
        """Logarithm (B,) of D(x, t), the probability that the captions fit the pictures."""
        words = text.words.float()
        importance = (words * text.sentence.float()[:, None]).sum(-1)  # B, T
        alpha = importance.masked_fill(~text.mask, torch.finfo(importance.dtype).min).softmax(1)
        beta = self.scale_weight(words).float().softmax(-1)  # B, T, S
        answers = []
        for v, make in zip(features.scales, self.word_filter, strict=True):
            weight, bias = make(words).float().split((v.shape[1], 1), -1)  # B, T, C and B, T, 1
            answers.append((weight * v.float()[:, None]).sum(-1) + bias[..., 0])
        log_words = log_mixture(beta, torch.stack(answers, -1))  # B, T
        return (alpha * log_words).sum(1)


@register("tagan")
class TAGAN(Repainting):
    """Nam et al. 2018: a repainting editor for small pictures."""

    Config: ClassVar[type[Config]] = TAGANConfig

    def __init__(self, config: TAGANConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.generator = Generator(config, vocabulary_size)
        self.discriminator = Discriminator(config, vocabulary_size)

    def sentence(self, text: Tokens) -> Tensor:
        """Sentence vectors (B, E) of captions, by the generator's text encoder."""
        code: TextCode = self.generator.read(text)
        return code.sentence

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the discriminator's losses, then the generator's by the neighbour's and the own caption (eq. 5-7)."""
        c, image, own = self.config, batch.image, batch.text
        sentence, features = self.sentence(own), self.generator.encoder(image)
        of_map = self.generator.residual.of_map(features)  # for both captions
        edited, wrong_condition = self.generator.paint(
            features, rolled(sentence), self.noise(len(image)), of_map=of_map
        )

        yield "discriminator", self._discriminator_terms(image, own, edited.detach())

        kept, own_condition = self.generator.paint(features, sentence, self.noise(len(image)), of_map=of_map)
        with frozen(self.discriminator):
            output = self.discriminator.encode(edited)
            match = self.discriminator.match(output, rolled_all(self.discriminator.read(own)))
        yield (
            "generator",
            {
                "fake": real_fake(output.logit, True),
                "match": c.match_weight * real_fake_log(match, True),
                "reconstruction": c.reconstruction_weight * F.l1_loss(kept.float(), image),
                "kl_wrong": c.kl_weight * gaussian_kl(wrong_condition.mean, wrong_condition.log_var),
                "kl_own": c.kl_weight * gaussian_kl(own_condition.mean, own_condition.log_var),
            },
        )

    def _discriminator_terms(self, image: Tensor, own: Tokens, edited: Tensor) -> Terms:
        half = 0.5 * self.config.match_weight
        real = self.discriminator.encode(image)
        text = self.discriminator.read(own)
        return {
            "real": real_fake(real.logit, True),
            "match": half * real_fake_log(self.discriminator.match(real, text), True),
            "mismatch": half * real_fake_log(self.discriminator.match(real, rolled_all(text)), False),
            "fake": real_fake(self.discriminator.encode(edited).logit, False),
        }
