"""What a drawn picture shows: the colour of every part by its everyday word, and seeds for all the rest.

A `Scene` separates what a caption can change (part colours) from what it cannot (pose, light, backdrop), so drawing a
scene with other colours gives the true edited picture. Nothing here imports torch.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tgim.errors import DataError, nearest

Rng = np.random.Generator
Span = tuple[float, float]

# Everyday colour words: hue in degrees, saturation and value of sRGB, each a range that a picture samples from.
COLOURS: dict[str, tuple[Span, Span, Span]] = {
    "red": ((-8, 6), (0.76, 0.92), (0.62, 0.86)),
    "orange": ((20, 30), (0.80, 0.95), (0.86, 0.97)),
    "golden": ((38, 43), (0.68, 0.85), (0.70, 0.82)),
    "yellow": ((49, 56), (0.66, 0.90), (0.88, 0.98)),
    "olive": ((58, 70), (0.42, 0.60), (0.36, 0.48)),
    "green": ((100, 138), (0.42, 0.68), (0.40, 0.62)),
    "teal": ((176, 190), (0.60, 0.85), (0.42, 0.60)),
    "blue": ((212, 226), (0.60, 0.84), (0.52, 0.84)),
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
MODIFIED: dict[str, tuple[str, ...]] = {
    "bright": ("red", "orange", "yellow", "green", "blue", "pink", "purple"),
    "dark": ("red", "green", "blue", "brown", "gray", "purple"),
    "light": ("blue", "brown", "gray", "green", "purple", "yellow"),
}
SYNONYMS = {"grey": "gray", "violet": "purple", "gold": "golden"}

BIRD_PARTS = (
    "crown", "face", "nape", "throat", "breast", "belly", "back", "wings", "wingbars", "tail", "beak", "eyes", "feet",
)  # fmt: skip
FLOWER_PARTS = ("petals", "edges", "center", "stamen", "leaves")
PARTS: dict[str, tuple[str, ...]] = {"bird": BIRD_PARTS, "flower": FLOWER_PARTS}
PATTERNS = ("wingbars", "edges", "stamen")  # these may be absent: their colour is then ''

_PLUMAGE = "black white brown gray yellow red orange blue green tan olive teal purple pink golden".split()
_PLUMAGE_WEIGHTS = np.array([14, 12, 10, 10, 11, 9, 6, 9, 6, 5, 4, 4, 3, 3, 3], float)
_PETAL = "yellow white pink purple red orange blue golden green black brown tan".split()
_PETAL_WEIGHTS = np.array([16, 16, 15, 14, 13, 9, 8, 4, 2, 1, 1, 1], float)
PALETTES: dict[str, tuple[Sequence[str], np.ndarray]] = {
    "beak": ("black orange yellow gray red brown tan white".split(), np.array([8, 5, 4, 3, 2, 2, 2, 1], float)),
    "eyes": ("black brown red yellow white orange".split(), np.array([12, 3, 2, 2, 1, 1], float)),
    "feet": ("black orange brown pink gray yellow red tan".split(), np.array([5, 4, 4, 3, 3, 3, 1, 2], float)),
    "wingbars": ("white yellow tan black gray".split(), np.array([8, 2, 2, 1, 1], float)),
    "petals": (_PETAL, _PETAL_WEIGHTS),
    "edges": ("white yellow pink red purple orange".split(), np.array([5, 3, 3, 2, 2, 1], float)),
    "center": ("yellow golden green brown orange white red purple black".split(), np.array([9, 4, 4, 4, 3, 2, 2, 2, 1])),
    "stamen": ("yellow white orange golden brown red black green".split(), np.array([8, 4, 2, 2, 2, 1, 1, 1], float)),
    "leaves": (["green", "dark green", "light green"], np.array([3, 2, 1], float)),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One drawable picture. Seeds fix everything that captions do not name; equal scenes give equal pictures."""

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
            raise DataError(f"kind {self.kind!r} is not drawn; take 'bird' or 'flower'{nearest(self.kind, PARTS)}")
        if tuple(part for part, _ in self.colours) != PARTS[self.kind]:
            raise DataError(f"colours of a {self.kind} must name the parts {', '.join(PARTS[self.kind])} in this order")
        for part, colour in self.colours:
            if colour or part not in PATTERNS:
                split_colour(colour)

    def colour(self, part: str) -> str:
        """Colour word(s) of a part, e.g. ``'dark blue'``; '' for an absent pattern."""
        return dict(self.colours)[part]

    def repaint(self, colours: Mapping[str, str]) -> Scene:
        """The same scene with other colours of some parts."""
        unknown = sorted(set(colours) - set(PARTS[self.kind]))
        if unknown:
            raise DataError(f"a {self.kind} has no part {unknown[0]!r}{nearest(unknown[0], PARTS[self.kind])}")
        return replace(self, colours=tuple((part, colours.get(part, now)) for part, now in self.colours))

    def albedo(self, part: str) -> tuple[float, float, float]:
        """sRGB colour in [0, 1] of a part: its word's range, sampled by `tint` (and a little by the part)."""
        name = self.colour(part)
        index = PARTS[self.kind].index(part)
        word = list(COLOURS).index(split_colour(name)[1])
        common = np.random.default_rng([self.tint, word]).random(3)
        own = np.random.default_rng([self.tint, word, index]).random(3)
        return shade(name, 0.8 * common + 0.2 * own)


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
    """sRGB in [0, 1] of a colour word at the place `at` (three numbers in [0, 1]) of its range.

    >>> [round(c, 2) for c in shade("white")]
    [0.97, 0.96, 0.95]
    """
    modifier, base = split_colour(name)
    hue, saturation, value = (low + (high - low) * float(t) for (low, high), t in zip(COLOURS[base], at, strict=True))
    if modifier:
        s_factor, s_offset, v_factor, v_offset = MODIFIERS[modifier]
        saturation, value = s_factor * saturation + s_offset, v_factor * value + v_offset
    return colorsys.hsv_to_rgb(hue / 360 % 1, min(saturation, 1.0), min(value, 1.0))


def pick_colour(part: str, rng: Rng, *, flat: float = 0.0) -> str:
    """A colour for a part: mostly what nature gives it, with probability `flat` any of the words of its palette."""
    words, weights = PALETTES.get(part, (_PLUMAGE, _PLUMAGE_WEIGHTS))
    weights = np.ones(len(words)) if rng.random() < flat else weights
    word = words[rng.choice(len(words), p=weights / weights.sum())]
    if rng.random() < 0.2 and " " not in word:
        fits = [modifier for modifier, bases in MODIFIED.items() if word in bases]
        if fits:
            word = f"{fits[rng.integers(len(fits))]} {word}"
    return word


def random_scene(kind: str, rng: Rng) -> Scene:
    """A scene of the given kind ("bird" or "flower"), everything drawn from `rng`."""
    if kind not in PARTS:
        raise DataError(f"kind {kind!r} is not drawn; take 'bird' or 'flower'{nearest(kind, PARTS)}")
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
    paint |= dict.fromkeys(("crown", "face", "nape", "throat", "breast", "belly", "back", "wings", "tail"), upper)
    scheme = rng.random()
    if scheme > 0.18:  # else one colour all over
        groups = (("belly",), ("breast", "belly"), ("throat", "breast", "belly"), ("wings",), ("wings", "tail"))
        groups += (("crown", "face", "nape", "throat"), ("crown",), ("throat",), ("wings", "back", "tail"), ("tail",))
        groups += (("crown", "face", "nape", "throat", "breast"), ("crown", "nape"), ("breast",))
        for colour in (lower, other)[: 1 + (scheme > 0.5)]:
            paint |= dict.fromkeys(groups[rng.integers(len(groups))], colour)
    if scheme > 0.9:
        paint |= {part: pick_colour(part, rng) for part in ("crown", "throat", "belly", "wings") if rng.random() < 0.5}
    paint["wingbars"] = pick_colour("wingbars", rng) if rng.random() < 0.3 else ""
    return paint


def _flower_colours(rng: Rng) -> dict[str, str]:
    paint = {part: pick_colour(part, rng) for part in ("petals", "center", "leaves")}
    paint["edges"] = pick_colour("edges", rng) if rng.random() < 0.25 else ""
    paint["stamen"] = pick_colour("stamen", rng) if rng.random() < 0.5 else ""
    return paint
