"""Style encoder: photographs into a trained text-to-image generator (Reed et al., ICML 2016, section 4.4).

A generator keeps in its noise z what captions do not say: pose, place, background. The style encoder S learns to
recover z from pictures that the frozen generator G makes of captions t:

    L = | z - S(G(z, t)) |^2        and an edit is        G(S(x), t)

The edit is a new picture: it shares with the photograph x what S encodes of it, and no pixel.

Differs from the paper:
- any registered generator will do, and is part of the checkpoint; S learns to ignore its conditioning augmentation,
  where it has one;
- the error is the mean over z, not its sum; the layers of S, which the paper leaves open, are those of a DC-GAN's
  discriminator;
- the generator stays in evaluation mode, as it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.models.base import Config, Editing, Generating, Terms
from tgim.models.parts import Part
from tgim.nn.layers import SLOPE, down, from_image, init_adversarial, normal
from tgim.text.vocabulary import Tokens, Vocabulary

GENERATOR: Part[Generating] = Part("generator", "sizes", Generating)
LAST = 4  # places on a side, at most, where the convolutions of S end


class StyleEncoderConfig(Config):
    """Sizes of the style encoder, and the generator that it belongs to."""

    generator: str | None = None  # trained generator: path of a checkpoint or name of an embedded one
    system: str = "gan_int_cls"  # its system; filled in from its checkpoint
    sizes: dict[str, Any] | None = None  # the keys of its config; filled in likewise
    width: int = Field(64, ge=1)  # channels at half resolution, doubled at each halving, at most 8 times


class Encoder(nn.Module):
    """Encoder of pictures (B, 3, S, S) in [-1, 1] to the noise (B, Z) of a generator."""

    def __init__(self, width: int, side: int, noise_size: int) -> None:
        super().__init__()
        leaky, halvings = nn.LeakyReLU(SLOPE), 1
        while side >> halvings > LAST:
            halvings += 1
        widths = [width * min(8, 2**i) for i in range(halvings)]
        self.see = nn.Sequential(  # `see` and `tell` are in the keys of saved weights
            from_image(widths[0], halve=True), *(down(a, b, activation=leaky) for a, b in pairwise(widths))
        )
        self.tell = nn.Linear(widths[-1] * (side >> halvings) ** 2, noise_size)
        self.see.apply(init_adversarial)

    def forward(self, image: Tensor) -> Tensor:
        noise: Tensor = self.tell(self.see(image).flatten(1))
        return noise.float()


@register("style_encoder")
class StyleEncoder(Editing):
    """Reed et al. 2016, section 4.4: an editor that encodes photographs to the noise of a text-to-image generator."""

    Config: ClassVar[type[Config]] = StyleEncoderConfig
    networks: ClassVar[tuple[str, ...]] = ("encoder",)
    averaged: ClassVar[tuple[str, ...]] = ("encoder",)

    def __init__(self, config: StyleEncoderConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        system, sizes = config.system, config.sizes or {}
        if config.sizes is None and config.generator is not None:
            header = GENERATOR.header(config.generator)
            system, sizes = header["address"], header["config"]
        kind = GENERATOR.kind(system, origin=f"model.system is {system!r}")
        self.generator = without_discriminators(kind(kind.Config(**sizes), vocabulary_size=vocabulary_size))
        sizes = self.generator.config.model_dump(mode="json")
        self.config = config.model_copy(update={"system": system, "sizes": sizes})
        self.encoder = Encoder(config.width, self.image_size, self.generator.noise_size)

    @classmethod
    def vocabulary_for(cls, config: StyleEncoderConfig) -> Vocabulary | None:
        """Vocabulary of the trained generator: captions must mean the same ids to it."""
        return GENERATOR.vocabulary(config.generator)

    def load_parts(self) -> None:
        """Load the weights of the trained generator; before training only."""
        trained = GENERATOR.load(self.config.generator, self.generator.config)
        self.generator.load_state_dict(without_discriminators(trained).state_dict())

    @property
    def image_size(self) -> int:
        return self.generator.image_size

    @property
    def text_to_image(self) -> Generating:
        """The generator that it edits by."""
        return self.generator

    @property
    def noise_encoder(self) -> nn.Module:
        """S, from pictures to noise."""
        return self.encoder

    def train(self, mode: bool = True) -> StyleEncoder:
        """Switch to training mode, the frozen generator excepted."""
        super().train(mode)
        self.generator.eval()
        return self

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edit pictures (B, 3, S, S) in [-1, 1]: G(S(image), text).

        `seed` samples the conditioning augmentation of a generator that has one; without it, its mean is taken.
        """
        variation = None
        if seed is not None and self.generator.variation_size:
            source = torch.Generator().manual_seed(seed)
            variation = normal(len(image), self.generator.variation_size, like=image, generator=source)
        return self.generator.generate(text, self.encoder(image), variation=variation).float()

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the error of the noise that S predicts from generated pictures; the batch gives the captions."""
        noise, variation = (
            normal(len(batch.image), size, like=batch.image)
            for size in (self.generator.noise_size, self.generator.variation_size)
        )
        with torch.no_grad():
            generated = self.generator.generate(batch.text, noise, variation=variation if variation.numel() else None)
        yield "encoder", {"noise": (self.encoder(generated) - noise).square().mean()}


def without_discriminators(model: Generating) -> Generating:
    """Freeze a generator and delete its discriminators, which generating does not need; `model` itself is changed."""
    for network in model.networks:
        if network.startswith("discriminator"):
            delattr(model, network)
    return model.requires_grad_(False).eval()
