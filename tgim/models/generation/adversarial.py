"""Base class of the adversarial generators: noise, and the losses of the discriminators after StackGAN."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from tgim.models.base import Generating, Terms
from tgim.nn.layers import JointDiscriminator, frozen, normal
from tgim.nn.losses import fake_mean, real_fake
from tgim.nn.parallel import has_last_row, rolled, whole


class AdversarialGenerator(Generating):
    """A generator with its discriminator, trained in turn; the config says how much noise they take."""

    networks: ClassVar[tuple[str, ...]] = ("discriminator", "generator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    @property
    def noise_size(self) -> int:
        return int(self.config.noise_size)

    @property
    def variation_size(self) -> int:
        return int(self.config.condition_size)

    def noise(self, image: Tensor) -> Tensor:
        """Sample noise (B, Z) for as many pictures as `image` (B, 3, S, S) has, on its device."""
        return normal(len(image), self.noise_size, like=image)


def discriminator_terms(
    discriminator: JointDiscriminator, image: Tensor, generated: Tensor, condition: Tensor
) -> Terms:
    """Losses of a discriminator on photographs and generated pictures (B, 3, S, S), with conditions (B, C) of captions.

    Photographs with their captions ("real"), with the next caption of the batch ("mismatch", one pair less, and none in
    a batch of one), generated pictures with theirs ("fake"), and, where the discriminator has a head for it, both
    without caption ("real_alone", "fake_alone"). As in the releases of StackGAN and AttnGAN the weights of real terms
    add up to 1, and so do those of the others. No gradient reaches `generated` and `condition`.
    """
    condition, real, fake = condition.detach(), discriminator.encode(image), discriminator.encode(generated.detach())
    terms = {
        "real": real_fake(discriminator.match(real, condition), True),
        "fake": real_fake(discriminator.match(fake, condition), False),
    }
    if whole(len(image)) > 1:
        pairs = len(image) - has_last_row()  # fewer in one process, where there are several
        logits = discriminator.match(real[:pairs], rolled(condition, -1)[:pairs])
        terms["mismatch"] = fake_mean(logits)
    weights = {"real": 1.0, "mismatch": 1 / 2, "fake": 1 / 2}
    if discriminator.single is not None:
        terms["real_alone"] = real_fake(discriminator.alone(real), True)
        terms["fake_alone"] = real_fake(discriminator.alone(fake), False)
        weights = {"real": 1 / 2, "real_alone": 1 / 2, "mismatch": 1 / 3, "fake": 1 / 3, "fake_alone": 1 / 3}
    return {name: weights[name] * term for name, term in terms.items()}


def generator_terms(discriminator: JointDiscriminator, generated: Tensor, condition: Tensor) -> Terms:
    """Losses of a generator, one for each head of the discriminator: "fake", "fake_alone".

    Gradients pass through the discriminator to `generated` and `condition` (B, C); none reaches its parameters.
    """
    with frozen(discriminator):
        features = discriminator.encode(generated)
        terms = Terms()
        if discriminator.joint is not None:
            terms["fake"] = real_fake(discriminator.match(features, condition), True)
        if discriminator.single is not None:
            terms["fake_alone"] = real_fake(discriminator.alone(features), True)
    return terms


def at_side(side: int, terms: Terms, *, weight: float = 1.0) -> Terms:
    """Weight and rename the terms of pictures of one size among several, by their `side` in pixels."""
    return {f"{name}_{side}": weight * term for name, term in terms.items()}
