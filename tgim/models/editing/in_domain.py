"""In-domain encoder: photographs into a trained text-to-image generator, learned with the generator in the loop.

Zhu, Shen, Zhao and Zhou, "In-domain GAN inversion for real image editing", ECCV 2020, section 3.2, the domain-guided
encoder. A style encoder (`tgim.models.editing.style_encoder`) learns from generated pictures alone; this one, E, from
photographs x: the frozen generator G makes of E(x) a picture that is to be like x, pixel by pixel and in the features F
of a frozen network, and real to a discriminator D.

    L_E = |x - G(E(x), t)|^2 + lambda_1 |F(x) - F(G(E(x), t))|^2 - lambda_2 D(G(E(x), t))               (eq. 2)
    L_D = D(G(E(x), t)) - D(x) + gamma / 2 |dD(x) / dx|^2                                                (eq. 3)

with t the photograph's own caption. The search that starts from E(x) and stays near E(G(z)) (eq. 4) is
`tgim.inference.inversion.Inverter`, by the same F. An edit is G(E(x), t') for another caption t'.

Differs from the paper or the authors' release:
- G takes a caption, too, at the mean of its conditioning augmentation; any registered generator will do;
- codes are the generator's noise z, not the intermediate codes of a StyleGAN, so E is held where G was trained: z is
  standard normal, and |z|^2 / Z is then near 1. `shell` weighs (|E(x)|^2 / Z - 1)^2, which the paper has not;
- F is EfficientNet-Lite0, a tenth of VGG-16's work, and features are compared by direction at each place
  (`tgim.nn.losses.stage_distance`), so lambda_1 is not the paper's 5e-5, which is for VGG's values;
- errors are means over pixels and channels, as in the release; its lambda_2 and gamma are kept;
- `adversary: mean` is the paper's; `logistic`, the default, is the release's: softplus(-D) in place of -D, and for D
  likewise. Nothing bounds the former, which diverged here;
- E has the layers of the style encoder, D convolutions without normalisation, since eq. 3 is of single pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.models.base import Config, Terms
from tgim.models.editing.style_encoder import LAST, StyleEncoder, StyleEncoderConfig
from tgim.models.efficientnet import STAGES, Perception, Variant, load_pretrained
from tgim.nn.layers import SLOPE, from_image, frozen
from tgim.nn.losses import gradient_penalty, real_fake, stage_distance


class InDomainConfig(StyleEncoderConfig):
    """Sizes and weights of the losses; those that the paper gives are its own."""

    discriminator_width: int = Field(16, ge=1)  # channels at half resolution, doubled at each halving, at most 8 times
    backbone: Variant = "lite0"  # F; another one than the judge's
    pretrained: bool = True  # start F from the ImageNet weights of the installed package
    taps: tuple[int, ...] = (0, 1, 2, 4)  # stages of F, 0 to 6, whose maps are compared; strides 2, 4, 8 and 16
    pixel_weight: float = Field(1.0, ge=0)
    perceptual_weight: float = Field(1.0, ge=0)  # lambda_1
    adversarial_weight: float = Field(0.1, ge=0)  # lambda_2; 0 trains without D
    penalty_weight: float = Field(10.0, ge=0)  # gamma
    shell_weight: float = Field(0.1, ge=0)  # of the codes' distance from the length of normal noise
    adversary: Literal["logistic", "mean"] = "logistic"

    @field_validator("taps")
    @classmethod
    def _taps(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)) or not set(value) <= set(range(len(STAGES))):
            raise ValueError(f"taps must be rising stages of 0 to {len(STAGES) - 1}, got {list(value)}")
        return value


class Critic(nn.Module):
    """Discriminator of pictures alone, (B, 3, S, S) in [-1, 1] to logits (B,): each is of one picture, whatever others.

    The last layer has no bias, of which the difference of two means knows nothing.
    """

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        halvings = 1
        while side >> halvings > LAST:
            halvings += 1
        widths = [width * min(8, 2**i) for i in range(halvings)]
        layers: list[nn.Module] = [from_image(widths[0], halve=True)]
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]
        self.see = nn.Sequential(*layers)
        self.tell = nn.Linear(widths[-1] * (side >> halvings) ** 2, 1, bias=False)
        for module in self.see.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=SLOPE)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.tell(self.see(image).flatten(1))
        return logits.flatten().float()


@register("in_domain")
class InDomainEncoder(StyleEncoder):
    """Zhu et al. 2020: an editor that encodes photographs to noise of which a generator makes them again."""

    Config: ClassVar[type[Config]] = InDomainConfig
    networks: ClassVar[tuple[str, ...]] = ("discriminator", "encoder")
    config: InDomainConfig

    def __init__(self, config: InDomainConfig, *, vocabulary_size: int) -> None:
        super().__init__(config, vocabulary_size=vocabulary_size)
        self.features = Perception(config.backbone, config.taps)
        self.discriminator = Critic(config.discriminator_width, self.image_size)

    def load_parts(self) -> None:
        """Load the weights of the trained generator, and those of F; before training only."""
        super().load_parts()
        if self.config.pretrained:
            load_pretrained(self.features.network, self.config.backbone)

    @property
    def perception(self) -> nn.Module:
        """F, by which the search compares pictures, too."""
        return self.features

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the losses of the discriminator (eq. 3), then the encoder's (eq. 2); pictures are made once."""
        with torch.no_grad():
            condition = self.generator.condition(batch.text)
        codes = self.encoder(batch.image)
        picture = self.generator.generate_from(condition, codes).float()
        yield "discriminator", self.discriminator_terms(batch.image, picture)
        yield "encoder", self.encoder_terms(batch.image, picture, codes)

    def discriminator_terms(self, image: Tensor, picture: Tensor) -> Terms:
        """Weighted terms of eq. 3 for photographs and pictures made of their codes, (B, 3, S, S) in [-1, 1]."""
        image = image.detach().float().requires_grad_()
        with torch.autocast(image.device.type, enabled=False):  # the penalty is differentiated twice
            real = self.discriminator(image)
            penalty = gradient_penalty(real, image)
        made = self.discriminator(picture.detach())
        if self.config.adversary == "logistic":
            terms = {"real": real_fake(real, True), "fake": real_fake(made, False)}
        else:
            terms = {"real": -real.mean(), "fake": made.mean()}
        return {**terms, "penalty": 0.5 * self.config.penalty_weight * penalty}

    def encoder_terms(self, image: Tensor, picture: Tensor, codes: Tensor) -> Terms:
        """Weighted terms of eq. 2 for photographs, pictures made of their codes, and the codes (B, Z)."""
        c = self.config
        with torch.no_grad():
            seen = self.features(image)
        terms = {
            "pixels": c.pixel_weight * (picture - image).square().mean(),
            "features": c.perceptual_weight * stage_distance(self.features(picture), seen).mean(),
            "shell": c.shell_weight * shell(codes),
        }
        if c.adversarial_weight:
            with frozen(self.discriminator):
                made = self.discriminator(picture)
            loss = real_fake(made, True) if c.adversary == "logistic" else -made.mean()
            terms["adversarial"] = c.adversarial_weight * loss
        return terms


def shell(codes: Tensor) -> Tensor:
    """Squared distance of |z|^2 / Z from 1, which it is near for normal noise; codes (B, Z), mean over B; scalar.

    >>> shell(torch.tensor([[1.0, -1.0], [2.0, 0.0], [0.0, 0.0]]))  # 0, (2 - 1)^2, (0 - 1)^2
    tensor(0.6667)
    """
    return (codes.float().square().mean(1) - 1).square().mean()
