"""What the adversarial generators share: noise, and the losses of StackGAN's line of discriminators."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from tgim.models.base import Generating, Terms
from tgim.nn.layers import JointDiscriminator, frozen, normal
from tgim.nn.losses import real_fake


class Drawing(Generating):
    """A generator and its discriminator, in turn; the config says how much noise they take."""

    networks: ClassVar[tuple[str, ...]] = ("discriminator", "generator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)

    @property
    def noise_size(self) -> int:
        return int(self.config.noise_size)

    @property
    def variation_size(self) -> int:
        return int(self.config.condition_size)

    def noise(self, image: Tensor) -> Tensor:
        """Noise (B, Z) for as many pictures as `image` (B, 3, S, S) has, on its device."""
        return normal(len(image), self.noise_size, like=image)


def judge_terms(judge: JointDiscriminator, image: Tensor, drawn: Tensor, condition: Tensor) -> Terms:
    """What a discriminator minimises on photographs, drawn pictures, and the conditions (B, C) of their captions.

    Photographs with their captions ("real"), with the next caption of the batch ("mismatch", one pair less, and none in
    a batch of one), drawn pictures with theirs ("fake"), and, where the discriminator has a head for it, both without
    caption ("real_alone", "fake_alone"). As in the releases of StackGAN and AttnGAN all that is real counts 1 in all,
    and so does all that is not. No gradient reaches `drawn` and `condition`.
    """
    condition, real, fake = condition.detach(), judge.see(image), judge.see(drawn.detach())
    terms = {
        "real": real_fake(judge.match(real, condition), True),
        "fake": real_fake(judge.match(fake, condition), False),
    }
    if len(image) > 1:
        terms["mismatch"] = real_fake(judge.match(real[:-1], condition[1:]), False)
    weights = {"real": 1.0, "mismatch": 1 / 2, "fake": 1 / 2}
    if judge.single is not None:
        terms["real_alone"] = real_fake(judge.alone(real), True)
        terms["fake_alone"] = real_fake(judge.alone(fake), False)
        weights = {"real": 1 / 2, "real_alone": 1 / 2, "mismatch": 1 / 3, "fake": 1 / 3, "fake_alone": 1 / 3}
    return {name: weights[name] * term for name, term in terms.items()}


def generator_terms(judge: JointDiscriminator, drawn: Tensor, condition: Tensor) -> Terms:
    """What a generator minimises by the heads that there are: "fake", "fake_alone".

    Gradients pass through the discriminator to `drawn` and `condition` (B, C), and none stays in it.
    """
    with frozen(judge):
        seen = judge.see(drawn)
        terms = Terms()
        if judge.joint is not None:
            terms["fake"] = real_fake(judge.match(seen, condition), True)
        if judge.single is not None:
            terms["fake_alone"] = real_fake(judge.alone(seen), True)
    return terms


def at_side(side: int, terms: Terms, *, weight: float = 1.0) -> Terms:
    """Terms of pictures of one size among several: weighted, and named by their `side` in pixels."""
    return {f"{name}_{side}": weight * term for name, term in terms.items()}
