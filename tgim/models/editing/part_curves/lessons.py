"""Lessons for `part_curves`: texts, and the colours that the painter's rules read from them, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tgim.models.editing.painting.captions import ColourTarget, parse_caption
from tgim.models.editing.painting.palette import ramp
from tgim.models.editing.painting.rules import BETWEEN
from tgim.models.editing.painting.words import Colour, colour_of
from tgim.models.editing.part_curves.curves import NUMBERS, as_curve
from tgim.text.lexicon.colours import EVERYDAY, HUELESS, THINGS
from tgim.text.lexicon.colours import PLAIN as NAMED
from tgim.text.lexicon.parts import PAINTED
from tgim.text.phrases import sentence

SHADED, EVERYDAY_SHARE = 0.2, 0.12  # of the colours of phrases: "dark red", "crimson"
UNKNOWN = "subject"  # what it is called where nobody knows what it is
SHADES = ("dark", "light", "bright", "pale")
FORMS = (  # of phrases, c and p are a colour and a part, s the subject; how often each is taken
    ("{c} {p}", 6),
    ("{c} {p} and {p2}", 3),
    ("{c} {p} and {c2} {p2}", 4),
    ("{c} {p} and {c2} {p2} and {c3} {p3}", 2),
    ("{c} {s}", 3),
    ("completely {c} {s}", 1),
    ("small {c} {s}", 1),
    ("{c} {s} with {c2} {p}", 3),
    ("{c} with {c2} {p}", 2),
    ("{p} is {c}", 1),
    ("{c} {s} with {c2} {p} and {c3} {p2}", 1),
    ("{c} and {c2} {p}", 2),
    ("speckled {c} and {c2} {p} and a {c3} {p2}", 1),
    ("{c} {p}, {c2} {p2} and {c3} {p3}", 2),
    ("{c} {s} with {c2} and {c3} {p}", 1),
)


def colours_of(caption: str, parts: Sequence[str]) -> Mapping[int, tuple[Colour, ...]]:
    """Read from a caption the colours of parts, by their place in `parts`, the first of which is no part."""
    targets = parse_caption(caption, parts).targets
    found: dict[int, tuple[Colour, ...]] = {}
    for target in targets:  # whole subjects come first
        for part in (*target.parts, *_between(target, targets, parts)):
            found[parts.index(part)] = target.colours
    return found


def _between(target: ColourTarget, targets: Sequence[ColourTarget], parts: Sequence[str]) -> list[str]:
    """Parts between two of one colour: the throat of "a red head and breast"."""
    named = {part for each in targets for part in each.parts}
    return [
        between
        for near, far, between in BETWEEN
        if near in target.parts
        and between in parts
        and between not in named
        and any(far in each.parts and each.colours[0] == target.colours[0] for each in targets)
    ]


def names_of(colours: Sequence[Colour]) -> NDArray[np.bool_]:
    """Mark among `NAMED` those by which some colours may go: (C,) bool."""
    found = {name for colour in colours for name in (colour.name, colour.towards)}
    return np.array([name in found for name in NAMED])


@cache
def curve_of(colours: tuple[Colour, ...]) -> Tensor:
    """The curve (9,) of a part of some colours; of several, dark tones take the darkest and light ones the lightest."""
    each = [as_curve(ramp(colour)) for colour in colours[:3]]
    if len(each) == 1:
        return each[0]
    each.sort(key=lambda curve: float(curve[1]))
    dark, light = each[0], each[-1]
    if light[1] - dark[1] < 15:
        return as_curve(ramp(colours[0]))
    low, high = float(dark[:2].mean()), float(light[1:3].mean())
    middle = as_curve(ramp(colours[0]))
    tones = torch.tensor([low, min(max(float(middle[1]), low + 5), high - 5), high])
    return torch.cat([tones, dark[5:7], middle[5:7], light[5:7]])


def curves_of(colours: Mapping[int, tuple[Colour, ...]], parts: int) -> Tensor:
    """Curves (P, 9) of all parts; zero where a caption says nothing."""
    found = torch.zeros(parts, NUMBERS)
    for part, each in colours.items():
        found[part] = curve_of(each)
    return found


class Phrases:
    """Writer of phrases and short captions about the colours of parts, more varied than those of data sets.

    >>> write = Phrases(("background", "head", "wings"), "bird")
    >>> [write(np.random.default_rng(seed)) for seed in (4, 6)]
    ['this bird is white with blond wings', 'this bird has a purple cheek and brown forehead and charcoal wing']
    """

    def __init__(self, parts: Sequence[str], subject: str) -> None:
        own = {part: [word for word, each in PAINTED.items() if each == part] for part in parts[1:]}
        self.words = {part: tuple([part] * max(1, len(words) // 2) + words) for part, words in own.items()}
        self.subject = subject
        self.everyday = sorted(word for word in EVERYDAY.keys() - THINGS if colour_of(word) is not None)
        self.forms = [form for form, often in FORMS for _ in range(often)]

    def __call__(self, source: np.random.Generator) -> str:
        """Write a phrase."""
        form = self.forms[source.integers(len(self.forms))]
        colours = [self._colour(source) for _ in range(3)]
        names = list(self.words)
        some = [names[i] for i in source.permutation(max(3, len(names))) % len(names)]
        p, p2, p3 = (self.words[name][source.integers(len(self.words[name]))] for name in some[:3])
        c, c2, c3 = colours
        phrase = form.format(c=c, c2=c2, c3=c3, p=p, p2=p2, p3=p3, s=self.subject)
        sort = source.random()
        if sort < 0.45 or " is " in phrase:
            return phrase
        if form.startswith("{c} with"):
            return f"this {self.subject} is {phrase}"
        if form.startswith("{c} {s}") and self.subject == UNKNOWN:  # a noun that `sentence` does not know
            return f"this is {'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
        return sentence(phrase, subject=self.subject)

    def _colour(self, source: np.random.Generator) -> str:
        sort, name = source.random(), str(NAMED[source.integers(len(NAMED))])
        if sort < SHADED and name not in HUELESS:
            return f"{SHADES[source.integers(len(SHADES))]} {name}"
        if sort > 1 - EVERYDAY_SHARE:
            return self.everyday[source.integers(len(self.everyday))]
        return name
