"""Scenes: the content of a synthetic picture, colours of parts by everyday words and seeds for all the rest.

A `Scene` separates what a caption can change (part colours) from what it cannot (pose, light, backdrop): rendering it
with other colours gives the true edited picture. Nothing here imports torch.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tgim.errors import DataError, nearest
from tgim.text.lexicon.synthetic import BIRD_PARTS, FEATHERED, MODIFIED, ODD, PARTS, PATTERNS, ZONES

Rng = np.random.Generator
Span = tuple[float, float]

# Everyday colour words: hue in degrees, saturation and value of sRGB, each a range that a picture samples from.
COLOURS: dict[str, tuple[Span, Span, Span]] = {
    "red": ((-7, 6), (0.70, 0.90), (0.60, 0.84)),
    "orange": ((20, 30), (0.74, 0.93), (0.84, 0.96)),
    "golden": ((38, 43), (0.68, 0.85), (0.70, 0.82)),
    "yellow": ((49, 56), (0.60, 0.86), (0.86, 0.97)),
    "olive": ((58, 70), (0.42, 0.60), (0.36, 0.48)),
    "green": ((98, 132), (0.40, 0.64), (0.38, 0.58)),
    "teal": ((176, 190), (0.60, 0.85), (0.42, 0.60)),
    "blue": ((210, 226), (0.50, 0.78), (0.50, 0.80)),
    "purple": ((270, 290), (0.42, 0.66), (0.42, 0.68)),
    "pink": ((330, 348), (0.26, 0.50), (0.88, 0.98)),
    "brown": ((18, 27), (0.46, 0.64), (0.32, 0.46)),
    "tan": ((30, 38), (0.26, 0.40), (0.68, 0.82)),
    "gray": ((195, 235), (0.0, 0.08), (0.46, 0.60)),
    "black": ((200, 260), (0.0, 0.20), (0.06, 0.12)),
    "white": ((30, 60), (0.0, 0.04), (0.94, 1.0)),
}
# A modifier moves saturation and value of the word it stands before: factor and offset of each.
MODIFIERS: dict[str, tuple[float, float, float, float]] = {
    "bright": (1.0, 0.12, 0.75, 0.25),
    "dark": (1.0, 0.05, 0.62, 0.0),
    "light": (0.6, 0.0, 0.6, 0.38),
}
# How often nature paints a part so, roughly; other parts of birds take `_PLUMAGE`.
_PLUMAGE = {
    "black": 14, "white": 12, "brown": 10, "gray": 10, "yellow": 11, "red": 9, "orange": 6, "blue": 9, "green": 6,
    "tan": 5, "olive": 4, "teal": 4, "purple": 3, "pink": 3, "golden": 3,
}  # fmt: skip
PALETTES: dict[str, dict[str, int]] = {
    "beak": {"black": 8, "orange": 5, "yellow": 4, "gray": 3, "red": 2, "brown": 2, "tan": 2, "white": 1},
    "eyes": {"black": 12, "brown": 3, "red": 2, "yellow": 2, "white": 1, "orange": 1},
    "feet": {"black": 5, "orange": 4, "brown": 4, "pink": 3, "gray": 3, "yellow": 3, "tan": 2, "red": 1},
    "wingbars": {"white": 8, "yellow": 2, "tan": 2, "black": 1, "gray": 1},
    "petals": {
        "yellow": 16, "white": 16, "pink": 15, "purple": 14, "red": 13, "orange": 9, "blue": 8, "golden": 4, "green": 2,
        "black": 1, "brown": 1, "tan": 1,
    },
    "edges": {"white": 5, "yellow": 3, "pink": 3, "red": 2, "purple": 2, "orange": 1},
    "center": {"yellow": 9, "golden": 4, "green": 4, "brown": 4, "orange": 3, "white": 2, "red": 2, "purple": 1},
    "stamen": {"yellow": 8, "white": 4, "orange": 2, "golden": 2, "brown": 2, "red": 1, "black": 1, "green": 1},
    "leaves": {"green": 3, "dark green": 3, "olive": 1},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Content of a synthetic picture. Seeds fix all that captions do not name; equal scenes give equal pictures."""

    kind: str  # "bird" or "flower"
    colours: tuple[tuple[str, str], ...]  # (part, colour) in the order of PARTS[kind]; '' where a pattern is absent
    size: str = "small"  # "small" or "large"
    shape: str = "short"  # bird: beak "short" or "long"; flower: petals "round" or "pointed"
    pose: int = 0  # seed of geometry: proportions, posture, place in the frame
    backdrop: int = 0  # seed of the background
    light: int = 0  # seed of lighting, softness and grain
    tint: int = 0  # seed of the exact shade that a colour word gets in this picture

    def __post_init__(self) -> None:
        if self.kind not in PARTS:
            raise DataError(
                f"kind {self.kind!r} cannot be rendered; take 'bird' or 'flower'{nearest(self.kind, PARTS)}"
            )
        if tuple(part for part, _ in self.colours) != PARTS[self.kind]:
            raise DataError(f"colours of a {self.kind} must name the parts {', '.join(PARTS[self.kind])} in this order")
        for part, colour in self.colours:
            if colour or part not in PATTERNS:
                split_colour(colour)

    def colour(self, part: str) -> str:
        """Look up the colour word(s) of a part, e.g. ``'dark blue'``; '' for an absent pattern."""
        return dict(self.colours)[part]

    def repaint(self, colours: Mapping[str, str]) -> Scene:
        """Copy the scene with other colours of some parts; DataError for a part that it lacks."""
        unknown = sorted(set(colours) - set(PARTS[self.kind]))
        if unknown:
            raise DataError(f"a {self.kind} has no part {unknown[0]!r}{nearest(unknown[0], PARTS[self.kind])}")
        return replace(self, colours=tuple((part, colours.get(part, now)) for part, now in self.colours))

    def albedo(self, part: str) -> tuple[float, float, float]:
        """Colour of a part, sRGB in [0, 1]: a sample of its word's range by `tint` (and a little by the part)."""
        name = self.colour(part)
        index = PARTS[self.kind].index(part)
        word = list(COLOURS).index(split_colour(name)[1])
        table = _tints(self.tint)
        return shade(name, 0.8 * table[word, -1] + 0.2 * table[word, index])


@lru_cache(maxsize=64)
def _tints(seed: int) -> NDArray[np.float64]:
    """Sample places in the ranges of colour words: (words, parts + 1, 3) in [0, 1]; the last column is shared."""
    return np.random.default_rng([seed, 8]).random((len(COLOURS), len(BIRD_PARTS) + 1, 3))


def split_colour(name: str) -> tuple[str, str]:
    """Split ``'dark blue'`` into modifier ('' when none) and base word.

    Raises:
        DataError: not a colour word that the renderer knows.
    """
    modifier, _, base = name.rpartition(" ")
    if base not in COLOURS or (modifier and modifier not in MODIFIERS):
        known = ", ".join(COLOURS)
        raise DataError(f"colour {name!r} is not one of: {known}{nearest(base, COLOURS)}")
    return modifier, base


def shade(name: str, at: Sequence[float] | np.ndarray = (0.5, 0.5, 0.5)) -> tuple[float, float, float]:
    """Colour of a word, sRGB in [0, 1], at the place `at` (three numbers in [0, 1]) of its range.

    >>> [round(c, 2) for c in shade("white")]
    [0.97, 0.97, 0.95]
    """
    modifier, base = split_colour(name)
    hue, saturation, value = (low + (high - low) * float(t) for (low, high), t in zip(COLOURS[base], at, strict=True))
    if modifier:
        s_factor, s_offset, v_factor, v_offset = MODIFIERS[modifier]
        saturation, value = s_factor * saturation + s_offset, v_factor * value + v_offset
    return colorsys.hsv_to_rgb(hue / 360 % 1, min(saturation, 1.0), min(value, 1.0))


def palette(part: str) -> Mapping[str, int]:
    """List the colour words of a part with their weights, after how often nature has them."""
    return PALETTES.get(part, _PLUMAGE)


def pick_colour(part: str, rng: Rng, *, flat: float = 0.0) -> str:
    """Sample a colour for a part by the weights of its palette, or, with probability `flat`, uniformly."""
    words = list(palette(part))
    weights = np.ones(len(words)) if rng.random() < flat else np.array(list(palette(part).values()), float)
    word = words[int(rng.choice(len(words), p=weights / weights.sum()))]
    if rng.random() < 0.2 and " " not in word:
        fits = [modifier for modifier, bases in MODIFIED.items() if word in bases]
        if fits:
            word = f"{fits[rng.integers(len(fits))]} {word}"
    return word


def random_scene(kind: str, rng: Rng) -> Scene:
    """Sample a scene of `kind` ("bird" or "flower"); DataError for another kind."""
    if kind not in PARTS:
        raise DataError(f"kind {kind!r} cannot be rendered; take 'bird' or 'flower'{nearest(kind, PARTS)}")
    paint = _bird_colours(rng) if kind == "bird" else _flower_colours(rng)
    shapes = ("short", "long") if kind == "bird" else ("round", "pointed")
    seeds = [int(seed) for seed in rng.integers(2**31, size=4)]
    return Scene(
        kind=kind,
        colours=tuple((part, paint[part]) for part in PARTS[kind]),
        size="small" if rng.random() < 0.6 else "large",
        shape=shapes[int(rng.random() < 0.4)],
        pose=seeds[0],
        backdrop=seeds[1],
        light=seeds[2],
        tint=seeds[3],
    )


def _bird_colours(rng: Rng) -> dict[str, str]:
    paint = {part: pick_colour(part, rng) for part in ("beak", "eyes", "feet")}
    upper, lower, other = (pick_colour("back", rng) for _ in range(3))
    paint |= dict.fromkeys(FEATHERED, upper)
    scheme = rng.random()
    if scheme > 0.18:  # else one colour all over
        for colour in (lower, other)[: 1 + (scheme > 0.5)]:
            paint |= dict.fromkeys(ZONES[rng.integers(len(ZONES))], colour)
    if scheme > 0.9:
        paint |= {part: pick_colour(part, rng) for part in ODD if rng.random() < 0.5}
    paint["wingbars"] = pick_colour("wingbars", rng) if rng.random() < 0.3 else ""
    return paint


def _flower_colours(rng: Rng) -> dict[str, str]:
    paint = {part: pick_colour(part, rng) for part in ("petals", "center", "leaves")}
    paint["edges"] = pick_colour("edges", rng) if rng.random() < 0.25 else ""
    paint["stamen"] = pick_colour("stamen", rng) if rng.random() < 0.5 else ""
    return paint
