"""Words of captions as what a painter knows: colours by their name and shade, parts by the localiser's names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tgim.text.lexicon import colours as lexicon
from tgim.text.lexicon.colours import BRIGHTER, DARKER, EVERYDAY, EVERYWHERE, ISH, LIGHTER, MISSPELT, PALER, UNCHANGED
from tgim.text.lexicon.colours import PLAIN as NAMED
from tgim.text.lexicon.parts import (
    BIRD,
    FLOWER,
    ORDINARY,
    PAINTED,
    PAINTED_TOGETHER,
    PAINTED_WHOLE,
    PART_WORDS,
    PATTERNS,
    SYNONYMS,
    UNPAINTED,
)
from tgim.text.phrases import STOPS


@dataclass(frozen=True)
class Colour:
    """A colour as captions say it: one of `NAMED`, lighter or darker, stronger or weaker, towards another of them."""

    name: str
    light: float = 0.0  # -1 dark to 1 light
    strong: float = 0.0  # -1 pale to 1 bright
    towards: str = ""  # "reddish brown" is brown towards red

    def __str__(self) -> str:
        shade = "dark " if self.light < 0 else "light " if self.light > 0 else "bright " if self.strong > 0 else ""
        return f"{shade}{self.towards + '-' if self.towards else ''}{self.name}"


SHADES = {  # word: lighter by, stronger by
    **dict.fromkeys(DARKER, (-1.0, 0.0)),
    **dict.fromkeys(LIGHTER, (1.0, -0.3)),
    **dict.fromkeys(PALER, (0.7, -0.6)),
    **dict.fromkeys(BRIGHTER, (0.0, 1.0)),
    **dict.fromkeys(UNCHANGED, (0.0, 0.0)),
}
_OTHER = {  # what the lexicon's choices do not say well enough for a brush
    "grey": Colour("gray"), "violet": Colour("purple", towards="blue"), "indigo": Colour("blue", -0.7, 0.0, "purple"),
    "tan": Colour("brown", 1.0, -0.2), "beige": Colour("brown", 1.0, -0.5), "buff": Colour("brown", 1.0, 0.0, "yellow"),
    "cream": Colour("white", -0.2, 0.0, "yellow"), "ivory": Colour("white", -0.1, 0.0, "yellow"),
    "eggshell": Colour("white", -0.2, 0.0, "yellow"), "snow": Colour("white", 0.5),
    "gold": Colour("yellow", -0.5, 0.5, "orange"), "golden": Colour("yellow", -0.5, 0.5, "orange"),
    "amber": Colour("orange", 0.3, 0.5, "yellow"), "mustard": Colour("yellow", -1.0, 0.0, "brown"),
    "olive": Colour("green", -0.5, -0.6, "yellow"), "khaki": Colour("brown", 0.7, -0.3, "green"),
    "teal": Colour("blue", -0.4, 0.0, "green"), "turquoise": Colour("blue", 0.8, 0.3, "green"),
    "cyan": Colour("blue", 1.0, 0.5, "green"), "aqua": Colour("blue", 1.0, 0.3, "green"),
    "lime": Colour("green", 0.9, 1.0, "yellow"), "peach": Colour("orange", 1.0, -0.5, "pink"),
    "coral": Colour("orange", 0.4, 0.2, "red"), "salmon": Colour("pink", -0.2, 0.4, "orange"),
    "magenta": Colour("pink", -0.8, 1.0, "purple"), "fuchsia": Colour("pink", -0.7, 1.0, "purple"),
    "rust": Colour("brown", 0.1, 0.6, "red"), "rusty": Colour("brown", 0.1, 0.6, "red"),
    "rufous": Colour("brown", 0.1, 0.6, "red"), "chestnut": Colour("brown", -0.3, 0.4, "red"),
    "maroon": Colour("red", -1.0), "burgundy": Colour("red", -1.0), "scarlet": Colour("red", 0.2, 1.0, "orange"),
    "crimson": Colour("red", -0.2, 1.0), "silver": Colour("gray", 0.8), "slate": Colour("gray", -0.6, 0.0, "blue"),
    "charcoal": Colour("gray", -1.0),
}  # fmt: skip


def colour_of(word: str) -> Colour | None:
    """The colour that a word names, None if it names none.

    >>> str(colour_of("maroon")), str(colour_of("grey")), colour_of("head")
    ('dark red', 'gray', None)
    """
    word = MISSPELT.get(word, (word,))[0]
    if word in _OTHER:
        return _OTHER[word]
    if word in NAMED:
        return Colour(word)
    if word in ISH:
        return Colour(ISH[word], strong=-0.4)
    if word in EVERYDAY and word not in SYNONYMS and word not in BIRD | FLOWER:
        return _spelt(EVERYDAY[word])
    return None


def _spelt(choices: Iterable[str]) -> Colour | None:
    """The colour of "dark red" or "reddish brown", the first of the choices that can be read."""
    for choice in choices:
        *shades, last = choice.split()
        colour = Colour(last) if last in NAMED else _OTHER.get(last)
        if colour is None:
            continue
        for word in shades:
            colour = shaded(colour, word) if word in SHADES else mixed(colour, colour_of(word) or colour)
        return colour
    return None


def shaded(colour: Colour, *words: str) -> Colour:
    """A colour under shade words: "dark", "bright"."""
    for light, strong in (SHADES.get(word, (0.0, 0.0)) for word in words):
        light, strong = max(-1.0, min(1.0, colour.light + light)), max(-1.0, min(1.0, colour.strong + strong))
        colour = replace(colour, light=light, strong=strong)
    return colour


def mixed(colour: Colour, other: Colour) -> Colour:
    """A colour towards another: "reddish" before "brown", "blue" before "green"."""
    return colour if other.name == colour.name else replace(colour, towards=other.name)


def vocabulary_words() -> tuple[str, ...]:
    """List all words that a painter knows: colours, parts, patterns, and words of captions that need no remark."""
    found = [
        *NAMED,
        *ISH,
        *_OTHER,
        *EVERYDAY,
        *MISSPELT,
        *SHADES,
        *PATTERNS,
        *PAINTED,
        *PAINTED_TOGETHER,
        *PAINTED_WHOLE,
        *UNPAINTED,
    ]
    found += [*PART_WORDS, *lexicon.SHADES, *STOPS, *FLOWER, *EVERYWHERE, *ORDINARY]
    return tuple(dict.fromkeys(found))
