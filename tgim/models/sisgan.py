"""SISGAN: Semantic Image Synthesis via Adversarial Learning (Dong, Yu, Wu and Guo, ICCV 2017).

Generator: an encoder of the photograph, the sentence joined at a quarter of its size, residual blocks, a decoder.
Discriminator: a picture and a sentence to one logit. Losses, with t the own caption, t^ the neighbour's (a mismatch)
and t- a relevant one, the neighbour's for half of the batch and the own one for the other half:

    L_D = BCE(D(x, t), 1) + BCE(D(x, t^), 0) / 2 + BCE(D(G(x, t-), t-), 0) / 2
    L_G = BCE(D(G(x, t-), t-), 1) + KL

Text: a visual-semantic embedding (Kiros et al. 2014), trained by a ranking loss between captions and photographs; the
two adversarial networks take its sentence vectors as they are.

Differs from the paper or the authors' release:
- the photograph's side of the ranking loss is a small convolutional net trained along, not VGG-16 (nothing is
  downloaded);
- the paper trains the embedding first, then freezes it: `text_steps=N` does so for the first N steps; by default it
  learns beside the other two all the time, and no gradient of theirs reaches it;
- the photograph's encoder is the trained one of the release (its other choice is a frozen VGG-16);
- an edited picture is made once per step and shown to both phases;
- without a seed an edit takes the mean of the conditioning augmentation, so that equal calls give equal pictures;
- picture sizes other than 64: below, the last 4x4 convolution shrinks to the map it meets; above, its answers are
  averaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.data.batch import Batch
from tgim.encoders import Gru, MeanOfWords, WordTable, read_word_vectors
from tgim.layers import (
    SLOPE,
    Condition,
    ConditioningAugmentation,
    Residual,
    down,
    from_image,
    frozen,
    init_adversarial,
    mix,
    tile,
    to_image,
    up,
)
from tgim.losses import cosines, gaussian_kl, ranking, real_fake
from tgim.model import Codes, Config, Editing, Terms
from tgim.text import TextCode, Tokens, Vocabulary


class SISGANConfig(Config):
    """Sizes and loss weights of SISGAN; the defaults are the paper's."""

    image_size: int = Field(64, ge=16, multiple_of=16)  # pixels, square
    width: int = Field(64, ge=2, multiple_of=2)  # of the discriminator's first layer; the generator's has twice as many
    residual_blocks: int = Field(4, ge=0)
    word_size: int = Field(300, ge=1)  # of a word vector
    text_size: int = Field(300, ge=1)  # E, of the sentence vector
    condition_size: int = Field(128, ge=1)  # of the conditioning augmentation, and of the discriminator's text
    sentence: Literal["gru", "mean"] = "gru"  # last state of a GRU, or a linear map of the mean word vector
    word_vectors: str | None = (
        None  # .vec or .npy file: its vectors are frozen, its words the vocabulary; None: learned
    )
    text_steps: int | None = Field(None, ge=1)  # train the text alone for so many steps, then freeze it; None: beside
    noise: float = Field(1.0, ge=0)  # standard deviation in training; 0 trains on the mean
    mismatch_weight: float = Field(0.5, ge=0)
    fake_weight: float = Field(0.5, ge=0)
    kl_weight: float = Field(1.0, ge=0)
    margin: float = Field(0.2, ge=0)  # of the ranking loss, in cosines


class VisualSemanticEmbedding(nn.Module):
    """Captions and photographs in one space; captions as sentence vectors are what the other networks read."""

    def __init__(self, config: SISGANConfig, vocabulary_size: int) -> None:
        super().__init__()
        encoder = Gru if config.sentence == "gru" else MeanOfWords
        widths = [config.width * m for m in (1, 2, 4, 8)]
        self.table = WordTable(vocabulary_size, config.word_size, given=config.word_vectors is not None)
        self.caption = encoder(config.word_size, config.text_size)
        self.picture = nn.Sequential(
            from_image(widths[0], halve=True),
            *(down(a, b) for a, b in pairwise(widths)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(widths[-1], config.text_size, bias=False),
        )

    def forward(self, tokens: Tokens) -> TextCode:
        """Code of captions; its `sentence` is (B, E)."""
        code: TextCode = self.caption(self.table(tokens), tokens.mask)
        return code


class Generator(nn.Module):
    """Photographs (B, 3, S, S) and sentence vectors (B, E) to edited pictures (B, 3, S, S), all in [-1, 1]."""

    def __init__(self, config: SISGANConfig) -> None:
        super().__init__()
        widths = [config.width * m for m in (2, 4, 8)]  # 128, 256, 512
        deep = widths[-1]
        self.augment = ConditioningAugmentation(config.text_size, config.condition_size, bias=False)
        self.encoder = nn.Sequential(from_image(widths[0]), *(down(a, b) for a, b in pairwise(widths)))
        self.residual = nn.Sequential(
            mix(deep + config.condition_size, deep, activation=nn.Identity()),
            *(Residual(deep, rectified=True) for _ in range(config.residual_blocks)),
        )
        self.decoder = nn.Sequential(*(up(a, b) for a, b in pairwise(widths[::-1])), to_image(widths[0]))
        self.apply(init_adversarial)

    def forward(self, image: Tensor, sentence: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Condition]:
        """Edited pictures and the condition of their captions; `eps` as in `ConditioningAugmentation`."""
        condition = self.augment(sentence, eps)
        return self.decoder(self.residual(tile(self.encoder(image), condition.sample))), condition


class Discriminator(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] and sentence vectors (B, E) to logits (B,)."""

    def __init__(self, config: SISGANConfig) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(SLOPE)
        widths = [config.width * m for m in (1, 2, 4, 8)]  # 64, 128, 256, 512
        deep, narrow = widths[-1], widths[1]
        self.encoder = nn.Sequential(
            from_image(widths[0], halve=True),
            *(down(a, b, activation=leaky) for a, b in pairwise(widths[:-1])),
            down(widths[-2], deep, activation=nn.Identity()),  # the activation follows the residual sum
        )
        self.residual = nn.Sequential(
            mix(deep, narrow, kernel=1, activation=leaky),
            mix(narrow, narrow, activation=leaky),
            mix(narrow, deep, activation=nn.Identity()),
        )
        self.compress = nn.Sequential(nn.Linear(config.text_size, config.condition_size), leaky)
        self.classify = nn.Sequential(
            mix(deep + config.condition_size, deep, kernel=1, activation=leaky),
            nn.Conv2d(deep, 1, min(4, config.image_size // 16)),
        )
        self.apply(init_adversarial)

    def forward(self, image: Tensor, sentence: Tensor) -> Tensor:
        x = self.encoder(image)
        x = F.leaky_relu(x + self.residual(x), SLOPE)
        logits: Tensor = self.classify(tile(x, self.compress(sentence)))
        return logits.float().mean((1, 2, 3))


class SISGAN(Editing):
    """Dong et al. 2017: a repainting editor for small pictures."""

    name: ClassVar[str] = "sisgan"
    Config: ClassVar[type[Config]] = SISGANConfig
    networks: ClassVar[tuple[str, ...]] = ("text", "discriminator", "generator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    step_count: Tensor

    def __init__(self, config: SISGANConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.text = VisualSemanticEmbedding(config, vocabulary_size)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)
        self.register_buffer("step_count", torch.zeros((), dtype=torch.long))  # of training, for `text_steps`

    @classmethod
    def vocabulary_for(cls, config: SISGANConfig) -> Vocabulary | None:
        """The words of the given word vectors; None when vectors are learned."""
        return read_word_vectors(config.word_vectors).vocabulary if config.word_vectors else None

    def load_parts(self) -> None:
        """Take the given word vectors; before training only."""
        if self.config.word_vectors:
            self.fill_words(read_word_vectors(self.config.word_vectors).table)

    def fill_words(self, table: Tensor) -> None:
        """Take the word vectors `table` (V, word_size)."""
        self.text.table.fill(table)

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edited pictures (B, 3, S, S) in [-1, 1] by the mean of the condition, or a draw from it by `seed`."""
        eps = None
        if seed is not None:
            eps = self.generator.augment.noise(len(image), generator=torch.Generator().manual_seed(seed))
        edited: Tensor = self.generator(image, self.text(text).sentence, eps)[0]
        return edited.float()

    def see(self, image: Tensor) -> Codes:
        """What the encoder makes of photographs: (B, 8 width, S/4, S/4)."""
        return (self.generator.encoder(image),)

    def condition(self, text: Tokens) -> Codes:
        """Means of the conditioning augmentation of captions: (B, C)."""
        return (self.generator.augment(self.text(text).sentence).mean,)

    def edit_from(self, seen: Codes, condition: Codes) -> Tensor:
        """Edited pictures of what `see` and `condition` gave; codes of both can be interpolated."""
        edited: Tensor = self.generator.decoder(self.generator.residual(tile(seen[0], condition[0])))
        return edited.float()

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """The text by ranking (see `text_steps`), then the discriminator, then the generator."""
        c, image = self.config, batch.image
        step = int(self.step_count)
        self.step_count += 1
        if c.text_steps is None or step < c.text_steps:
            scores = cosines(self.text.picture(image), self.text(batch.text).sentence)
            yield "text", {"ranking": ranking(scores, margin=c.margin)}
        if c.text_steps is not None and step < c.text_steps:
            return
        with torch.no_grad():
            own = self.text(batch.text).sentence
        relevant = relevant_rows(own)
        eps = c.noise * self.generator.augment.noise(len(image))
        edited, condition = self.generator(image, relevant, eps)
        judge = self.discriminator
        yield (
            "discriminator",
            {
                "real": real_fake(judge(image, own), True),
                "mismatch": c.mismatch_weight * real_fake(judge(image, own.roll(1, 0)), False),
                "fake": c.fake_weight * real_fake(judge(edited.detach(), relevant), False),
            },
        )
        with frozen(judge):
            verdict = judge(edited, relevant)
        yield (
            "generator",
            {
                "fake": real_fake(verdict, True),
                "kl": c.kl_weight * gaussian_kl(condition.mean, condition.log_var),
            },
        )


def relevant_rows(own: Tensor) -> Tensor:
    """Sentences t- for a batch of own ones (B, E): the first half gets its next neighbour's, the second half its own.

    >>> relevant_rows(torch.arange(4.0)[:, None]).flatten()
    tensor([1., 0., 2., 3.])
    """
    half = len(own) // 2
    return torch.cat([own[:half].roll(-1, 0), own[half:]])
