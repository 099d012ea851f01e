"""Dissection of a generator into units: Bau, Zhu, Strobelt, Zhou, Tenenbaum, Freeman and Torralba, "GAN Dissection:
Visualizing and understanding generative adversarial networks" (ICLR 2019).

A unit is a channel of a layer. Dissection (section 3.1, eq. 2): the unit's map is enlarged to the grid of the part
localiser and compared with the mask of each part in the generated picture, over N pictures that were not looked at
before,

    IoU = sum_i |r_i > t and s_i| / sum_i |r_i > t or s_i|,    t = arg max_t I(r > t; s) / H(r > t, s)

with the threshold t that maximises the information quality ratio on another set of pictures. Intervention (section
3.2, eq. 3-4): the k best units of a part are switched off (0 everywhere) and on (a high value at a place), and the
area of the part in the picture is measured.

Differs from the paper:
- parts of one kind of subject by a part localiser that was trained on photographs, in place of a segmenter of 336
  classes; `Dissection.seen` says in how many of the pictures it sees a subject at all;
- each IoU stands beside that of the same unit with the masks of other pictures: parts have their usual places, so that
  a map that knows nothing of its picture overlaps, too;
- the threshold is one of 32 quantiles of the unit's map;
- the units that are switched are the k of the highest IoU on the pictures of the thresholds; the paper optimises a
  set. As many random units of the layer are switched, too, and the difference is told;
- on is the unit's 99 % quantile, within a square of a quarter of the map's side at a random place, the same place for
  random units; the paper takes its mean where the part is;
- areas are of the whole picture, in per cent, where the paper has the share of pixels at the place.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tgim.data.base import Stream, random_source
from tgim.errors import UserError
from tgim.inference.attention import lay_over
from tgim.inference.generator import Generator, Progress
from tgim.inference.steer.agreement import (
    OTHERS,
    RARE,
    SUBJECT,
    Parts,
    Ranks,
    Unit,
    common_parts,
    compare_units,
    enlarged,
    mask_of,
    rank_units,
    shows,
)
from tgim.inference.steer.intervals import Figure, mean, proportion
from tgim.inference.steer.layers import (
    Inputs,
    Layer,
    draw_inputs,
    find_layers,
    look_at,
    maps_of,
    pick_layers,
    pictures_of,
    switch,
)
from tgim.models.base import Generating, Localising
from tgim.models.parsing.part_maps import FOUND

PICTURES, SWITCHED_PICTURES = 256, 32  # that units are compared in, half of them for thresholds; and switched in
PLACE = 4  # side of a map over that of the place where units are switched on
SHOWN = 8  # pictures of a part's sheet


@dataclass(frozen=True)
class Effect:
    """Change of a part's area, in per cent of the picture, by units of a layer that are switched."""

    layer: str
    part: str
    units: tuple[int, ...]
    area: float  # of the part before, mean over the pictures
    off: Figure
    off_random: Figure  # as many random units of the layer, mean over draws
    off_beyond: Figure  # the difference of both, picture by picture
    off_rest: Figure  # change of the rest of the subject by the part's units
    on: Figure
    on_random: Figure
    on_beyond: Figure


@dataclass(frozen=True, eq=False)
class Sheet:
    """Pictures of a part and its best unit: rows of N pictures (N, 3, S, S) in [-1, 1], with their titles."""

    part: str
    unit: Unit
    units: tuple[int, ...]  # that are switched
    rows: tuple[tuple[str, Tensor], ...]


@dataclass(frozen=True, eq=False)
class Dissection:
    """Findings of `dissect`."""

    generator: str
    localiser: str
    texts: tuple[str, ...]
    n: int  # pictures: the first half for thresholds and ranks, the others for figures
    switched_n: int  # pictures of the effects
    draws: int  # of random units
    pairings: int  # of maps with masks of other pictures
    seed: int
    layers: tuple[Layer, ...]
    seen: Figure  # share of all pictures in which the localiser sees a subject
    areas: dict[str, float]  # part -> per cent of the picture, mean over all
    shows: dict[str, float]  # part -> share of the pictures in which it shows
    rare: tuple[str, ...]  # parts that are left out, since too few pictures show them
    units: tuple[Unit, ...]
    effects: tuple[Effect, ...]
    sheets: tuple[Sheet, ...]
    seconds: float

    def best(self, part: str) -> Unit:
        """The unit of a part that the pictures of the thresholds say is best."""
        return best_of(self.units, part)


def best_of(units: Sequence[Unit], part: str) -> Unit:
    """Find the unit of a part that the pictures of the thresholds say is best."""
    return max((unit for unit in units if unit.part == part), key=lambda unit: unit.first)


@torch.no_grad()
def dissect(
    generator: Generator,
    localiser: Localising,
    *,
    texts: Sequence[str],
    n: int = PICTURES,
    seed: int = 0,
    layers: Sequence[str] = (),
    switched: int = 8,
    switched_n: int = SWITCHED_PICTURES,
    draws: int = 3,
    names: tuple[str, str] = ("", ""),
    progress: Progress | None = None,
) -> Dissection:
    """Find what the units of a generator stand for, and what becomes of the picture without them.

    Args:
        generator: of the pictures.
        localiser: of their parts.
        texts: captions, taken in turn.
        n: pictures, half of them for thresholds and ranks.
        seed: of all that is drawn. Equal calls give equal findings.
        layers: names of layers, all unless given.
        switched: units that are switched together, at most a quarter of a layer's.
        switched_n: pictures in which they are, at most half of `n`.
        draws: of as many random units.
        names: of generator and localiser, for the report.
        progress: told how many pictures were looked at, of about how many.

    Raises:
        UserError: an option out of range, an unknown layer, or not one part that shows in enough pictures.
        TextError: a caption cannot be used.
    """
    if n < 4 * RARE or switched < 1 or switched_n < 2 or draws < 1:
        raise UserError(
            f"a dissection takes {4 * RARE} pictures or more, 2 to switch units in, 1 unit and 1 draw; got {n} "
            f"pictures, {switched_n} to switch in, {switched} units and {draws} draws"
        )
    started, model = time.perf_counter(), generator.model
    inputs = draw_inputs(generator, texts, n=n, seed=seed)
    found = pick_layers(find_layers(model, inputs), layers)
    look = _Looking(localiser, progress)
    first, second = inputs.rows(slice(n // 2)), inputs.rows(slice(n // 2, None))
    few = second.rows(slice(min(switched_n, len(second))))
    look.total = n + len(few) * (1 + 2 * len(found) * (draws + len(localiser.parts)))
    labels, seen = look.of(pictures_of(model, inputs))
    parts, rare = common_parts(localiser.parts, labels)
    ranks = rank_units(model, first, found, labels[: n // 2], parts)
    units = compare_units(model, second, found, labels[n // 2 :], parts, ranks, seed=seed)
    base = (few, areas_of(look.of(pictures_of(model, few))[0], parts))
    effects = []
    for number, layer in enumerate(found):
        source = random_source(seed, Stream.DISSECTION, 1, number)
        sets = _best_units(layer, ranks[layer.name], parts, switched)
        effects += _effects(model, base, layer, sets, ranks[layer.name].high, parts, look, draws, source, seed)
    sheets = _sheets(model, second, labels[n // 2 :], parts, ranks, units, effects)
    masks = {part: mask_of(labels, ids) for part, ids in parts.items()}
    return Dissection(
        generator=names[0] or model.name,
        localiser=names[1] or localiser.name,
        texts=tuple(texts),
        n=n,
        switched_n=len(few),
        draws=draws,
        pairings=min(OTHERS, n - n // 2 - 1),
        seed=seed,
        layers=found,
        seen=proportion(int((seen >= FOUND).sum()), n),
        areas={part: 100 * float(mask.float().mean()) for part, mask in masks.items()},
        shows={part: float(shows(mask).float().mean()) for part, mask in masks.items()},
        rare=rare,
        units=tuple(units),
        effects=tuple(effects),
        sheets=tuple(sheets),
        seconds=time.perf_counter() - started,
    )


class _Looking:
    """A localiser that counts the pictures that it looked at."""

    def __init__(self, localiser: Localising, progress: Progress | None) -> None:
        self.localiser, self.progress, self.done, self.total = localiser, progress, 0, 0

    def of(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        found = look_at(self.localiser, pictures)
        self.done += len(pictures)
        if self.progress is not None:
            self.progress(self.done, max(self.done, self.total))
        return found


def areas_of(labels: Tensor, parts: Parts) -> Tensor:
    """Areas (N, M) of M parts in pictures with labels (N, s, s), in per cent."""
    return torch.stack([100 * mask_of(labels, ids).float().mean((1, 2)).cpu() for ids in parts.values()], 1)


def _best_units(layer: Layer, ranks: Ranks, parts: Parts, most: int) -> dict[str, tuple[int, ...]]:
    k = max(1, min(most, layer.channels // 4))
    order = torch.argsort(ranks.iou, dim=0, descending=True, stable=True)[:k]
    return {part: tuple(order[:, i].tolist()) for i, part in enumerate(parts)}


def _effects(
    model: Generating,
    base: tuple[Inputs, Tensor],
    layer: Layer,
    sets: dict[str, tuple[int, ...]],
    high: Tensor,
    parts: Parts,
    look: _Looking,
    draws: int,
    source: np.random.Generator,
    seed: int,
) -> list[Effect]:
    """Measure what the units of each part do in a layer, and as many random ones."""
    inputs, before = base
    places = random_places(len(inputs), layer, source)
    count = len(next(iter(sets.values())))

    def change(units: Sequence[int], on: bool) -> Tensor:
        rewrite = switch(units, high[list(units)], where=places) if on else switch(units)
        labels, _ = look.of(pictures_of(model, inputs, {layer.name: rewrite}))
        return areas_of(labels, parts) - before  # N, M

    drawn = [source.permutation(layer.channels)[:count].tolist() for _ in range(draws)]
    random = {on: torch.stack([change(units, on) for units in drawn]).mean(0) for on in (False, True)}
    found = []
    for i, (part, units) in enumerate(sets.items()):
        off, on = change(units, False), change(units, True)
        rest = off[:, list(parts).index(SUBJECT)] - off[:, i] if SUBJECT in parts else torch.zeros(len(off))
        found.append(
            Effect(
                layer=layer.name,
                part=part,
                units=units,
                area=float(before[:, i].mean()),
                off=mean(off[:, i], seed=seed),
                off_random=mean(random[False][:, i], seed=seed),
                off_beyond=mean(off[:, i] - random[False][:, i], seed=seed),
                off_rest=mean(rest, seed=seed),
                on=mean(on[:, i], seed=seed),
                on_random=mean(random[True][:, i], seed=seed),
                on_beyond=mean(on[:, i] - random[True][:, i], seed=seed),
            )
        )
    return found


def random_places(count: int, layer: Layer, source: np.random.Generator) -> Tensor:
    """Draw a square of a quarter of a map's side, at least one cell, in each of `count` maps: (count, h, w) bool."""
    h, w = (max(1, side // PLACE) for side in (layer.height, layer.width))
    top = torch.from_numpy(source.integers(layer.height - h + 1, size=count))[:, None, None]
    left = torch.from_numpy(source.integers(layer.width - w + 1, size=count))[:, None, None]
    y, x = torch.arange(layer.height)[None, :, None], torch.arange(layer.width)[None, None]
    return (y >= top) & (y < top + h) & (x >= left) & (x < left + w)


def _sheets(
    model: Generating,
    inputs: Inputs,
    labels: Tensor,
    parts: Parts,
    ranks: dict[str, Ranks],
    units: Sequence[Unit],
    effects: Sequence[Effect],
) -> list[Sheet]:
    """Make for each part the pictures of its best unit, in the first inputs that show the part."""
    sheets = []
    for part, ids in parts.items():
        best = best_of(units, part)
        effect = next(each for each in effects if (each.layer, each.part) == (best.layer, part))
        masks = mask_of(labels, ids)
        rows = shows(masks).nonzero()[:SHOWN, 0]
        some = inputs.rows(rows)
        layer = Layer(best.layer, 0, 0, 0)
        pictures, maps = zip(
            *((made, read[best.layer]) for _, made, read in maps_of(model, some, [layer])), strict=True
        )
        drawn, own = torch.cat(pictures), torch.cat(maps)[:, [best.unit]]
        lit = (enlarged(own, drawn.shape[2:]) > best.threshold)[:, 0]
        high = ranks[best.layer].high[list(effect.units)]
        named = f"{len(effect.units)} units" if len(effect.units) > 1 else "the unit"
        sheets.append(
            Sheet(
                part,
                best,
                effect.units,
                (
                    ("generated", drawn),
                    (f"{part}, by the localiser", lay_over(drawn, masks[rows].float())),
                    (f"unit {best.unit} above its threshold", lay_over(drawn, lit.float())),
                    (f"{named} off", pictures_of(model, some, {best.layer: switch(effect.units)})),
                    (f"{named} on everywhere", pictures_of(model, some, {best.layer: switch(effect.units, high)})),
                ),
            )
        )
    return sheets
