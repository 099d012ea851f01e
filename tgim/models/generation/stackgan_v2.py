"""StackGAN-v2: StackGAN++, Realistic Image Synthesis with Stacked Generative Adversarial Networks (Zhang, Xu, Li,
Zhang, Wang, Huang and Metaxas, TPAMI 2018).

A tree, §4: h_0 = F_0(c, z), h_i = F_i(h_{i-1}, c), picture_i = G_i(h_i), with the condition c of StackGAN's
conditioning augmentation. Each picture, twice as large as the one before it, has a discriminator with two heads, one
for the picture alone and one for the picture with mu. With x^ a photograph of another class, on each scale

    L_D = BCE(D(x), 1) + BCE(D(x^), 1) + BCE(D(G), 0) + BCE(D(x, mu), 1) + BCE(D(x^, mu), 0) + BCE(D(G, mu), 0)
    L_G = BCE(D(G), 1) + BCE(D(G, mu), 1)

and the generator's sum over scales has lambda KL(N(mu, diag sigma^2) || N(0, I)) and, weighted by alpha, the colour
consistency of eq. 8: each picture's mean colour and covariance of colours shall be those of the smaller one. As in the
authors' release lambda is 2, and alpha 0 where captions are read (they say enough of colour) and 50 where none are.
Pictures are made by the weights' exponential moving average, 0.999.

Without captions (`conditional: false`, §4.1) the noise takes the place of the condition, h_i = F_i(h_{i-1}, z), and of
the losses those remain that see pictures alone: BCE(D(x), 1) + BCE(D(G), 0), BCE(D(G), 1), and colour consistency.

Differs from the paper or the authors' release:
- the photograph of another class is one of the batch, shown to the discriminator once; where the batch holds one class
  alone there is none;
- smaller photographs are made from the large ones on the spot, by the filter that the release resizes files with;
- running statistics are averaged along with the weights;
- all discriminators are one network here: no loss of one reaches another, and Adam moves each number alone;
- without a given char-CNN-RNN (`text`) words are learned along, see `tgim.models.generation.sentences`;
- without `variation` a picture is made from mu; the release always samples c.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch, mismatching_rows
from tgim.models.base import Codes, Config, Terms
from tgim.models.generation.adversarial import at_side, generator_terms
from tgim.models.generation.sentences import SentenceConfig, SentenceEncoder, SentenceGenerator
from tgim.nn.layers import (
    Condition,
    ConditioningAugmentation,
    GatedResidual,
    Joint,
    JointDiscriminators,
    gated,
    gated_up,
    init_adversarial,
    start_map,
    to_image,
)
from tgim.nn.losses import colour_consistency, fake_where, gaussian_kl, real_fake
from tgim.nn.parallel import gathered, own_share
from tgim.nn.resize import resize
from tgim.text.vocabulary import Tokens


class StackGANv2Config(SentenceConfig):
    """Sizes and loss weights of StackGAN-v2; the defaults are the release's for captions."""

    branches: int = Field(3, ge=1, le=3)  # pictures of the tree, each twice as large as the one before
    base_size: Literal[8, 16, 32, 64] = 64  # pixels, side of the first of them
    conditional: bool = True  # False: pictures of noise alone, no caption is read
    width: int = Field(
        64, ge=4, multiple_of=4
    )  # channels of the first branch at its resolution; halved from branch to branch
    residual_blocks: int = Field(2, ge=0)  # of each further branch
    discriminator_width: int = Field(64, ge=1)  # channels at half resolution, doubled at each halving
    noise_size: int = Field(100, ge=1)  # Z
    condition_size: int = Field(128, ge=1)  # of the conditioning augmentation
    unconditional_weight: float = Field(1.0, ge=0)  # of the head for pictures alone
    kl_weight: float = Field(2.0, ge=0)  # lambda
    colour_weight: float = Field(0.0, ge=0)  # alpha; 50 is the release's without captions
    colour_spread_weight: float = Field(5.0, ge=0)  # of the covariances, times alpha; the means count 1

    @model_validator(mode="after")
    def _consistent(self) -> StackGANv2Config:
        if not self.conditional and not self.unconditional_weight:
            raise ValueError("without captions unconditional_weight must be above 0, or nothing judges the pictures")
        if not self.conditional and (self.text or self.encoder):
            raise ValueError("without captions there is no text to read; leave text and encoder out")
        return self

    @property
    def condition_channels(self) -> int:
        """Channels beside the map of each further branch: those of the condition, or of the noise in its place."""
        return self.condition_size if self.conditional else self.noise_size

    @property
    def image_sizes(self) -> tuple[int, ...]:
        """Sides of the pictures in pixels, small to large."""
        return tuple(self.base_size * 2**i for i in range(self.branches))

    @property
    def image_size(self) -> int:
        """Side of the largest picture in pixels."""
        return self.image_sizes[-1]


class Branch(nn.Module):
    """Branch of the tree: a map (B, C, H, W) and a condition to the next map (B, C/2, 2H, 2W)."""

    def __init__(self, channels: int, condition_size: int, residual_blocks: int) -> None:
        super().__init__()
        self.body = Joint(
            gated(channels + condition_size, channels),
            *(GatedResidual(channels) for _ in range(residual_blocks)),
            gated_up(channels, channels // 2),
            before=True,
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        finer: Tensor = self.body(x, condition)
        return finer


class NoTextEncoder(nn.Module):
    """Substitute for the sentence encoder where captions are not used: sentences (B, 0)."""

    characters = None

    def forward(self, tokens: Tokens) -> Tensor:
        return torch.zeros(len(tokens.ids), 0, device=tokens.ids.device)


class NoAugmentation(nn.Module):
    """Substitute for conditioning augmentation where captions are not used: conditions (B, 0)."""

    def forward(self, sentence: Tensor, eps: Tensor | None = None) -> Condition:
        return Condition(sentence, sentence, sentence)

    def noise(self, count: int) -> None:
        """Return None: there is nothing to sample."""


class Generator(nn.Module):
    """Generator of pictures in [-1, 1] of every scale, small to large, from sentences (B, E) and noise (B, Z).

    Without captions sentences and conditions are empty, (B, 0). `read` encodes captions to sentences; its name is in
    the keys of saved weights.
    """

    def __init__(self, config: StackGANv2Config, vocabulary_size: int) -> None:
        super().__init__()
        doublings = config.base_size.bit_length() - 3
        widths = [config.width * 2**i for i in range(doublings, -1, -1)]  # 1024, 512, 256, 128, 64
        ends = [config.width // 2**i for i in range(config.branches)]  # 64, 32, 16
        self.augment: nn.Module = NoAugmentation()
        if config.conditional:
            text_size = config.sentence_size
            self.augment = ConditioningAugmentation(text_size, config.condition_size, spelling="log_var", gate="glu")
        condition_size = config.condition_size if config.conditional else 0
        self.start = nn.Sequential(
            start_map(condition_size + config.noise_size, widths[0], gated=True),
            *(gated_up(a, b) for a, b in pairwise(widths)),
        )
        self.branches = nn.ModuleList(
            Branch(channels, config.condition_channels, config.residual_blocks) for channels in ends[:-1]
        )
        self.paint = nn.ModuleList(to_image(channels, bias=False) for channels in ends)
        self.apply(init_adversarial)
        self.read: nn.Module = SentenceEncoder(config, vocabulary_size) if config.conditional else NoTextEncoder()

    def forward(self, sentence: Tensor, noise: Tensor, eps: Tensor | None = None) -> tuple[list[Tensor], Condition]:
        """Pictures and the condition of their captions; `eps` as in `ConditioningAugmentation`."""
        condition: Condition = self.augment(sentence, eps)
        return self.decode(condition.sample, noise), condition

    def decode(self, condition: Tensor, noise: Tensor) -> list[Tensor]:
        """Generate pictures of every scale from conditions (B, C) and noise (B, Z)."""
        x = self.start(torch.cat([condition.to(noise.dtype), noise], 1))
        images = [self.paint[0](x).float()]
        beside = condition if condition.shape[1] else noise
        for branch, paint in zip(self.branches, self.paint[1:], strict=True):
            x = branch(x, beside)
            images.append(paint(x).float())
        return images


@register("stackgan_v2")
class StackGANv2(SentenceGenerator):
    """Zhang et al. 2018: pictures of several sizes from captions, made by one tree."""

    Config: ClassVar[type[Config]] = StackGANv2Config

    def __init__(self, config: StackGANv2Config, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config = config.filled()
        self.generator = Generator(config, vocabulary_size)
        self.discriminator = JointDiscriminators(
            config.image_sizes,
            config.discriminator_width,
            config.condition_size if config.conditional else 0,
            alone=config.unconditional_weight > 0,
            before=True,
        )

    @property
    def reads(self) -> bool:
        return bool(self.config.conditional)

    @property
    def variation_size(self) -> int:
        return int(self.config.condition_size) if self.config.conditional else 0

    def generate_from(self, condition: Codes, noise: Tensor) -> Tensor:
        """Generate the largest pictures (B, 3, S, S) in [-1, 1] from conditions and noise (B, Z)."""
        return self.generate_scales(condition, noise)[-1]

    def generate_scales(self, condition: Codes, noise: Tensor) -> list[Tensor]:
        """Generate pictures of every scale, small to large, from conditions and noise (B, Z)."""
        images: list[Tensor] = self.generator.decode(condition[0], noise)
        return images

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the discriminators' losses on pictures of every scale, then the generator's on the same."""
        generated, condition = self.generate_for(batch)
        yield "discriminator", self._discriminator_terms(batch, generated, condition.mean.detach())
        yield "generator", self._generator_terms(generated, condition)

    def _discriminator_terms(self, batch: Batch, generated: list[Tensor], mean: Tensor) -> Terms:
        c, terms = self.config, Terms()
        labels = gathered(batch.labels)
        rows = own_share(mismatching_rows(labels))
        wrong = labels[rows] != batch.labels
        weight = 1.0 if c.unconditional_weight else 0.5  # the release's
        for side, discriminator, fake in zip(c.image_sizes, self.discriminator, generated, strict=True):
            real, features = (
                discriminator.encode(resize(batch.image, (side, side))),
                discriminator.encode(fake.detach()),
            )
            found = Terms()
            if c.conditional:
                found["real"] = real_fake(discriminator.match(real, mean), True)
                found["mismatch"] = weight * fake_where(discriminator.match(gathered(real)[rows], mean), wrong)
                found["fake"] = weight * real_fake(discriminator.match(features, mean), False)
            if c.unconditional_weight:
                logits = discriminator.alone(real)
                found["real_alone"] = c.unconditional_weight * real_fake(logits, True)
                if c.conditional:  # a photograph of another class is a photograph still
                    found["real_alone"] += c.unconditional_weight * fake_where(-gathered(logits)[rows], wrong)
                found["fake_alone"] = c.unconditional_weight * real_fake(discriminator.alone(features), False)
            terms |= at_side(side, found)
        return terms

    def _generator_terms(self, generated: list[Tensor], condition: Condition) -> Terms:
        c, terms = self.config, Terms()
        for side, discriminator, image in zip(c.image_sizes, self.discriminator, generated, strict=True):
            found = generator_terms(discriminator, image, condition.mean)
            if "fake_alone" in found:
                found["fake_alone"] = c.unconditional_weight * found["fake_alone"]
            terms |= at_side(side, found)
        for side, (coarse, fine) in zip(c.image_sizes[1:], pairwise(generated), strict=True):
            if c.colour_weight:
                mean, spread = colour_consistency(fine, coarse.detach())
                terms[f"colour_{side}"] = c.colour_weight * (mean + c.colour_spread_weight * spread)
        if c.conditional:
            terms["kl"] = c.kl_weight * gaussian_kl(condition.mean, condition.log_var)
        return terms
