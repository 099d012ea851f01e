"""Captions in, token ids out: one tokenizer for training and editing, and the vocabulary that a checkpoint carries.

Nothing here imports torch until captions are turned into tensors.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tgim.errors import TextError

if TYPE_CHECKING:
    from torch import Tensor

_UNSEEN = re.compile("[\u00ad\u200c\u200d\u2060\ufeff]")  # hyphens and joiners that do not show, within words
PADDING, UNKNOWN = 0, 1  # reserved ids
MAX_WORDS = 60  # a longer caption is refused: no caption of CUB or Oxford-102 comes near
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789\n,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "  # the 70 of Reed et al., 2016


class Tokens(NamedTuple):
    """A batch of captions: `ids` (B, T) int64, `mask` (B, T) True on real tokens. Padding is at the end."""

    ids: Tensor
    mask: Tensor

    def roll(self, shift: int = 1) -> Tokens:
        """Give each image its neighbour's caption."""
        return Tokens(self.ids.roll(shift, 0), self.mask.roll(shift, 0))

    def to(self, device: object) -> Tokens:
        return Tokens(self.ids.to(device), self.mask.to(device))  # type: ignore[call-overload]

    def __getitem__(self, rows: object) -> Tokens:  # type: ignore[override]
        """Select captions (an index, slice or tensor), not tuple fields."""
        return Tokens(self.ids[rows], self.mask[rows])  # type: ignore[index]

    @property
    def lengths(self) -> Tensor:
        """(B,) number of real tokens."""
        return self.mask.sum(1)


class TextCode(NamedTuple):
    """Output of a text encoder: `words` (B, T, E), `sentence` (B, E), `mask` (B, T) True on real tokens."""

    words: Tensor
    sentence: Tensor
    mask: Tensor

    def roll(self, shift: int = 1) -> TextCode:
        """Give each image its neighbour's caption."""
        return TextCode(*(x.roll(shift, 0) for x in (self.words, self.sentence, self.mask)))


def tokenize(caption: str) -> list[str]:
    r"""Split a caption into lower-case words (``\w+``), whatever its Unicode normalisation.

    >>> tokenize("A small, Blue bird!"), tokenize("rose\u0301 car\u00addinal")
    (['a', 'small', 'blue', 'bird'], ['rosé', 'cardinal'])
    """
    if not caption.isascii():
        caption = _UNSEEN.sub("", unicodedata.normalize("NFC", caption))
    return re.findall(r"\w+", caption.lower())


def complete(text: str, template: str) -> str:
    """Put a bare phrase into `template`; a text that names the template's subject, or any without one, is kept.

    >>> complete("red head and breast", "this bird has a {}")
    'this bird has a red head and breast'
    >>> complete("a red bird", "this bird has a {}")
    'a red bird'
    """
    subject = set(tokenize(template.replace("{}", " ")))
    return text if not template or subject & set(tokenize(text)) - {"a"} else template.format(text.strip())


class Vocabulary:
    """The words a model knows, most frequent first; id 0 is padding, id 1 an unknown word.

    >>> vocabulary = Vocabulary.build(["a blue bird", "a red bird"])
    >>> vocabulary.words
    ('a', 'bird', 'blue', 'red')
    >>> vocabulary.unknown("a bleu bird")
    {'bleu': ('blue',)}
    """

    longest = MAX_WORDS  # tokens of a caption that are read

    def __new__(cls, words: Sequence[str] = ()) -> Vocabulary:
        """Make an `Alphabet` of words that are exactly its characters: checkpoints store the words alone."""
        return super().__new__(Alphabet if tuple(words) == tuple(CHARACTERS) else cls)

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._ids = {word: i + 2 for i, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            raise TextError("a vocabulary must not name a word twice")

    @classmethod
    def build(cls, captions: Iterable[str], *, min_count: int = 1) -> Vocabulary:
        """Make a vocabulary of words that occur at least `min_count` times, by falling frequency, then by alphabet."""
        counts = Counter(word for caption in captions for word in tokenize(caption))
        kept = [(-n, word) for word, n in counts.items() if n >= min_count]
        return cls([word for _, word in sorted(kept)])

    def __len__(self) -> int:
        """Number of ids, the two reserved ones included."""
        return len(self.words) + 2

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def ids(self, caption: str) -> list[int]:
        """Token ids of one caption; unknown words become id 1."""
        return [self._ids.get(word, UNKNOWN) for word in tokenize(caption)]

    def knows(self, text: str) -> bool:
        """Tell whether at least one word of `text` is known."""
        return any(word in self for word in tokenize(text))

    def unknown(self, caption: str) -> dict[str, tuple[str, ...]]:
        """Unknown words of a caption, each with up to three known words of similar spelling."""
        missing = [word for word in dict.fromkeys(tokenize(caption)) if word not in self]
        return {word: tuple(difflib.get_close_matches(word, self.words, n=3, cutoff=0.7)) for word in missing}

    def check(self, caption: str) -> str:
        """Return `caption` stripped if it can be used.

        Raises:
            TextError: empty, over `MAX_WORDS` words, or no known word.
        """
        words = tokenize(caption)
        if not words:
            raise TextError(
                f"text {caption!r} has no words; describe the wanted picture, e.g. 'a red bird with black wings'"
            )
        if len(words) > MAX_WORDS:
            raise TextError(f"text has {len(words)} words, at most {MAX_WORDS} are used; shorten it to one sentence")
        if not any(word in self for word in words):
            hints = sorted({near for close in self.unknown(caption).values() for near in close})
            known = ", ".join(hints or self.words[:12])
            raise TextError(f"this model knows none of the words in {caption!r}; words that it knows: {known}")
        return caption.strip()

    def encode(self, captions: Sequence[str]) -> Tokens:
        """Turn captions into `Tokens`, padded to the longest of them."""
        return pad([self.ids(caption) for caption in captions])


class Alphabet(Vocabulary):
    """The 70 characters of character-level encoders (Zhang et al. 2015; Reed et al. 2016) in place of words.

    Captions are read in lower case, white space as single blanks. The authors' list names "-" twice, and only the
    second place is ever used; the first is the line break here, which no caption holds.

    >>> Alphabet().ids("A b-z")
    [2, 71, 3, 61, 27]
    >>> type(Vocabulary(list(CHARACTERS))).__name__
    'Alphabet'
    """

    longest = 201  # characters, Reed et al.'s

    def __init__(self, words: Sequence[str] = tuple(CHARACTERS)) -> None:
        if tuple(words) != tuple(CHARACTERS):
            raise TextError(f"an alphabet has {len(CHARACTERS)} fixed characters, got {len(words)}; use Vocabulary")
        super().__init__(words)

    def ids(self, caption: str) -> list[int]:
        """Ids of the characters of one caption; unknown ones become id 1."""
        return [self._ids.get(character, UNKNOWN) for character in characters(caption)]

    def unknown(self, caption: str) -> dict[str, tuple[str, ...]]:
        """Unknown characters of a caption, each without similar ones."""
        return {each: () for each in dict.fromkeys(characters(caption)) if each not in self}

    def knows(self, text: str) -> bool:
        """Tell whether a character of `text` is known."""
        return any(character in self for word in tokenize(text) for character in word)

    def check(self, caption: str) -> str:
        """Return `caption` stripped if it can be used.

        Raises:
            TextError: empty, over `MAX_WORDS` words, or no word of known characters.
        """
        words = tokenize(caption)
        if words and not any(character in self for word in words for character in word):
            raise TextError(f"this model reads Latin letters and digits, and {caption!r} has none; write it in English")
        return Vocabulary(list(dict.fromkeys(words))).check(caption)  # empty or too long


def characters(caption: str) -> str:
    r"""Write a caption as `Alphabet` reads it: lower case, white space as single blanks, none at the ends.

    >>> characters(" A red\n bird. ")
    'a red bird.'
    """
    return " ".join(caption.lower().split())


def pad(ids: Sequence[Sequence[int]]) -> Tokens:
    """Stack token-id lists of different length; (B, T) with T the longest (at least 1)."""
    import torch

    length = max((len(row) for row in ids), default=0) or 1
    table = torch.full((len(ids), length), PADDING, dtype=torch.long)
    for i, row in enumerate(ids):
        table[i, : len(row)] = torch.as_tensor(row, dtype=torch.long)
    lengths = torch.tensor([len(row) for row in ids])
    return Tokens(table, torch.arange(length)[None] < lengths[:, None])
