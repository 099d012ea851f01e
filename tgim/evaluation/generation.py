"""`generation@1`: pictures generated from captions: fit to the caption, likeness to photographs, and diversity.

A text-to-image model generates two pictures of one caption of each photograph of the split, at the mean of its
conditioning augmentation. The noises are those of `tgim.models.base.sample_noise`, two for each photograph of the
whole split, so a limit changes no picture. The figures:

- `recall@1`, `recall@10`: the first picture of each caption is the query; its caption must be found among 100, 99 of
  them of other classes, by the judge's own score, ties against. This is AttnGAN's R-precision (Xu et al., CVPR 2018),
  with candidates of other classes, and a judge that no generator learned from.
- `kid`: as in `realism@1`, the squared kernel distance (Binkowski et al., ICLR 2018; unbiased) of the first pictures of
  half A's captions from the photographs of half B, in the features of the extractor that the line names; its interval
  holds 95 % of random subsets.
- `diversity`: 1 - cosine in the judge's space between the two pictures of a caption. `diversity_rmse`: RMSE between
  their pixels in [-1, 1]. Both are 0 for a generator that ignores its noise. Neither is a merit alone: random pixels
  differ, too.

References: `real` is each photograph with its own caption; its KID is that of half A, its diversity that of two
photographs of one class (left out where there are no classes). `unrelated` is a photograph of another class with the
caption, and its diversity that of two photographs of different classes. `chance` guesses a caption.

Trivial generators: one picture for all (a training photograph, a mean colour) and random pixels have the recall of
chance, and a KID far above that of photographs; the former have no diversity. Training photographs chosen at
random are like `unrelated`. The figures do not detect a generator that returns training photographs with captions like
the one asked for, another one for each noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tgim import metrics
from tgim.data.base import relative
from tgim.errors import UserError
from tgim.evaluation import catalogue
from tgim.evaluation.bench import Bench
from tgim.evaluation.catalogue import CEILING, CHANCE
from tgim.evaluation.contenders import Contender, PictureGenerator
from tgim.evaluation.matcher import CHUNK
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.realism import FEWEST, halves, kernel_distance, label
from tgim.evaluation.records import Measured, Options
from tgim.evaluation.task import class_numbers, hash_text
from tgim.images.photo import from_uint8, to_uint8
from tgim.nn.resize import resize

NOISES = 2  # pictures of each caption
DEPTHS = (1, 10)
RECALLS = tuple(f"recall@{k}" for k in DEPTHS)
UNRELATED = "unrelated"  # reference row: a photograph of another class
DIVERSITY = ("diversity", "diversity_rmse")


def generated(bench: Bench, contender: Contender) -> tuple[Tensor, NDArray[np.float64]]:
    """The first picture of each of the bench's own captions, and the differences between the pictures of each caption.

    Pictures are generated and compared 64 captions at a time, and kept like edits.

    Returns:
        (n, 3, S, S) in [-1, 1] on the 256 levels, and `differences` (n, 2).

    Raises:
        UserError: the contender generates no pictures.
    """
    if not isinstance(contender, PictureGenerator):
        raise UserError(f"{contender.name} generates no pictures; generation@1 is for text-to-image models")
    captions, rows, size = bench.own, bench.rows.tolist(), (bench.size, bench.size)
    first, apart = [], []
    for start in range(0, len(captions), CHUNK):
        part = slice(start, min(start + CHUNK, len(captions)))

        def make(part: slice = part) -> NDArray[Any]:
            pictures = contender.generate(captions[part], rows[part], number=NOISES, seed=bench.seed).flatten(0, 1)
            fitted = pictures if pictures.shape[-2:] == size else resize(pictures, size)
            return to_uint8(fitted).view(-1, NOISES, 3, *size).numpy()

        made = bench.kept(contender, make, "generated", NOISES, bench.seed, bench.size, rows[part], captions[part])
        first.append(torch.from_numpy(made[:, 0].copy()))
        apart.append(differences(bench, *from_uint8(torch.from_numpy(made)).unbind(1)))
        bench.progress(f"{contender.name}: pictures", part.stop, len(captions))
    return from_uint8(torch.cat(first)), np.concatenate(apart)


def differences(bench: Bench, one: Tensor, other: Tensor) -> NDArray[np.float64]:
    """Differences between pairs of pictures (m, 3, S, S) in [-1, 1]: 1 - cosine by the judge, and RMSE; (m, 2)."""
    by_judge = 1 - F.cosine_similarity(bench.embeddings(one).double(), bench.embeddings(other).double())
    return torch.stack([by_judge.clamp(min=0), metrics.rmse(one, other).double()], 1).numpy()


def mates(bench: Bench) -> NDArray[np.int64]:
    """(n,) a row of `dataset` for each picture: another one of its class, by a seeded hash; -1 where there is none."""
    items, root = bench.dataset.items, bench.dataset.root
    labels = class_numbers(items)
    keys = np.asarray([hash_text(f"{bench.seed}:mate:{relative(x.path, root)}") for x in items], dtype=np.uint64)
    following = np.full(len(items), -1)
    for one in np.unique(labels):
        members = np.flatnonzero(labels == one)
        if len(members) > 1:
            ordered = members[np.argsort(keys[members], kind="stable")]
            following[ordered] = np.roll(ordered, -1)
    return following[bench.rows]


def _fit(bench: Bench, pictures: Tensor) -> Iterator[Measured]:
    found = metrics.ranks(bench.fits(pictures, bench.own, bench.task.own_wrong))
    for k, metric in zip(DEPTHS, RECALLS, strict=True):
        yield Measured(metric, (found <= k).astype(float), options=candidates(bench))


def _variety(values: NDArray[np.float64]) -> Iterator[Measured]:
    for metric, column in zip(DIVERSITY, values.T, strict=True):
        yield Measured(metric, column)


def candidates(bench: Bench) -> Options:
    """Number of captions that a query chooses from, as an option: 100, or fewer in a small data set."""
    return {"candidates": 1 + bench.task.own_wrong.shape[1]}


def measure(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """The figures of one generator; recall, which every row has, comes last."""
    pictures, apart = generated(bench, contender)
    half = halves(bench)
    some = pictures[half.first]

    def make() -> NDArray[np.float32]:
        return half.extractor.features(some).numpy()

    features = torch.from_numpy(bench.kept(contender, make, "features", half.extractor.label, some))
    yield kernel_distance(half, features, seed=bench.seed)
    yield from _variety(apart)
    yield from _fit(bench, pictures)


def references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """Photographs with their own captions, photographs of other classes, and chance."""
    half, photographs = halves(bench), bench.pictures
    yield CEILING, kernel_distance(half, half.real, seed=bench.seed)
    other, mate = bench.images(bench.targets), mates(bench)
    known = np.flatnonzero(mate >= 0)
    if len(known):
        for figure in _variety(differences(bench, photographs[known], bench.images(mate[known]))):
            yield CEILING, figure
    for figure in _variety(differences(bench, photographs, other)):
        yield UNRELATED, figure
    for name, pictures in {CEILING: photographs, UNRELATED: other}.items():
        for figure in _fit(bench, pictures):
            yield name, figure
    count = 1 + bench.task.own_wrong.shape[1]
    for k, metric in zip(DEPTHS, RECALLS, strict=True):
        value = min(k, count) / count
        yield CHANCE, Measured(metric, interval=(value, value, value), options=candidates(bench))


GENERATION = Protocol(
    catalogue.GENERATION,
    RECALLS,
    measure,
    references,
    (CEILING, UNRELATED, CHANCE),
    needs_judge=True,
    needs_extractor=True,
    extractor_label=label,
    fewest=2 * FEWEST,
)
