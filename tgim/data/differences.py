"""Captioned triples: a source picture, a text of what the target has and the source lacks, and the target picture.

The data sets of tgim have no such texts, so they are made of captions, as Vo et al. ("Composing Text and Image for
Image Retrieval", CVPR 2019, §4.1) make those of Fashion200k. The text names the colour phrases of one caption of the
target ("red head and breast") that no caption of the source contains; colours of one family and words for one part
count as the same. Among randomly sampled pictures, the source is the one whose captions are most similar to the
target's. So the picture determines a good part of the target, and the text the rest.

>>> birds = [["a red bird with a black beak"], ["a brown bird with a black bill"], ["a white bird"]]
>>> Differences(birds).sample(0, np.random.default_rng(0))
Difference(source=1, text='a red bird instead')
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tgim.text.lexicon.colours import CAPTION_COLOURS, FAMILIES
from tgim.text.lexicon.parts import ALIKE, CAPTION_PARTS, CAPTION_SUBJECTS
from tgim.text.phrases import phrases, sentence

SHARE = 16  # one picture in so many is a candidate: as many of the target's class, however many classes there are
FEWEST = 16  # candidates, sampled with replacement
_FAMILIES = {word: [name for name, words in FAMILIES.items() if word in words] for word in CAPTION_COLOURS}
_OF_PARTS = ("but with {}", "with {}", "the same but with {}", "{} instead", "{}")
_OF_ALL = ("but {}", "{} instead", "{}")  # of the subject itself: "a red bird with black wings"
WORDING = "but with the same instead and a an"  # the words that stand around phrases


class Difference(NamedTuple):
    """Source and text of a triple; the target itself and a caption where no caption names a difference."""

    source: int  # row of the picture to start from
    text: str


class Phrase(NamedTuple):
    """A colour phrase of a caption."""

    thing: str  # "a red head and breast"
    whole: bool  # it speaks of the bird or flower itself
    columns: list[int]  # of the table of attributes


class Differences:
    """Sampler of triples among the pictures of a data set.

    Args:
        captions: of each of N pictures, one or more.
        rows: (M,) of the pictures that may be sources; all unless given.
    """

    def __init__(self, captions: Sequence[Sequence[str]], *, rows: NDArray[np.int64] | None = None) -> None:
        columns: dict[tuple[str, str], int] = {}
        self.captions, self.rows = captions, np.arange(len(captions)) if rows is None else rows
        self.phrases = [[_read(caption, columns) for caption in row] for row in captions]
        table = np.zeros((len(captions), len(columns)), np.float32)
        for row, phrases_of in zip(table, self.phrases, strict=True):
            for caption in phrases_of:
                row[sorted({column for phrase in caption for column in phrase.columns})] += 1
        self._has = table > 0
        self._table = table / np.linalg.norm(table, axis=1, keepdims=True).clip(min=1)

    def sample(self, target: int, source: np.random.Generator) -> Difference:
        """Sample a source picture and a text for the target picture of row `target`.

        Args:
            target: row of a picture.
            source: of the caption, the candidates and the wording.
        """
        nothing = Difference(target, self.captions[target][0])
        stated = [caption for caption in self.phrases[target] if caption]
        others = source.choice(self.rows, max(FEWEST, len(self.rows) // SHARE))
        if not stated:
            return nothing
        caption = stated[source.integers(len(stated))]
        lacked = np.stack([~self._has[others][:, phrase.columns].any(1) for phrase in caption])  # P, candidates
        alike = np.where(lacked.any(0), self._table[others] @ self._table[target], -1)
        best = int(alike.argmax())
        if alike[best] < 0:
            return nothing
        new = [phrase for phrase, lacks in zip(caption, lacked[:, best], strict=True) if lacks]
        return Difference(int(others[best]), _worded(new, source))


def attributes(phrase: str) -> set[tuple[str, str]]:
    """Parts and colour families of a phrase.

    >>> sorted(attributes("black and yellowish bill"))
    [('beak', 'black'), ('beak', 'yellow')]
    """
    words = phrase.split()
    families = {family for word in words for family in _FAMILIES.get(word, ())}
    return {(ALIKE.get(word, word), family) for word in words if word in CAPTION_PARTS for family in families}


def with_article(phrase: str) -> str:
    """A phrase as a thing.

    >>> with_article("orange head"), with_article("black feet")
    ('an orange head', 'black feet')
    """
    return re.sub(r"^(?:this is|these are|this bird has) ", "", sentence(phrase))


def _read(caption: str, columns: dict[tuple[str, str], int]) -> list[Phrase]:
    """The phrases of a caption; attributes that are met for the first time get a column."""
    found = []
    for phrase in phrases(caption):
        pairs = sorted(attributes(phrase))
        if pairs:
            whole = phrase.split()[-1] in CAPTION_SUBJECTS
            found.append(
                Phrase(with_article(phrase), whole, [columns.setdefault(pair, len(columns)) for pair in pairs])
            )
    return found


def _worded(new: Sequence[Phrase], source: np.random.Generator) -> str:
    """Phrases as one text: "but with a red head and a black beak", "a red bird with a black beak instead"."""
    whole = [phrase.thing for phrase in new if phrase.whole][:1]
    parts = " and ".join(phrase.thing for phrase in new if not phrase.whole)
    frames = _OF_ALL if whole else _OF_PARTS
    return frames[source.integers(len(frames))].format(" with ".join(filter(None, [*whole, parts])))
