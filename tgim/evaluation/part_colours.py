"""Colour words of the parts of an edited synthetic picture, found by the renderer.

The renderer computes the mean colour of each part under the picture's own light and shadow, in every shade of every
word. A part gets the word with the shade that is nearest to its mean colour (CIELAB). Nothing is learned or annotated:
the shades are those that the captions were written for.

>>> from tgim.data.synthetic.pairs import random_pair
>>> pair = random_pair("flower", np.random.default_rng(3))
>>> truth = expose(pair.source, 48).paint(albedos(pair.target))
>>> pair.target_caption
'this flower is white with yellow anthers and tips'
>>> {q.part: (q.changed, q.answer(truth)) for q in questions(pair, 48)}
{'edges': (True, 'yellow'), 'petals': (False, 'white'), 'leaves': (False, 'green')}
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tgim.data.synthetic.canvas import Exposed, linear
from tgim.data.synthetic.pairs import Pair, albedos, expose, read_caption, visible_parts
from tgim.data.synthetic.scenes import Scene, shade, split_colour
from tgim.text.lexicon.synthetic import COLOURS as WORDS
from tgim.text.lexicon.synthetic import HEAD, PARTS, UNDER

PURE = 0.75  # pixels count of which the part fills this share; others are mostly something else
LEAST = 0.0015  # share of the picture that a part must fill with such pixels to be asked about ...
FEWEST = 6  # ... and the fewest of them
MOST = 80  # pixels that are measured, spread over the part
PLACES = ((0.5, 0.5, 0.5), *itertools.product((0.0, 1.0), repeat=3))  # where in the three ranges of a word
# What parts are reported under, so that each figure rests on enough pictures.
GROUPS = {part: "head" if part in HEAD else part for kind in PARTS.values() for part in kind}


@dataclass(frozen=True, eq=False)
class Question:
    """A part of a synthetic picture whose colour word is to be found after an edit."""

    part: str
    word: str  # the colour that the caption asks for, or that the part has if the caption does not name it
    changed: bool  # whether the true edit gives the part another word
    pixels: NDArray[np.intp]  # (P,) flat indices of the pixels that are measured
    looks: NDArray[np.float64]  # (K, 3) CIELAB, mean colours of the part in all shades
    names: NDArray[np.intp]  # (K,) index into WORDS of each of the looks

    def answer(self, picture: NDArray[np.uint8]) -> str:
        """Colour word with the shade nearest to the part's mean colour in `picture` (S, S, 3)."""
        mean = picture.reshape(-1, 3)[self.pixels].mean(0)
        return WORDS[int(self.names[np.square(self.looks - _lab(mean)).sum(-1).argmin()])]


def questions(pair: Pair, size: int, *, exposed: Exposed | None = None) -> list[Question]:
    """Questions about the parts that are large enough: those whose word changes and those that keep their shade.

    There is no question about a part that gets another shade of its word ("red" to "dark red"), nor about a pattern
    that is removed. A part that the caption names in the colour that it already has counts as kept.
    """
    exposed = expose(pair.source, size) if exposed is None else exposed
    before, after = pair.source, pair.target
    masks, masks_before = visible_parts(exposed, after), visible_parts(exposed, before)
    stated = read_caption(pair.target_caption, after.kind)
    found = []
    for part, mask in masks.items():
        old, new = before.colour(part), after.colour(part)
        if not new:
            continue
        word = split_colour(new)[1]
        changed = split_colour(old or before.colour(UNDER[part]))[1] != word
        kept = old == new and np.array_equal(mask, masks_before.get(part, mask))
        pixels = np.flatnonzero(mask >= PURE)
        if len(pixels) < max(FEWEST, LEAST * mask.size) or not (kept or (changed and part in stated)):
            continue
        pixels = pixels[np.linspace(0, len(pixels) - 1, min(len(pixels), MOST)).astype(np.intp)]
        looks, names = _looks(exposed, after, part, pixels)
        found.append(Question(part, word, changed, pixels, looks, names))
    return found


def _looks(
    exposed: Exposed, scene: Scene, part: str, pixels: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Mean colours (K, 3) of `pixels` with `part` in all shades of all words, the rest as in `scene`; their words."""
    tones, names = _tones(scene.colour(part))
    own = {part, *(pattern for pattern, under in UNDER.items() if under == part and not scene.colour(pattern))}
    paint = albedos(scene)
    beams = np.stack([exposed.light.sun, exposed.light.sky, exposed.light.ground])  # (3, 3)
    weights = exposed.weights.reshape(len(exposed.parts), 3, -1)[..., pixels]  # (parts, 3, P)
    fixed = exposed.base.reshape(-1, 3)[pixels].copy()  # (P, 3)
    share = np.zeros((3, len(pixels)), np.float32)
    for name, weight in zip(exposed.parts, weights, strict=True):
        if name in own:
            share += weight
        else:
            fixed += weight.T @ (beams * linear(paint[name]))
    light = fixed + share.T @ (tones[:, None] * beams)  # (K, P, 3)
    grain = np.broadcast_to(exposed.grain.reshape(-1)[pixels], light.shape[:2])
    seen = replace(exposed, parts={}, base=np.asarray(light, np.float32), grain=grain).paint({})
    return _lab(seen.mean(1)), names


@cache
def _tones(colour: str) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
    """Linear shades (K, 3) of all words, and of `colour` where it has a modifier; which word each is of."""
    spelled = [*WORDS, colour] if colour not in WORDS else list(WORDS)
    tones = np.stack([linear(shade(name, place)) for name in spelled for place in PLACES])
    names = np.repeat([WORDS.index(split_colour(name)[1]) for name in spelled], len(PLACES))
    return tones, names


def _lab(rgb: NDArray[np.floating]) -> NDArray[np.float64]:
    """CIELAB of sRGB (..., 3) in 0 to 255."""
    from skimage.color import rgb2lab

    return np.asarray(rgb2lab(rgb.reshape(-1, 1, 3) / 255).reshape(rgb.shape), np.float64)
