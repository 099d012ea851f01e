"""`swaps@1`: does the judge tell apart what an editor makes of two captions that swap the colours of two parts?

Each photograph is edited by two captions that differ only by which part gets which colour ("this bird has a red head
and a white belly", "this bird has a white head and a red belly"). Parts and colours are a function of the seed and the
picture's name, by integer hashes; parts are those of birds or of flowers, whatever the picture shows of them. With
s(e, c) for the judge's own score of edit e with caption c, the figures are shares of the pictures, ties against:

- `swap_accuracy`: s(e1, c1) > s(e1, c2) and s(e2, c2) > s(e2, c1). A coin is right once in four times; an editor to
  which both captions are one, never.
- `swap_margin_accuracy`: s(e1, c1) + s(e2, c2) > s(e1, c2) + s(e2, c1), which forgives a judge who likes one of the
  captions whatever it sees. A coin is right every other time; an editor to which both captions are one, never.
- `drawn_swap_accuracy` and `drawn_swap_margin_accuracy`: the same of the drawings and captions of `truth@1`'s swaps.

References: `true_drawn`, the true pictures of the drawn swaps, is how often this judge is right where the edit is
perfect; `unedited` is the floor, 0; `one_colour` covers the picture, background and all, by half with the colour of the
part that is named first: what a judge who does not look at places gives to an editor that does not place colours. A
figure that is not above this row tells nothing of places. `chance` is the coin.
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
from tgim.evaluation.truth import PAIRS, Drawn, draw_truth
from tgim.text.lexicon.colours import CAPTION_COLOURS
from tgim.text.lexicon.colours import SWAPPED as COLOURS
from tgim.text.lexicon.parts import CAPTIONS_OF_FLOWERS, SWAPPED_BARE
from tgim.text.lexicon.parts import SWAPPED as PARTS
from tgim.text.vocabulary import tokenize

METRICS = ("swap_accuracy", "swap_margin_accuracy")
DRAWN = tuple(f"drawn_{metric}" for metric in METRICS)
COINS = (0.25, 0.5)
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
    """The captions that a number of 64 bits stands for."""
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
    """Whether the pictures are of birds or of flowers; a folder's are of flowers when most captions speak of them."""
    known: dict[str, Kind] = {"cub": "birds", "oxford102": "flowers", "synthetic": bench.data.synthetic.kind}
    if bench.data.name in known:
        return known[bench.data.name]
    flowers = sum(not CAPTIONS_OF_FLOWERS.isdisjoint(tokenize(caption)) for caption in bench.task.captions)
    return "flowers" if 2 * flowers > len(bench.task.captions) else "birds"


def captions_for(bench: Bench) -> Captions:
    """The two captions of each picture of a bench."""
    names = [relative(bench.dataset.items[row].path, bench.dataset.root) for row in bench.rows]
    return swap_captions(kind_of(bench), names, seed=bench.seed)


def drawn_for(bench: Bench) -> Drawn:
    """The drawings that belong to a bench: those of `truth@1` where the data set is named."""
    count = PAIRS if bench.limit is None else min(PAIRS, bench.limit)
    return draw_truth(kind_of(bench), count=count, size=bench.size, seed=bench.seed)


def told_apart(scores: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Which pictures count for the two metrics, (n,) of 0 and 1 each, from scores (n, edit, caption) = (n, 2, 2).

    >>> told_apart(np.array([[[2.0, 1.0], [0.0, 1.0]], [[5.0, 1.0], [2.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]]))
    (array([1., 0., 0.]), array([1., 1., 0.]))
    """
    table = scores.astype(np.float64)
    own, other = table[:, (0, 1), (0, 1)], table[:, (0, 1), (1, 0)]
    both = np.logical_and(*(own > other).T)
    return both.astype(np.float64), np.greater(own.sum(1), other.sum(1)).astype(np.float64)


def judge_swaps(bench: Bench, edits: Edits, captions: Captions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the bench's judge says of pictures (n, 3, S, S) edited by either list of n captions; see `told_apart`."""
    count = len(captions[0])
    rows = np.stack([np.arange(count), count + np.arange(count)], 1)
    scores = [bench.scores(edited, [*captions[0], *captions[1]], rows) for edited in edits]
    return told_apart(np.stack(scores, 1))


def in_one_colour(pictures: Tensor, captions: Captions) -> Edits:
    """Pictures (n, 3, S, S) covered by half with the colour that the one and the other caption names first."""
    first, second = (quantised((pictures + _first_colours(texts)[:, :, None, None]) / 2) for texts in captions)
    return first, second


def _first_colours(captions: Sequence[str]) -> Tensor:
    """(n, 3) in [-1, 1]."""
    words = [next(word for word in tokenize(caption) if word in CAPTION_COLOURS) for caption in captions]
    return 2 * torch.tensor([colour_of(word) for word in words]) - 1


def _photographs(bench: Bench, edits: Edits, captions: Captions, strength: float | None) -> Iterator[Measured]:
    options: Options = {"swapped": kind_of(bench)}
    for metric, values in zip(METRICS, judge_swaps(bench, edits, captions), strict=True):
        yield Measured(metric, values, strength, options=options)


def _drawings(bench: Bench, edits: Edits, drawn: Drawn, strength: float | None) -> Iterator[Measured]:
    for metric, values in zip(DRAWN, judge_swaps(bench, edits, drawn.swap_captions), strict=True):
        yield Measured(metric, values, strength, options=drawn.options)


def measure(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """The figures of one contender: photographs, then drawings."""
    captions, drawn = captions_for(bench), drawn_for(bench)

    def edits(pictures: Tensor, said: Captions) -> Edits:
        first, second = (bench.edits(contender, texts, pictures=pictures) for texts in said)
        return first, second

    yield from _photographs(bench, edits(bench.pictures, captions), captions, 1.0)
    if contender.replaces:  # another drawing, as in `truth@1`
        other = drawn.swap_pictures.roll(1, 0)
        yield from _drawings(bench, (other, other), drawn, 1.0)
    else:
        yield from _drawings(bench, edits(drawn.swap_pictures, drawn.swap_captions), drawn, 1.0)


def references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """The true drawings, what is not edited, what is all in one colour, and the coin."""
    captions, drawn = captions_for(bench), drawn_for(bench)
    photographs, drawings = bench.pictures, drawn.swap_pictures
    rows: dict[str, tuple[Edits | None, Edits]] = {
        "true_drawn": (None, drawn.swap_true),
        FLOOR: ((photographs, photographs), (drawings, drawings)),
        "one_colour": (in_one_colour(photographs, captions), in_one_colour(drawings, drawn.swap_captions)),
    }
    for name, (of_photographs, of_drawings) in rows.items():
        if of_photographs is not None:
            for figure in _photographs(bench, of_photographs, captions, None):
                yield name, figure
        for figure in _drawings(bench, of_drawings, drawn, None):
            yield name, figure
    swapped: Options = {"swapped": kind_of(bench)}
    for metrics, options, count in ((METRICS, swapped, len(bench)), (DRAWN, drawn.options, len(drawings))):
        for metric, value in zip(metrics, COINS, strict=True):
            yield CHANCE, Measured(metric, interval=(value, value, value), n=count, options=options)


# The true pictures are known of drawings alone, so every row has the drawings' figures, and has them last.
ROWS = ("true_drawn", FLOOR, "one_colour", CHANCE)
SWAPS = Protocol(catalogue.SWAPS, DRAWN, measure, references, ROWS, needs_judge=True)
