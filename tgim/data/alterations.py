"""Captions made false by one attribute: "red head and white belly" -> "blue head and white belly", or colours swapped.

They are the hard negatives of matching: counting words, or finding a colour anywhere in the picture, does not tell them
from true captions. Works on token ids, a batch at a time.

>>> vocabulary = Vocabulary.build(["red head and white belly blue green"])
>>> make = Alterations(vocabulary)
>>> ids = np.array([vocabulary.ids("red head and white belly")])
>>> rows = [make(ids, np.random.default_rng(seed))[0] for seed in range(4)]
>>> [" ".join(vocabulary.words[i - 2] for i in row) for row in rows]
['red head and green belly', 'red head and blue belly', 'white head and red belly', 'white head and red belly']
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tgim.text.lexicon.colours import FAMILIES, PLAIN
from tgim.text.lexicon.parts import CAPTION_PARTS
from tgim.text.vocabulary import Vocabulary

SWAPPED = 0.5  # of the captions that give different colours to different parts


class Alterations:
    """Makes a batch of captions false, one attribute each.

    Words of one family of colours are not exchanged for each other: they may well be said of the same feather.

    Args:
        vocabulary: of the ids that are handed in; colours that it does not know are never put into a caption.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        def known(word: str) -> list[int]:
            return vocabulary.ids(word) if word in vocabulary else []

        size = len(vocabulary)
        self._family = np.zeros((size, len(FAMILIES)), bool)  # a word may be of two families
        for column, words in enumerate(FAMILIES.values()):
            self._family[[i for word in words for i in known(word)], column] = True
        self._part = np.zeros(size, bool)
        self._part[[i for word in CAPTION_PARTS for i in known(word)]] = True
        self._plain = np.array([i for word in PLAIN for i in known(word)], np.int64)

    def __call__(self, ids: NDArray[np.int64], source: np.random.Generator) -> NDArray[np.int64]:
        """Altered copy of captions (B, T); a row in which nothing can be altered comes back as it is."""
        altered = ids.copy()
        coloured: NDArray[np.bool_] = np.any(self._family[ids], axis=-1)
        for row in np.flatnonzero(coloured.any(1)):
            places = np.flatnonzero(coloured[row])
            swaps = self._swaps(ids[row], places)
            if swaps and source.random() < SWAPPED:
                i, j = swaps[source.integers(len(swaps))]
                altered[row, [i, j]] = ids[row, [j, i]]
                continue
            place = places[source.integers(len(places))]
            own = np.any(self._family[ids[row, places]], axis=0)  # a colour of the caption could make a true one again
            others = self._plain[~np.any(self._family[self._plain] & own, axis=1)]
            if len(others):
                altered[row, place] = others[source.integers(len(others))]
        return altered

    def _swaps(self, caption: NDArray[np.int64], places: NDArray[np.intp]) -> list[tuple[int, int]]:
        """Pairs of places of different colours with a part between them: "red head and white", not "red and white"."""
        part = self._part[caption].cumsum()
        return [
            (int(i), int(j))
            for n, i in enumerate(places)
            for j in places[n + 1 :]
            if part[j] > part[i] and not (self._family[caption[i]] & self._family[caption[j]]).any()
        ]
