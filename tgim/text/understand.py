"""What people say, as the captions that models know: instructions, negation, counts and unknown words.

Models are trained on captions ("this bird has a red head and a white belly") and on phrases ("red head and breast").
`understand` returns such texts word for word and turns the rest into one, by rules over words. It says what it did not
take as it was said, and never guesses without saying so. No torch.
"""

from __future__ import annotations

import re
import warnings
from typing import NamedTuple

from tgim.errors import TextError
from tgim.text.instructions import NO_NEGATION, caption_of, is_instruction, normal
from tgim.text.lexicon import BIRD, COLOUR_WORDS, FLOWER, PART_WORDS, SHADE_WORDS, each_of, knows, neighbour
from tgim.text.vocabulary import MAX_WORDS, Alphabet, Vocabulary, complete, tokenize

_NUMBERS = each_of("two three four five six seven eight nine ten eleven twelve dozen")
_COUNT = rf"(?:{'|'.join(_NUMBERS)}|(?!1\b)[1-9]\d?)"
_COLOUR = rf"(?:{'|'.join(sorted(COLOUR_WORDS, key=len, reverse=True))})"
_SHADE = rf"(?:{'|'.join(sorted(SHADE_WORDS))}|any|a|an|the|its|so|very|all|bit|of|longer|more)"
_NOUN = rf"(?:{'|'.join(sorted(PART_WORDS | BIRD | FLOWER, key=len, reverse=True))}|ones?)"
_COLOURS = rf"(?:{_SHADE} )*{_COLOUR}(?:(?: (?:and|or|nor|,))?(?: {_SHADE})* {_COLOUR}(?! (?:{_NOUN}) (?:is|are)))*"
_NOUNS = rf"(?:{_NOUN}|colou?r(?:ed)?)(?: {_NOUN})*"
_PLACE = rf"(?: (?:on|in|at|around|of)(?: (?:its|the|his|her|their))? {_NOUNS})"
_THING = rf"{_COLOURS}(?: {_NOUNS})?(?: (?:and|or|nor) {_NOUNS})*{_PLACE}*"
_NOT = r"(?:no|not|never|without|lacks|lacking|lack|nor|(?:does|do|has|have|had) not (?:have|show|has)|free of)"
_LEAD = r"(?:,|and|but|or|with|has|have|having|it|which|that|who|is|are|was|should|must|shall|will|would|does|do)"
_NEGATED = re.compile(
    rf"(?: ?\b{_LEAD})*(?:^| )\b{_NOT}\b(?: (?:have|having|has|with|be))? {_THING}(?: (?:or|nor) {_THING})*\b"
)
_BARE = re.compile(rf"\b{_NOT}(?: \w+){{0,3}}? {_NOUNS}\b")
_STATED = re.compile(r"(?:^|[,.;] |\b(?:and|but|while) )(?:(?:the|its|his|her|this|these|a|an) )?(?:\w+ ){1,2}$")


class Understood(NamedTuple):
    """What is read of a text."""

    caption: str  # for the model
    notes: tuple[str, ...] = ()  # one line for each thing that was not taken as it was said
    unknown: dict[str, tuple[str, ...]] = {}  # noqa: RUF012  # words the vocabulary lacks, with what is used or near


def understand(text: str, vocabulary: Vocabulary, template: str = "{}") -> Understood:
    """The caption or phrase that a model with `vocabulary` is given for `text`.

    A caption or phrase of known words comes back word for word. An instruction becomes a caption; what is not wanted is
    left out; a count at the start, in a phrase or in an instruction is left out, too; an unknown word gives way to a
    known one that means or looks the same.

    >>> known = Vocabulary.build(["this bird has a dark red head and a white belly"])
    >>> understand("Make its head maroon, and the belly white please!", known).caption
    'this bird has a dark red head and a white belly'
    >>> understand("a red bird without a white belly", known).notes
    ("'without a white belly' is left out: models know no negation, name what is to be seen",)

    Args:
        text: what was said.
        vocabulary: of the model; an `Alphabet` knows every word.
        template: the checkpoint's, which completes phrases; names the subject where the vocabulary has neither birds
            nor flowers.

    Raises:
        TextError: no word, too many, only what is not wanted, or no known word.
    """
    said = text.strip()
    if not 0 < len(tokenize(said)) <= MAX_WORDS:
        vocabulary.check(said)
    notes: list[str] = []
    unknown: dict[str, tuple[str, ...]] = {}
    caption, before = said, ""
    for _ in range(2 * MAX_WORDS):  # what is left may be an instruction again; each round takes something away
        if caption == before:
            break
        before = caption
        caption = _once(caption, vocabulary, _subject(vocabulary, template), notes, unknown)
        if caption != before and not tokenize(caption):
            raise TextError(
                f"text {said!r} names nothing that is to be seen (models know no negation and take nothing away); "
                "describe the wanted picture, e.g. 'a red bird with black wings'"
            )
    if not isinstance(vocabulary, Alphabet) and not any(word in vocabulary for word in tokenize(caption)):
        vocabulary.check(said)  # names what was said, where it has no known word either
    return Understood(vocabulary.check(caption), tuple(dict.fromkeys(notes)), unknown)


def _once(
    text: str, vocabulary: Vocabulary, subject: str, notes: list[str], unknown: dict[str, tuple[str, ...]]
) -> str:
    """One round of `understand`; empty when nothing is left."""
    caption = caption_of(text, subject, notes) if is_instruction(text) else text
    caption = _without_negation(caption, notes)
    if isinstance(vocabulary, Alphabet):
        for character in vocabulary.unknown(caption):
            notes.append(f"unknown character {character!r} is ignored")
            unknown[character] = ()
        return caption
    caption = _without_counts(caption, vocabulary, notes, instructed=caption != text)
    return _known_words(caption, vocabulary, notes, unknown)


def _subject(vocabulary: Vocabulary, template: str) -> str:
    """What captions of a model are about: "bird", "flower", the noun of its template, or nothing where none is told."""
    told = [
        word
        for word in tokenize(template.replace("{}", " "))
        if word not in ("this", "a", "an", "the", "has", "with", "is")
    ]
    if told:
        return told[0]
    if isinstance(vocabulary, Alphabet) or not knows(vocabulary, "this has"):
        return ""
    found = [word for word in vocabulary.words if word in ("bird", "flower")]
    return found[0] if found else ""


def _without_negation(caption: str, notes: list[str]) -> str:
    """Leave out colours that are not wanted, and say what else was negated."""
    words = normal(caption)
    if not re.search(rf"\b{_NOT}\b", words):
        return caption
    kept = words
    while found := _NEGATED.search(kept):
        before, gone, after = kept[: found.start()], found.group().strip(), kept[found.end() :]
        if re.match(r" but \S", after):  # "is not red but blue"
            lead = re.match(rf"(?:{_LEAD} )*", gone)
            kept = f"{before} {lead.group() if lead else ''}{after.removeprefix(' but ')}"
        else:
            said_of = re.match(r"(?:is|are|was|should|must|shall|will|would|does|do)\b", gone)
            stated = _STATED.search(f"{before.strip()} ") if said_of else None
            if stated and not re.search(rf"\b{_COLOUR}\b", stated.group()):
                gone, before = f"{stated.group().strip()} {gone}", before[: stated.start()]
            kept = f"{before} {after}"
        plain = re.sub(r"^(?:(?:,|and|but|or) )+", "", gone).strip()
        notes.append(f"{plain!r} is left out: {NO_NEGATION}")
        kept = re.sub(r"^[ ,.;]*(?:(?:and|but|or|with)\b[ ,]*)?|[ ,;]*(?:\b(?:and|but|or|with))?[ ,;]*$", "", kept)
        kept = re.sub(r"\s+", " ", kept)
    if kept != words:
        return _tidy(kept)
    for found in _BARE.finditer(words):
        notes.append(f"{found.group()!r} changes nothing: models know no negation")
    return caption


def _tidy(words: str) -> str:
    """Spaces where they belong."""
    return re.sub(r" ([,.;:!?])", r"\1", words).strip()


def _without_counts(caption: str, vocabulary: Vocabulary, notes: list[str], *, instructed: bool) -> str:
    """Leave out counts of subjects and parts; those of a whole caption stay where the model has read such captions."""
    phrase = re.fullmatch(rf"{_COUNT}(?: (?:{_SHADE}|{_COLOUR}|and))* {_NOUN}", caption.lower())
    subjects = BIRD | FLOWER
    pattern = re.compile(rf"\b({_COUNT})((?: \w+){{0,3}}? ({_NOUN}))\b", re.IGNORECASE)

    def drop(found: re.Match[str]) -> str:
        count, rest, noun = found.groups()
        notes.append(f"{found.group()!r} changes no number: models do not count")
        plain = re.fullmatch(rf"(?: (?:{_SHADE}|{_COLOUR}|and))* {_NOUN}", rest.lower())
        first = plain and not caption[: found.start()].strip()
        if instructed or phrase or not knows(vocabulary, count.lower()) or (first and noun.lower() in subjects):
            return str(rest.strip())
        return found.group()

    return pattern.sub(drop, caption)


def _known_words(caption: str, vocabulary: Vocabulary, notes: list[str], unknown: dict[str, tuple[str, ...]]) -> str:
    """Put known words for unknown ones; `notes` and `unknown` get a line for each."""
    for word, near in vocabulary.unknown(caption).items():
        known = neighbour(word, vocabulary)
        if not known:
            unknown[word] = near
            hint = f"; nearest known: {', '.join(near)}" if near else ""
            notes.append(f"unknown word {word!r} is ignored{hint}")
            continue
        unknown[word] = (known,)
        notes.append(f"unknown word {word!r}: {known!r} is used instead")
        article = "an" if known[0] in "aeiou" else "a"
        last = known.split()[-1]
        caption = re.sub(
            rf"\b{word}(?= {last}\b)", " ".join(known.split()[:-1]), caption, flags=re.IGNORECASE
        )  # "ruby red"
        caption = re.sub(rf"\ban? {word}\b", f"{article} {known}", caption, flags=re.IGNORECASE)
        caption = re.sub(rf"\b{word}\b", known, caption, flags=re.IGNORECASE)
        caption = re.sub(r"  +", " ", caption).strip()
    return caption


class UnknownWordWarning(UserWarning):
    """A text has words that the model never saw, or says what it cannot take; the rest is used."""


def used_caption(text: str, vocabulary: Vocabulary, template: str) -> str:
    """The caption that is used for `text` (`understand`), completed by the checkpoint's template if a phrase.

    Warns with `UnknownWordWarning` about each unknown word and all else that is not taken as it was said.

    Raises:
        TextError: no words, too many, only what is not wanted, or none that the model knows.
    """
    if not isinstance(text, str):
        raise TextError(f"text is a {type(text).__name__}, expected a string such as 'a red bird with black wings'")
    understood = understand(text, vocabulary, template)
    for note in understood.notes:
        warnings.warn(note, UnknownWordWarning, stacklevel=4)
    return complete(understood.caption, template)
