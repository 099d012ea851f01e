"""Tests of whether a part already has the colour that a caption names; such a part is not painted.

People call a bird white that is gray in its own shadow, and blue what a palette calls gray. Colour names are therefore
learned from pictures with known part locations and captions (`benchmarks/colour_names.py`): for each name a logistic
regression on a pixel's Lab, the lightness and hue of the rest of the subject, and the part. A caption of two colours
or more, all of which fit well enough, describes the picture as it is. Otherwise each part must fit alone, and better.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tgim.images.matting import window_mean
from tgim.images.resample import Floats
from tgim.models.editing.painting.captions import ColourTarget
from tgim.models.editing.painting.palette import RAMPS, nearest
from tgim.models.editing.painting.words import Colour
from tgim.text.lexicon.colours import HUELESS
from tgim.text.lexicon.colours import PLAIN as NAMED
from tgim.text.lexicon.parts import BIRD_PARTS, FLOWER_PARTS, NO_PLUMAGE

MAJORITY = 0.7  # share of a part's pixels that are nearest to a colour by eye: then it has that colour
PART, WHOLE = 2.5, 1.5  # mean evidence above which a part, or a whole subject, is called by a name already ...
AMONG = 1.5  # ... a part in a caption that names more ...
MIXED = 2.5  # ... so much less where several colours are said of it: that describes, and asks for little ...
TOGETHER = -2.0  # ... and each of several: a caption none of whose colours is far off describes the picture,
FOR = 3.0  # ... and one of three colours or more where the evidence, of each no more than this, is for it in sum
TINTED = 1 / 3  # share of a part's pixels that must have a colour's hue, for colours that have one
HUE, CHROMA = 38.0, 9.0  # degrees from a colour's hue, and chroma, that count as having it
MOST = 4.0  # evidence of a pixel, either way
DARK, LIGHT = 38.0, 60.0  # lightness: what is to be "light" is not darker, what is to be "dark" not lighter
TONES = {"white": (45.0, 100.0), "black": (0.0, 45.0), "gray": (20.0, 85.0)}  # usual lightness of what is called so
KNOWN = {  # parts that tell of the light, and whose names were learned
    "bird": tuple(part for part in BIRD_PARTS if part not in NO_PLUMAGE),
    "flower": FLOWER_PARTS,
}
EVERYWHERE = "whole"  # as a part: the whole subject


SURELY = 5.0  # Lab units by which a pixel is nearer to a colour than to all others, to keep it
WINDOW = 5  # pixels over which that is smoothed


class Surroundings(NamedTuple):
    """Lab statistics over the parts of a subject: tenths of lightness from both ends, mean a and b."""

    dark: float
    light: float
    a: float
    b: float


def surroundings(lab: Floats, maps: Floats, parts: Sequence[str]) -> Surroundings:
    """Statistics of Lab (3, N) by probabilities (P, N) of the parts, the first of which is the background."""
    chosen = maps.argmax(0)
    known = [i for i, part in enumerate(parts) if part in KNOWN[kind_of(parts)]]
    usual = [median(lab[:, chosen == i]) for i in known if (chosen == i).any()]
    if not usual:
        usual = [median(lab[:, chosen > 0] if (chosen > 0).any() else lab)]
    table = np.stack(usual)
    dark, light = np.quantile(table[:, 0], [0.1, 0.9]).tolist()
    return Surroundings(dark, light, *table[:, 1:].mean(0).tolist())


def median(values: Floats) -> Floats:
    """Lower medians of the rows of (..., N): of an even number, the smaller of the two in the middle."""
    middle = (values.shape[-1] - 1) // 2
    found: Floats = np.partition(values, middle, axis=-1)[..., middle]
    return found


def kind_of(parts: Sequence[str]) -> str:
    """Name the table of colour names for a subject of these parts: "flower" or "bird"."""
    return "flower" if "petals" in parts else "bird"


def features(lab: Floats, around: Surroundings, part: str, kind: str) -> Floats:
    """Features (N, F) of pixels in Lab (3, N), the inputs of the logistic regressions of colour names."""
    light, a, b = lab
    x = np.stack([
        light / 50 - 1, a / 40, b / 40, (light - around.light) / 40, (light - around.dark) / 40,
        np.hypot(a, b) / 40, (a - around.a) / 20, (b - around.b) / 20,
    ])  # fmt: skip
    first, second = np.triu_indices(len(x))
    columns = [*KNOWN[kind], EVERYWHERE] if kind == "bird" else KNOWN[kind]
    which = np.array([[part == each] for each in columns], np.float32).repeat(len(light), 1)
    return np.concatenate([np.ones_like(light)[None], x, x[first] * x[second], which]).T


@cache
def names(kind: str) -> Mapping[str, Floats]:
    """Weights (F,) of each colour's name, for a "bird" or a "flower"."""
    text = (
        importlib.resources.files("tgim.models.editing.painting")
        .joinpath("colour_names.json")
        .read_text(encoding="utf-8")
    )
    return {name: np.array(weights, np.float32) for name, weights in json.loads(text)[kind].items()}


def evidence(
    lab: Floats, weight: Floats, target: ColourTarget, around: Surroundings, part: str, kind: str = "bird"
) -> float:
    """Mean evidence that pixels (3, N) of weights (N,) of a part are called by one of the target's colours already."""
    known = {name for colour in target.colours for name in (colour.name, colour.towards) if name}
    x = features(lab, around, part, kind)
    each = np.stack([x @ names(kind)[name] for name in sorted(known)]).max(0).clip(-MOST, MOST)
    return float((each * weight).sum() / max(np.float32(1e-6), weight.sum()))


def true_already(
    lab: Floats, masks: Floats, maps: Floats, targets: Sequence[ColourTarget], parts: Sequence[str]
) -> list[bool]:
    """Test for each of N targets whether a picture fulfils it as it is.

    Args:
        lab: (3, H, W) of the picture.
        masks: (N, H, W) in [0, 1] of the targets.
        maps: (P, H, W) probabilities of the parts.
        targets: N.
        parts: names of the maps; the first is the background.
    """
    flat, masks, maps = (each.reshape(len(each), -1) for each in (lab, masks, maps))
    around = surroundings(flat, maps, parts)
    kind = kind_of(parts)
    plumage = np.array([part in KNOWN[kind] for part in parts])[maps.argmax(0)]
    found, share = [], []
    for target, mask in zip(targets, masks, strict=True):
        own = (mask > 0.5) & plumage if target.whole else mask > 0.5
        if not own.any():
            found.append(-MOST)
            share.append(0.0)
            continue
        part = EVERYWHERE if target.whole else target.parts[0]
        found.append(evidence(flat[:, own], mask[own], target, around, part, kind))
        share.append(float(called(nearest(flat[:, own])[0], target).mean()))
        if float(tinted(flat[:, own], target).mean()) < TINTED:
            found[-1] = -MOST
        usual = float(median(flat[0, own]))
        if not any(fits_lightness(colour, usual) for colour in target.colours):
            found[-1], share[-1] = -MOST, 0.0
    named = [i for i, target in enumerate(targets) if target.whole or target.parts[0] in KNOWN[kind]]
    fits = [min(found[i], FOR) for i in named]
    told = {colour.name for i in named for colour in targets[i].colours}
    if len(named) > 1 and len(told) > 1 and (min(fits) > TOGETHER or (len(named) > 2 and sum(fits) > 0)):
        return [True] * len(found)
    alone = PART if len(told) < 2 else AMONG
    least = [(WHOLE if target.whole else alone) - MIXED * (len(target.colours) > 1) for target in targets]
    return [own > enough or most > MAJORITY for own, enough, most in zip(found, least, share, strict=True)]


def fits_lightness(colour: Colour, usual: float) -> bool:
    """Test whether a part of the `usual` lightness, 0 to 100, may have a colour's name: no dark part is white."""
    low, high = TONES.get(colour.name, (0.0, 100.0))
    low, high = max(low, DARK if colour.light > 0.5 else 0.0), min(high, LIGHT if colour.light < -0.5 else 100.0)
    return low <= usual <= high


def tinted(lab: Floats, target: ColourTarget) -> Floats:
    """1 (N,) where Lab (3, N) has the hue of one of the target's colours, else 0; 1 for colours without hue."""
    hue, chroma = np.rad2deg(np.arctan2(lab[2], lab[1])), np.hypot(lab[1], lab[2])
    found = np.zeros(hue.shape, bool)
    for colour in target.colours:
        if colour.name in HUELESS:
            return np.ones_like(hue)
        own = RAMPS[colour.name][2][2]
        found = found | (np.abs((hue - own + 180) % 360 - 180) < HUE) & (chroma > CHROMA)
    return found.astype(np.float32)


def called(name: npt.NDArray[np.int64], target: ColourTarget) -> Floats:
    """1 where the nearest named colour, an index in `NAMED`, is one of the target's, else 0; of the same shape."""
    return np.isin(name, [NAMED.index(colour.name) for colour in target.colours]).astype(np.float32)


def to_change(lab: Floats, targets: Sequence[ColourTarget]) -> Floats:
    """Weights (N, H, W) in [0, 1] of Lab (3, H, W): 1 where a pixel lacks a target's colours, 0 where it has them.

    All pixels lack white, black, gray and brown: some of a part's own are those by chance, and would stay as patches.
    """
    weights = np.ones((len(targets), *lab.shape[1:]), np.float32)
    plain = [each.colours[0].light or each.colours[0].towards or each.colours[0].name in HUELESS for each in targets]
    if all(plain):
        return weights
    name, lead = nearest(window_mean(lab, 3) if min(lab.shape[-2:]) > 3 else lab)
    for weight, target, all_change in zip(weights, targets, plain, strict=True):
        if not all_change:
            right = called(name, target) * (lead / SURELY).clip(0, 1)
            if min(lab.shape[-2:]) > WINDOW:
                right = window_mean(right, WINDOW)
            weight[...] = 1 - ((right - 0.2) / 0.6).clip(0, 1)
    return weights
