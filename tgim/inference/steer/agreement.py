"""Agreement of the units of a generator with parts: section 3.1 of Bau et al., "GAN Dissection: Visualizing and
understanding generative adversarial networks" (ICLR 2019); `tgim.inference.steer.units` says what differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.data.base import Stream, random_source
from tgim.errors import UserError
from tgim.inference.steer.intervals import Figure, ratio
from tgim.inference.steer.layers import Inputs, Layer, maps_of
from tgim.models.base import Generating

SUBJECT = "subject"  # all parts together
LEVELS, LEVEL_ROWS, SAMPLE = 32, 32, 1 << 14  # thresholds that are tried, from so many pictures, and values of a unit
LOWEST, HIGHEST, ON = 0.5, 0.998, 0.99  # quantiles of the first and the last of them, and of a unit that is on
OTHERS = 20  # pairings of maps with masks of other pictures
FEWEST, RARE = 4, 5  # cells of a part that shows; pictures of either half in which a part must show

Parts = dict[str, tuple[int, ...]]  # part -> its labels in what `look_at` gives


@dataclass(frozen=True)
class Unit:
    """A unit of a layer and a part: the best of its layer for the part, by the pictures of the thresholds."""

    layer: str
    unit: int  # channel, from 0
    part: str
    threshold: float
    first: float  # IoU on the pictures of the thresholds
    iou: Figure  # on the other pictures
    other: Figure  # the same with masks of other pictures: mean, least and largest of so many pairings


class Ranks(NamedTuple):
    """Findings on the pictures of the thresholds, for one layer."""

    iou: Tensor  # (C, M) at the threshold, of M parts
    threshold: Tensor  # (C, M)
    high: Tensor  # (C,) values of units that are on


def common_parts(names: Sequence[str], labels: Tensor) -> tuple[Parts, tuple[str, ...]]:
    """Choose the parts that enough pictures of either half show, and all together; and name those that are left out."""
    half = len(labels) // 2
    all_of_them: Parts = {name: (i,) for i, name in enumerate(names) if i}
    all_of_them |= {SUBJECT: tuple(range(1, len(names)))} if len(names) > 2 else {}
    counts = {name: shows(mask_of(labels, ids)) for name, ids in all_of_them.items()}
    kept = {name for name, shown in counts.items() if min(int(shown[:half].sum()), int(shown[half:].sum())) >= RARE}
    if not kept:
        raise UserError(
            f"the localiser sees no part in {RARE} of {half} generated pictures, so units cannot be compared with any; "
            "generate more pictures, or from other captions, or take a localiser of what is generated"
        )
    return (
        {name: ids for name, ids in all_of_them.items() if name in kept},
        tuple(name for name in all_of_them if name not in kept),
    )


def mask_of(labels: Tensor, ids: Sequence[int]) -> Tensor:
    """Masks (N, s, s) bool of the cells that have one of some labels."""
    return torch.isin(labels, torch.tensor(ids, dtype=labels.dtype, device=labels.device))


def shows(mask: Tensor) -> Tensor:
    """Tell (N,) of masks (N, s, s) whether they have enough cells to count as shown."""
    return mask.sum((1, 2)) >= FEWEST


def enlarged(maps: Tensor, side: torch.Size) -> Tensor:
    """Enlarge maps (B, C, h, w), or shrink them, bilinearly to (B, C, *side)."""
    return F.interpolate(maps, tuple(side), mode="bilinear", align_corners=False)


def rank_units(
    model: Generating, inputs: Inputs, layers: Sequence[Layer], labels: Tensor, parts: Parts
) -> dict[str, Ranks]:
    """Find thresholds and IoU of all units, by counts of cells between quantiles of a unit's map and on a part."""
    levels, high = _levels(model, inputs.rows(slice(LEVEL_ROWS)), layers)
    every = 2 + max(max(ids) for ids in parts.values())  # the last is of labels that are none of theirs
    size = {layer.name: layer.channels * (LEVELS + 1) * every for layer in layers}
    counts = {name: torch.zeros(count, dtype=torch.float64) for name, count in size.items()}
    for rows, _, maps in maps_of(model, inputs, layers):
        own = labels[rows]
        known = own.flatten().long().clamp(max=every - 1)
        for name, some in maps.items():
            values = enlarged(some, own.shape[1:]).transpose(0, 1).flatten(1).contiguous()  # C, cells
            place = torch.searchsorted(levels[name], values) + (LEVELS + 1) * torch.arange(len(values))[:, None].to(
                values.device
            )
            counts[name] += torch.bincount((place * every + known).flatten(), minlength=size[name]).cpu()
    result = {}
    for name, each in counts.items():
        cells = each.view(-1, LEVELS + 1, every)
        above = cells.flip(1).cumsum(1).flip(1)[:, 1:]  # C, LEVELS, labels: cells above each level
        lit, total = above.sum(2), cells.sum((1, 2))[:, None]
        iou, threshold = [], []
        for ids in parts.values():
            index = torch.tensor(ids)
            both, part = above[..., index].sum(2), cells[..., index].sum((1, 2))[:, None]
            best = information_quality(both, lit - both, part - both, total - lit - part + both).argmax(1, keepdim=True)
            union = (lit + part - both).gather(1, best)
            iou.append((both.gather(1, best) / union.clamp(min=1))[:, 0])
            threshold.append(levels[name].cpu().gather(1, best)[:, 0])
        result[name] = Ranks(torch.stack(iou, 1), torch.stack(threshold, 1), high[name])
    return result


def _levels(model: Generating, inputs: Inputs, layers: Sequence[Layer]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Find for each layer the quantiles (C, LEVELS) of its units that are tried, and the one (C,) that is high."""
    values: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    every = {layer.name: max(1, layer.height * layer.width * len(inputs) // SAMPLE) for layer in layers}
    for _, _, maps in maps_of(model, inputs, layers):
        for name, some in maps.items():
            values[name].append(some.transpose(0, 1).flatten(1)[:, :: every[name]])
    steps = torch.cat([torch.linspace(LOWEST, HIGHEST, LEVELS), torch.tensor([ON])])
    found = {name: torch.cat(some, 1).quantile(steps.to(some[0]), 1).T.contiguous() for name, some in values.items()}
    return {name: q[:, :-1].contiguous() for name, q in found.items()}, {name: q[:, -1] for name, q in found.items()}


def information_quality(both: Tensor, first: Tensor, second: Tensor, neither: Tensor) -> Tensor:
    """Information quality ratio I(X; Y) / H(X, Y) of two events, from counts (section 3.1); 0 where nothing varies.

    >>> information_quality(*torch.tensor([[50.0, 25.0], [0.0, 25.0], [0.0, 25.0], [50.0, 25.0]])).tolist()
    [1.0, 0.0]
    """
    joint = torch.stack([both, first, second, neither])
    share = (joint / joint.sum(0).clamp(min=1)).clamp(min=0)
    entropy = -torch.xlogy(share, share).sum(0)
    alone = []
    for pair in ((0, 1), (0, 2)):
        p = share[pair[0]] + share[pair[1]]
        alone.append(-torch.xlogy(p, p) - torch.xlogy(1 - p, (1 - p).clamp(min=0)))
    shared = (alone[0] + alone[1] - entropy).clamp(min=0)
    return torch.where(entropy > 0, shared / entropy.clamp(min=1e-12), torch.zeros_like(entropy))


@torch.no_grad()
def compare_units(
    model: Generating,
    inputs: Inputs,
    layers: Sequence[Layer],
    labels: Tensor,
    parts: Parts,
    ranks: dict[str, Ranks],
    *,
    seed: int,
) -> list[Unit]:
    """Compare the best unit of each layer for each part with the part's masks in pictures of other inputs.

    Args:
        model: the generator.
        inputs: N, none of those that `ranks` are of.
        layers: of the units.
        labels: (N, s, s) of the pictures.
        parts: with their labels.
        ranks: of each layer, by name.
        seed: of the pairings with other pictures' masks, and of the resamples.
    """
    chosen = {layer.name: ranks[layer.name].iou.argmax(0) for layer in layers}  # (M,) units
    limits = {name: ranks[name].threshold.gather(0, best[None])[0] for name, best in chosen.items()}
    lit: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    for rows, _, maps in maps_of(model, inputs, layers):
        for name, some in maps.items():
            own = enlarged(some[:, chosen[name].to(some.device)], labels[rows].shape[1:])  # B, M, s, s
            lit[name].append(own > limits[name].to(own)[:, None, None])
    order = random_source(seed, Stream.DISSECTION, 0).permutation(len(inputs))
    found = []
    for layer in layers:
        maps_lit = torch.cat(lit[layer.name])
        for i, (part, ids) in enumerate(parts.items()):
            unit, masks = maps_lit[:, i], mask_of(labels, ids)
            both, size = (unit & masks).sum((1, 2)), unit.sum((1, 2)) + masks.sum((1, 2))
            others = []
            for step in range(1, min(OTHERS, len(order) - 1) + 1):
                paired = masks.new_empty(masks.shape)
                paired[torch.from_numpy(order)] = masks[torch.from_numpy(np.roll(order, step))]
                shared = float((unit & paired).sum())
                others.append(shared / max(1.0, float(size.sum()) - shared))
            found.append(
                Unit(
                    layer=layer.name,
                    unit=int(chosen[layer.name][i]),
                    part=part,
                    threshold=float(limits[layer.name][i]),
                    first=float(ranks[layer.name].iou[:, i].max()),
                    iou=ratio(both.cpu(), (size - both).cpu(), seed=seed),
                    other=Figure(sum(others) / len(others), min(others), max(others)),
                )
            )
    return found
