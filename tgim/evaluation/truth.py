"""`truth@1`: edits of synthetic pictures, whose true edited picture and colours of parts are known.

The pictures are rendered for the measurement, from a random stream that no training samples from, at the bench's
size; birds for CUB, flowers for Oxford-102, what `synthetic.kind` says for the synthetic set, else birds. All figures
are of the full edit (strength 1).

- `rmse_inside`: RMSE in [-1, 1] against the true picture, weighted by the share of each pixel that was to change; and
  `rmse_inside_ratio`, its mean over that of the unedited pictures (0 is the true picture, 1 changes nothing).
- `leak_255`: mean absolute change, in units of 1/255, of the pixels that no true edit touches (1 or less is the goal);
  and `rmse_outside` of the same pixels in [-1, 1].
- `part_accuracy`: of the parts whose colour word the caption changes, the share that have the new word
  (`tgim.evaluation.part_colours`): the mean over pictures; `part_accuracy/<part>` for parts alone, and
  `part_accuracy_macro`, the mean over those that at least a twentieth of the pictures ask about. A guess is right once
  in 15 times. `kept_accuracy`: the same of the parts that keep their colour.
- `swap_accuracy`: two captions that differ by which part gets which colour; the share of pictures where either edit is
  nearer (RMSE) to its own true picture than to the other's. Chance is 1 in 4; an editor that makes the same edit of
  both captions is never right.

References: `true` (the true pictures: the ceiling) and `unedited` (the floor). The baseline `unrelated` is another
synthetic picture, whatever it shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tgim.data.base import Stream, random_source
from tgim.data.synthetic.canvas import Exposed
from tgim.data.synthetic.pairs import KINDS, albedos, expose, random_pair, render_pair, swap_scene
from tgim.data.synthetic.pool import Kind, renderer_hash
from tgim.data.synthetic.scenes import Scene, random_scene
from tgim.errors import UserError
from tgim.evaluation import catalogue
from tgim.evaluation.bench import Bench
from tgim.evaluation.catalogue import FLOOR
from tgim.evaluation.contenders import Contender
from tgim.evaluation.part_colours import FEWEST, GROUPS, LEAST, PURE, Question, questions
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.records import Measured, Options, percentiles, resampled_means
from tgim.images.photo import from_uint8, to_uint8
from tgim.text.lexicon.synthetic import WORDS

PAIRS = 500  # synthetic pictures, and half as many for the swaps
COMMON = 0.05  # share of the pictures that must ask about a part for it to count in the macro average
TRIES = 1000  # scenes that may be passed over for one swap
PLAIN = 4  # times what a part must fill to be asked about, for the two parts of a swap
METRICS = (
    "rmse_inside", "rmse_inside_ratio", "leak_255", "rmse_outside", "part_accuracy", "part_accuracy_macro",
    "kept_accuracy", "swap_accuracy",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SyntheticTruth:
    """Synthetic pictures, the captions that they are edited by, and their true edits."""

    kind: Kind
    pictures: Tensor  # (n, 3, S, S) in [-1, 1]
    true: Tensor  # (n, 3, S, S) the true edited pictures
    change: Tensor  # (n, S, S) in [0, 1], share of each pixel that was to change
    captions: list[str]  # n target captions
    questions: list[list[Question]]  # n
    swap_pictures: Tensor  # (m, 3, S, S)
    swap_true: tuple[Tensor, Tensor]  # (m, 3, S, S) by the one caption and by the other
    swap_captions: tuple[list[str], list[str]]  # m each

    @property
    def options(self) -> Options:
        """Options of results lines: kind and renderer of the pictures, and their number."""
        return {"drawn": f"{self.kind}:{renderer_hash(self.kind)}", "pairs": len(self.captions)}


@lru_cache(maxsize=2)
def synthetic_truth(kind: Kind, *, count: int = PAIRS, size: int = 64, seed: int = 0) -> SyntheticTruth:
    """Render `count` pairs of "birds" or "flowers" and half as many swaps. Equal arguments give equal pictures.

    Raises:
        UserError: fewer than two pictures.
    """
    if count < 2:
        raise UserError(f"{count} synthetic pictures are too few; expected 2 or more")
    sources, trues, changes, asked, captions = [], [], [], [], []
    for i in range(count):
        pair = random_pair(KINDS[kind], random_source(seed, Stream.TRUTH, i))
        source, true, change = render_pair(pair, size)
        sources.append(source.image)
        trues.append(true)
        changes.append(change)
        captions.append(pair.target_caption)
        asked.append(questions(pair, size))
    swaps = [_swap(kind, size, seed, i) for i in range(count // 2)]
    return SyntheticTruth(
        kind=kind,
        pictures=_tensor(sources),
        true=_tensor(trues),
        change=torch.from_numpy(np.stack(changes)),
        captions=captions,
        questions=asked,
        swap_pictures=_tensor([pictures[0] for pictures, _ in swaps]),
        swap_true=(_tensor([pictures[1] for pictures, _ in swaps]), _tensor([pictures[2] for pictures, _ in swaps])),
        swap_captions=([texts[0] for _, texts in swaps], [texts[1] for _, texts in swaps]),
    )


def _swap(kind: Kind, size: int, seed: int, index: int) -> tuple[list[NDArray[np.uint8]], tuple[str, str]]:
    """Render a picture and its edits by two captions; scenes that show too little of their parts are passed over."""
    source = random_source(seed, Stream.TRUTH, index, 1)
    for _ in range(TRIES):
        scene = random_scene(KINDS[kind], source)
        exposed = expose(scene, size)
        swapped = swap_scene(scene, source, _plain_words(scene, exposed))
        if swapped is not None:
            (one, first), (other, second) = swapped
            return [exposed.paint(albedos(each)) for each in (scene, first, second)], (one, other)
    raise UserError(
        f"truth@1 at {size} pixels: no part of a synthetic picture is large enough to be asked about; take 48 or more"
    )


def _plain_words(scene: Scene, exposed: Exposed) -> list[str]:
    """Words of parts that are large enough in the picture."""
    area = {part: float((mask >= PURE).sum()) for part, mask in exposed.parts.items()}
    least = PLAIN * _least(exposed.grain.size)
    return [word for word, parts in WORDS[scene.kind].items() if sum(area.get(part, 0) for part in parts) >= least]


def _least(pixels: int) -> float:
    return max(FEWEST, LEAST * pixels)


def _tensor(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    return from_uint8(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))


def score_edits(synthetic: SyntheticTruth, edited: Tensor) -> Iterator[Measured]:
    """The figures of `edited` (n, 3, S, S) in [-1, 1], pictures edited by `captions`; all but the swaps'."""
    options = synthetic.options
    weight = synthetic.change.double()
    area = weight.sum((1, 2))
    seen = (area >= _least(weight[0].numel())).numpy()
    after, before = (
        ((picture - synthetic.true).double().square().mean(1) * weight).sum((1, 2)) / area.clamp(min=1e-9)
        for picture in (edited, synthetic.pictures)
    )
    inside, unedited = after.sqrt().numpy()[seen], before.sqrt().numpy()[seen]
    if len(inside):
        yield Measured("rmse_inside", inside, strength=1.0, higher_is_better=False, options=options)
        resampled = resampled_means(np.stack([inside, unedited], 1), seed=0)
        ratio = (inside.mean() / unedited.mean(), *percentiles(resampled[:, 0] / resampled[:, 1]))
        yield Measured(
            "rmse_inside_ratio", interval=ratio, n=len(inside), strength=1.0, higher_is_better=False, options=options
        )
    outside = (synthetic.change == 0).double()
    rest = outside.sum((1, 2)).clamp(min=1)
    change = (edited - synthetic.pictures).double()
    leak = 127.5 * (change.abs().mean(1) * outside).sum((1, 2)) / rest
    error = ((change.square().mean(1) * outside).sum((1, 2)) / rest).sqrt()
    yield Measured("leak_255", leak.numpy(), strength=1.0, higher_is_better=False, options=options)
    yield Measured("rmse_outside", error.numpy(), strength=1.0, higher_is_better=False, options=options)
    yield from _parts(synthetic, edited)


def _parts(synthetic: SyntheticTruth, edited: Tensor) -> Iterator[Measured]:
    """Accuracies of the colour words of parts in edited pictures (n, 3, S, S)."""
    options = synthetic.options
    changed: list[float] = []
    kept: list[float] = []
    groups: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros((len(edited), 2)))  # right, asked
    pixels = to_uint8(edited).permute(0, 2, 3, 1).contiguous().numpy()
    for i, asked in enumerate(synthetic.questions):
        answers = [(question, float(question.answer(pixels[i]) == question.word)) for question in asked]
        for question, right in answers:
            if question.changed:
                groups[GROUPS[question.part]][i] += (right, 1)
        for wanted, shares in ((True, changed), (False, kept)):
            rights = [right for question, right in answers if question.changed is wanted]
            if rights:
                shares.append(float(np.mean(rights)))
    for group, marks in sorted(groups.items()):
        marks = marks[marks[:, 1] > 0]
        yield Measured(f"part_accuracy/{group}", marks[:, 0] / marks[:, 1], strength=1.0, options=options)
    if changed:
        yield Measured("part_accuracy", np.array(changed), strength=1.0, options=options)
        common = [marks for _, marks in sorted(groups.items()) if (marks[:, 1] > 0).mean() >= COMMON]
        figure = _macro(common or list(groups.values()))
        yield Measured("part_accuracy_macro", interval=figure, n=len(changed), strength=1.0, options=options)
    if kept:
        yield Measured("kept_accuracy", np.array(kept), strength=1.0, options=options)


def _macro(groups: Sequence[NDArray[np.float64]]) -> tuple[float, float, float]:
    """Mean over groups of the mean over pictures (rows of right and asked) of the share that is right."""
    share = [np.divide(marks[:, 0], marks[:, 1], out=np.zeros(len(marks)), where=marks[:, 1] > 0) for marks in groups]
    table = np.stack([*share, *(marks[:, 1] > 0 for marks in groups)], 1).astype(np.float64)

    def macro(means: NDArray[np.float64]) -> NDArray[np.float64]:  # (R, 2 groups); a group may miss in a resample
        right, asked = np.split(means, 2, axis=1)
        each = np.divide(right, asked, out=np.zeros_like(right), where=asked > 0)
        return np.asarray(each.sum(1) / (asked > 0).sum(1).clip(1))

    return (float(macro(table.mean(0)[None])[0]), *percentiles(macro(resampled_means(table, seed=0))))


def score_swaps(synthetic: SyntheticTruth, first: Tensor, second: Tensor) -> Measured:
    """`swap_accuracy` of `synthetic.swap_pictures` edited by either list of captions, (m, 3, S, S) each."""
    one, other = synthetic.swap_true
    right = (_error(first, one) < _error(first, other)) & (_error(second, other) < _error(second, one))
    return Measured("swap_accuracy", right.double().numpy(), strength=1.0, options=synthetic.options)


def _error(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).double().square().mean((1, 2, 3))


def truth_for(bench: Bench) -> SyntheticTruth:
    """The synthetic pictures of a bench and their true edits."""
    kinds: dict[str, Kind] = {"cub": "birds", "oxford102": "flowers", "synthetic": bench.data.synthetic.kind}
    count = PAIRS if bench.limit is None else min(PAIRS, bench.limit)
    return synthetic_truth(kinds.get(bench.data.name, "birds"), count=count, size=bench.size, seed=bench.seed)


def measure(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """The figures of one contender."""
    synthetic = truth_for(bench)

    def edits(pictures: Tensor, captions: Sequence[str]) -> Tensor:
        if contender.replaces:
            return pictures.roll(1, 0)
        return bench.edits(contender, captions, 1.0, pictures=pictures)

    yield from score_edits(synthetic, edits(synthetic.pictures, synthetic.captions))
    if len(synthetic.swap_pictures):
        yield score_swaps(
            synthetic, *(edits(synthetic.swap_pictures, captions) for captions in synthetic.swap_captions)
        )


def references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """The true pictures and the unedited ones."""
    synthetic = truth_for(bench)
    rows = {
        "true": (synthetic.true, *synthetic.swap_true),
        FLOOR: (synthetic.pictures, synthetic.swap_pictures, synthetic.swap_pictures),
    }
    for name, (edited, first, second) in rows.items():
        for measured in score_edits(synthetic, edited):
            yield name, measured
        if len(first):
            yield name, score_swaps(synthetic, first, second)


TRUTH = Protocol(catalogue.TRUTH, METRICS, measure, references, ("true", FLOOR))
