"""GANalyze: a direction along which an assessor's score of the pictures rises.

Goetschalckx, Andonian, Oliva and Isola, "GANalyze: toward visual definitions of cognitive image properties", ICCV 2019,
section 3: for an assessor A of pictures, a direction theta of the noise with A(G(z + alpha theta)) = A(G(z)) + alpha,

    theta* = arg min_theta  E_{z, alpha}  (A(G(z + alpha theta)) - (A(G(z)) + alpha))^2     (equations 1 and 2)

The assessor here is the score of a matching model with a caption. Its scale is normalised: one step is one standard
deviation of the score over pictures of the same caption, so that noise alone has a spread of one step (of `SCALE_COUNT`
own pictures, pooled within captions).

The assessor that is learned from never measures: a judge, another matching model, measures on fresh noises. By default
the assessor is the guide inside `birds-1` (`flowers-1`), by which TAGrid was trained, and the judge `judge-birds-2`
(`judge-flowers-2`), of another backbone, so that nothing is learned from any judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tgim.checkpoints import checkpoint
from tgim.errors import CheckpointError, UserError
from tgim.inference.generator import Generator
from tgim.inference.steer.direction import Direction, fingerprint, identity
from tgim.inference.steer.figures import Measure, compared, plausible, walked
from tgim.inference.steer.learning import SCALE, Loss, Progress, conditions, learn, noises, subjects
from tgim.models.base import Codes, Generating, Matching
from tgim.nn.layers import frozen
from tgim.nn.resize import resize
from tgim.text.understand import used_caption
from tgim.text.vocabulary import Vocabulary

ASSESSORS = {"bird": "birds-1", "flower": "flowers-1"}  # by the subject of the generator
JUDGES = {"bird": "judge-birds-2", "flower": "judge-flowers-2"}
STEPS, ROWS, RATE = 150, 8, 0.05
SCALE_COUNT = 64  # own pictures that give the scale of scores
SIDES = (-2.0, 2.0)  # alphas at which both measure


@dataclass(frozen=True, eq=False)
class Assessor:
    """A matching model with the words that it reads."""

    model: Matching
    vocabulary: Vocabulary
    template: str
    label: str

    def scoring(self, text: str) -> Callable[[Tensor], Tensor]:
        """Make the function from pictures (B, 3, S, S) in [-1, 1] of any size to their scores (B,) with `text`.

        Raises:
            TextError: the caption cannot be used.
        """
        device = next(self.model.parameters()).device
        with torch.no_grad():
            codes = self.model.read_captions(self.vocabulary.encode([self.caption(text)]).to(device))
        return lambda pictures: self.model.scores(self.model.read_images(self._sized(pictures)), codes)[:, 0].float()

    def caption(self, text: str) -> str:
        """The caption that is used for `text`, with warnings and errors as of `tgim.text.understand.used_caption`."""
        return used_caption(text, self.vocabulary, self.template)

    def embed(self, pictures: Tensor) -> Tensor:
        """Embeddings (B, D) of pictures (B, 3, S, S) in [-1, 1] of any size."""
        return self.model.embed_images(self._sized(pictures))

    def _sized(self, pictures: Tensor) -> Tensor:
        return resize(pictures, (self.model.image_size, self.model.image_size))


def open_assessor(chosen: str | Assessor, *, device: str = "cpu") -> Assessor:
    """Open a matching model, or the one inside of another model: its guide.

    Args:
        chosen: name or file of its checkpoint; one that is open comes back as it is.
        device: "cpu" or "cuda".

    Raises:
        CheckpointError: no such checkpoint, or no matching model in it.
    """
    if isinstance(chosen, Assessor):
        return chosen
    source = checkpoint.load(chosen, device=device)
    inside = next((part for part in source.model.modules() if isinstance(part, Matching)), None)
    if inside is None:
        raise CheckpointError(f"{chosen} is a {source.name} without a matching model; name one, such as judge-birds")
    label = str(chosen) if inside is source.model else f"the guide of {chosen}"
    return Assessor(inside, source.vocabulary, source.template, label)


def towards(
    generator: Generator,
    text: str,
    *,
    texts: Sequence[str] | None = None,
    assessor: str | Assessor | None = None,
    judge: str | Assessor | None = None,
    steps: int = STEPS,
    seed: int = 0,
    measure: bool = True,
    progress: Progress | None = None,
) -> Direction:
    """Learn the direction along which pictures fit a caption better, and measure it.

    Args:
        generator: whose noise is walked in; the captions that it reads stay as they are.
        text: caption or phrase that the pictures are to fit.
        texts: captions of the generator that it is learned and measured under; `default_captions` unless given.
        assessor: matching model that it is learned from, by `open_assessor` or its name; of `ASSESSORS` unless given.
        judge: another matching model, which measures; of `JUDGES` unless given.
        steps: of descent.
        seed: of all that is sampled; equal calls give equal directions.
        measure: False leaves the figures out, which take about as long as the learning.
        progress: told after each step of descent.

    Returns:
        The direction; its facts have ``figures`` of assessor and judge, in standard deviations of their own scores, and
        ``plausible``.

    Raises:
        UserError: assessor and judge are one model, no step, or pictures that all have one score.
        TextError: a caption cannot be used.
    """
    device, model = str(generator.device), generator.model
    teacher = open_assessor(assessor or ASSESSORS[subjects(generator)[0]], device=device)
    measuring = open_assessor(judge or JUDGES[subjects(generator)[0]], device=device) if measure else None
    if measuring is not None and fingerprint(measuring.model) == fingerprint(teacher.model):
        raise UserError(
            f"assessor and judge are the same model ({teacher.label}); what a direction is learned from cannot measure "
            "it, name two"
        )
    captions, condition = conditions(generator, texts)
    score = teacher.scoring(text)
    spread = scale_of(model, condition, score, seed=seed)

    def goal(own: Tensor, alpha: Tensor) -> Loss:
        wanted = score(own) + spread * alpha
        return lambda pictures: ((score(pictures) - wanted) / spread).square().mean()

    with frozen(teacher.model):
        vector, losses = learn(model, condition, goal, steps=steps, batch=ROWS, rate=RATE, seed=seed, progress=progress)
    facts: dict[str, Any] = {
        "captions": list(captions),
        "steps": steps,
        "seed": seed,
        "loss": losses[-1],
        "assessor": teacher.label,
    }
    facts |= {"step": "a standard deviation of the assessor's score", "scale": spread}
    found = Direction(vector, "assessor", text, identity(model), facts)
    if measuring is not None:
        own = change_of(score, spread)
        figures = {teacher.label: compared(model, condition, found, own, alphas=SIDES, seed=seed)}
        judged = measuring.scoring(text)
        change = change_of(judged, scale_of(model, condition, judged, seed=seed))
        figures[measuring.label] = compared(model, condition, found, change, alphas=SIDES, seed=seed)
        inside = plausible(model, condition, found, measuring.embed, seed=seed)
        facts |= {"figures": figures, "plausible": {**inside, "by": measuring.label}, "judge": measuring.label}
    return found


@torch.no_grad()
def scale_of(
    model: Generating, condition: Codes, score: Callable[[Tensor], Tensor], *, seed: int, count: int = SCALE_COUNT
) -> float:
    """Standard deviation of the scores that noise alone makes: of own pictures, pooled within captions.

    Raises:
        UserError: it is zero or not finite.
    """
    noise = noises(model, count, seed=seed, purpose=SCALE)
    zero = torch.zeros(model.noise_size)
    scores = torch.cat([score(own[:, 0]).cpu() for own in walked(model, condition, noise, zero, (0.0,))])
    kinds = len(condition[0])
    parts = [scores[i::kinds] for i in range(min(kinds, count))]
    inside = sum(float((part - part.mean()).square().sum()) for part in parts)
    spread = math.sqrt(inside / max(1, count - len(parts)))
    if not 0 < spread < float("inf"):
        raise UserError(f"all pictures of the generator have one score ({float(scores[0]):g}); take another caption")
    return spread


def change_of(score: Callable[[Tensor], Tensor], spread: float) -> Measure:
    """Measure how much a score has risen, in standard deviations `spread`."""

    def measure(own: Tensor) -> Callable[[Tensor], Tensor]:
        before = score(own)
        return lambda pictures: (score(pictures) - before) / spread

    return measure
