"""Learning a direction by gradient descent on noises that are sampled anew in each step.

    min over w of  E_{z, alpha}  loss(G(z + alpha w), wanted(G(z), alpha))

The caption of a row is the same on both sides; alpha is uniform in [-`REACH`, `REACH`]. Both methods that learn so,
`operations` and `assessor`, say only what is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from tgim.data.base import Stream, random_source
from tgim.errors import UserError
from tgim.inference.generator import Generator
from tgim.models.base import Codes, Generating
from tgim.nn.layers import frozen
from tgim.text.vocabulary import Alphabet, tokenize

Progress = Callable[[int, int], None]  # steps that are done, of how many
Loss = Callable[[Tensor], Tensor]  # steered pictures (B, 3, S, S) -> a scalar
Goal = Callable[[Tensor, Tensor], Loss]  # own pictures (B, 3, S, S) and alphas (B,) -> the loss of steered ones
REACH = 3.0  # steps: the largest alpha that is learned
BETAS, EPSILON = (0.9, 0.99), 1e-12  # of Adam
LEARNED, MEASURED, SCALE, OWN = range(4)  # what noises are sampled for: `Stream.STEER`, then one of these
CAPTIONS = {  # of the rows, where none are given
    "bird": (
        "a small brown bird with a white belly",
        "a yellow bird with black wings",
        "a gray bird with a long beak",
        "a blue bird with a white breast",
        "a small blue bird with a white belly",
    ),
    "flower": (
        "this flower has pink petals",
        "a white flower with a yellow center",
        "this flower has purple petals",
        "a flower with orange petals",
    ),
}


def default_captions(generator: Generator) -> tuple[str, ...]:
    """Captions that a direction is learned under where none are given: those of `CAPTIONS` that the model knows.

    A model of noise alone gets an empty one, which changes nothing.

    Raises:
        UserError: it knows none of them.
    """
    if not generator.model.reads:
        return ("",)
    known = generator.vocabulary
    for subject in subjects(generator):
        fitting = [text for text in CAPTIONS[subject] if all(word in known for word in tokenize(text))]
        if isinstance(known, Alphabet) or fitting:
            return tuple(fitting) or CAPTIONS[subject]
    raise UserError("this generator knows none of the captions taken by default; give some (--text)")


def subjects(generator: Generator) -> list[str]:
    """List the keys of `CAPTIONS`, the one first that the generator's template or, oftener, its captions name."""
    named = tokenize(generator.template.replace("{}", " "))
    order = {word: place for place, word in enumerate(generator.vocabulary.words)}  # most frequent first
    return sorted(CAPTIONS, key=lambda word: (word not in named, order.get(word, len(order))))


def conditions(generator: Generator, texts: Sequence[str] | None) -> tuple[tuple[str, ...], Codes]:
    """Give the captions that are used, and their T codes; `texts` None or empty stands for the default ones.

    Raises:
        TextError: a caption cannot be used.
        UserError: no default caption fits.
    """
    captions = tuple(generator.caption(text) for text in texts or default_captions(generator))
    with at_rest(generator.model), torch.no_grad():
        tokens = generator.vocabulary.encode(captions).to(generator.device)
        return captions, generator.model.condition(tokens)


def rows_of(condition: Codes, count: int) -> Codes:
    """Codes (count, ...) of captions in turns, from those of T captions."""
    picked = torch.arange(count) % len(condition[0])
    return tuple(code[picked.to(code.device)] for code in condition)


def noises(model: Generating, count: int, *, seed: int, purpose: int) -> Tensor:
    """Sample (count, Z) standard normal on the CPU; `purpose` keeps what is measured apart from what is learned."""
    source = random_source(seed, Stream.STEER, purpose)
    return torch.from_numpy(source.standard_normal((count, model.noise_size))).float()


@contextmanager
def at_rest(model: Generating) -> Iterator[None]:
    """Evaluation mode, and no gradient to parameters, within the block."""
    was_training = model.training
    model.eval()
    try:
        with frozen(model):
            yield
    finally:
        model.train(was_training)


def learn(
    model: Generating,
    condition: Codes,
    goal: Goal,
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    progress: Progress | None = None,
) -> tuple[Tensor, list[float]]:
    """Learn a vector from zero by Adam, its rate falling to nothing.

    The second moment is the mean over the coordinates: noise has no preferred ones, and a coordinate that changes
    nothing is left alone, where Adam's own would scale its rounding errors up to full steps.

    Args:
        model: the generator.
        condition: codes of T captions, of which each row of a step takes one at random.
        goal: what is wanted of the steered pictures.
        steps: of descent.
        batch: rows of a step.
        rate: of Adam, at the start.
        seed: of captions, noises and alphas; equal calls give equal vectors.
        progress: told after each step.

    Returns:
        The vector (Z,) on the CPU, and the loss of each step.

    Raises:
        UserError: no step, or a loss that is not finite.
    """
    if steps < 1:
        raise UserError(f"steps is {steps}, expected how many to learn a direction in, 1 or more")
    device, source = condition[0].device, random_source(seed, Stream.STEER, LEARNED)
    vector = torch.zeros(model.noise_size, device=device, requires_grad=True)
    mean, square = torch.zeros(model.noise_size, device=device), torch.zeros((), device=device)  # of the gradients
    losses: list[float] = []
    with at_rest(model):
        for step in range(steps):
            picked = torch.from_numpy(source.integers(len(condition[0]), size=batch)).to(device)
            noise = torch.from_numpy(source.standard_normal((batch, model.noise_size))).float().to(device)
            alpha = torch.from_numpy(source.uniform(-REACH, REACH, batch)).float().to(device)
            rows = tuple(code[picked] for code in condition)
            with torch.no_grad():
                loss_of = goal(model.generate_from(rows, noise).float(), alpha)
            with torch.enable_grad():
                loss = loss_of(model.generate_from(rows, noise + alpha[:, None] * vector).float())
                (gradient,) = torch.autograd.grad(loss, [vector])
            losses.append(float(loss.detach()))
            if not torch.isfinite(loss):
                raise UserError(f"the loss of step {step + 1} is not finite; the generator gives pictures that are not")
            mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
            square = BETAS[1] * square + (1 - BETAS[1]) * gradient.square().mean()
            scale = (square / (1 - BETAS[1] ** (step + 1))).sqrt() + EPSILON
            with torch.no_grad():
                vector -= rate * (1 - step / steps) * mean / (1 - BETAS[0] ** (step + 1)) / scale
            if progress is not None:
                progress(step + 1, steps)
    return vector.detach().cpu(), losses
