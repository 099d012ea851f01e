"""Sheets of steered pictures: a row for each noise, a column for each place on the way, and rows of the control."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from tgim.errors import UserError
from tgim.images.photo import Source
from tgim.images.sheet import contact_sheet
from tgim.inference.generator import BATCH, Generator
from tgim.inference.interpolate import opened, square
from tgim.inference.inversion import Inverter
from tgim.inference.steer.direction import Direction, steered
from tgim.inference.steer.learning import conditions, rows_of
from tgim.models.base import sample_noise
from tgim.nn.resize import resize

ALPHAS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
CONTROLS = 2  # rows of the random direction, at most
LEAST = 64  # pixels of a picture


def sheet(
    generator: Generator,
    direction: Direction,
    *,
    texts: Sequence[str] | None = None,
    n: int = 4,
    seed: int = 0,
    alphas: Sequence[float] = ALPHAS,
    noise: Tensor | None = None,
) -> Image.Image:
    """Draw a sheet of pictures along a direction; the last rows go along a random direction of the same length.

    Args:
        generator: that the direction was learned for.
        direction: of any method.
        texts: captions, which the rows take in turns; `learning.default_captions` unless given.
        n: rows; the noise of row i is that of picture i of `Generator.generate` with this seed.
        seed: of the noises, and of the random direction.
        alphas: places on the way, in steps.
        noise: (n, Z) in place of the sampled ones, such as `noise_of` a photograph.

    Raises:
        UserError: another generator, or no row.
        TextError: a caption cannot be used.
    """
    model = generator.model
    captions, condition = conditions(generator, texts)
    if noise is None:
        generator.check(n=n, seed=seed, vary="noise")
        noise = sample_noise(model, n, seed=seed)[0]
    if not len(noise):
        raise UserError("a sheet of no noise has no rows; give one or more")
    codes, noise = rows_of(condition, len(noise)), noise.to(generator.device)
    controls = min(CONTROLS, len(noise))
    rows: list[list[Tensor]] = []
    for way, count in ((direction, len(noise)), (direction.random_like(seed), controls)):
        for start in range(0, count, BATCH):
            part = slice(start, min(start + BATCH, count))
            pictures = steered(model, tuple(code[part] for code in codes), noise[part], way, alphas)
            rows += [list(row) for row in pictures.clamp(-1, 1).cpu().view(-1, len(alphas), *pictures.shape[1:])]
    labels = [captions[i % len(captions)] for i in range(len(noise))]
    labels += [f"random: {label}" for label in labels[:controls]]
    heads = [f"{alpha:+g}" if alpha else "0" for alpha in alphas]
    return contact_sheet(rows, row_labels=labels, column_labels=heads, cell=max(LEAST, model.image_size))


def noise_of(generator: Generator, inverter: Inverter, image: Source, texts: Sequence[str] | None = None) -> Tensor:
    """Find the noise (T, Z) of a photograph's central square under each of T captions.

    Args:
        generator: whose noise it is.
        inverter: of the same generator.
        image: the photograph.
        texts: captions of it, as of `sheet`.

    Raises:
        ImageError: the photograph cannot be read.
        TextError: a caption cannot be used.
    """
    _, condition = conditions(generator, texts)
    side = generator.model.image_size
    small = resize(square(opened(image)), (side, side)).to(generator.device)
    with torch.no_grad():
        found = inverter.invert(small.expand(len(condition[0]), -1, -1, -1), condition)
    return found.noise.cpu()
