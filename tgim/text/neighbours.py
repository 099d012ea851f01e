"""Choice of a known word for one that a vocabulary lacks: the same by another name, number or spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tgim.text.lexicon.colours import (
    CAPTION_COLOURS,
    COLOUR_WORDS,
    EVERYDAY,
    MISSPELT,
    PREFIXES,
    SHADES,
    SPELLING,
)
from tgim.text.lexicon.parts import CAPTION_PARTS, PART_WORDS, SPECIES, SYNONYMS
from tgim.text.vocabulary import Alphabet, Vocabulary

_COMMON = {"some", "same", "there", "than", "then", "them", "look", "like", "from", "bred", "bread", "break", "black"}


def knows(vocabulary: Vocabulary, text: str) -> bool:
    """Tell whether each word of `text` is in `vocabulary`; an alphabet takes every word."""
    return isinstance(vocabulary, Alphabet) or all(word in vocabulary for word in text.split())


def neighbour(word: str, vocabulary: Vocabulary) -> str:
    """Choose a replacement of an unknown word: one or two words that `vocabulary` knows, or nothing.

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
    for shade in PREFIXES:
        if word.startswith(shade) and (colour := word[len(shade) :]) in COLOUR_WORDS:
            yield from (f"{shade} {colour}", colour)
    if colour := _stem_of_colour(word):
        yield from (colour, *_meanings(colour))
    if spelt := _spelling(word, vocabulary):
        yield from (spelt, *_meanings(spelt))


def _meanings(word: str) -> Iterable[str]:
    """The same colour or part by other names."""
    yield from filter(None, (SPELLING.get(word, ""),))
    for table in (MISSPELT, EVERYDAY, SYNONYMS):
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
    heard = [each for each in sorted(COLOUR_WORDS | PART_WORDS | SHADES) if sorted(each[:2]) == sorted(word[:2])]
    heard += [each for each in sorted(COLOUR_WORDS | PART_WORDS) if each[0] == word[0]]
    fit = (each for each in dict.fromkeys(heard) if abs(len(each) - len(word)) <= 2)
    plain = EVERYDAY.keys() & CAPTION_COLOURS | {each for each in EVERYDAY if len(each) > 5}
    usable = [each for each in fit if knows(vocabulary, each) or each in plain]
    close = [each for each in difflib.get_close_matches(word, usable, n=5, cutoff=0.75) if _slip(word, each)]
    return min(close, key=lambda each: (each not in CAPTION_COLOURS | CAPTION_PARTS, close.index(each)), default="")


def _slip(word: str, meant: str) -> bool:
    """Tell whether one slip lies between two words: letters swapped, one lost or too many; in long words two."""
    if len(word) == len(meant) and sorted(word) == sorted(meant):
        return True
    alike = difflib.SequenceMatcher(None, word, meant, autojunk=False)
    same = sum(block.size for block in alike.get_matching_blocks())
    if abs(len(word) - len(meant)) == 1 and same == min(len(word), len(meant)):
        return True
    return min(len(word), len(meant)) > 5 and max(len(word), len(meant)) - same <= 2
