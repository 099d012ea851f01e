"""Words that people use for colours and parts, and which known word stands for one that a vocabulary lacks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tgim.text.phrases import COLOURS, PARTS, SHADES
from tgim.text.vocabulary import Alphabet, Vocabulary


def each_of(words: str) -> list[str]:
    """The words of a list that is written as a text."""
    return words.split()


def _table(text: str) -> dict[str, tuple[str, ...]]:
    """Lines of ``words: first choice, second choice``, as one row for each word."""
    rows = (line.split(":") for line in text.strip().splitlines())
    return {
        word: tuple(each.strip() for each in choices.split(",")) for words, choices in rows for word in words.split()
    }


EVERYDAY = _table(  # colour words, each with what may stand for it, best first
    """
    crimson scarlet ruby cherry vermilion vermillion carmine strawberry tomato cardinal blood: bright red, red
    maroon burgundy wine oxblood claret garnet brick mahogany: dark red, red
    rust rusty terracotta sienna auburn: reddish brown, brown, orange
    rose rosy blush salmon flamingo rosa: light pink, pink
    magenta fuchsia fuschia cerise raspberry: bright pink, pink, purple
    coral apricot tangerine pumpkin carrot papaya: light orange, orange
    peach: light orange, pink
    amber gold golden saffron sunflower honey goldenrod: golden, gold, yellow
    mustard ochre ocher: dark yellow, yellow
    lemon canary sunny buttercup: bright yellow, yellow
    blond blonde straw sandy flaxen: light yellow, yellow
    lime chartreuse mint pistachio: light green, green
    emerald jade: bright green, green
    olive khaki moss forest: dark green, green
    teal: blue green, dark green, green
    turquoise cyan aqua aquamarine: light blue, blue
    azure cerulean cobalt sapphire royal: bright blue, blue
    navy midnight denim: dark blue, blue
    sky cornflower powder baby: light blue, blue
    indigo: dark blue, blue, purple
    periwinkle lilac lavender mauve orchid wisteria: light purple, purple
    violet amethyst: violet, purple
    plum aubergine eggplant grape: dark purple, purple
    ivory snow snowy pearl milk chalk alabaster: white
    cream creamy vanilla ecru eggshell: white
    beige tan sand buff fawn taupe camel: tan, light brown, brown
    chocolate coffee espresso umber walnut sepia: dark brown, brown
    chestnut rufous russet copper bronze cinnamon caramel hazel: reddish brown, brown
    silver silvery ash platinum: silver, light gray, light grey, gray, grey
    slate charcoal graphite gunmetal steel: dark gray, dark grey, gray, grey
    ebony jet onyx raven ink coal: black
    gray: grey
    grey: gray
    """
)
MISSPELT = _table(  # so common that captions of data sets have them, too
    """
    yelow yello yellw yelllow: yellow
    purpel purlpe pruple purble: purple
    orang orage oraneg ornage: orange
    whtie whit hwite wite: white
    blac balck blak blck: black
    gren geen greeen: green
    bleu blu bule: blue
    borwn brwon brwn: brown
    gery: grey, gray
    """
)
_SAME = """
    plumage feathers feather feathering body
    belly tummy abdomen stomach underbelly underside underparts
    beak bill snout
    breast chest bosom front
    crown skull cap scalp head
    head noggin
    throat chin gullet
    nape neck scruff
    face cheeks cheek
    eyes eye
    eyering eyerings
    eyebrow brow superciliary
    wings wing pinions
    wingbars wingbar
    back mantle dorsal
    rump bottom rear buttocks behind
    tail tailfeathers
    tarsus shank leg
    legs leg limbs thighs
    feet foot claws talons toes paws
    petals petal blades
    center centre middle heart core
    stamen stamens anther anthers filament filaments
    pistil pistils stigma style
    stem stalk pedicel stems
    leaves leaf foliage leafs
    sepals sepal calyx
    flower blossom bloom flowers blossoms blooms
"""
SPECIES = {  # that vocabularies may lack; the subject stands for them
    "bird": frozenset(
        each_of("""birdie birdy parrot eagle sparrow finch robin canary cardinal crow raven owl hawk falcon swan goose
        chicken hen rooster penguin seagull gull flamingo peacock pigeon dove hummingbird jay
        bluebird blackbird goldfinch warbler woodpecker duck pelican wren thrush starling swallow
        tit magpie kingfisher budgie parakeet cockatoo macaw toucan albatross puffin heron stork
        crane turkey""")
    ),
    "flower": frozenset(
        each_of("""tulip daisy lily orchid sunflower poppy iris lotus daffodil dahlia carnation hibiscus pansy petunia
        marigold magnolia crocus hyacinth peony azalea geranium begonia chrysanthemum gerbera
        anemone primrose snapdragon""")
    ),
}
_LOOSE = frozenset(
    each_of("front bottom rear behind heart core middle style blades dorsal snout cap underside")
)  # said, never put
BIRD = frozenset(each_of("bird birds")) | SPECIES["bird"]
FLOWER = frozenset(each_of("flower flowers blossom blossoms bloom blooms")) | SPECIES["flower"]
NAMES = {
    name: tuple(other for other in row.split() if other != name and other not in _LOOSE)
    for row in reversed(_SAME.strip().splitlines())
    for name in row.split()
}
SPELLING = {"colour": "color", "coloured": "colored", "colours": "colors", "colouring": "coloring", "centre": "center"}
SPELLING |= {american: british for british, american in SPELLING.items()}
COLOUR_WORDS = COLOURS | (EVERYDAY.keys() - NAMES.keys() - BIRD - FLOWER - {"baby", "forest", "blood", "powder"})
PART_WORDS = (PARTS | NAMES.keys()) - COLOUR_WORDS
SHADE_WORDS = SHADES | frozenset(
    each_of("darker lighter brighter paler deeper pure solid rich entirely fully neon hot")
)
_COMMON = {"some", "same", "there", "than", "then", "them", "look", "like", "from", "bred", "bread", "break", "black"}


def knows(vocabulary: Vocabulary, text: str) -> bool:
    """Whether each word of `text` is in `vocabulary`; an alphabet takes every word."""
    return isinstance(vocabulary, Alphabet) or all(word in vocabulary for word in text.split())


def neighbour(word: str, vocabulary: Vocabulary) -> str:
    """What may stand for an unknown word: one or two words that `vocabulary` knows, or nothing.

    >>> known = Vocabulary.build(["this bird has a dark red head and a blue belly"])
    >>> [neighbour(word, known) for word in ("maroon", "tummy", "heads", "bleu", "zebra")]
    ['dark red', 'belly', 'head', 'blue', '']
    """
    return next((each for each in _candidates(word, vocabulary) if each != word and knows(vocabulary, each)), "")


def _candidates(word: str, vocabulary: Vocabulary) -> Iterable[str]:
    """Known and unknown words that may stand for `word`, best first."""
    yield from _meanings(word)
    yield from _forms(word)
    for stem in _forms(word):
        yield from _meanings(stem)
    for shade in ("dark", "light", "bright", "pale"):
        if word.startswith(shade) and (colour := word[len(shade) :]) in COLOUR_WORDS:
            yield from (f"{shade} {colour}", colour)
    if colour := _stem_of_colour(word):
        yield from (colour, *_meanings(colour))
    if spelt := _spelling(word, vocabulary):
        yield from (spelt, *_meanings(spelt))


def _meanings(word: str) -> Iterable[str]:
    """The same colour or part by other names."""
    yield from filter(None, (SPELLING.get(word, ""),))
    for table in (MISSPELT, EVERYDAY, NAMES):
        yield from table.get(word, ())
    yield from (subject for subject, names in SPECIES.items() if word in names)


def _forms(word: str) -> Iterable[str]:
    """Plural of a singular, singular of a plural."""
    if word.endswith("ies") and len(word) > 4:
        yield f"{word[:-3]}y"
    if word.endswith("es") and len(word) > 4:
        yield word[:-2]
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        yield word[:-1]
    elif len(word) > 2 and word.isalpha():
        yield f"{word}s"


def _stem_of_colour(word: str) -> str:
    """The colour of "tealish", "redder", "bluest"; empty if none."""
    for ending in ("ish", "er", "est", "y"):
        stem = word.removesuffix(ending)
        found = (each for each in (stem, f"{stem}e", stem[:-1]) if stem != word and each in COLOUR_WORDS)
        if colour := next(found, ""):
            return colour
    return ""


def _spelling(word: str, vocabulary: Vocabulary) -> str:
    """The colour or part that a misspelt word of four letters or more is closest to; empty if none is close."""
    if len(word) < 4 or word in _COMMON or isinstance(vocabulary, Alphabet):
        return ""
    heard = [each for each in sorted(COLOUR_WORDS | PART_WORDS | SHADE_WORDS) if sorted(each[:2]) == sorted(word[:2])]
    heard += [each for each in sorted(COLOUR_WORDS | PART_WORDS) if each[0] == word[0]]
    fit = (each for each in dict.fromkeys(heard) if abs(len(each) - len(word)) <= 2)
    usable = [
        each for each in fit if knows(vocabulary, each) or (each in EVERYDAY and (each in COLOURS or len(each) > 5))
    ]
    close = [each for each in difflib.get_close_matches(word, usable, n=5, cutoff=0.75) if _slip(word, each)]
    return min(close, key=lambda each: (each not in COLOURS | PARTS, close.index(each)), default="")


def _slip(word: str, meant: str) -> bool:
    """Whether one slip lies between two words: letters swapped, one lost or too many; in long words two."""
    if len(word) == len(meant) and sorted(word) == sorted(meant):
        return True
    alike = difflib.SequenceMatcher(None, word, meant, autojunk=False)
    same = sum(block.size for block in alike.get_matching_blocks())
    if abs(len(word) - len(meant)) == 1 and same == min(len(word), len(meant)):
        return True
    return min(len(word), len(meant)) > 5 and max(len(word), len(meant)) - same <= 2
