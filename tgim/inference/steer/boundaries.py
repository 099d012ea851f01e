"""Semantic boundaries in a generator, layer by layer: Yang, Shen and Zhou, "Semantic hierarchy emerges in deep
generative representations for scene synthesis" (HiGAN, IJCV 2020).

Probing (section 3.1): generated pictures are scored for an attribute, the highest and the lowest scored are kept, and
in the noise and in each layer a linear boundary between them is fitted. Re-scoring (section 3.2): inputs are moved
along the boundary's normal, in that place alone, generated anew and scored anew; where the score changes most, the
attribute is made.

Differs from the paper:
- the generators here have no code for each layer: a layer's code is the mean (C,) of its maps over places, and a move
  is added at every place;
- codes are divided by their standard deviation over the pictures, so that channels count alike; all moves of a place
  have one length, two standard deviations of the codes along the normal, mean over the attributes;
- logistic regression, min mean BCE + `RIDGE` / 2 |w|^2, in place of a linear SVM, solved by Newton's method;
- accuracy on held-out pictures stands beside that of boundaries that were fitted to shuffled labels, the change of
  score beside that along random directions of the same length;
- the change is that of a move to and fro, (F(x + m) - F(x - m)) / 2, signed, in standard deviations of the score over
  the pictures; the paper takes the mean of what is above 0, which is above 0 for any move;
- few pictures: the score is a matching model's preference between two captions, or a part's colour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.checkpoints.checkpoint import Checkpoint
from tgim.data.base import Stream, random_source
from tgim.errors import UserError
from tgim.inference.generator import Generator, Progress
from tgim.inference.ranking import check_captions
from tgim.inference.steer.intervals import Figure, mean, proportion
from tgim.inference.steer.layers import (
    BATCH,
    Inputs,
    Layer,
    Rewrite,
    draw_inputs,
    find_layers,
    look_at,
    maps_of,
    pick_layers,
    pictures_of,
    shift,
)
from tgim.models.base import Generating, Localising, Matching
from tgim.nn.resize import resize

NOISE = "noise"  # the place before all layers
REACH = 2.0  # standard deviations of the codes along the normal, mean over attributes: length of a move
RIDGE = 0.1  # of the squared normal, per standard deviation
NEWTON = 20  # steps, of which most need fewer
FEWEST = 12  # pictures at either end
SHUFFLES = 5  # fits to shuffled labels for each random direction


@dataclass(frozen=True)
class Attribute:
    """A name, and a score (B,) of pictures (B, 3, S, S) in [-1, 1], higher for more of it."""

    name: str
    score: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Boundary:
    """A linear boundary of an attribute in one place: the noise, or a layer."""

    attribute: str
    place: str  # `NOISE`, or the name of a layer
    normal: Tensor  # (Z,) or (C,) of unit length, in standard deviations
    spread: Tensor  # the same shape: standard deviations of the codes
    reach: float  # length of a move along the normal, in standard deviations
    accuracy: Figure  # on held-out pictures; chance is 0.5
    shuffled: Figure  # mean, least and largest of boundaries fitted to shuffled labels
    change: Figure  # of score by a move, in its standard deviations, mean over pictures
    random: Figure  # mean, least and largest of the changes along random directions

    @property
    def move(self) -> Tensor:
        """The vector that is added to the noise, or at every place of the layer, to move by `reach`."""
        return self.normal * self.spread * self.reach


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Findings of `find_boundaries`."""

    generator: str
    texts: tuple[str, ...]
    n: int  # pictures that were scored
    ends: int  # of the highest and of the lowest that were kept
    held_out: int  # of both together
    moved_n: int  # pictures that were moved
    draws: int  # random directions
    shuffles: int  # fits to shuffled labels
    seed: int
    judge: str  # of the scores
    attributes: tuple[str, ...]
    places: tuple[str, ...]
    found: tuple[Boundary, ...]  # of each attribute in each place
    seconds: float

    def of(self, attribute: str, place: str) -> Boundary:
        """The boundary of an attribute in one place."""
        return next(each for each in self.found if (each.attribute, each.place) == (attribute, place))


def preference(source: Checkpoint, text: str, other: str, *, device: str = "cpu") -> Attribute:
    """Make the attribute that a matching model prefers one caption to another.

    Args:
        source: of the matching model, from `tgim.inference.ranking.open_matching`; none that the generator learned by.
        text: caption of pictures that have it.
        other: caption of those that do not.
        device: of the model.

    Raises:
        TextError: a caption cannot be used.
    """
    matching: Matching = source.model.to(torch.device(device)).eval()
    captions = source.vocabulary.encode(check_captions(source, [text, other])).to(device)

    @torch.no_grad()
    def score(pictures: Tensor) -> Tensor:
        codes = matching.read_captions(captions)
        side = (matching.image_size, matching.image_size)
        both = [matching.scores(matching.read_images(resize(few, side)), codes) for few in torch.split(pictures, BATCH)]
        return torch.cat([pair[:, 0] - pair[:, 1] for pair in both]).float()

    return Attribute(f"{text} / {other}", score)


def part_colour(localiser: Localising, part: str, colour: tuple[float, float, float], *, name: str = "") -> Attribute:
    """Make the attribute that a part has a colour: minus the distance of its mean colour from that one.

    Args:
        localiser: of the part; where a picture does not show it, the whole picture's mean is taken.
        part: one of the localiser's, or "subject".
        colour: red, green and blue, 0 to 1; distances are Euclidean there.
        name: of the attribute.

    Raises:
        UserError: the localiser knows no such part.
    """
    if part not in (*localiser.parts[1:], "subject"):
        raise UserError(f"the localiser knows no {part!r} (there are: {', '.join(localiser.parts[1:])}, subject)")
    ids = range(1, len(localiser.parts)) if part == "subject" else [localiser.parts.index(part)]

    @torch.no_grad()
    def score(pictures: Tensor) -> Tensor:
        labels, _ = look_at(localiser, pictures)
        mask = torch.isin(labels, torch.tensor(list(ids), dtype=labels.dtype, device=labels.device)).float()
        mask = torch.where(mask.sum((1, 2), keepdim=True) > 0, mask, 1.0)[:, None]
        small = (resize(pictures, (mask.shape[2], mask.shape[3])) + 1) / 2
        tone = (small * mask).sum((2, 3)) / mask.sum((2, 3))
        distance: Tensor = (tone - tone.new_tensor(colour)).square().sum(1).sqrt()
        return -distance

    return Attribute(name or f"{part} of colour {colour}", score)


@torch.no_grad()
def find_boundaries(
    generator: Generator,
    attributes: Sequence[Attribute],
    *,
    texts: Sequence[str],
    n: int = 400,
    share: float = 0.25,
    moved_n: int = 24,
    draws: int = 4,
    seed: int = 0,
    layers: Sequence[str] = (),
    names: tuple[str, str] = ("", ""),
    progress: Progress | None = None,
) -> Boundaries:
    """Find for each attribute its boundary in the noise and in each layer, and what moves along it do.

    Args:
        generator: of the pictures.
        attributes: that pictures are scored for.
        texts: captions, taken in turn; one that says nothing of the attributes leaves them to noise and variation.
        n: pictures that are scored.
        share: of these, from 0 to 0.5, that are the highest scored, and as many the lowest; a third is held out.
        moved_n: other pictures that are moved and scored anew.
        draws: of random directions, and five times as many of shuffled labels.
        seed: of all that is drawn. Equal calls give equal findings.
        layers: names of layers, all unless given.
        names: of the generator, and of what scores, for the report.
        progress: told how many pictures were moved, of how many.

    Raises:
        UserError: an option out of range, no attribute, an unknown layer, or an attribute that all pictures have alike.
        TextError: a caption cannot be used.
    """
    ends = int(share * n) if 0 < share <= 0.5 else 0
    if ends < FEWEST or moved_n < 2 or draws < 1 or not attributes:
        raise UserError(
            f"boundaries take an attribute, {FEWEST} pictures at either end, 2 to move and 1 draw; got "
            f"{len(attributes)} attributes, {ends} at an end, {moved_n} to move and {draws} draws"
        )
    started, model = time.perf_counter(), generator.model
    inputs = draw_inputs(generator, texts, n=n + moved_n, seed=seed)
    scored, moved = inputs.rows(slice(n)), inputs.rows(slice(n, None))
    found = pick_layers(find_layers(model, inputs), layers)
    pictures, codes = _codes(model, scored, found)
    total = len(codes) * (len(attributes) + draws) * 2 * moved_n
    ranked = [_ends(attribute, pictures, ends, seed=seed, row=row) for row, attribute in enumerate(attributes)]
    result = []
    for number, (place, code) in enumerate(codes.items()):
        source = random_source(seed, Stream.BOUNDARIES, 1, number)
        spread = code.std(0).clamp(min=1e-6)
        unitless = (code - code.mean(0)) / spread
        fits = [_fit(unitless[own.rows], own.labels, SHUFFLES * draws, source) for own in ranked]
        reach = REACH * sum(float((unitless @ fit[0]).std()) for fit in fits) / len(fits)
        normals = [fit[0] for fit in fits]
        moves = [*normals, *(_random_direction(normals[0], source) for _ in range(draws))]
        changes: list[list[Tensor]] = [[] for _ in attributes]
        for i, direction in enumerate(moves):
            there, back = (_moved(model, moved, place, sign * reach * direction * spread) for sign in (1, -1))
            for k, attribute in enumerate(attributes):
                if i in (k, *range(len(attributes), len(moves))):
                    change = (attribute.score(there) - attribute.score(back)) / (2 * ranked[k].unit)
                    changes[k].append(change.cpu())
            if progress is not None:
                progress((number * len(moves) + i + 1) * 2 * moved_n, total)
        for attribute, (normal, accuracy, shuffled), (along, *others) in zip(attributes, fits, changes, strict=True):
            result.append(
                Boundary(
                    attribute=attribute.name,
                    place=place,
                    normal=normal,
                    spread=spread,
                    reach=reach,
                    accuracy=accuracy,
                    shuffled=shuffled,
                    change=mean(along, seed=seed),
                    random=_range([float(each.mean()) for each in others]),
                )
            )
    return Boundaries(
        generator=names[0] or model.name,
        texts=tuple(texts),
        n=n,
        ends=ends,
        held_out=_held_out(2 * ends),
        moved_n=moved_n,
        draws=draws,
        shuffles=SHUFFLES * draws,
        seed=seed,
        judge=names[1],
        attributes=tuple(attribute.name for attribute in attributes),
        places=tuple(codes),
        found=tuple(result),
        seconds=time.perf_counter() - started,
    )


class _Ends(NamedTuple):
    """The highest and the lowest scored pictures of an attribute, mixed."""

    rows: Tensor  # (2E,) of the pictures
    labels: Tensor  # (2E,) 1 for the highest
    unit: float  # standard deviation of the scores of all


def _ends(attribute: Attribute, pictures: Tensor, ends: int, *, seed: int, row: int) -> _Ends:
    scores = attribute.score(pictures)
    unit = float(scores.std())
    if not unit > 0:
        raise UserError(
            f"all {len(pictures)} pictures are scored alike for {attribute.name!r}, so there is no boundary"
        )
    order = torch.argsort(scores, stable=True).cpu()
    rows, labels = torch.cat([order[-ends:], order[:ends]]), torch.cat([torch.ones(ends), torch.zeros(ends)])
    mixed = torch.from_numpy(random_source(seed, Stream.BOUNDARIES, 0, row).permutation(2 * ends))
    return _Ends(rows[mixed], labels[mixed], unit)


def _codes(model: Generating, inputs: Inputs, layers: Sequence[Layer]) -> tuple[Tensor, dict[str, Tensor]]:
    """Pictures, and codes (N, C) of the noise and of each layer, on the CPU."""
    pictures, codes = [], {layer.name: list[Tensor]() for layer in layers}
    for _, made, maps in maps_of(model, inputs, layers):
        pictures.append(made)
        for name, some in maps.items():
            codes[name].append(some.mean((2, 3)).cpu())
    return torch.cat(pictures), {NOISE: inputs.noise.float().cpu(), **{k: torch.cat(v) for k, v in codes.items()}}


def _moved(model: Generating, inputs: Inputs, place: str, move: Tensor) -> Tensor:
    if place == NOISE:
        return pictures_of(model, Inputs(inputs.condition, inputs.noise + move.to(inputs.noise)))
    rewrites: dict[str, Rewrite] = {place: shift(move)}
    return pictures_of(model, inputs, rewrites)


def _random_direction(like: Tensor, source: np.random.Generator) -> Tensor:
    return F.normalize(torch.from_numpy(source.standard_normal(len(like))).to(like), dim=0)


def _held_out(count: int) -> int:
    return count // 3


def _fit(codes: Tensor, labels: Tensor, shuffles: int, source: np.random.Generator) -> tuple[Tensor, Figure, Figure]:
    """Fit a boundary to all but a third of the codes (N, C): normal, accuracy on the rest, by shuffled labels."""
    out = _held_out(len(codes))
    test, train = slice(out), slice(out, None)

    def hits(own: Tensor) -> tuple[Tensor, int]:
        weights, bias = logistic(codes[train], own)
        return weights, int(((codes[test] @ weights + bias > 0) == (labels[test] > 0.5)).sum())

    weights, right = hits(labels[train])
    shares = [
        hits(labels[train][torch.from_numpy(source.permutation(len(codes) - out))])[1] / out for _ in range(shuffles)
    ]
    return F.normalize(weights, dim=0), proportion(right, out), _range(shares)


def _range(values: Sequence[float]) -> Figure:
    """Mean, least and largest."""
    return Figure(sum(values) / len(values), min(values), max(values))


def logistic(codes: Tensor, labels: Tensor, *, ridge: float = RIDGE) -> tuple[Tensor, float]:
    """Fit logistic regression by Newton's method: min mean BCE(x w + b, y) + ridge / 2 |w|^2.

    Args:
        codes: (N, C).
        labels: (N,), 0 or 1.
        ridge: above 0, so that there is one minimum; b is free but for a ridge of 1e-6.

    Returns:
        w (C,) and b.
    """
    x = torch.cat([codes.double(), codes.new_ones(len(codes), 1).double()], 1)
    penalty = torch.full((x.shape[1],), ridge, dtype=torch.float64)
    penalty[-1] = 1e-6
    w = x.new_zeros(x.shape[1])
    for _ in range(NEWTON):
        p = (x @ w).sigmoid()
        gradient = x.T @ (p - labels.double()) / len(x) + penalty * w
        curve = (x * (p * (1 - p))[:, None]).T @ x / len(x) + torch.diag(penalty)
        step = torch.linalg.solve(curve, gradient)
        w = w - step
        if float(step.abs().max()) < 1e-8:
            break
    return w[:-1].to(codes.dtype), float(w[-1])


def direction_fields(boundary: Boundary, *, generator: str, facts: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the fields of a direction for a boundary in the noise: one standard deviation towards the attribute.

    Raises:
        UserError: the boundary is one of a layer.
    """
    if boundary.place != NOISE:
        raise UserError(f"the boundary lies in {boundary.place}; one in the noise is a direction")
    found = {"accuracy": boundary.accuracy.value, "shuffled": boundary.shuffled.value, "change": boundary.change.value}
    return {
        "vector": boundary.move / REACH,
        "kind": "boundary",
        "of": boundary.attribute,
        "generator": generator,
        "facts": {**found, **(facts or {})},
    }
