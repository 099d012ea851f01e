"""Words of captions as what a painter knows: colours by their name and shade, parts by the localiser's names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tgim.text.lexicon import BIRD, EVERYDAY, FLOWER, MISSPELT, NAMES, PART_WORDS, SHADE_WORDS, each_of
from tgim.text.phrases import STOPS

NAMED = each_of("red orange yellow green blue purple pink brown gray black white")


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


SHADES = {
    **dict.fromkeys(each_of("dark darker deep deeper rich dull"), (-1.0, 0.0)),
    **dict.fromkeys(each_of("light lighter soft faded faint"), (1.0, -0.3)),
    **dict.fromkeys(each_of("pale paler pastel dusty"), (0.7, -0.6)),
    **dict.fromkeys(each_of("bright brighter vivid neon hot vibrant brilliant intense"), (0.0, 1.0)),
    **dict.fromkeys(
        each_of("medium mostly completely entirely all solid pure very fully mainly primarily"), (0.0, 0.0)
    ),
}
_ISH = {
    "blackish": "black", "whitish": "white", "greyish": "gray", "grayish": "gray", "brownish": "brown",
    "reddish": "red", "orangish": "orange", "orangeish": "orange", "yellowish": "yellow", "greenish": "green",
    "bluish": "blue", "blueish": "blue", "purplish": "purple", "purpleish": "purple", "pinkish": "pink",
}  # fmt: skip
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
PATTERNS = frozenset(
    each_of(
        """spots spot spotted dots dot dotted stripes stripe striped striping streaks streak streaked streaking speckles
        speckled speckle speckling specks flecks flecked mottled barred bars bar bands band banded patches patch
        markings marking marks mark pattern patterns patterned patterning tips tip tipped edges edge edged edging
        outline outlined iridescent wingbars wingbar eyering eyerings ring rings line lines lined eyeline accents accent
        highlights splotches splotch blotches checkered scaled veins vein veined freckles freckled trim rim border
        tint tinge hints hint touches touch stripping spotting wash sheen strip strips splashes splash"""
    )
)
_PARTS = {
    "head": "head crown cap capped nape face faced crest cheek cheeks forehead hood mask scalp lores lore crested",
    "throat": "throat chin neck gullet malar collar",
    "breast": "breast breasts chest breasted chested bosom",
    "belly": "belly bellied abdomen stomach tummy underbelly flank flanks vent side sides",
    "back": "back mantle rump upperparts",
    "wings": "wing wings winged coverts covert primaries secondaries wingspan wingfeathers",
    "tail": "tail tailed tailfeathers rectrices retrices",
    "legs": "leg legs legged feet foot tarsus tarsi thigh thighs toes claws claw talons",
    "beak": "beak beaked bill billed bills",
    "petals": "petal petals petaled petalled flower flowers blossom blossoms bloom blooms",
    "center": """center centre centers middle core heart stamen stamens anther anthers filament filaments pistil
        pistils stigma style pollen disc disk ovary""",
    "stem": "stem stems stalk stalks pedicel",
    "leaves": "leaf leaves sepal sepals foliage",
}
PARTS = {word: name for name, words in _PARTS.items() for word in words.split()}
SEVERAL = {**dict.fromkeys(each_of("underside underparts underneath under"), ("belly", "breast"))}
WHOLE = frozenset(each_of("bird birds body bodied plumage feathers feather feathering feathered coat")) | BIRD
UNPAINTED = frozenset(each_of("eye eyes eyebrow eyebrows eyed superciliary brow brows iris pupil pupils tongue"))
ADVERBS = frozenset(each_of("completely entirely fully totally all over overall"))
_ORDINARY = each_of(
    """small large long short tiny medium big little sized size thin thick pointed pointy curved sharp round rounded
    straight fluffy flat smooth skinny narrow wide broad oval shaped shape colored coloured color colour colors colours
    patterned other also many several its two three four five six some that very almost slightly small most more
    completely all over along each both one them has same lots lot parts part rest tips covering covers covered wings
    ruffled overlapping layered layers layer elongated delicate"""
)


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
    if word in _ISH:
        return Colour(_ISH[word], strong=-0.4)
    if word in EVERYDAY and word not in NAMES and word not in BIRD | FLOWER:
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
    found = [*NAMED, *_ISH, *_OTHER, *EVERYDAY, *MISSPELT, *SHADES, *PATTERNS, *PARTS, *SEVERAL, *WHOLE, *UNPAINTED]
    found += [*PART_WORDS, *SHADE_WORDS, *STOPS, *FLOWER, *ADVERBS, *_ORDINARY]
    return tuple(dict.fromkeys(found))
