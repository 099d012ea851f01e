"""Rules for what people write around colours and parts: requests, what is to be spared, negation, counts.

`NOTATION` is in the notation of `tgim.text.grammar`; `LISTS` has the words that its names stand for, besides other
rules. Colours and parts are the lexicon's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial

from tgim.text.grammar import Grammar
from tgim.text.lexicon import each_of
from tgim.text.lexicon.colours import COLOUR_WORDS, SHADES
from tgim.text.lexicon.parts import BIRD, FLOWER, PART_WORDS

VERBS = each_of(
    """make makes making change changing turn turning give giving paint painting color colour coloring colouring
    recolor recolour dye tint shade set let add put replace swap exchange switch transform convert edit adjust modify
    alter draw show apply fill have want render create generate use"""
)
KEEPING = each_of("keep leave preserve retain maintain")
TAKING = each_of("remove delete erase hide drop lose")
MARKS = frozenset(",;:.!?")
NUMBERS = each_of("two three four five six seven eight nine ten eleven twelve dozen")
BEGINNINGS = {  # of words
    "DOING": (*VERBS, *KEEPING, *TAKING),  # "adding", "showing"
    "TOUCH": each_of("touch chang alter edit modif affect recolor recolour repaint"),
    "LOSE": ("loo", "los"),  # "without looking red", "losing"
    "MAKING": ("mak", "turn", "paint"),
}


def _begins(starts: tuple[str, ...], word: str) -> bool:
    return word.startswith(starts)


LISTS: dict[str, Collection[str] | Callable[[str], bool]] = {
    "DO": VERBS,
    "KEEP": KEEPING,
    "TAKE": TAKING,
    "FIRST": [word for word in VERBS if word not in ("want", "makes", "shade")],  # of an order
    **{name: partial(_begins, starts) for name, starts in BEGINNINGS.items()},
    "COLOUR": COLOUR_WORDS,
    "SHADE": SHADES,
    "PART": PART_WORDS,
    "SUBJECT": BIRD | FLOWER,
    "NUMBER": lambda word: word in NUMBERS or (word != "1" and re.fullmatch(r"[1-9]\d?", word) is not None),
    "MARK": MARKS,
    "BLANK": (" ",),
    "WORD": lambda word: re.fullmatch(r"\w+", word) is not None,  # no mark and nothing with an apostrophe
    "OWNER": lambda word: word.endswith("'s") and word != "it's",  # "the bird's head"
}
NOTATION = """
# Politeness and requests: "hey, could you please make it red"
POLITE    = please | pls | plz | kindly | thank you [very much | so much] | thanks [a lot] | thx
            | if you can | if possible | for me
HELLO     = (hey | hi | hello | ok | okay | so | just | now | well | and | then | maybe | also | first | finally | next)
            &ANY | , | ! | .
TRULY     = really | just | also
CAN-YOU   = (can | could | would | will | may) (you | we | i)
            (just | maybe | possibly | try to | help me [to] | get | see)*
I-WANT    = i ((would | will) [TRULY] (like | love | prefer) | [would | will] [TRULY] (want | need | wish))
            [you] [to [see | get | have] ~(be | become)] [for]
HELP      = let us [have] | (show | give | get) me | help me [to] | try to | (is it | would it be) possible to
GREETING  = HELLO*
REQUEST   = (CAN-YOU | I-WANT | HELP)*

# What tells an instruction from a caption: "paint it", "it should be", "do not touch"
AWAY      = get rid of | take away
VERB      = DO | KEEP | TAKE | AWAY
NEVER     = do not | never | without | not | avoid
SPARE     = TOUCH | LOSE
ORDER     = NEVER (VERB | touch | touching) | (FIRST | KEEP | TAKE | AWAY) ANY
PROTECT   = NEVER [ever] TOUCH | (and | but) KEEP (the | its | it | it's | his | her | everything | all)
ALL       = now | all | also | both
BECOME    = be | become | turn | look | get | have | show
SHOULD    = (should | must | shall | ought to | (need | needs | has | have) to) [ALL] BECOME
PLAIN     = (this | a | an | these | there) ~(ANY* (VERB | to | should | must)) ANY* SUBJECT

# Where a clause ends, and what is left out of it: "..., but keep the wings"
EXCEPT    = except | excluding | apart from | aside from | other than
SOME      = [the | its | his | her] PART
SPARED    = (but | EXCEPT) [for] SOME ((and | or) SOME)*
ALL-BUT   = (everything | anything | all) SPARED
DEED      = VERB | NEVER (VERB | SPARE)
STOP      = MARK ((and | but | then | also) &ANY)*
CUT       = (and | but | then | while | so) [then | also] &DEED
            | [but] &(EXCEPT | but not | and not | not the | instead of | rather than) | but &ANY
FORBIDDEN = NEVER (SPARE | MAKING)
KEPT      = KEEP | EXCEPT
UNTOUCHED = NEVER SPARE
UNWANTED  = [but | and] NEVER
UNDONE    = NEVER (DOING | AWAY)
TAKEN     = instead of | rather than | TAKE | AWAY
LESS      = (less | fewer | no) [WORD] [WORD] WORD ~ANY
BUT-FOR   = EXCEPT [for]

# What says nothing of colours and parts, or says it in a roundabout way
MODAL     = (should | must | shall | ought to | (need | needs | has | have | had | got) to | to | can | could | may)
            [ALL] (BECOME | has)
COLOUR-OF = [the] (color | colors | colour | colours | hue | hues | tone | tones | shade | shades | tint | tints) of
OF-IT     = (of | in) [the | this | my] [whole] (bird | flower | picture | photo | image)
AS-AS     = as WORD as ANY ANY*
LIKE      = like (a | an | the) ANY ANY*
FROM      = from WORD [UNTIL] [UNTIL] [UNTIL] &(to | into)
UNTIL     = ~(to | into) WORD
GIVE-IT   = (give | giving) (it | him | them | her &(a | an) | (the | this | that | my) (bird | flower))

# What is not wanted: "without black wings", "the head is not red", "not red on its belly"
NO        = no | not | never | without | lacks | lacking | lack | nor | free of
            | (does | do | has | have | had) not (have | show | has)
LEADS     = (and | but | or | with | has | have | having | it | which | that | who | BEING)*
BEING     = is | are | was | should | must | shall | will | would | does | do
SHADED    = SHADE | any | a | an | the | its | so | very | all | bit | of | longer | more
COLOURS   = SHADED* COLOUR ([and | or | nor | ,] SHADED* COLOUR ~(NOUN (is | are)))*
NOUN      = PART | SUBJECT | one | ones
NOUNS     = (NOUN | color | colored | colour | coloured) NOUN*
PLACED    = (on | in | at | around | of) [its | the | his | her | their] NOUNS
THING     = COLOURS [NOUNS] ((and | or | nor) NOUNS)* PLACED*
NEGATED   = LEADS NO [have | having | has | with | be] THING ((or | nor) THING)*
OWNED     = [OWNER] NOUNS
MISSING   = NO (OWNED | WORD OWNED | WORD WORD OWNED | WORD WORD WORD OWNED)
STATED    = [the | its | his | her | this | these | a | an] WORD [WORD] ~ANY
STATING   = (, | . | ; | and | but | while) STATED

# Counts, in words and the blanks between them: "3 blue birds", "five petals"
BETWEEN   = BLANK WORD
COUNTED   = NUMBER (BLANK NOUN | BETWEEN BLANK NOUN | BETWEEN BETWEEN BLANK NOUN | BETWEEN BETWEEN BETWEEN BLANK NOUN)
THINGS    = (BLANK (SHADED | COLOUR | and))* BLANK NOUN ~ANY
SOME-ONLY = NUMBER THINGS
"""
RULES = Grammar(NOTATION, LISTS)
