"""StackGAN: Text to Photo-realistic Image Synthesis with Stacked GANs (Zhang, Xu, Li, Zhang, Wang, Huang and Metaxas,
ICCV 2017).

Conditioning augmentation §3.2: a sentence becomes a Gaussian N(mu, diag sigma^2), of which a condition c is sampled.
Stage I §3.3 makes a small picture from noise and c. Stage II §3.4 encodes that picture, whose generator is frozen,
joins a condition of its own at a quarter of its size, and decodes the large one. Matching-aware discriminators
D(x, mu), with mu' that of the next caption in the batch:

    stage I    L_D = BCE(D(x, mu), 1) + (BCE(D(x, mu'), 0) + BCE(D(G, mu), 0)) / 2
    stage II   L_D = (BCE(D(x, mu), 1) + BCE(D(x), 1)) / 2 + (BCE(D(x, mu'), 0) + BCE(D(G, mu), 0) + BCE(D(G), 0)) / 3
    both       L_G = BCE(D(G, mu), 1) [stage II: + BCE(D(G), 1)] + lambda KL(N(mu, diag sigma^2) || N(0, I))

as in the authors' PyTorch release, whose lambda is 2 (1 in the paper). The discriminators see mu as it is: no gradient
of theirs reaches it. There are one mismatching pair less than captions, and none in a batch of one.

Differs from the paper or the authors' release:
- stage I inside stage II keeps all of its numbers: like the release it normalises by the batch in training, but its
  running statistics, which drift on there, stay;
- without a given char-CNN-RNN (`text`) words are learned along, see `tgim.models.generation.sentences`;
- without `variation` a picture is made from mu; the release always samples c;
- other sizes than 64 -> 256 px take as many halvings and doublings as they need; 64 -> 128 px, one less of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.errors import CheckpointError
from tgim.models.base import Codes, Config, Terms
from tgim.models.generation.adversarial import AdversarialGenerator, discriminator_terms, generator_terms
from tgim.models.generation.sentences import SentenceConfig, SentenceEncoder, SentenceGenerator, vocabulary_of
from tgim.models.parts import Part
from tgim.nn.layers import (
    Condition,
    ConditioningAugmentation,
    Joint,
    JointDiscriminator,
    Residual,
    conv_block,
    down,
    from_image,
    init_adversarial,
    start_map,
    to_image,
    up,
)
from tgim.nn.losses import gaussian_kl
from tgim.text.vocabulary import Tokens, Vocabulary


class StackGAN1Config(SentenceConfig):
    """Sizes and loss weights of stage I; the defaults are the release's."""

    image_size: Literal[16, 32, 64, 128] = 64  # pixels, square
    width: int = Field(
        128, ge=2, multiple_of=2
    )  # twice the generator's channels at full resolution; doubled as it halves
    discriminator_width: int = Field(64, ge=1)  # channels at half resolution, doubled at each halving
    noise_size: int = Field(100, ge=1)  # Z
    condition_size: int = Field(128, ge=1)  # of the conditioning augmentation
    kl_weight: float = Field(2.0, ge=0)  # lambda; 1 in the paper


class StackGAN2Config(Config):
    """Sizes and loss weights of stage II; the defaults are the release's."""

    image_size: Literal[32, 64, 128, 256] = 256  # pixels, square
    stage1: str | None = None  # trained stage I: path of a checkpoint
    first: StackGAN1Config | None = None  # sizes of that stage; filled in from its checkpoint
    width: int = Field(128, ge=4, multiple_of=4)  # channels at stage I's resolution, 4 times as many at a quarter of it
    residual_blocks: int = Field(4, ge=0)  # 2 for COCO
    discriminator_width: int = Field(64, ge=1)  # channels at half resolution, doubled at each halving
    condition_size: int = Field(128, ge=1)  # of the conditioning augmentation
    kl_weight: float = Field(2.0, ge=0)  # lambda; 1 in the paper

    @model_validator(mode="after")
    def _larger(self) -> StackGAN2Config:
        if self.first is not None and self.first.image_size >= self.image_size:
            raise ValueError(f"image_size must be larger than stage I's {self.first.image_size}, got {self.image_size}")
        return self


class Generator1(nn.Module):
    """Generator of stage I: sentences (B, E) and noise (B, Z) to small pictures (B, 3, S, S) in [-1, 1].

    `read` encodes captions to sentences; its name is in the keys of saved weights.
    """

    def __init__(self, config: StackGAN1Config, vocabulary_size: int) -> None:
        super().__init__()
        doublings = config.image_size.bit_length() - 3
        widths = [config.width // 2 * 2**i for i in range(doublings, -1, -1)]  # 1024, 512, 256, 128, 64
        encoder = SentenceEncoder(config, vocabulary_size)
        self.augment = augmentation(encoder.size, config.condition_size)
        self.paint = nn.Sequential(
            start_map(config.noise_size + config.condition_size, widths[0]),
            *(up(a, b) for a, b in pairwise(widths)),
            to_image(widths[-1], bias=False),
        )
        self.apply(init_adversarial)
        self.read = encoder

    def forward(self, sentence: Tensor, noise: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Condition]:
        """Pictures and the condition of their captions; `eps` as in `ConditioningAugmentation`."""
        condition = self.augment(sentence, eps)
        return self.decode(condition.sample, noise), condition

    def decode(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Generate pictures from conditions (B, C) and noise (B, Z)."""
        image: Tensor = self.paint(torch.cat([noise, condition.to(noise.dtype)], 1))
        return image.float()


class Generator2(nn.Module):
    """Generator of stage II: stage I's pictures (B, 3, s, s) and sentences (B, E) to large pictures (B, 3, S, S).

    All pictures are in [-1, 1].
    """

    def __init__(self, config: StackGAN2Config, first_size: int, text_size: int) -> None:
        super().__init__()
        deep = 4 * config.width
        doublings = (config.image_size // first_size).bit_length() + 1
        widths = [deep // 2**i for i in range(doublings + 1)]  # 512, 256, 128, 64, 32
        halved = [config.width, 2 * config.width, deep]
        self.augment = augmentation(text_size, config.condition_size)
        self.encoder = nn.Sequential(from_image(config.width, bias=False), *(down(a, b) for a, b in pairwise(halved)))
        self.residual = Joint(
            conv_block(deep + config.condition_size, deep),
            *(Residual(deep, rectified=True) for _ in range(config.residual_blocks)),
        )
        self.decoder = nn.Sequential(*(up(a, b) for a, b in pairwise(widths)), to_image(widths[-1], bias=False))
        self.apply(init_adversarial)

    def forward(self, image: Tensor, sentence: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Condition]:
        """Pictures and the condition of their captions; `eps` as in `ConditioningAugmentation`."""
        condition = self.augment(sentence, eps)
        return self.decode(condition.sample, image), condition

    def decode(self, condition: Tensor, image: Tensor) -> Tensor:
        """Generate large pictures from conditions (B, C) and stage I's pictures."""
        large: Tensor = self.decoder(self.residual(self.encoder(image), condition))
        return large.float()


@register("stackgan1")
class StackGAN1(SentenceGenerator):
    """Zhang et al. 2017, stage I: small pictures from captions."""

    Config: ClassVar[type[Config]] = StackGAN1Config

    def __init__(self, config: StackGAN1Config, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config = config.filled()
        self.generator = Generator1(config, vocabulary_size)
        self.discriminator = JointDiscriminator(
            config.image_size, config.discriminator_width, config.condition_size, alone=False
        )

    def generate_from(self, condition: Codes, noise: Tensor) -> Tensor:
        """Generate pictures (B, 3, S, S) in [-1, 1] from conditions and noise (B, Z)."""
        image: Tensor = self.generator.decode(condition[0], noise)
        return image

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the discriminator's losses, then the generator's on the same pictures."""
        generated, condition = self.generate_for(batch)
        yield "discriminator", discriminator_terms(self.discriminator, batch.image, generated, condition.mean)
        yield "generator", generator_terms_with_kl(self.discriminator, generated, condition, self.config.kl_weight)


STAGE1 = Part("stage1", "first", StackGAN1)


@register("stackgan2")
class StackGAN2(AdversarialGenerator):
    """Zhang et al. 2017, stage II: large pictures from captions, by way of a frozen stage I."""

    Config: ClassVar[type[Config]] = StackGAN2Config

    def __init__(self, config: StackGAN2Config, *, vocabulary_size: int) -> None:
        super().__init__()
        first = first_of(config)
        self.config = config = config.model_copy(update={"first": first})
        self.first = Generator1(first, vocabulary_size).requires_grad_(False)
        for module in self.first.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = 0.0  # normalises by the batch in training, and remembers nothing of it
        self.generator = Generator2(config, first.image_size, self.first.read.size)
        self.discriminator = JointDiscriminator(config.image_size, config.discriminator_width, config.condition_size)

    @classmethod
    def vocabulary_for(cls, config: StackGAN2Config) -> Vocabulary | None:
        """Vocabulary of stage I: captions must mean the same ids to both."""
        return STAGE1.vocabulary(config.stage1) or (vocabulary_of(config.first) if config.first else None)

    def load_parts(self) -> None:
        """Load the trained stage I; before training only, CheckpointError when there is none."""
        trained = STAGE1.load(self.config.stage1, self.config.first)
        self.first.load_state_dict(trained.generator.state_dict())

    @property
    def noise_size(self) -> int:
        return int(self.config.first.noise_size)

    @property
    def variation_size(self) -> int:
        return int(self.config.first.condition_size + self.config.condition_size)

    def condition(self, text: Tokens, *, variation: Tensor | None = None) -> Codes:
        """Encode captions to conditions for stage I and for stage II, (B, c) and (B, C)."""
        sentence = self.first.read(text)
        eps: list[Tensor | None] = [None, None]
        if variation is not None:
            first = self.config.first.condition_size
            eps = [variation[:, :first], variation[:, first:]]
        return self.first.augment(sentence, eps[0]).sample, self.generator.augment(sentence, eps[1]).sample

    def generate_from(self, condition: Codes, noise: Tensor) -> Tensor:
        """Generate pictures (B, 3, S, S) in [-1, 1] from both conditions and noise (B, Z)."""
        return self.generator.decode(condition[1], self.first.decode(condition[0], noise))

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the losses of stage II's discriminator, then its generator's; stage I makes their input."""
        count = len(batch.image)
        with torch.no_grad():
            sentence = self.first.read(batch.text)
            small, _ = self.first(sentence, self.noise(batch.image), self.first.augment.noise(count))
        generated, condition = self.generator(small, sentence, self.generator.augment.noise(count))
        yield "discriminator", discriminator_terms(self.discriminator, batch.image, generated, condition.mean)
        yield "generator", generator_terms_with_kl(self.discriminator, generated, condition, self.config.kl_weight)


def first_of(config: StackGAN2Config) -> StackGAN1Config:
    """Find the sizes of stage I: those that `config` gives or names, else the defaults.

    Raises:
        CheckpointError: the pictures of stage I are too large.
    """
    first = STAGE1.sizes(config.stage1, config.first) or StackGAN1Config.model_validate({})
    if first.image_size >= config.image_size:
        raise CheckpointError(
            f"{config.stage1} generates {first.image_size} px; model.image_size must be larger, got {config.image_size}"
        )
    found: StackGAN1Config = first.filled()
    return found


def generator_terms_with_kl(
    discriminator: JointDiscriminator, generated: Tensor, condition: Condition, kl_weight: float
) -> Terms:
    """Losses of the generator of either stage: those by the discriminator, given mu, and the KL divergence."""
    terms = generator_terms(discriminator, generated, condition.mean.detach())
    return terms | {"kl": kl_weight * gaussian_kl(condition.mean, condition.log_var)}


def augmentation(text_size: int, size: int) -> ConditioningAugmentation:
    """Build the release's conditioning augmentation: ReLU on the mean and on the logarithm of the variance."""
    return ConditioningAugmentation(text_size, size, spelling="log_var", gate="relu")
