"""Pretrained word vectors, from fastText text or numpy files.

TAGAN and SISGAN read those of Bojanowski et al., "Enriching Word Vectors with Subword Information", TACL 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tgim.errors import CheckpointError
from tgim.system.lines import ForeignText, read_rows
from tgim.text.vocabulary import Vocabulary, tokenize

MAX_WORDS_READ = 50_000  # of a file of word vectors, most frequent first


class WordVectors(NamedTuple):
    """Words, most frequent first, and the table (2 + N, W) by token id; the two reserved ids are zero vectors."""

    vocabulary: Vocabulary
    table: Tensor


def read_word_vectors(path: str | Path, *, words: str | Path | None = None, limit: int = MAX_WORDS_READ) -> WordVectors:
    """Read word vectors from fastText text (``.vec``: an optional line ``N W``, then a word and W numbers) or ``.npy``.

    Kept are words that the tokenizer can produce (lower case, no punctuation), the first of doubles, at most `limit`.

    Args:
        path: ``.vec`` or ``.npy``, a table (N, W).
        words: words, one a line. For ``.npy`` they name the rows (default: the ``.txt`` of the same name); for ``.vec``
            only these are kept.
        limit: how many words at most.

    Raises:
        CheckpointError: a file that is missing or not of this form, or no usable word in it.
    """
    path = Path(path)
    if path.suffix == ".npy":
        rows: Iterator[tuple[str, np.ndarray]] = _npy_rows(path, Path(words) if words else path.with_suffix(".txt"))
    elif path.suffix == ".vec":
        wanted = None if words is None else set(read_words(Path(words)))
        rows = _vec_rows(path, wanted)
    else:
        raise CheckpointError(f"word vectors {path} must be a .vec (text) or .npy file; save them as one of these")
    kept: dict[str, np.ndarray] = {}
    for word, row in rows:
        if tokenize(word) == [word]:
            kept.setdefault(word, row)
        if len(kept) == limit:
            break
    if not kept:
        raise CheckpointError(f"word vectors {path}: no lower-case word in it; a line must be a word and its numbers")
    table = torch.from_numpy(np.stack(list(kept.values())))
    return WordVectors(Vocabulary(list(kept)), torch.cat([torch.zeros(2, table.shape[1]), table]))


def read_words(path: Path) -> list[str]:
    """The lines of a list of words; CheckpointError where it cannot be read."""
    try:
        rows = list(read_rows(path))
        if bad := next((row for row in rows if row.fault), None):
            raise ForeignText(f"line {bad.number}: {bad.fault.partition(';')[0]}")
    except (OSError, ForeignText) as error:
        raise CheckpointError(
            f"list of words {path} cannot be read ({error}); give a text of one word a line"
        ) from None
    return [row.text for row in rows]


def _npy_rows(path: Path, words: Path) -> Iterator[tuple[str, np.ndarray]]:
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"word vectors {path} cannot be read ({error}); save a 2-D float array") from None
    names = [line.strip() for line in read_words(words)]
    if table.ndim != 2 or len(table) != len(names):
        raise CheckpointError(
            f"word vectors {path} are {table.shape} for {len(names)} words in {words}; one row a word is needed"
        )
    yield from zip(names, np.asarray(table, dtype=np.float32), strict=True)


def _vec_rows(path: Path, wanted: set[str] | None) -> Iterator[tuple[str, np.ndarray]]:
    width = None
    try:
        with open(path, encoding="utf-8", newline="\n", errors="replace") as file:
            for number, line in enumerate(file, 1):
                word, *numbers = line.rstrip().split(" ")
                if number == 1 and len(numbers) == 1:
                    continue  # header: N W
                if wanted is not None and word not in wanted:
                    continue
                row = np.asarray(numbers, dtype=np.float32)
                width = width or len(row)
                if not len(row) or len(row) != width:
                    raise CheckpointError(f"word vectors {path}, line {number}: {len(row)} numbers, expected {width}")
                yield word, row
    except OSError as error:
        raise CheckpointError(f"word vectors {path} cannot be read ({error.strerror}); check the path") from None
    except ValueError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"word vectors {path}: not a word and numbers a line ({error})") from None
