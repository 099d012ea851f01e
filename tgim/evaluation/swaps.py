"""`swaps@1`: does the judge tell apart the edits by two captions that swap the colours of two parts?

Each photograph is edited by two captions that differ only by which part gets which colour ("this bird has a red head
and a white belly", "this bird has a white head and a red belly"). Parts and colours are a function of the seed and the
picture's name, by integer hashes; parts are those of birds or of flowers, whether the picture shows them or not. With
s(e, c) for the judge's own score of edit e with caption c, the figures are shares of the pictures, ties against:

- `swap_accuracy`: s(e1, c1) > s(e1, c2) and s(e2, c2) > s(e2, c1). Chance is 1 in 4; an editor that makes the same
  edit of both captions is never right.
- `swap_margin_accuracy`: s(e1, c1) + s(e2, c2) > s(e1, c2) + s(e2, c1), which allows for a judge that prefers one of
  the captions for every picture. Chance is 1 in 2; an editor that makes the same edit of both is never right.
- `drawn_swap_accuracy` and `drawn_swap_margin_accuracy`: the same of the synthetic pictures and captions of
  `truth@1`'s swaps.

References: `true_drawn`, the true edits of the synthetic pictures, is the accuracy of this judge on perfect edits;
`unedited` is the floor, 0; `one_colour` blends the whole picture, background too, by half with the colour of the part
that is named first: the figure of an editor that places no colours, by a judge that ignores places. A figure that is
not above this row is no evidence of placed colours. `chance` guesses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tgim.data.base import relative
from tgim.data.synthetic.pool import Kind
from tgim.evaluation import catalogue
from tgim.evaluation.baselines import colour_of
from tgim.evaluation.bench import Bench
from tgim.evaluation.catalogue import CHANCE, FLOOR
from tgim.evaluation.contenders import Contender, quantised
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.records import Measured, Options
from tgim.evaluation.task import hash_text
from tgim.evaluation.truth import PAIRS, SyntheticTruth, synthetic_truth
from tgim.text.lexicon.colours import CAPTION_COLOURS
from tgim.text.lexicon.colours import SWAPPED as COLOURS
from tgim.text.lexicon.parts import CAPTIONS_OF_FLOWERS, SWAPPED_BARE
from tgim.text.lexicon.parts import SWAPPED as PARTS
from tgim.text.vocabulary import tokenize

METRICS = ("swap_accuracy", "swap_margin_accuracy")
SYNTHETIC = tuple(f"drawn_{metric}" for metric in METRICS)
GUESSED = (0.25, 0.5)  # the two metrics by chance
Captions = tuple[list[str], list[str]]
Edits = tuple[Tensor, Tensor]


def swap_captions(kind: Kind, names: Sequence[str], *, seed: int) -> Captions:
    """Two captions for each name, n each; they differ by which of two parts gets which of two colours.

    >>> first, second = swap_captions("birds", ["a.jpg", "b.jpg"], seed=0)
    >>> first
    ['this bird has a yellow breast and a brown crown', 'this bird has a black belly and pink wings']
    >>> second
    ['this bird has a brown breast and a yellow crown', 'this bird has a pink belly and black wings']
    """
    pairs = [_pair(kind, hash_text(f"{seed}:swap:{name}")) for name in names]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _pair(kind: Kind, number: int) -> tuple[str, str]:
    """Choose the two captions by a number of 64 bits."""
    number, which = divmod(number, len(PARTS[kind]))
    number, turned = divmod(number, 2)
    number, one = divmod(number, len(COLOURS))
    other = (one + 1 + number % (len(COLOURS) - 1)) % len(COLOURS)
    parts = PARTS[kind][which][:: -1 if turned else 1]
    subject = kind.removesuffix("s")
    first, second = (
        f"this {subject} has " + " and ".join(_phrase(COLOURS[c], part) for c, part in zip(colours, parts, strict=True))
        for colours in ((one, other), (other, one))
    )
    return first, second


def _phrase(colour: str, part: str) -> str:
    article = "" if part in SWAPPED_BARE else "an " if colour[0] in "aeiou" else "a "
    return f"{article}{colour} {part}"


def kind_of(bench: Bench) -> Kind:
    """Kind of the pictures, "birds" or "flowers"; a folder's are "flowers" if most captions have words of flowers."""
    known: dict[str, Kind] = {"cub": "birds", "oxford102": "flowers", "synthetic": bench.data.synthetic.kind}
    if bench.data.name in known:
        return known[bench.data.name]
    flowers = sum(not CAPTIONS_OF_FLOWERS.isdisjoint(tokenize(caption)) for caption in bench.task.captions)
    return "flowers" if 2 * flowers > len(bench.task.captions) else "birds"


def captions_for(bench: Bench) -> Captions:
    """The two captions of each picture of a bench."""
    names = [relative(bench.dataset.items[row].path, bench.dataset.root) for row in bench.rows]
    return swap_captions(kind_of(bench), names, seed=bench.seed)


def truth_for(bench: Bench) -> SyntheticTruth:
    """Synthetic pictures of a bench and their true edits: those of `truth@1`, except that a folder has its own kind."""
    count = PAIRS if bench.limit is None else min(PAIRS, bench.limit)
    return synthetic_truth(kind_of(bench), count=count, size=bench.size, seed=bench.seed)


def told_apart(scores: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the two metrics of each picture, (n,) of 0 and 1 each, from scores (n, edit, caption) = (n, 2, 2).

    >>> told_apart(np.array([[[2.0, 1.0], [0.0, 1.0]], [[5.0, 1.0], [2.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]]))
    (array([1., 0., 0.]), array([1., 1., 0.]))
    """
    table = scores.astype(np.float64)
    own, other = table[:, (0, 1), (0, 1)], table[:, (0, 1), (1, 0)]
    both = np.logical_and(*(own > other).T)
    return both.astype(np.float64), np.greater(own.sum(1), other.sum(1)).astype(np.float64)


def judge_swaps(bench: Bench, edits: Edits, captions: Captions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score pictures (n, 3, S, S) edited by either list of n captions, with the bench's judge; see `told_apart`."""
    count = len(captions[0])
    rows = np.stack([np.arange(count), count + np.arange(count)], 1)
    scores = [bench.scores(edited, [*captions[0], *captions[1]], rows) for edited in edits]
    return told_apart(np.stack(scores, 1))


def in_one_colour(pictures: Tensor, captions: Captions) -> Edits:
    """Blend pictures (n, 3, S, S) by half with the colour that the one and the other caption names first."""
    first, second = (quantised((pictures + _first_colours(texts)[:, :, None, None]) / 2) for texts in captions)
    return first, second


def _first_colours(captions: Sequence[str]) -> Tensor:
    """Colours (n, 3) in [-1, 1] that captions name first."""
    words = [next(word for word in tokenize(caption) if word in CAPTION_COLOURS) for caption in captions]
    return 2 * torch.tensor([colour_of(word) for word in words]) - 1


def _photographs(bench: Bench, edits: Edits, captions: Captions, strength: float | None) -> Iterator[Measured]:
    options: Options = {"swapped": kind_of(bench)}
    for metric, values in zip(METRICS, judge_swaps(bench, edits, captions), strict=True):
        yield Measured(metric, values, strength, options=options)


def _synthetic(bench: Bench, edits: Edits, synthetic: SyntheticTruth, strength: float | None) -> Iterator[Measured]:
    for metric, values in zip(SYNTHETIC, judge_swaps(bench, edits, synthetic.swap_captions), strict=True):
        yield Measured(metric, values, strength, options=synthetic.options)


def measure(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """The figures of one contender: photographs, then synthetic pictures."""
    captions, synthetic = captions_for(bench), truth_for(bench)

    def edits(pictures: Tensor, both: Captions) -> Edits:
        first, second = (bench.edits(contender, texts, pictures=pictures) for texts in both)
        return first, second

    yield from _photographs(bench, edits(bench.pictures, captions), captions, 1.0)
    if contender.replaces:  # another synthetic picture, as in `truth@1`
        other = synthetic.swap_pictures.roll(1, 0)
        yield from _synthetic(bench, (other, other), synthetic, 1.0)
    else:
        yield from _synthetic(bench, edits(synthetic.swap_pictures, synthetic.swap_captions), synthetic, 1.0)


def references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """True edits of the synthetic pictures, unedited pictures, pictures in one colour, and chance."""
    captions, synthetic = captions_for(bench), truth_for(bench)
    photographs, pictures = bench.pictures, synthetic.swap_pictures
    rows: dict[str, tuple[Edits | None, Edits]] = {
        "true_drawn": (None, synthetic.swap_true),
        FLOOR: ((photographs, photographs), (pictures, pictures)),
        "one_colour": (in_one_colour(photographs, captions), in_one_colour(pictures, synthetic.swap_captions)),
    }
    for name, (of_photographs, of_synthetic) in rows.items():
        if of_photographs is not None:
            for figure in _photographs(bench, of_photographs, captions, None):
                yield name, figure
        for figure in _synthetic(bench, of_synthetic, synthetic, None):
            yield name, figure
    swapped: Options = {"swapped": kind_of(bench)}
    for metrics, options, count in ((METRICS, swapped, len(bench)), (SYNTHETIC, synthetic.options, len(pictures))):
        for metric, value in zip(metrics, GUESSED, strict=True):
            yield CHANCE, Measured(metric, interval=(value, value, value), n=count, options=options)


# True edits are known of synthetic pictures only, so every row has their figures, and has them last.
ROWS = ("true_drawn", FLOOR, "one_colour", CHANCE)
SWAPS = Protocol(catalogue.SWAPS, SYNTHETIC, measure, references, ROWS, needs_judge=True)
