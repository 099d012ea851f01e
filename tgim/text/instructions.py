"""Translation of instructions into captions.

"make its head red and the belly white" becomes "this bird has a red head and a white belly".

A text is cut into clauses, a clause into phrases between small words; a phrase is modifiers, a part, colours:

    clause  = [verb] (small word* phrase)*
    phrase  = modifier* noun* colour*

Which colour goes with which part is decided by their order and by the small words between them: "a red head", "the head
red", "the red wings to black", "red on the wings". What is recognised of the words around
them is in `tgim.text.rules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from tgim.text.lexicon import each_of
from tgim.text.lexicon.colours import COLOUR_WORDS, MISSPELT, SHADES
from tgim.text.lexicon.parts import BIRD, FLOWER, PART_WORDS, PLURAL, UNCOUNTED
from tgim.text.rules import KEEPING, MARKS, RULES, TAKING, VERBS

ACTING = frozenset((*VERBS, *KEEPING, *TAKING))
ADDING = frozenset(each_of("add put apply draw"))
FILLING = frozenset(each_of("replace swap exchange paint fill dye color colour"))
LINKS = frozenset(each_of("to into be is are become becomes look looks appear as being get gets from by for than"))
JOINTS = frozenset(each_of("and or plus also"))
BREAKS = frozenset(each_of("with has have having but while whose"))
PLACES = frozenset(each_of("of on at around near under over above below along across in"))
DEFINITE = frozenset(each_of("the its his her their this that these those my your it's"))
FILLERS = frozenset(
    each_of(
        """a an all both whole entire every each some bit really colour color colours colors colored coloured coloration
        hue tone shade shades one ones just now too instead again then there out completely totally also so more very
        much of i you we which who please us"""
    )
)
SMALL = LINKS | JOINTS | BREAKS | DEFINITE | FILLERS
ENDS = (LINKS | JOINTS | BREAKS | PLACES | DEFINITE | {"a", "an"}) - {"her"}  # of a phrase
WHOLE = frozenset(each_of("it him them me everything all whole thing entire picture photo image something"))
NOUNS = PART_WORDS | BIRD | FLOWER | {"it", "him", "them", "everything"}
CONTRACTIONS = {"cannot": "can not", "can't": "can not", "won't": "will not", "dont": "do not", "doesnt": "does not"}
CONTRACTIONS |= {"isnt": "is not", "arent": "are not", "shouldnt": "should not", "hasnt": "has not", "let's": "let us"}
ENDINGS = {"n't": "not", "'d": "would", "'ll": "will", "'m": "am", "'ve": "have", "'re": "are"}
SPARING = "models cannot be told what to leave alone, name what is to change"
NO_NEGATION = "models know no negation, name what is to be seen"


def normal(text: str) -> str:
    """Write a text as lower-case words and marks, one blank between them, contractions written out.

    >>> normal("Don't, it's the bird's")
    "do not , it's the bird's"
    """
    words = re.findall(r"\w+(?:'\w+)*|[,;:.!?]", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return " ".join(CONTRACTIONS.get(word) or _written_out(word) for word in words)


def _written_out(word: str) -> str:
    """Write a contraction out: "do not" for "don't"."""
    ending = next((each for each in ENDINGS if word.endswith(each)), "")
    return f"{word.removesuffix(ending)} {ENDINGS[ending]}" if ending else word


def is_instruction(text: str) -> bool:
    """Tell texts that say what to do ("make it red", "the head should be red") from captions."""
    words = normal(text).split()
    asked, rest = _without_request(words)
    return (
        asked
        or RULES.find("SHOULD", words) is not None
        or RULES.match("ORDER", rest) is not None
        or RULES.find("PROTECT", words) is not None
    )


def _without_request(words: Sequence[str]) -> tuple[bool, list[str]]:
    """Take politeness and requests off the words; returns whether there were any, and the rest."""
    plain = _stripped(RULES.rewrite("POLITE", words, lambda _: ()), ",")
    start = RULES.match("GREETING", plain) or 0
    end = RULES.match("REQUEST", plain, start) or 0
    rest = plain[end:]
    asked = end > start or RULES.find("POLITE", words) is not None
    return asked, _stripped(rest[RULES.match("GREETING", rest) :], ",.!?")


def _stripped(words: Sequence[str], marks: str) -> list[str]:
    """Take marks off both ends."""
    first = len(list(takewhile(marks.__contains__, words)))
    last = len(list(takewhile(marks.__contains__, reversed(words[first:]))))
    return list(words[first : len(words) - last])


@dataclass(frozen=True)
class Phrase:
    """A run of words of a clause between small words: modifiers, a noun, and what is said after it."""

    before: list[str]
    noun: str  # "tail feathers"; empty where only colours are named
    after: list[str]
    linked: bool = False  # "to", "into", "is" stand before it
    joined: bool = False  # "and" stands before it
    place: str = ""  # "on the", "of": what is said lies there


@dataclass
class Group:
    """A part or the subject, and what is said of it."""

    parts: list[str]  # "head", "breast"; empty while the noun is still to come
    before: list[str] = field(default_factory=list)  # modifiers that stand before the noun
    after: list[str] = field(default_factory=list)  # what is said after it
    place: str = ""  # "on the head"

    @property
    def colours(self) -> list[str]:
        return self.after or self.before

    def whole(self, subject: str) -> bool:
        """Tell the subject itself from a part of it."""
        return bool(self.parts) and all(part in WHOLE | BIRD | FLOWER | {subject} for part in self.parts)


def caption_of(text: str, subject: str, notes: list[str]) -> str:
    """Write the caption that an instruction asks for; empty when it asks for nothing that is to be seen.

    Args:
        text: an instruction.
        subject: "bird", "flower" or another noun; empty for a phrase without a subject.
        notes: gets a line for each clause that cannot be followed.
    """
    _, words = _without_request(normal(text).split())
    opening = ""  # a caption or phrase: "a red bird with black wings" of "I want a red bird with black wings"
    groups: list[Group] = []
    for clause in _clauses([MISSPELT.get(word, (word,))[0] for word in words], notes):
        if opening or groups or RULES.match("PLAIN", clause) is None:
            groups += _groups(_phrases(_rewritten(clause)))
        else:
            opening = " ".join(clause)
    return _caption(opening, groups, subject)


def _clauses(words: Sequence[str], notes: list[str]) -> list[list[str]]:
    """List the clauses to follow; those that say what to leave alone, or what not to do, become notes."""
    for start, end in RULES.find_all("ALL-BUT", words):
        notes.append(f"{' '.join(words[start + 1 : end])!r} is left out: {SPARING}")
    followed: list[list[str]] = []
    reason = ""
    for clause in _cut(RULES.rewrite("ALL-BUT", words, lambda found: found[:1])):
        reason = _reason(clause, reason)
        if reason:
            notes.append(f"{' '.join(clause)!r} is left out: {reason}")
        else:
            left_out = RULES.match("BUT-FOR", clause)
            followed.append(clause if left_out is None else ["with", *clause[left_out:]])
    return followed


def _cut(words: Sequence[str]) -> list[list[str]]:
    """Cut words into clauses, none of them empty."""
    clauses: list[list[str]] = [[]]
    i = 0
    while i < len(words):
        end = RULES.match("STOP", words, i)
        if end is None and clauses[-1]:
            end = RULES.match("CUT", words, i)
            if end is None and words[i - 1] not in ("do", "not") and RULES.match("FORBIDDEN", words, i):
                end = i
        if end is not None:
            clauses.append([])
            i = end
        if end is None or (i < len(words) and words[i] not in MARKS):
            clauses[-1].append(words[i])
            i += 1
    return [clause for clause in clauses if clause]


def _reason(clause: Sequence[str], before: str) -> str:
    """Name the reason why a clause is not followed; empty for one that is. `before` is that of the clause before it."""
    coloured = not COLOUR_WORDS.isdisjoint(clause)
    if RULES.match("KEPT", clause):
        return "" if coloured else SPARING
    if RULES.match("UNTOUCHED", clause):
        return SPARING
    if RULES.match("UNWANTED", clause):
        return NO_NEGATION if coloured or RULES.match("UNDONE", clause) else SPARING
    if RULES.match("TAKEN", clause) or RULES.find("LESS", clause):
        return NO_NEGATION
    return before if not coloured and not RULES.match("DEED", clause) else ""


def _rewritten(clause: Sequence[str]) -> list[str]:
    """Write a clause in fewer and plainer words: "give a red head" for "give the bird a head as red as a rose"."""
    words = RULES.rewrite("MODAL", clause, lambda found: ["have" if found[-1] in ("have", "has", "show") else "be"])
    for rule in ("COLOUR-OF", "OF-IT"):
        words = RULES.rewrite(rule, words, lambda _: ())
    words = RULES.rewrite("AS-AS", words, lambda found: found[1:2])
    words = RULES.rewrite("LIKE", words, lambda _: ())
    words = RULES.rewrite("OWNER", words, lambda _: ["the"])
    words = RULES.rewrite("FROM", words, lambda _: ())
    end = RULES.match("GIVE-IT", words)
    return words if end is None else ["give", *words[end:]]


def _phrases(clause: Sequence[str]) -> list[Phrase]:
    """List the phrases of a clause; one that begins with a place ("on the wings") has a first one without words."""
    phrases: list[Phrase] = []
    small: list[str] = []  # since the last phrase
    i = 0
    while i < len(clause):
        word = clause[i]
        acting = word in ACTING and (i == 0 or clause[i - 1] in JOINTS or word in ("make", "give", "have"))
        if word in SMALL or acting or (phrases and word in PLACES):
            small.append(word)
            i += 1
            continue
        end = next((j for j in range(i, len(clause)) if clause[j] in ENDS), len(clause))
        words = [each for each in clause[i:end] if each not in FILLERS]
        phrases.append(_phrase(words, small, first=not phrases, verb=clause[0]))
        small, i = [], end
    return phrases


def _phrase(words: list[str], small: Iterable[str], *, first: bool, verb: str) -> Phrase:
    """Make a phrase of words after small words, in a clause that begins with `verb`."""
    places = PLACES | ({"to", "into"} if verb in ADDING else set())
    links = LINKS | ({"with"} if verb in FILLING else set())
    place, linked, joined, definite = "", False, False, False
    for word in small:
        if word in places and not first:
            place = word
        else:
            linked = linked or word in links
            joined = word in JOINTS or (joined and word not in BREAKS)
            definite = definite or word in DEFINITE
    nouns = [i for i, word in enumerate(words) if word in NOUNS and word not in COLOUR_WORDS]
    if not nouns and (first or not linked):  # "the dog brown": a noun that no list has
        nouns = [i for i, word in enumerate(words) if word not in COLOUR_WORDS | SHADES][-1:]
    begin, end = (nouns[0], nouns[-1] + 1) if nouns else (len(words), len(words))
    place = f"{place} the" if place and definite else place
    return Phrase(words[:begin], " ".join(words[begin:end]), words[end:], linked, joined, place)


def _groups(phrases: Sequence[Phrase]) -> list[Group]:
    """Assign to each part of one clause what is said of it."""
    groups: list[Group] = []
    for phrase in phrases:
        if not groups:
            groups.append(Group([phrase.noun] if phrase.noun else [], phrase.before, phrase.after))
        elif not phrase.noun:
            _say(phrase, groups)
        elif phrase.place:
            _place(phrase, groups[-1])
        else:
            _name(phrase, groups)
    return groups


def _say(phrase: Phrase, groups: list[Group]) -> None:
    """Add colours without a noun: to the part before them, to one to come, or to the subject."""
    last, said = groups[-1], phrase.before
    if phrase.linked and not last.parts:
        last.before = said  # "red to blue"
    elif phrase.place:
        last.after += said
    elif not last.parts:
        last.before += ["and", *said] if phrase.joined else said
    elif last.after or phrase.linked or not last.before:
        last.after += ["and", *said] if phrase.joined and last.after else said
    else:
        groups.append(Group([], said))


def _place(phrase: Phrase, last: Group) -> None:
    """Add the place of what was said: "more red on the wings", "spots on the wings"."""
    if last.parts:
        last.place += " " + " ".join([phrase.place, *phrase.before, phrase.noun])
        last.after += phrase.after
    else:
        last.parts, last.after = [phrase.noun], []


def _name(phrase: Phrase, groups: list[Group]) -> None:
    """Add a part: a new one, one that shares the colours of the part before it, or one that takes its place."""
    last: Group | None = groups[-1]
    if phrase.linked and groups[-1].parts and not groups[-1].after:  # "change the red wings to blue wings"
        groups.pop()
        last = groups[-1] if groups else None
    if last is not None and phrase.joined:
        if not last.parts:  # "black and white wings"
            last.parts, last.before, last.after = [phrase.noun], [*last.before, "and", *phrase.before], phrase.after
            return
        shares = not phrase.before and not last.whole("")
        if shares and not last.colours:  # "the head and breast red"
            last.parts.append(phrase.noun)
            last.after = phrase.after
            return
        if shares and not phrase.after and not last.after:  # "a red head and breast"
            last.parts.append(phrase.noun)
            return
    groups.append(Group([phrase.noun], phrase.before, phrase.after))


def _caption(opening: str, groups: Sequence[Group], subject: str) -> str:
    """Write groups as one caption, or as one phrase without a subject."""
    said = [group for group in groups if group.colours or (group.parts and not group.whole(subject))]
    if not opening and not any(group.colours for group in said):
        return ""
    told: list[str] = []  # of the subject
    phrases: list[str] = []
    waiting: list[Group] = []  # parts whose colours are still to come: "make the head and make the belly red"
    for group in said:
        if not group.parts or group.whole(subject):
            if group.colours:
                told.append(" ".join(group.colours))
        elif not group.colours:
            waiting.append(group)
        else:
            shared = [Group(each.parts, each.before, [*group.after]) for each in waiting] if group.after else waiting
            phrases += [_noun_phrase(each) for each in (*shared, group)]
            waiting = []
    phrases += [_noun_phrase(each) for each in waiting]
    has = _listed(phrases)
    if not subject:
        return " and ".join(filter(None, (opening, *told, has))).removeprefix("an ").removeprefix("a ")
    start = opening or (f"this {subject} is {' and '.join(told)}" if told else "")
    if not start:
        return f"this {subject} has {has}" if has else ""
    if not has:
        return start
    return f"{start} {'and' if ' with ' in start else 'with'} {has}"


def _noun_phrase(group: Group) -> str:
    """Write a group as "a red head and breast", "black wings"."""
    before = group.before
    if group.after:  # the colours before were those to be changed
        before = [*group.after, *(word for word in before if word not in COLOUR_WORDS | SHADES | {"and"})]
    many = group.parts[0].split()[-1]
    plural = many in PLURAL or (many.endswith("s") and not many.endswith(("ss", "us", "is")))
    words = " ".join([*before, " and ".join(group.parts)]) + group.place
    bare = plural or many in UNCOUNTED
    return words if bare else f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _listed(phrases: Sequence[str]) -> str:
    """Join phrases: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(phrases[:-1]), *phrases[-1:])))
