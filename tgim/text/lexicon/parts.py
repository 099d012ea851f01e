"""Words for birds, flowers and their parts; which of them mean the same, and what is on them."""

from __future__ import annotations

from collections.abc import Mapping

from tgim.text.lexicon import each_of
from tgim.text.lexicon.colours import COLOUR_WORDS

BIRD_PARTS = ("back", "beak", "belly", "breast", "head", "legs", "wings", "tail", "throat")  # that are localised
FLOWER_PARTS = ("petals", "center")
NO_PLUMAGE = frozenset(("beak", "legs"))  # keep their colour when the whole bird changes
SEVERAL = frozenset(("wings", "legs", "petals", "center", "leaves"))  # of which a subject may have more than one
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
BIRD = SPECIES["bird"] | {"bird", "birds"}
FLOWER = SPECIES["flower"] | set(each_of("flower flowers blossom blossoms bloom blooms"))
CAPTION_SUBJECTS = frozenset(each_of("bird birds flower flowers blossom"))
CAPTIONS_OF_FLOWERS = frozenset(each_of("flower flowers petal petals"))  # by which swaps@1 knows captions of flowers
PHRASES_OF_FLOWERS = CAPTIONS_OF_FLOWERS | {"stamen", "blossom"}  # by which models were trained
CAPTION_PARTS = CAPTION_SUBJECTS | set(
    each_of(
        """head crown cap nape crest face cheek cheeks eyebrow eyebrows eyering eye eyes throat neck breast chest
        belly abdomen stomach underbelly side sides flank flanks back rump tail wing wings wingbar wingbars bill beak
        leg legs foot feet tarsus body feathers plumage coverts primaries secondaries rectrices retrices superciliary
        malar petal petals sepal sepals stamen stamens anther anthers filament filaments pistil pistils stigma ovary
        center centre leaf leaves stem pedicel spots stripes"""
    )
)
PLURAL = frozenset(("feet",))  # without an "s"
UNCOUNTED = frozenset(each_of("plumage foliage pollen feathering"))  # without an article


def _rows(text: str) -> list[tuple[str, ...]]:
    """The words of each line."""
    return [each_of(line) for line in text.strip().splitlines()]


_LOOSE = frozenset(  # said of other things, too: never put for another word
    each_of("front bottom rear behind heart core middle style blades dorsal snout cap underside")
)
_SYNONYMS = _rows(  # what may stand for a word that a vocabulary lacks, best first
    """
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
)
SYNONYMS = {
    name: tuple(other for other in row if other != name and other not in _LOOSE)
    for row in reversed(_SYNONYMS)
    for name in row
}
PART_WORDS = (CAPTION_PARTS | SYNONYMS.keys()) - COLOUR_WORDS

ALIKE = {  # the first word of what is told apart neither by people nor in triples, with which retrieval was trained
    word: row[0]
    for row in _rows(
        """
        body plumage feathers bird birds
        head crown cap crest
        beak bill
        breast chest
        belly abdomen stomach underbelly
        wing wings coverts primaries secondaries
        tail rump rectrices retrices
        side sides flank flanks
        face cheek cheeks
        eyebrow eyebrows superciliary
        nape neck
        eye eyes
        feet foot leg legs tarsus
        petal petals flower flowers blossom
        stamen stamens anther anthers filament filaments
        pistil pistils stigma ovary
        center centre
        leaf leaves
        """
    )
    for word in row
}
_PAINTED = {  # what captions call the parts that are localised and painted
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
PAINTED = {word: part for part, words in _PAINTED.items() for word in each_of(words)}
PAINTED_TOGETHER = dict.fromkeys(each_of("underside underparts underneath under"), ("belly", "breast"))
PAINTED_WHOLE = BIRD | set(each_of("body bodied plumage feathers feather feathering feathered coat"))
UNPAINTED = frozenset(each_of("eye eyes eyebrow eyebrows eyed superciliary brow brows iris pupil pupils tongue"))
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

ORDINARY = each_of(  # of captions, about which a painter says nothing
    """small large long short tiny medium big little sized size thin thick pointed pointy curved sharp round rounded
    straight fluffy flat smooth skinny narrow wide broad oval shaped shape colored coloured color colour colors colours
    patterned other also many several its two three four five six some that very almost slightly small most more
    completely all over along each both one them has same lots lot parts part rest tips covering covers covered wings
    ruffled overlapping layered layers layer elongated delicate"""
)

ALIASES = {  # by which the command line takes a localised part
    word: PAINTED[word]
    for word in each_of("bill wing leg foot feet chest crown face nape forehead petal centre middle")
}
CUB_PARTS: Mapping[str, str] = {  # CUB's own names, without "left" and "right"
    **{word: PAINTED[word] for word in each_of("back beak belly breast crown forehead leg nape tail throat wing")},
    "eye": "head",
}
MEASURED = ("head", "breast", "belly", "back", "wings", "tail", "throat")  # of birds, by the parts protocol
SWAPPED: Mapping[str, tuple[tuple[str, str], ...]] = {  # pairs of swaps@1
    "birds": (
        ("head", "belly"), ("head", "wings"), ("wings", "breast"), ("back", "belly"), ("throat", "wings"),
        ("crown", "breast"), ("head", "back"), ("wings", "belly"),
    ),
    "flowers": (("petals", "center"), ("petals", "stamen")),
}  # fmt: skip
SWAPPED_BARE = frozenset(("wings", "petals", "stamen"))  # of these, without an article: "red stamen", as people write
