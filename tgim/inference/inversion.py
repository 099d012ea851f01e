"""Inversion: find the noise of a text-to-image generator for a photograph, so that the generator can edit it.

Three ways from a photograph x to the noise w of a generator G:

- by a style encoder S (Reed et al., "Generative adversarial text to image synthesis", ICML 2016): w = S(x);
- by optimisation (Abdal, Qin and Wonka, "Image2StyleGAN", ICCV 2019), from the mean, until it no longer falls:
  ``w* = arg min_w  L_features(G(w), x) + lambda / 2 |G(w) - x|^2``;
- by both (Zhu et al., "In-domain GAN inversion for real image editing", ECCV 2020, eq. 4): from S(x), kept near what S
  encodes of the generated picture, ``|w - S(G(w))|^2``. Their own encoder is `tgim.models.editing.in_domain`.

The edit is what G generates from that noise and the wanted caption. The search needs a caption, too: the photograph's
own one where it is known, else the wanted one; it then finds, of the pictures that G generates from the wanted caption,
the one nearest to the photograph.

The published L2 table of editors (Nam, Kim and Kim, NeurIPS 2018) has a row "AttnGAN with an image encoder". That
baseline was never released; this is a reconstruction, and what it measures is not that row.

Differs from the papers:

- features are those of the frozen network that an in-domain encoder was trained with, else those of any matching
  model, by default of the one that the generator carries, relative to the photograph's: 0 for equal and about 1 for
  unrelated pictures; without either, pixels alone count;
- pixels are compared by their mean over the picture, so that lambda means the same at all sizes;
- it stops early; the best noise found is kept, for each picture by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tgim.errors import UserError
from tgim.models.base import Codes, Editing, Generating, Matching, Model
from tgim.nn.layers import frozen
from tgim.nn.losses import stage_distance
from tgim.nn.resize import resize
from tgim.system.say import bar
from tgim.text.vocabulary import Tokens

STEPS = 200  # of optimisation, at most
Distance = Callable[[Tensor], Tensor]  # pictures (B, 3, S, S) -> how far each is from its target (B,)
Features = Callable[[Tensor], Distance]  # targets (B, 3, S, S) in [-1, 1] -> the distance from them


class Inverted(NamedTuple):
    """Result of inversion."""

    noise: Tensor  # (B, Z)
    pictures: Tensor  # (B, 3, S, S) in [-1, 1], generated from it
    losses: list[float]  # mean over the pictures before each step and after the last; empty without optimisation


class Inverter(Editing):
    """Editor of photographs by a generator: it inverts each photograph to noise.

    Args:
        generator: the text-to-image model.
        encoder: of pictures (B, 3, S, S) to noise (B, Z), such as `StyleEncoder.encoder`; None to search from the mean.
        steps: of optimisation, at most; 0 takes the encoder's noise.
        features: of the comparison of pictures, beside their pixels: `matching_features`, `MapFeatures` or
            `lpips_features`. By default those of a matching model inside `generator`, if there is one. Leave out the
            judge that evaluates the edits.
        rate: learning rate of Adam.
        feature_weight: of the distance in features.
        pixel_weight: lambda, of half the mean squared error in [-1, 1].
        domain_weight: of the noise's mean squared distance from the encoding of the generated picture.
        patience: stop after so many steps in which the loss did not fall by `tolerance` of it.
        tolerance: see there.
        progress: show a bar.

    Raises:
        UserError: neither an encoder nor steps.
    """

    def __init__(
        self,
        generator: Generating,
        *,
        encoder: nn.Module | None = None,
        steps: int = STEPS,
        features: Features | None = None,
        rate: float = 0.05,
        feature_weight: float = 1.0,
        pixel_weight: float = 1.0,
        domain_weight: float = 0.1,
        patience: int = 30,
        tolerance: float = 1e-3,
        progress: bool = False,
    ) -> None:
        super().__init__()
        if steps < 0 or (encoder is None and steps == 0):
            raise UserError(f"inversion has no encoder and {steps} steps; it needs one of them, such as {STEPS} steps")
        self.generator, self.encoder, self.most_steps = generator, encoder, steps
        inside = next((part for part in generator.modules() if isinstance(part, Matching)), None)
        self.features = matching_features(inside) if features is None and inside is not None else features
        self.rate, self.patience, self.tolerance, self.progress = rate, patience, tolerance, progress
        self.feature_weight, self.pixel_weight, self.domain_weight = feature_weight, pixel_weight, domain_weight
        self.training = generator.training  # modules begin in training mode, and would put the generator into it

    @classmethod
    def of(
        cls,
        model: Model,
        *,
        steps: int | None = None,
        features: Features | None = None,
        progress: bool = False,
    ) -> Inverter | None:
        """Make the inverter of a generator, or of a style encoder with its generator; None of any other model.

        An inverter is returned as it is.

        Args:
            model: of any role.
            steps: of optimisation; 0 for an encoder, which needs none, and `STEPS` for a generator alone, unless given.
            features: as for the class, whose other arguments have their defaults; but by default those of the model's
                own `perception`, if it has one.
            progress: show a bar.
        """
        if isinstance(model, cls):
            return model
        generator, encoder = model.text_to_image, model.noise_encoder
        if generator is None:
            return None
        if steps is None:
            steps = STEPS if encoder is None else 0
        if features is None and model.perception is not None:
            features = MapFeatures(model.perception)
        return cls(generator, encoder=encoder, steps=steps, features=features, progress=progress)

    @property
    def text_to_image(self) -> Generating:
        """Generator of the edits."""
        return self.generator

    @property
    def noise_encoder(self) -> nn.Module | None:
        """The encoder that it starts from, if it has one."""
        return self.encoder

    @property
    def image_size(self) -> int:
        return self.generator.image_size

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None, own: Tokens | None = None) -> Tensor:
        """Generate pictures of `text` and of the noise of pictures (B, 3, S, S); the same shape, in [-1, 1].

        Args:
            image: the photographs.
            text: captions of the wanted pictures.
            seed: of the noise where a search without encoder starts, and of the conditioning augmentation; the mean
                of both unless given.
            own: captions of the photographs, where they are known.
        """
        condition = self.generator.condition(text)
        found = self.invert(image, condition if own is None else self.generator.condition(own), seed=seed)
        if seed is not None and self.generator.variation_size:
            source = torch.Generator().manual_seed(seed)
            variation = torch.randn(len(image), self.generator.variation_size, generator=source).to(image.device)
            condition = self.generator.condition(text, variation=variation)
        with torch.no_grad():
            return self.generator.generate_from(condition, found.noise).float()

    def invert(self, image: Tensor, condition: Codes, *, seed: int | None = None) -> Inverted:
        """Find the noise of pictures (B, 3, S, S) in [-1, 1] under a caption.

        Args:
            image: S is the generator's image size.
            condition: what `Generating.condition` gave of B captions.
            seed: of the noise where a search without encoder starts; its mean, zero, unless given. Equal calls give
                equal noise.

        Raises:
            UserError: pictures of another shape.
        """
        side = self.image_size
        if image.ndim != 4 or image.shape[1:] != (3, side, side):
            raise UserError(f"inversion takes pictures (B, 3, {side}, {side}), got {tuple(image.shape)}; resize them")
        image, condition = image.detach(), tuple(code.detach() for code in condition)
        was_training = self.training
        self.eval()
        try:
            noise = self._start(image, seed)
            losses: list[float] = []
            if self.most_steps:
                with torch.enable_grad(), frozen(self):
                    noise, losses = self._search(noise, image, condition)
            with torch.no_grad():
                return Inverted(noise, self.generator.generate_from(condition, noise).float(), losses)
        finally:
            self.train(was_training)

    @torch.no_grad()
    def _start(self, image: Tensor, seed: int | None) -> Tensor:
        if self.encoder is not None:
            found: Tensor = self.encoder(image)
            return found.detach().float()
        shape = (len(image), self.generator.noise_size)
        if seed is None:
            return torch.zeros(shape, device=image.device)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(image.device)

    def _search(self, start: Tensor, image: Tensor, condition: Codes) -> tuple[Tensor, list[float]]:
        """The best noise that was met on the way down from `start`, and the losses of the way."""
        noise = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([noise], lr=self.rate)
        distance = None if self.features is None else self.features(image)
        best, least = start.clone(), torch.full((len(image),), torch.inf, device=image.device)
        losses: list[float] = []
        lowest, since = torch.inf, 0  # the loss that must be undercut, and the steps since it last was
        with bar(total=self.most_steps, desc="inverting", unit="step", show=self.progress, leave=False) as shown:
            while True:
                each = self._losses(noise, image, condition, distance)  # B
                with torch.no_grad():
                    better = each < least
                    best = torch.where(better[:, None], noise, best)
                    least = torch.where(better, each, least)
                losses.append(each.mean().item())
                lowest, since = (losses[-1], 0) if losses[-1] < (1 - self.tolerance) * lowest else (lowest, since + 1)
                if len(losses) > self.most_steps or since >= self.patience:
                    return best.detach(), losses
                (noise.grad,) = torch.autograd.grad(each.sum(), [noise])
                optimizer.step()
                shown.update()
                shown.set_postfix(loss=f"{losses[-1]:.4g}", refresh=False)

    def _losses(self, noise: Tensor, image: Tensor, condition: Codes, distance: Distance | None) -> Tensor:
        """Loss (B,) of each picture, minimised over the noise."""
        picture = self.generator.generate_from(condition, noise).float()
        total = self.pixel_weight * 0.5 * (picture - image).square().mean((1, 2, 3))
        if distance is not None:
            total = total + self.feature_weight * distance(picture)
        if self.encoder is not None:
            encoded = self.encoder(picture)
            total = total + self.domain_weight * (noise - encoded).square().mean(1)
        return total


def matching_features(model: Matching) -> Features:
    """Distance in the codes of a matching model: the mean, over its codes, of their relative error.

    0 for equal pictures, about 1 for unrelated ones. Pictures are resized to the model's image size.
    """

    def of(target: Tensor) -> Distance:
        with torch.no_grad():
            wanted = [code.float().flatten(1) for code in encode(target)]

        def distance(pictures: Tensor) -> Tensor:
            codes = [code.float().flatten(1) for code in encode(pictures)]
            errors = [
                (x - y).square().sum(1) / y.square().sum(1).clamp(min=1e-8) for x, y in zip(codes, wanted, strict=True)
            ]
            return torch.stack(errors).mean(0)

        return distance

    def encode(pictures: Tensor) -> Codes:
        return model.read_images(resize(pictures, (model.image_size, model.image_size)))

    return of


class MapFeatures(nn.Module):
    """Distance in the maps of a frozen network, a model's `perception` (`tgim.nn.losses.stage_distance`)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, target: Tensor) -> Distance:
        """Return the distance (B,) of pictures (B, 3, S, S) in [-1, 1] from `target`, which has their shape."""
        with torch.no_grad():
            wanted = self.network(target)
        return lambda pictures: stage_distance(self.network(pictures), wanted)


def lpips_features(network: nn.Module) -> Features:
    """LPIPS by the network of `tgim.metrics.lpips_network`, for pictures of at least 32 pixels; 0 for equal ones."""

    def of(target: Tensor) -> Distance:
        return lambda pictures: network(pictures, target).float().flatten(1).mean(1)

    return of
