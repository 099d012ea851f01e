"""Parser of captions to colour targets (a part and its colours), by rules over words in the order of the caption.

>>> from tgim.text.lexicon.parts import BIRD_PARTS
>>> [str(target) for target in parse_caption("this bird has a dark red head and breast", BIRD_PARTS).targets]
['head: dark red', 'breast: dark red']
>>> [str(target) for target in parse_caption("a small blue bird whose belly and throat are white", BIRD_PARTS).targets]
['bird: blue', 'belly: white', 'throat: white']
>>> parse_caption("a red bird with speckled wings", BIRD_PARTS).notes
("'speckled' is left out: patterns are not painted", "'wings' stays as it is: no colour is said of it")
>>> [str(target) for target in parse_caption("a gray house with red doors", ("roof", "wall", "door")).targets]
['subject: gray', 'doors: red']
>>> [str(target) for target in parse_caption("this bird has a red head", ("subject",)).targets]
['head: red']
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tgim.models.editing.painting import words as known
from tgim.models.editing.painting.words import Colour
from tgim.text.lexicon import each_of
from tgim.text.lexicon.parts import (
    BIRD,
    FLOWER,
    NO_PLUMAGE,
    PAINTED,
    PAINTED_TOGETHER,
    PAINTED_WHOLE,
    PATTERNS,
    UNPAINTED,
)
from tgim.text.phrases import STOPS

_LINKS = frozenset(each_of("is are was were being be looks look appears appear remains has'"))
_PLACES = frozenset(each_of("on in around along over under near at across throughout towards upon of to"))
_DETERMINERS = frozenset(each_of("the its it's his her their a an this that these both each some of entire whole"))
_RELATIVE = frozenset(each_of("that which who"))
_JOINTS = frozenset(("and", "or", "&", ",", "with", "to", "plus"))
_FILL = frozenset(each_of("colored coloured color colour colors colours hue hues tone toned tones shade shades"))
_ALONE = ("subject",)  # parts of a localiser that tells none apart: all colours are the subject's
_MOST = 4  # plain words between a colour and its part: "red long thin pointed beak"


@dataclass(frozen=True)
class ColourTarget:
    """A part, or the whole subject, and the colours that a caption gives it."""

    word: str  # as the caption calls it
    parts: tuple[str, ...]  # of the localiser
    colours: tuple[Colour, ...]  # the first is painted; a part that has any of them already is left alone
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.word}: {' and '.join(map(str, self.colours))}"


class ParsedCaption(NamedTuple):
    """Colour targets of a caption, and notes on the rest of it."""

    targets: tuple[ColourTarget, ...]
    notes: tuple[str, ...] = ()  # one line for each thing that is not painted


def parse_caption(caption: str, parts: Sequence[str]) -> ParsedCaption:
    """Parse a caption to its colour targets, whole subjects before parts.

    Args:
        caption: a sentence or phrase, in English.
        parts: those that can be found in pictures, "background" left out or not.
    """
    parser = _Parser(caption, tuple(part for part in parts if part != "background"))
    parser.run()
    return ParsedCaption(tuple(sorted(parser.found.values(), key=lambda target: not target.whole)), parser.remarks())


def own_words(parts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Words for parts beside those of the lexicon: names that it has not, plural and singular, and names for its own.

    >>> own_words(("roof", "front door", "chest", "head"))["roofs"], own_words(("chest",))["breast"]
    (('roof',), ('chest',))
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in parts:
        known = PAINTED.get(name, name)
        if name == known and name in PAINTED:
            continue
        word = "_".join(re.split(r"[\s_-]+", name.lower()))
        for each in (word, word.split("_")[-1]):
            for form in (each, f"{each}s", f"{each}es", each.removesuffix("s"), each.removesuffix("es")):
                found.setdefault(form, (name,))
        if known != name and known not in parts:  # "chest": all that the lexicon calls the breast
            found |= {each: (*found.get(each, ()), name) for each, part in PAINTED.items() if part == known}
    return found


class _Parser:
    """Parser state of one pass over the words of a caption."""

    def __init__(self, caption: str, parts: tuple[str, ...]) -> None:
        text = re.sub(r"\b(bill|beak)(?=\w{3})", r"\1 ", caption.lower().replace("-", " ").replace("\u2019", "'"))
        self.own = own_words(parts)
        for name in parts:
            if len(spelt := re.split(r"[\s_-]+", name.lower())) > 1:  # "front door" is one word
                text = text.replace(" ".join(spelt), "_".join(spelt))
        self.words = re.findall(r"[a-z0-9'_]+|[,;.&]", text)
        self.parts, self.flower = parts, "petals" in parts
        self.subject = "flower" if self.flower else "bird" if {"wings", "beak"} & set(parts) else "subject"
        self.found: dict[str, ColourTarget] = {}
        self.bare: dict[str, None] = {}  # parts that were named
        self.notes: dict[str, None] = {}
        self.topic: list[str] = []  # what the next "is", "are" speaks of
        self.linked = False

    def run(self) -> None:
        i = 0
        while i < len(self.words):
            word = self.words[i]
            if self._begins_colour(i):
                i = self._coloured(i)
            elif self._is_pattern(word):
                self._pattern(word)
                i = self._after_pattern(i + 1)
            elif self._is_noun(word):
                i = self._nouns(i)
            elif word in _LINKS:
                self.linked, i = bool(self.topic), i + 1
            elif word in _RELATIVE:
                i += 1
            else:
                if word in ("with", "has", "have", "having", "but", ";", ".", "while", "whose"):
                    self.linked = False
                    if word in (";", ".", "while"):
                        self.topic = []
                i += 1

    # Colours

    def _begins_colour(self, i: int) -> bool:
        j = i
        while j < len(self.words) and self.words[j] in known.SHADES:
            j += 1
        return j < len(self.words) and known.colour_of(self.words[j]) is not None and not self._is_noun(self.words[j])

    def _colours(self, i: int) -> tuple[list[Colour], int]:
        """The colours that begin at word `i`, and where they end: "dark red and light blue green"."""
        colours: list[Colour] = []
        while i < len(self.words) and self._begins_colour(i):
            colour, i = self._colour(i)
            colours.append(colour)
            j = i
            while j < len(self.words) and (self.words[j] in _JOINTS or self.words[j] == "a"):
                j += 1
            if "with" in self.words[i:j] or not self._begins_colour(j) or self._own_part(j):
                break
            i = j
        return list(dict.fromkeys(colours)), i

    def _colour(self, i: int) -> tuple[Colour, int]:
        """Parse one colour with its shades: "bright red", "reddish brown", "blue green"."""
        shades, before = [], None
        while self.words[i] in known.SHADES:
            shades.append(self.words[i])
            i += 1
        colour = known.colour_of(self.words[i]) or Colour("gray")
        i += 1
        while i < len(self.words) and (after := known.colour_of(self.words[i])) and not self._is_noun(self.words[i]):
            if {colour.name, after.name} & {"black", "white"} and not self.words[i - 1].endswith("ish"):
                break  # "black white and brown" are three
            before, colour = colour, after
            i += 1
        return known.shaded(colour if before is None else known.mixed(colour, before), *shades), i

    def _own_part(self, i: int) -> bool:
        """Test whether the colours at `i` stand before a part of their own, when those before them have none yet.

        "black and white wings" is one part of two colours; in "yellow, with a black crown" the second has its own.
        """
        return self.words[i - 1] == "a" or (self.words[i - 1] == "," and self.linked)

    def _coloured(self, i: int) -> int:
        """Colours and what they are of; returns where to go on."""
        colours, end = self._colours(i)
        j, skipped = end, 0
        while j < len(self.words) and (self.words[j] in _FILL or self.words[j] in known.SHADES):
            j += 1
        if self._pattern_at(j, i, end):
            return self._after_pattern(j + 1)
        while j < len(self.words) and skipped <= _MOST and not self._is_noun(self.words[j]):
            if self.words[j] in STOPS | _LINKS or self.words[j] in ",;.&" or self._begins_colour(j):
                break
            if self._is_pattern(self.words[j]):
                self._pattern(" ".join(self.words[i : j + 1]))
                return self._after_pattern(j + 1)
            j, skipped = j + 1, skipped + 1
        if j < len(self.words) and self._is_noun(self.words[j]):
            return self._of(colours, j)
        if place := self._place(end):
            return self._of(colours, place, joined=True)
        self._told(colours, i)
        return end

    def _pattern_at(self, j: int, start: int, end: int) -> bool:
        if j < len(self.words) and self._is_pattern(self.words[j]):
            self._pattern(" ".join([*self.words[start:end], self.words[j]]))
            return True
        return False

    def _of(self, colours: list[Colour], j: int, *, joined: bool = False) -> int:
        """Colours before a noun at `j` (and those joined to it)."""
        nouns, end = self._run(j)
        if not joined and end < len(self.words) and self._is_pattern(self.words[end]):
            if nouns[:-1]:
                self._target(nouns[:-1], colours)
                j = self._last_start(j, end) + 1
            self._pattern(" ".join(self.words[j - 1 : end + 1]))  # "black wing bars"
            return self._after_pattern(end + 1)
        after = [word for word in self.words[end : end + 3] if word not in _RELATIVE][:2]
        if len(nouns) > 1 and after and after[0] in _LINKS and known.colour_of(after[-1]):
            end = self._last_start(j, end)  # "a red head and wings are black"
            nouns = nouns[:-1]
        feathers = nouns[-1] in PAINTED_WHOLE - BIRD and (place := self._place(end))
        if not joined and feathers:  # "red feathers on its head"
            return self._of(colours, place, joined=True)
        self._target(nouns, colours)
        self.topic, self.linked = nouns, False
        return end

    def _told(self, colours: list[Colour], i: int) -> None:
        """Colours without a noun after them: "the wings are black", "yellow with black wings"."""
        if (self.linked and self.topic) or (
            i >= 1 and self.words[i - 1] in ("in", "of", "being", "colored", "color") and self.topic
        ):
            self._target(self.topic, colours)
        elif not self.found or (self.topic and self._whole(self.topic[-1])):
            self._target([self.subject], colours)

    def _place(self, i: int) -> int:
        """Index of the part in "(yellow) on its belly"; 0 if there is none."""
        if i >= len(self.words) or self.words[i] not in _PLACES | {"color", "colour", "coloring", "feathers", "all"}:
            return 0
        j = i
        while j < len(self.words) and (
            self.words[j] in _PLACES | _DETERMINERS | {"color", "colour", "coloring", "all"}
        ):
            j += 1
        found = j < len(self.words) and self._is_noun(self.words[j]) and not self._is_unpainted(self.words[j])
        return j if found and self.words[j - 1] not in ("to",) else 0

    # Nouns

    def _is_pattern(self, word: str) -> bool:
        return word in PATTERNS and word not in self.own

    def _is_unpainted(self, word: str) -> bool:
        return word in UNPAINTED and word not in self.own

    def _is_noun(self, word: str) -> bool:
        if word in self.own or word == self.subject:
            return True
        if word in FLOWER:
            return self.flower
        return word in PAINTED or word in PAINTED_TOGETHER or word in UNPAINTED or word in PAINTED_WHOLE

    def _run(self, i: int) -> tuple[list[str], int]:
        """Nouns joined from word `i` on, and where they end: "head, breast and the belly"."""
        nouns = [self.words[i]]
        i += 1
        while i < len(self.words):
            if self._is_noun(self.words[i]):  # "wing feathers" is one, "head wings and tail" are several
                if self._whole(nouns[-1]):
                    nouns[-1] = self.words[i]
                elif not self._whole(self.words[i]):
                    nouns.append(self.words[i])
                i += 1
                continue
            j = i
            while j < len(self.words) and (
                self.words[j] in (",", "and", "or", "&", "plus")
                or (j > i and self.words[j] in _DETERMINERS - {"a", "an", "of", "that"})
            ):
                j += 1
            if j == i or j >= len(self.words) or not self._is_noun(self.words[j]) or self._whole(nouns[-1]):
                break
            nouns.append(self.words[j])
            i = j + 1
        return nouns, i

    def _last_start(self, start: int, end: int) -> int:
        return next(k for k in range(end - 1, start, -1) if self._is_noun(self.words[k]))

    def _nouns(self, i: int) -> int:
        """Nouns before which no colour stands."""
        nouns, end = self._run(i)
        j = i - 1
        while j > 0 and i - j < _MOST and self.words[j] not in STOPS - (_DETERMINERS - {"of"}):
            j -= 1
        of = j >= 0 and self.words[j] == "of"
        if of and self.topic and self._whole(nouns[0]) and not self.linked:  # "the head of this small bird"
            return end
        j = end
        if j + 1 < len(self.words) and self.words[j] in ("of", "on") and self.words[j + 1] in _DETERMINERS:
            j += 2
            if j < len(self.words) and self._whole(self.words[j]):
                end = j + 1
        for noun in nouns:
            self.bare.setdefault(noun)
        self.topic, self.linked = nouns, False
        return end

    def _whole(self, word: str) -> bool:
        if word in self.own:
            return False
        return word in PAINTED_WHOLE or (self.flower and word in FLOWER) or word == self.subject

    def _target(self, nouns: Sequence[str], colours: Sequence[Colour]) -> None:
        for word in nouns:
            if self._is_unpainted(word) or not colours:
                if self._is_unpainted(word):
                    self.notes.setdefault(f"{word!r} keeps its colour: it is too small to be painted")
                continue
            if self.flower and PAINTED.get(word) == "leaves" and colours[0].name != "green":
                word = "petals"
            whole = (self._whole(word) and not self.flower) or self.parts == _ALONE
            parts = self._parts(word, whole)
            if not parts:
                self.notes.setdefault(f"{word!r} is left out: the parts that are found are {', '.join(self.parts)}")
                continue
            key = "bird" if whole else ",".join(parts)
            if key in self.found:
                colours = (
                    *self.found[key].colours,
                    *colours,
                )  # "red crown, white cheeks": what is said first is painted
            self.found[key] = ColourTarget(word, parts, tuple(dict.fromkeys(colours)), whole)

    def _parts(self, word: str, whole: bool) -> tuple[str, ...]:
        if whole or self.parts == _ALONE:
            return tuple(part for part in self.parts if part not in NO_PLUMAGE | {"stem", "leaves", "other"})
        wanted = self.own.get(word) or PAINTED_TOGETHER.get(word) or (PAINTED.get(word, word),)
        return tuple(part for part in wanted if part in self.parts)

    # What is not painted

    def _pattern(self, phrase: str) -> None:
        self.notes.setdefault(f"{phrase!r} is left out: patterns are not painted")
        self.topic, self.linked = [], False

    def _after_pattern(self, i: int) -> int:
        """Past the part that a pattern is on: "speckled breast", "white spots on its wings"."""
        j = i
        if j + 1 < len(self.words) and self.words[j] == "of" and self._begins_colour(j + 1):  # "patches of brown"
            j = self._colours(j + 1)[1]
        while j < len(self.words) and (self.words[j] in _PLACES | _DETERMINERS | PATTERNS or self.words[j] == "and"):
            j += 1
        if j < len(self.words) and self._is_noun(self.words[j]) and "and" not in self.words[i:j]:
            nouns, end = self._run(j)
            for noun in nouns:
                self.bare.setdefault(noun)
            self.topic = []
            return end
        return max(i, j if j > i and known.colour_of(self.words[j - 1]) else i)

    def remarks(self) -> tuple[str, ...]:
        """Notes, and a line for each part of which no colour is said."""
        several = [w for w in self.found.values() if len(w.colours) > 1]
        notes = [*self.notes]
        for target in several:
            first, *rest = map(str, target.colours)
            notes.append(
                f"{target.word!r} becomes {first}, not {' or '.join(rest)} too: a part is painted in one colour"
            )
        painted = {part for target in self.found.values() for part in target.parts if not target.whole}
        for word in self.bare:
            parts = self._parts(word, False) if not self._is_unpainted(word) and not self._whole(word) else ()
            if parts and not painted & set(parts):
                notes.append(f"{word!r} stays as it is: no colour is said of it")
        return tuple(notes)
