"""Understanding of texts: instructions, negation, counts and unknown words become captions that models know.

Models are trained on captions ("this bird has a red head and a white belly") and on phrases ("red head and breast").
`understand` returns such texts word for word and turns the rest into one, by rules over words. Each change
of what was said is reported in a note. No torch is imported.
"""

from __future__ import annotations

import re
from itertools import dropwhile
from typing import NamedTuple

from tgim.errors import TextError
from tgim.system.notices import notify
from tgim.text.instructions import NO_NEGATION, caption_of, is_instruction, normal
from tgim.text.lexicon.colours import COLOUR_WORDS
from tgim.text.lexicon.parts import BIRD, FLOWER
from tgim.text.neighbours import knows, neighbour
from tgim.text.rules import RULES
from tgim.text.vocabulary import MAX_WORDS, Alphabet, Vocabulary, complete, tokenize


class Understood(NamedTuple):
    """A text as it was understood."""

    caption: str  # for the model
    notes: tuple[str, ...] = ()  # one line for each thing that was not taken as it was said
    unknown: dict[str, tuple[str, ...]] = {}  # noqa: RUF012  # words the vocabulary lacks, with what is used or near


def understand(text: str, vocabulary: Vocabulary, template: str = "{}") -> Understood:
    """Turn a text into the caption or phrase that a model with `vocabulary` is given.

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
    if not vocabulary.knows(caption):
        vocabulary.check(said)  # names what was said, where it has no known word either
    return Understood(vocabulary.check(caption), tuple(dict.fromkeys(notes)), unknown)


def _once(
    text: str, vocabulary: Vocabulary, subject: str, notes: list[str], unknown: dict[str, tuple[str, ...]]
) -> str:
    """Do one round of `understand`; empty when nothing is left."""
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
    """Name what captions of a model are about: "bird", "flower", the noun of its template; empty where none is told."""
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
    words = kept = normal(caption).split()
    if RULES.find("NO", words) is None:
        return caption
    while found := RULES.find("NEGATED", kept):
        before, gone, after = kept[: found[0]], kept[slice(*found)], kept[found[1] :]
        if after[:1] == ["but"] and len(after) > 1:  # "is not red but blue"
            before, after = before + gone[: RULES.match("LEADS", gone)], after[1:]
        elif RULES.match("BEING", gone):
            start = _stated(before)
            before, gone = before[:start], before[start:] + gone
        named = list(dropwhile((",", "and", "but", "or").__contains__, gone))
        notes.append(f"{' '.join(named)!r} is left out: {NO_NEGATION}")
        kept = _trimmed(before + after)
    if kept != words:
        return re.sub(r" ([,.;:!?])", r"\1", " ".join(kept))
    for start, end in RULES.find_all("MISSING", words):
        notes.append(f"{' '.join(words[start:end])!r} changes nothing: models know no negation")
    return caption


def _stated(before: list[str]) -> int:
    """Find where the statement begins that ends in "is not red": at "the head"; at the end where it names colours."""
    found = (0, 0) if RULES.match("STATED", before) else RULES.find("STATING", before)
    start = found[0] if found else len(before)
    return start if COLOUR_WORDS.isdisjoint(before[start:]) else len(before)


def _trimmed(words: list[str]) -> list[str]:
    """Take joints and marks off both ends, which remain where words were left out."""
    joints = ("and", "but", "or", "with")
    words = list(dropwhile(",.;".__contains__, words))
    if words and words[0] in joints:
        words = list(dropwhile(",".__contains__, words[1:]))
    words = list(dropwhile(",;".__contains__, reversed(words)))
    if words and words[0] in joints:
        words = list(dropwhile(",;".__contains__, words[1:]))
    return words[::-1]


def _without_counts(caption: str, vocabulary: Vocabulary, notes: list[str], *, instructed: bool) -> str:
    """Leave out counts of subjects and parts; those of a whole caption stay where the model has read such captions."""
    pieces = re.findall(r"\w+|\W", caption)
    words = [each.lower() for each in pieces]
    phrase = RULES.match("SOME-ONLY", words) is not None
    kept: list[str] = []
    done = 0
    for start, end in RULES.find_all("COUNTED", words):
        notes.append(f"{''.join(pieces[start:end])!r} changes no number: models do not count")
        plain = RULES.match("THINGS", words[start + 1 : end]) is not None
        first = plain and not "".join(pieces[:start]).strip() and words[end - 1] in BIRD | FLOWER
        if instructed or phrase or first or not knows(vocabulary, words[start]):
            kept += pieces[done:start]
            done = start + 2  # the count and the blank after it
    return "".join(kept + pieces[done:])


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
    """A text has words that the model does not know, or asks for what it cannot do; the rest is used."""


def used_caption(text: str, vocabulary: Vocabulary, template: str) -> str:
    """Make the caption that is used for `text` (`understand`); the checkpoint's template completes a phrase.

    Warns with `UnknownWordWarning` about each unknown word and all else that is not taken as it was said.

    Raises:
        TextError: no words, too many, only what is not wanted, or none that the model knows.
    """
    if not isinstance(text, str):
        raise TextError(f"text is a {type(text).__name__}, expected a string such as 'a red bird with black wings'")
    understood = understand(text, vocabulary, template)
    for note in understood.notes:
        notify(note, UnknownWordWarning, stacklevel=4)
    return complete(understood.caption, template)
