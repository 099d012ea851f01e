"""GAN-INT-CLS: Generative Adversarial Text to Image Synthesis (Reed et al., ICML 2016).

A DC-GAN that generates from noise z and a caption's code h. Section 4.1: the code is compressed and joined with z at
the start of the generator, and at 4x4 places in the discriminator. Algorithm 1, with a caption h^ of another class
(CLS):

    L_D = BCE(D(x, h), 1) + (BCE(D(x, h^), 0) + BCE(D(G(z, h), h), 0)) / 2
    L_G = BCE(D(G(z, h), h), 1)

Without CLS the middle term is left out and the last counts in full. INT (eq. 5) also asks the generator for pictures
of codes between two captions, beta h1 + (1 - beta) h2, for half a batch of pairs. Both switches off is their GAN.
Codes come from a char-CNN-RNN that the structured joint embedding trained before (`text`), and are frozen.

Differs from the paper or the authors' release:
- one caption of a picture is read where theirs averages the codes of four;
- a picture is generated once per step and shown to both phases, as in Algorithm 1; the release makes another for G;
- interpolated pictures are normalised as a batch of their own, not along with the others: so each switch moves its own
  terms and no other;
- the mismatching pair is x with another caption (Algorithm 1), not another picture with h (release); in a batch of
  one class alone there is none;
- the discriminator follows section 4.1; the release has no activation after the third convolution, normalises the
  compressed code, and names a residual block that it never fills in;
- without `text` each network learns an encoder of words (`BiGru`) of its own, and INT goes between the codes of each;
- picture sizes other than 64: as many doublings as are needed, at most 8 times the width.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch, mismatching_rows
from tgim.models.base import Codes, Config, Terms
from tgim.models.generation.adversarial import AdversarialGenerator
from tgim.models.generation.sentences import (
    SentenceConfig,
    SentenceEncoder,
    encode_frozen,
    fill_encoder,
    frozen_encoder,
    vocabulary_of,
)
from tgim.nn.layers import SLOPE, bottleneck, conv_block, down, frozen, init_adversarial, tile
from tgim.nn.losses import fake_where, real_fake
from tgim.nn.parallel import gathered, own_share, split, whole
from tgim.text.vocabulary import Tokens, Vocabulary

START = 4  # places on a side where the generator begins and the discriminator ends


class GanIntClsConfig(SentenceConfig):
    """Sizes, switches and loss weights of GAN-INT-CLS; the defaults are the paper's."""

    image_size: int = Field(64, ge=32)  # pixels, square, a power of two
    word_size: int = Field(128, ge=1)  # of a learned word vector, without `text`
    text_size: int = Field(256, ge=1)  # E, of the learned code, without `text`
    noise_size: int = Field(100, ge=1)  # Z
    condition_size: int = Field(128, ge=1)  # of the compressed code
    width: int = Field(128, ge=1)  # the generator's channels at half resolution, doubled at each halving
    discriminator_width: int = Field(64, ge=1)  # the same of the discriminator
    cls: bool = True  # show the discriminator photographs with mismatching captions
    mismatch_weight: float = Field(0.5, ge=0, le=1)  # of these; the generated ones have the rest of 1
    interpolate: bool = True  # generate from codes between two captions, too
    beta: float = Field(0.5, ge=0, le=1)  # share of the first caption
    interpolation_weight: float = Field(1.0, ge=0)  # of such a picture, where one of its own caption counts 1

    @field_validator("image_size")
    @classmethod
    def _power(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("image_size must be a power of two, such as 64")
        return value


class Bottleneck(nn.Module):
    """`bottleneck` around a skip, activated after the sum: (B, C, H, W) -> the same."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__()
        self.body = bottleneck(channels, activation=activation)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(x + self.body(x))
        return x


class Generator(nn.Module):
    """Generator of pictures (B, 3, S, S) in [-1, 1] from sentences (B, E) and noise (B, Z)."""

    def __init__(self, config: GanIntClsConfig, encoder: SentenceEncoder | None) -> None:
        super().__init__()
        widths = doubled(config.width, config.image_size)[::-1]  # 1024, 512, 256, 128
        self.read = encoder
        self.compress = nn.Sequential(
            nn.Linear(config.sentence_size, config.condition_size), nn.LeakyReLU(SLOPE, inplace=True)
        )
        self.paint = nn.Sequential(
            nn.ConvTranspose2d(config.noise_size + config.condition_size, widths[0], START, bias=False),
            nn.BatchNorm2d(widths[0]),  # the activation follows the residual sum
            Bottleneck(widths[0], nn.ReLU(inplace=True)),
            grow(widths[0], widths[1], activation=nn.Identity()),
            Bottleneck(widths[1], nn.ReLU(inplace=True)),
            *(grow(a, b) for a, b in pairwise(widths[1:])),
            nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1, bias=False),
            nn.Tanh(),
        )
        self.apply(init_dcgan)

    def forward(self, sentence: Tensor, noise: Tensor) -> Tensor:
        seed = torch.cat([noise, self.compress(sentence).to(noise.dtype)], 1)
        image: Tensor = self.paint(seed[..., None, None])  # B, Z + condition, 1, 1
        return image


class Discriminator(nn.Module):
    """Discriminator of pictures (B, 3, S, S) in [-1, 1] (`encode`) with sentences (B, E): logits (B,) (`match`)."""

    def __init__(self, config: GanIntClsConfig, encoder: SentenceEncoder | None) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(SLOPE, inplace=True)
        widths = doubled(config.discriminator_width, config.image_size)  # 64, 128, 256, 512
        deep = widths[-1]
        self.read = encoder
        self.see = nn.Sequential(  # `see` and `read` are in the keys of saved weights
            nn.Conv2d(3, widths[0], 4, stride=2, padding=1, bias=False),
            leaky,
            *(down(a, b, activation=leaky) for a, b in pairwise(widths[:-1])),
            down(widths[-2], deep, activation=nn.Identity()),  # the activation follows the residual sum
            Bottleneck(deep, leaky),
        )
        self.compress = nn.Sequential(nn.Linear(config.sentence_size, config.condition_size), leaky)
        self.classify = nn.Sequential(
            conv_block(deep + config.condition_size, deep, kernel=1, activation=leaky),
            nn.Conv2d(deep, 1, START, bias=False),
        )
        self.apply(init_dcgan)

    def encode(self, image: Tensor) -> Tensor:
        """Features (B, D, 4, 4) of pictures (B, 3, S, S)."""
        features: Tensor = self.see(image)
        return features

    def match(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Logits (B,) that pictures are real and fit the sentences (B, E), from features of the pictures."""
        logits: Tensor = self.classify(tile(features, self.compress(sentence)))
        return logits.float().flatten()

    def forward(self, image: Tensor, sentence: Tensor) -> Tensor:
        return self.match(self.encode(image), sentence)


@register("gan_int_cls")
class GanIntCls(AdversarialGenerator):
    """Reed et al. 2016: the first generator of small pictures from captions."""

    Config: ClassVar[type[Config]] = GanIntClsConfig

    def __init__(self, config: GanIntClsConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config = config.filled()
        self.text = frozen_encoder(config, vocabulary_size)
        encoders = [SentenceEncoder(config, vocabulary_size) if self.text is None else None for _ in range(2)]
        self.generator = Generator(config, encoders[0])
        self.discriminator = Discriminator(config, encoders[1])

    @classmethod
    def vocabulary_for(cls, config: GanIntClsConfig) -> Vocabulary | None:
        """See `vocabulary_of`."""
        return vocabulary_of(config)

    def load_parts(self) -> None:
        """Load the trained char-CNN-RNN, if one is given; before training only."""
        fill_encoder(self.text, self.config)

    @property
    def variation_size(self) -> int:
        """0: there is no conditioning augmentation."""
        return 0

    def condition(self, text: Tokens, *, variation: Tensor | None = None) -> Codes:
        """Encode captions to sentences (B, E); there is no conditioning augmentation, `variation` changes nothing."""
        return (self._sentence(text),)

    def generate_from(self, condition: Codes, noise: Tensor) -> Tensor:
        """Generate pictures (B, 3, S, S) in [-1, 1] from sentences (B, E) and noise (B, Z)."""
        image: Tensor = self.generator(condition[0], noise)
        return image.float()

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the discriminator's losses, then the generator's, by what the config switches on."""
        c, discriminator, image = self.config, self.discriminator, batch.image
        own = self._sentence(batch.text)
        generated = self.generator(own, self.noise(image))
        sentence = own if discriminator.read is None else discriminator.read(batch.text)  # encoded once if frozen
        features = discriminator.encode(image)
        terms = {"real": real_fake(discriminator.match(features, sentence), True)}
        if c.cls:
            labels = gathered(batch.labels)
            rows = own_share(mismatching_rows(labels))
            wrong, other = labels[rows] != batch.labels, gathered(sentence)[rows]
            terms["mismatch"] = c.mismatch_weight * fake_where(discriminator.match(features, other), wrong)
        fake_weight = 1 - c.mismatch_weight if c.cls else 1.0
        terms["fake"] = fake_weight * real_fake(discriminator(generated.detach(), sentence), False)
        yield "discriminator", terms

        with frozen(discriminator):
            sentence = own if discriminator.read is None else discriminator.read(batch.text)
            terms = {"fake": real_fake(discriminator(generated, sentence), True)}
            half = split(whole(len(image)) // 2, "model.interpolate")
            if c.interpolate and half:
                between = self.generator(between_pairs(own, c.beta), self.noise(image[:half]))
                share = c.interpolation_weight * half / len(image)
                logits = discriminator(between, between_pairs(sentence, c.beta))
                terms["interpolated"] = share * real_fake(logits, True)
        yield "generator", terms

    def _sentence(self, text: Tokens) -> Tensor:
        """Encode captions to sentences (B, E) for the generator, by the frozen encoder or its own."""
        if self.generator.read is not None:
            learned: Tensor = self.generator.read(text)
            return learned
        return encode_frozen(self.text, text)  # type: ignore[arg-type]  # there whenever those are not


def doubled(width: int, side: int) -> list[int]:
    """List the channels of the maps from half of `side` down to 4x4: doubled at each halving, at most 8 times `width`.

    >>> doubled(64, 64)
    [64, 128, 256, 512]
    """
    halvings = (side // START).bit_length() - 1
    return [width * min(8, 2**i) for i in range(halvings)]


def grow(inputs: int, outputs: int, *, activation: nn.Module | None = None) -> nn.Sequential:
    """4x4 transposed convolution of stride 2, batch normalisation, activation (ReLU): H x W -> 2H x 2W."""
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), activation or nn.ReLU(inplace=True))


def init_dcgan(module: nn.Module) -> None:
    """Initialise as `init_adversarial` does, transposed convolutions, too; linear layers stay, as in the release."""
    if isinstance(module, nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif not isinstance(module, nn.Linear):
        init_adversarial(module)


def between_pairs(codes: Tensor, beta: float) -> Tensor:
    """Interpolate codes (B, E): beta h1 + (1 - beta) h2, with h1 of the first half and h2 of the second; (B // 2, E).

    >>> between_pairs(torch.tensor([[0.0], [1.0], [4.0], [9.0], [50.0]]), 0.5)
    tensor([[2.],
            [5.]])
    """
    half = len(codes) // 2
    return beta * codes[:half] + (1 - beta) * codes[half : 2 * half]
