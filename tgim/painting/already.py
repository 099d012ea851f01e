"""Whether a part already has the colour that a caption names: then it is left alone.

People call a bird white that is gray in its own shadow, and blue what a palette calls gray. How people name what they
see was learned from pictures whose part locations and captions are known (`benchmarks/colour_names.py`): for each name
a logistic regression tells whether a pixel of a part would be called by it, from its Lab, the lightness and the hue of
the rest of the subject, and which part it is. A caption all of whose colours fit well enough describes the picture as
it is. Otherwise each part must fit by itself, and better.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from tgim.matting import window_mean
from tgim.painting.palette import nearest
from tgim.painting.reading import Wish
from tgim.painting.words import NAMED

PART, WHOLE = 3.0, 0.8  # mean evidence above which a part, or a whole subject, is called by a name already
TOGETHER = -1.0  # sum of the evidence of several wishes above which all are true already
MOST = 4.0  # evidence of a pixel, either way
FOR, AGAINST = 1.5, 3.0  # evidence of one wish among several, at the most
SHADED = 50.0  # lightness: a part that is to be "dark" is darker, one that is to be "light" lighter
PLUMAGE = ("back", "belly", "breast", "head", "wings", "tail", "throat")  # parts that tell of the light, and are known


SURELY = 5.0  # Lab units by which a pixel is nearer to a colour than to all others, to keep it
WINDOW = 5  # pixels over which that is smoothed


class Surroundings(NamedTuple):
    """What a subject's parts have in common: usual lightness of the dark and light ones, mean a and b."""

    dark: float
    light: float
    a: float
    b: float


def surroundings(lab: Tensor, maps: Tensor, parts: Sequence[str]) -> Surroundings:
    """Of Lab (3, N) and probabilities (P, N) of the parts, the first of which is the background."""
    chosen = maps.argmax(0)
    usual = [
        lab[:, chosen == i].median(1).values for i, part in enumerate(parts) if part in PLUMAGE and (chosen == i).any()
    ]
    if not usual:
        usual = [lab[:, chosen > 0].median(1).values if (chosen > 0).any() else lab.median(1).values]
    table = torch.stack(usual)
    dark, light = torch.quantile(table[:, 0], table.new_tensor([0.1, 0.9])).tolist()
    return Surroundings(dark, light, *table[:, 1:].mean(0).tolist())


def features(lab: Tensor, around: Surroundings, part: str) -> Tensor:
    """What a name is told from: (N, F) of Lab (3, N)."""
    light, a, b = lab
    x = torch.stack([
        light / 50 - 1, a / 40, b / 40, (light - around.light) / 40, (light - around.dark) / 40,
        torch.hypot(a, b) / 40, (a - around.a) / 20, (b - around.b) / 20,
    ])  # fmt: skip
    first, second = torch.triu_indices(len(x), len(x))
    which = torch.tensor([float(part == each) for each in PLUMAGE])[:, None].expand(-1, len(light)).to(lab)
    return torch.cat([torch.ones_like(light)[None], x, x[first] * x[second], which]).T


@cache
def names() -> Mapping[str, Tensor]:
    """Weights (F,) of each colour's name."""
    text = importlib.resources.files("tgim.painting").joinpath("colour_names.json").read_text(encoding="utf-8")
    return {name: torch.tensor(weights) for name, weights in json.loads(text).items()}


def evidence(lab: Tensor, weight: Tensor, wish: Wish, around: Surroundings, part: str) -> float:
    """Mean evidence that pixels (3, N) of weights (N,) of a part are called by one of the wish's colours already."""
    known = {name for colour in wish.colours for name in (colour.name, colour.towards) if name in names()}
    x = features(lab, around, part)
    each = torch.stack([x @ names()[name].to(x) for name in sorted(known)]).amax(0).clamp(-MOST, MOST)
    return float((each * weight).sum() / weight.sum().clamp(min=1e-6))


def true_already(lab: Tensor, masks: Tensor, maps: Tensor, wishes: Sequence[Wish], parts: Sequence[str]) -> list[bool]:
    """Which wishes a picture fulfils as it is.

    Args:
        lab: (3, H, W) of the picture.
        masks: (N, H, W) in [0, 1] of the wishes.
        maps: (P, H, W) probabilities of the parts.
        wishes: N.
        parts: names of the maps, the first is the background.
    """
    flat, masks, maps = lab.flatten(1), masks.flatten(1), maps.flatten(1)
    around = surroundings(flat, maps, parts)
    chosen = maps[1:].argmax(0) + 1
    found = []
    for wish, mask in zip(wishes, masks, strict=True):
        total, weight = 0.0, 0.0
        for i in {parts.index(part) for part in wish.parts}:
            own = (mask > 0.5) & (chosen == i) if wish.whole else mask > 0.5
            if own.any():
                share = float(mask[own].sum())
                total += share * evidence(flat[:, own], mask[own], wish, around, parts[i])
                weight += share
        shade = wish.colours[0].light
        usual = float(flat[0, mask > 0.5].median()) if (mask > 0.5).any() else SHADED
        wrong = (shade > 0.5 and usual < SHADED) or (shade < -0.5 and usual > SHADED)
        found.append(-AGAINST if wrong or not weight else total / weight)
    if len(found) > 1 and sum(min(FOR, max(-AGAINST, each)) for each in found) > TOGETHER:
        return [True] * len(found)
    return [each > (WHOLE if wish.whole else PART) for each, wish in zip(found, wishes, strict=True)]


def to_change(lab: Tensor, wish: Wish) -> Tensor:
    """The share (H, W) of Lab (3, H, W) that is not of the wish's colours yet: 0 keeps a pixel, 1 paints it."""
    if wish.colours[0].light or wish.colours[0].towards:
        return torch.ones_like(lab[0])
    smooth = window_mean(lab[None], 3)[0] if min(lab.shape[-2:]) > 3 else lab
    name, lead = nearest(smooth)
    right = sum(((name == NAMED.index(colour.name)) for colour in wish.colours), torch.zeros_like(name)).clamp(max=1)
    right = right * (lead / SURELY).clamp(0, 1)
    if min(lab.shape[-2:]) > WINDOW:
        right = window_mean(right[None, None], WINDOW)[0, 0]
    return 1 - ((right - 0.2) / 0.6).clamp(0, 1)
