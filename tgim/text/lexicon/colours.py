"""Colour words: plain ones, their families, everyday names, misspellings, and the shades that stand before them."""

from __future__ import annotations

from tgim.text.lexicon import each_of


def _table(text: str) -> dict[str, tuple[str, ...]]:
    """Lines of ``words: first choice, second choice``, as one row for each word."""
    rows = (line.split(":") for line in text.strip().splitlines())
    return {
        word: tuple(each.strip() for each in choices.split(",")) for words, choices in rows for word in words.split()
    }


FAMILIES = {  # words of captions by the plain colour that they may be called by; some may be called by two
    "red": each_of("red reddish crimson scarlet maroon rufous rust"),
    "orange": each_of("orange orangish peach rust rufous gold golden"),
    "yellow": each_of("yellow yellowish gold golden cream buff"),
    "green": each_of("green greenish olive teal turquoise"),
    "blue": each_of("blue bluish teal turquoise cyan indigo"),
    "purple": each_of("purple purplish violet lavender lilac indigo magenta"),
    "pink": each_of("pink pinkish peach magenta"),
    "brown": each_of("brown brownish tan beige rust rufous buff"),
    "gray": each_of("gray grey greyish grayish silver"),
    "black": each_of("black blackish"),
    "white": each_of("white whitish cream"),
}
PLAIN = tuple(FAMILIES)  # the eleven that all others can be told by
HUELESS = ("black", "white", "gray", "brown")  # told by lightness and chroma rather than by hue
CAPTION_COLOURS = frozenset(word for words in FAMILIES.values() for word in words)
ISH = {
    "blackish": "black", "whitish": "white", "greyish": "gray", "grayish": "gray", "brownish": "brown",
    "reddish": "red", "orangish": "orange", "orangeish": "orange", "yellowish": "yellow", "greenish": "green",
    "bluish": "blue", "blueish": "blue", "purplish": "purple", "purpleish": "purple", "pinkish": "pink",
}  # fmt: skip
EVERYDAY = _table(  # each with what may stand for it, best first
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
THINGS = frozenset(  # of EVERYDAY: colours beside another colour, else birds, flowers and things
    each_of("canary cardinal flamingo raven orchid sunflower baby forest blood powder")
)
COLOUR_WORDS = CAPTION_COLOURS | (EVERYDAY.keys() - THINGS)
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
SPELLING = {"colour": "color", "coloured": "colored", "colours": "colors", "colouring": "coloring", "centre": "center"}
SPELLING |= {american: british for british, american in SPELLING.items()}

CAPTION_SHADES = frozenset(  # and what else stands before colours there
    each_of("dark light bright pale deep vivid iridescent completely mostly all very small large")
)
SHADES = CAPTION_SHADES | set(each_of("darker lighter brighter paler deeper pure solid rich entirely fully neon hot"))
PREFIXES = ("dark", "light", "bright", "pale")  # that are written together with a colour: "darkred"
DARKER = each_of("dark darker deep deeper rich dull")  # what shades do to a colour that is painted
LIGHTER = each_of("light lighter soft faded faint")
PALER = each_of("pale paler pastel dusty")
BRIGHTER = each_of("bright brighter vivid neon hot vibrant brilliant intense")
UNCHANGED = each_of("medium mostly completely entirely all solid pure very fully mainly primarily")
EVERYWHERE = frozenset(each_of("completely entirely fully totally all over overall"))

SWAPPED = PLAIN  # of swaps@1
DISSECTED = (
    "red",
    "blue",
    "yellow",
    "black",
    "white",
    "brown",
    "gray",
    "green",
)  # of pictures in a dissection, in turns
ASKED_OF_BIRDS = ("red", "blue", "yellow", "green", "black", "white", "orange")  # of the parts protocol, in its order
ASKED_OF_FLOWERS = ("red", "blue", "yellow", "white", "orange", "purple", "pink")  # of the same
