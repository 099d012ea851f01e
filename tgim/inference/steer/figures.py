"""Figures of a direction: how far pictures really come along it, beside a random direction of the same length.

- `compared`: on fresh noises, how far pictures have come at each alpha, in the steps that were asked for. The slope
  over alpha is 1 where every step is reached, and 0 where nothing changes; the control is the slope along one random
  direction of the same length, on the same noises and captions.
- `plausible`: the range, the largest alpha up to which pictures stay among those that the generator makes by itself, in
  the features of a matching model. A picture is among them if it is no farther from one of them than that one is from
  its third neighbour ("precision" of Kynkaanniemi et al., "Improved precision and recall metric for assessing
  generative models", NeurIPS 2019, section 3). The bound: at least half as many as of unsteered ones, on
  both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from tgim.inference.steer.direction import Direction, walk
from tgim.inference.steer.learning import MEASURED, OWN, at_rest, noises, rows_of
from tgim.models.base import Codes, Generating

Measure = Callable[[Tensor], Callable[[Tensor], Tensor]]  # own pictures -> of steered ones (B,), in steps
COUNT = 64  # noises of a figure
RANGE_COUNT, OWN_COUNT = 32, 128  # noises at each alpha of the range; pictures that the generator makes by itself
BATCH = 16  # pictures that are generated together
PLACES = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)  # alphas of a curve
RANGE = (1.0, 2.0, 3.0, 4.0, 6.0)  # alphas of the range, tried on both sides
NEIGHBOUR = 3
KEPT = 0.5  # share of the unsteered pictures' share that bounds the range


@torch.no_grad()
def compared(
    model: Generating,
    condition: Codes,
    direction: Direction,
    measure: Measure,
    *,
    alphas: Sequence[float] = PLACES,
    count: int = COUNT,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a direction and its control.

    Args:
        model: the generator.
        condition: codes of T captions, which fresh noises take in turns.
        direction: of any method.
        measure: how far steered pictures have come from their own.
        alphas: places of the curve.
        count: n, fresh noises.
        seed: of them, and of the random direction.

    Returns:
        ``slope``, ``low``, ``high``: mean over n, and 95 % interval by the normal distribution; ``random``,
        ``random_low``, ``random_high``: the same along the random direction; ``curve``: [alpha, mean, low, high] of
        each alpha; ``n``, ``seed``.
    """
    noise = noises(model, count, seed=seed, purpose=MEASURED)
    found: dict[str, Any] = {"n": count, "seed": seed}
    at = torch.tensor(list(alphas))
    for name, vector in (("slope", direction.vector), ("random", direction.random_like(seed).vector)):
        reached = torch.cat(
            [
                torch.stack([change(pictures[:, i]) for i in range(1, pictures.shape[1])], 1).cpu()
                for pictures in walked(model, condition, noise, vector, (0.0, *alphas))
                for change in (measure(pictures[:, 0]),)
            ]
        )  # n, A
        mean, low, high = interval((reached * at).sum(1) / at.square().sum())
        prefix = "" if name == "slope" else "random_"
        found |= {name: mean, f"{prefix}low": low, f"{prefix}high": high}
        if name == "slope":
            found["curve"] = [[float(a), *interval(reached[:, i])] for i, a in enumerate(alphas)]
    return found


@torch.no_grad()
def plausible(
    model: Generating,
    condition: Codes,
    direction: Direction,
    embed: Callable[[Tensor], Tensor],
    *,
    alphas: Sequence[float] = RANGE,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure the range of a direction: the largest of `alphas` up to which pictures stay plausible, 0 for none.

    Args:
        model: the generator.
        condition: codes of T captions, taken in turns.
        direction: of any method.
        embed: pictures (B, 3, S, S) in [-1, 1] to features (B, D).
        alphas: rising, above 0; each is tried with both signs.
        seed: of the noises.

    Returns:
        ``range``; ``kept``: [alpha, share of plausible pictures, the worse side's] from alpha 0 on; ``n``, ``own``
        (pictures that they are compared with) and ``seed``.
    """
    own = noises(model, OWN_COUNT, seed=seed, purpose=OWN)
    own_features = torch.cat(
        [embed(x[:, 0]).float().cpu() for x in walked(model, condition, own, direction.vector, (0.0,))]
    )
    among = torch.cdist(own_features, own_features)
    radius = among.kthvalue(NEIGHBOUR + 1, dim=1).values  # the nearest is the picture itself
    noise = noises(model, RANGE_COUNT, seed=seed, purpose=MEASURED)
    places = (0.0, *(sign * alpha for alpha in alphas for sign in (-1, 1)))
    inside = torch.cat(
        [
            torch.stack(
                [
                    (torch.cdist(embed(pictures[:, i]).float().cpu(), own_features) <= radius).any(1)
                    for i in range(len(places))
                ],
                1,
            )
            for pictures in walked(model, condition, noise, direction.vector, places)
        ]
    )  # n, 1 + 2 A
    shares = inside.float().mean(0).tolist()
    kept = [[0.0, shares[0]]] + [[float(a), min(shares[1 + 2 * i : 3 + 2 * i])] for i, a in enumerate(alphas)]
    reached = 0.0
    for alpha, share in kept[1:]:
        if share < KEPT * shares[0]:
            break
        reached = alpha
    return {"range": reached, "kept": kept, "n": RANGE_COUNT, "own": OWN_COUNT, "seed": seed}


def walked(
    model: Generating, condition: Codes, noise: Tensor, vector: Tensor, alphas: Sequence[float]
) -> Iterator[Tensor]:
    """Yield pictures (B, A, 3, S, S) of noises (n, Z), which take T captions in turns, a few noises at a time."""
    rows = rows_of(condition, len(noise))
    with at_rest(model):
        for start in range(0, len(noise), BATCH):
            part = slice(start, start + BATCH)
            codes = tuple(code[part] for code in rows)
            yield walk(model, codes, noise[part].to(codes[0].device), vector, alphas)


def interval(values: Tensor) -> tuple[float, float, float]:
    """Mean of values (n,), and its 95 % interval by the normal distribution.

    >>> [round(x, 3) for x in interval(torch.tensor([1.0, 3.0]))]
    [2.0, 0.04, 3.96]
    """
    mean = float(values.mean())
    half = 1.96 * float(values.std()) / len(values) ** 0.5 if len(values) > 1 else float("inf")
    return mean, mean - half, mean + half


def told(direction: Direction) -> list[str]:
    """Say the figures among a direction's facts, one line each; none where nothing was measured."""
    lines = []
    for name, found in direction.facts.get("figures", {}).items():
        lines.append(
            f"{direction.of}, by {name}: {found['slope']:.2f} of a step asked for ({found['low']:.2f} to "
            f"{found['high']:.2f}); a random direction as long {found['random']:.2f} ({found['random_low']:.2f} to "
            f"{found['random_high']:.2f}; n {found['n']}, seed {found['seed']})"
        )
    if found := direction.facts.get("plausible"):
        lines.append(
            f"pictures stay plausible up to alpha {found['range']:g}, by {found['by']} (n {found['n']}, seed "
            f"{found['seed']})"
        )
    return lines
