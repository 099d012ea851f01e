"""Parts and colours of synthetic birds and flowers, and how captions and localisers name them.

Models were trained, and `truth@1` was published, with these lists: another word would change scenes and captions.
"""

from __future__ import annotations

from collections.abc import Mapping

from tgim.text.lexicon import each_of
from tgim.text.lexicon.colours import CAPTION_COLOURS, ISH

COLOURS = each_of("red orange golden yellow olive green teal blue purple pink brown tan gray black white")
MODIFIED: Mapping[str, tuple[str, ...]] = {  # colours that a shade may stand before
    "bright": each_of("red orange yellow green blue pink purple"),
    "dark": each_of("red green blue brown gray purple"),
    "light": each_of("blue brown gray green purple yellow"),
}
SYNONYMS = {"grey": "gray", "violet": "purple", "gold": "golden"}  # that captions of scenes are read by
NEAREST = {  # of colour words of captions that are no `COLOURS`: what baselines paint
    **{word: plain for word, plain in ISH.items() if word in CAPTION_COLOURS},
    **SYNONYMS,
    **dict.fromkeys(each_of("crimson scarlet maroon"), "red"),
    **dict.fromkeys(each_of("rufous rust"), "brown"),
    **dict.fromkeys(each_of("beige cream buff"), "tan"),
    **dict.fromkeys(each_of("turquoise cyan"), "teal"),
    **dict.fromkeys(each_of("lavender lilac indigo"), "purple"),
    **dict.fromkeys(each_of("magenta peach"), "pink"),
    "silver": "gray",
}

BIRD_PARTS = each_of("crown face nape throat breast belly back wings wingbars tail beak eyes feet")
FLOWER_PARTS = each_of("petals edges center stamen leaves")
PARTS: dict[str, tuple[str, ...]] = {"bird": BIRD_PARTS, "flower": FLOWER_PARTS}
PATTERNS = ("wingbars", "edges", "stamen")  # these may be absent ...
UNDER = dict(zip(PATTERNS, ("wings", "petals", "center"), strict=True))  # ... and then show the colour of these
PATTERN_WORDS = {"wingbars": ("wingbars",), "edges": ("edges", "tips"), "stamen": ("stamens", "anthers")}  # in triples
HEAD = ("crown", "face", "nape", "throat")
FEATHERED = (*HEAD, "breast", "belly", "back", "wings", "tail")
PLUMAGE = (*HEAD, "breast", "belly", "back", "wings", "wingbars", "tail")
ZONES = (  # parts of birds that have another colour together
    ("belly",), ("breast", "belly"), ("throat", "breast", "belly"), ("wings",), ("wings", "tail"), ("tail",),
    HEAD, ("crown",), ("throat",), ("wings", "back", "tail"), ("breast",), (*HEAD, "breast"), ("crown", "nape"),
)  # fmt: skip
ODD = ("crown", "throat", "belly", "wings")  # each of which, in few birds, has a colour of its own
WHOLE = {"bird": each_of("bird body feathers plumage"), "flower": ("flower",)}  # words for all of a subject
WORDS: dict[str, dict[str, tuple[str, ...]]] = {  # parts that a word of a caption names
    "bird": {
        **dict.fromkeys(WHOLE["bird"], PLUMAGE),
        "head": HEAD,
        **dict.fromkeys(("wings", "wing"), ("wings",)),
        **dict.fromkeys(("chest", "breast"), ("breast",)),
        **dict.fromkeys(("belly", "abdomen", "stomach"), ("belly",)),
        **dict.fromkeys(("cheeks", "face"), ("face",)),
        **dict.fromkeys(("bill", "beak"), ("beak",)),
        **dict.fromkeys(("eyes", "eye"), ("eyes",)),
        **dict.fromkeys(("feet", "legs"), ("feet",)),
        **{part: (part,) for part in ("crown", "nape", "throat", "back", "tail", "wingbars")},
    },
    "flower": {
        **dict.fromkeys(("flower", "petals", "petal"), ("petals",)),
        **dict.fromkeys(("edges", "tips"), ("edges",)),
        **dict.fromkeys(("center", "middle"), ("center",)),
        **dict.fromkeys(("stamen", "stamens", "anthers"), ("stamen",)),
        "leaves": ("leaves",),
    },
}
INNER = ("center", "middle", "stamen", "anthers")  # words for what is within the petals
PLURAL = frozenset(
    each_of("wings cheeks eyes feet legs wingbars petals edges tips anthers leaves stamens feathers")
)  # of these words
LOCALISED: Mapping[str, Mapping[str, str]] = {  # what a localiser is to call the parts; leaves are background
    "birds": {
        **dict.fromkeys(("crown", "face", "nape", "eyes"), "head"),
        **{part: part for part in ("throat", "breast", "belly", "back", "wings", "tail", "beak")},
        "wingbars": "wings",
        "feet": "legs",
    },
    "flowers": {"petals": "petals", "edges": "petals", "center": "center", "stamen": "center"},
}
