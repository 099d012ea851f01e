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
- an edited picture is made once per step and shown to both phases, and the discriminator's features of a photograph
  are computed once for both captions (its running statistics, which nothing reads, count the photographs once);
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

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.models.base import Config, Terms
from tgim.models.editing.repainting import Repainter, Repainting
from tgim.nn.encoders import Gru, MeanOfWords, WordTable
from tgim.nn.layers import (
    SLOPE,
    ConditioningAugmentation,
    Joint,
    Residual,
    bottleneck,
    conv_block,
    down,
    from_image,
    frozen,
    init_adversarial,
    tile,
    to_image,
    up,
)
from tgim.nn.losses import cosines, gaussian_kl, ranking, real_fake
from tgim.nn.parallel import gathered, own_share, rolled
from tgim.text.vocabulary import TextCode, Tokens


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
    """Embedding of captions and photographs in one space; its sentence vectors are the input of the other networks."""

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


class Generator(Repainter):
    """Photographs (B, 3, S, S) and sentence vectors (B, E) to edited pictures (B, 3, S, S), all in [-1, 1]."""

    def __init__(self, config: SISGANConfig) -> None:
        super().__init__()
        widths = [config.width * m for m in (2, 4, 8)]  # 128, 256, 512
        deep = widths[-1]
        self.augment = ConditioningAugmentation(config.text_size, config.condition_size, bias=False)
        self.encoder = nn.Sequential(from_image(widths[0]), *(down(a, b) for a, b in pairwise(widths)))
        self.residual = Joint(
            conv_block(deep + config.condition_size, deep, activation=nn.Identity()),
            *(Residual(deep, rectified=True) for _ in range(config.residual_blocks)),
        )
        self.decoder = nn.Sequential(*(up(a, b) for a, b in pairwise(widths[::-1])), to_image(widths[0]))
        self.apply(init_adversarial)


class Discriminator(nn.Module):
    """Discriminator of pictures (B, 3, S, S) in [-1, 1] with sentence vectors (B, E): logits (B,)."""

    def __init__(self, config: SISGANConfig) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(SLOPE, inplace=True)
        widths = [config.width * m for m in (1, 2, 4, 8)]  # 64, 128, 256, 512
        deep = widths[-1]
        self.encoder = nn.Sequential(
            from_image(widths[0], halve=True),
            *(down(a, b, activation=leaky) for a, b in pairwise(widths[:-1])),
            down(widths[-2], deep, activation=nn.Identity()),  # the activation follows the residual sum
        )
        self.residual = bottleneck(deep, activation=leaky)
        self.compress = nn.Sequential(nn.Linear(config.text_size, config.condition_size), leaky)
        self.classify = nn.Sequential(
            conv_block(deep + config.condition_size, deep, kernel=1, activation=leaky),
            nn.Conv2d(deep, 1, min(4, config.image_size // 16)),
        )
        self.apply(init_adversarial)

    def forward(self, image: Tensor, sentence: Tensor) -> Tensor:
        return self.match(self.encode(image), sentence)

    def encode(self, image: Tensor) -> Tensor:
        """Features (B, C, h, w) of pictures."""
        x = self.encoder(image)
        return F.leaky_relu(x + self.residual(x), SLOPE)

    def match(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Logits (B,) of features and sentence vectors (B, E)."""
        logits: Tensor = self.classify(tile(features, self.compress(sentence)))
        return logits.float().mean((1, 2, 3))


@register("sisgan")
class SISGAN(Repainting):
    """Dong et al. 2017: a repainting editor for small pictures."""

    Config: ClassVar[type[Config]] = SISGANConfig
    networks: ClassVar[tuple[str, ...]] = ("text", "discriminator", "generator")
    step_count: Tensor

    def __init__(self, config: SISGANConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.text = VisualSemanticEmbedding(config, vocabulary_size)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)
        self.register_buffer("step_count", torch.zeros((), dtype=torch.long))  # of training, for `text_steps`

    def sentence(self, text: Tokens) -> Tensor:
        """Sentence vectors (B, E) of captions."""
        code: TextCode = self.text(text)
        return code.sentence

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the losses of the text by ranking (see `text_steps`), of the discriminator and of the generator."""
        c, image = self.config, batch.image
        step = int(self.step_count)
        self.step_count += 1
        if c.text_steps is None or step < c.text_steps:
            scores = cosines(gathered(self.text.picture(image)), gathered(self.sentence(batch.text)))
            yield "text", {"ranking": ranking(scores, margin=c.margin)}
        if c.text_steps is not None and step < c.text_steps:
            return
        with torch.no_grad():
            own = self.sentence(batch.text)
        relevant = own_share(relevant_rows(gathered(own)))
        edited, condition = self.generator(image, relevant, self.noise(len(image)))
        discriminator = self.discriminator
        real = discriminator.encode(image)
        yield (
            "discriminator",
            {
                "real": real_fake(discriminator.match(real, own), True),
                "mismatch": c.mismatch_weight * real_fake(discriminator.match(real, rolled(own)), False),
                "fake": c.fake_weight * real_fake(discriminator(edited.detach(), relevant), False),
            },
        )
        with frozen(discriminator):
            logits = discriminator(edited, relevant)
        yield (
            "generator",
            {
                "fake": real_fake(logits, True),
                "kl": c.kl_weight * gaussian_kl(condition.mean, condition.log_var),
            },
        )


def relevant_rows(own: Tensor) -> Tensor:
    """Choose sentences t- for a batch of own ones (B, E): the next neighbour's for the first half, then the own ones.

    >>> relevant_rows(torch.arange(4.0)[:, None]).flatten()
    tensor([1., 0., 2., 3.])
    """
    half = len(own) // 2
    return torch.cat([own[:half].roll(-1, 0), own[half:]])
