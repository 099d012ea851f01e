"""`realism@1`: whether a set of edited pictures looks like a set of photographs, by a labelled feature extractor.

The measured photographs are split into two halves by a seeded hash of their names. Edits of half A (target captions,
strength 1) are compared with half B, never with their own sources, to which an editor that changes little would be
nearest. The reference `real` is half A itself: no editor can be expected to come below it, and it shows the distance of
two sets of this size by chance. `real_jpeg75` is half A after JPEG at quality 75.

- `kid` is the figure to compare by: it is unbiased, also for a few hundred pictures. Its interval holds 95 % of 100
  random subsets of half as many pictures. Halves drawn without replacement spread as much as the whole set does by
  chance (the delete-half jackknife; Shao and Wu, Annals of Statistics 1989), and more where both sets are alike: of
  Gaussians at a known distance it holds that distance in 175 to 199 of 200 trials (test_known_distances.py).
- `fid`, or `frechet` by the features of `imagenet`, is biased upwards by small sets: compare it only at equal n, which
  stands in each line; with no more pictures than features (`features` in the line) covariances lack rank, too. Its
  interval is the value and 1.96 standard deviations of 20 bootstrap resamples. (Their percentiles would lie above the
  value: pictures that are sampled twice make a set look narrower.)
- `is`, the inception score, where the extractor knows classes; one split, interval as of `fid`.

The extractor's label stands in each line. Without an extractor of one's own all is measured in the judge's features,
where there is a judge, and in those of EfficientNet-Lite0, which knows ImageNet and comes with tgim
(`features.imagenet`). That one joined later; no figure of an older line changed by it, so the version is still 1. Only
Inception's features make a Fréchet distance an FID: tables call all others by their name.
Features of a matching model are scaled, so that those of the photographs have mean square 1 as Inception's have by and
large, others are taken as they are; figures under two labels have nothing to do with each other. The baseline
`unrelated` leaves out the photographs that are in half B themselves.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tgim.data.base import Stream, held_out, random_source, relative
from tgim.errors import UserError
from tgim.evaluation import catalogue
from tgim.evaluation.bench import Bench
from tgim.evaluation.catalogue import CEILING
from tgim.evaluation.contenders import Contender
from tgim.evaluation.features import LITE, Extractor, from_matching, imagenet, inception
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.records import Measured, Options
from tgim.images.photo import from_uint8, to_uint8
from tgim.metrics import fid, inception_score, kid_subsets

SUBSETS = 100  # of KID
RESAMPLES = 20  # of FID and IS
JPEG = 75
COMPRESSED = f"real_jpeg{JPEG}"  # reference row
FEWEST = 8  # pictures of a half
INCEPTION_KEY = "Conv2d_1a_3x3.conv.weight"
METRICS = ("kid",)  # the last; and "is" where there are classes, "fid" or "frechet"
Features = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Halves:
    """The two halves of a bench's photographs, and their features."""

    extractor: Extractor
    scale: float  # of the features in distances
    first: NDArray[np.intp]  # places in the bench: half A
    second: NDArray[np.intp]  # half B
    real: Tensor  # (n, D) of half A
    against: Tensor  # (m, D) of half B


def split_halves(names: list[str], *, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places of two disjoint halves of `names`, by a seeded hash, whatever their order.

    >>> [half.tolist() for half in split_halves(["a", "b", "c", "d"], seed=0)]
    [[0, 3], [1, 2]]
    """
    chosen = held_out(names, fraction=0.5, seed=seed)
    inside = np.array([name in chosen for name in names], bool)
    return np.flatnonzero(inside), np.flatnonzero(~inside)


def open_extractor(source: str | Path) -> Extractor:
    """EfficientNet by its name, Inception from a file, or the embedding of a matching model by its name or file.

    Raises:
        UserError: it is none of them.
    """
    if str(source) == LITE:
        return imagenet()
    path = Path(os.path.expanduser(source))
    if path.is_file():
        if path.suffix != ".safetensors":
            return inception(path)
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                if INCEPTION_KEY in file.keys():  # noqa: SIM118
                    return inception(path)
        except (OSError, SafetensorError):
            pass  # the checkpoint's reader says what is wrong
    return from_matching(source)


@lru_cache(maxsize=2)  # by two extractors
def halves(bench: Bench) -> Halves:
    """The halves of a bench and their features; UserError without an extractor, or with too few pictures."""
    if bench.extractor is None:
        raise UserError(f"realism@1 needs an extractor: {LITE}, a file of Inception's weights, or a matching model")
    names = [relative(bench.dataset.items[row].path, bench.dataset.root) for row in bench.rows]
    first, second = split_halves(names, seed=bench.seed)
    if min(len(first), len(second)) < FEWEST:
        raise UserError(f"{len(names)} pictures are too few to compare halves of; expected {2 * FEWEST} or more")
    extractor = open_extractor(bench.extractor)
    pictures = bench.pictures
    real, against = (extractor.features(pictures[half], progress=bench.seen("features")) for half in (first, second))
    known = extractor.label.startswith(("inception-", LITE))
    square = float(torch.cat([real, against]).double().square().mean())
    return Halves(extractor, 1.0 if known or not square else square**-0.5, first, second, real, against)


def distances(half: Halves, features: Tensor, *, seed: int, strength: float | None = None) -> Iterator[Measured]:
    """The figures of features (n, D) compared with those of half B."""
    options: Options = {"against": len(half.against)}
    fake, real = (half.scale * x.double().numpy() for x in (features, half.against))
    n = len(fake)
    probabilities = half.extractor.probabilities(features)
    if probabilities is not None:
        classes = probabilities.double().numpy()
        spread = _bootstrap(lambda rows, _: inception_score(classes[rows], splits=1), n, n, seed)
        yield _figure("is", inception_score(classes, splits=1), spread, n, strength, options)
    spread = _bootstrap(lambda rows, others: fid(real[others], fake[rows]), n, len(real), seed)
    own = half.extractor.label.startswith(LITE)
    more: Options = {"features": fake.shape[1]} if own else {}
    yield _figure("frechet" if own else "fid", fid(real, fake), spread, n, strength, options | more)
    yield kernel_distance(half, features, seed=seed, strength=strength)


def kernel_distance(half: Halves, features: Tensor, *, seed: int, strength: float | None = None) -> Measured:
    """KID of features (n, D) from those of half B."""
    fake, real = (half.scale * x.double().numpy() for x in (features, half.against))
    size = max(2, min(len(fake), len(real)) // 2)
    parts = kid_subsets(real, fake, subsets=SUBSETS, subset_size=size, seed=seed)
    low, high = np.percentile(parts, [2.5, 97.5])
    return Measured(
        "kid", interval=(float(parts.mean()), float(low), float(high)), n=len(fake), strength=strength,
        higher_is_better=False, options={"against": len(real), "subset": size},
    )  # fmt: skip


def _figure(metric: str, value: float, spread: float, n: int, strength: float | None, options: Options) -> Measured:
    interval = (value, max(0.0, value - 1.96 * spread), value + 1.96 * spread)
    return Measured(metric, interval=interval, n=n, strength=strength, higher_is_better=metric == "is", options=options)


def _bootstrap(
    figure: Callable[[NDArray[np.int64], NDArray[np.int64]], float], n: int, others: int, seed: int
) -> float:
    """Standard deviation of a figure over resamples of its n rows and of the `others` that they are compared with."""
    source = random_source(seed, Stream.FEATURE_BOOTSTRAP)
    found = [figure(source.integers(n, size=n), source.integers(others, size=others)) for _ in range(RESAMPLES)]
    return float(np.std(found, ddof=1))


def as_jpeg(pictures: Tensor, *, quality: int = JPEG) -> Tensor:
    """Pictures (N, 3, H, W) in [-1, 1] after a JPEG file at `quality`."""
    found = []
    for pixels in to_uint8(pictures).permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        found.append(torch.from_numpy(np.array(Image.open(file))))
    return from_uint8(torch.stack(found).permute(0, 3, 1, 2))


def measure(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """The figures of one contender."""
    half = halves(bench)
    places = half.first
    if contender.replaces:  # the photographs of half B are not new to it
        places = places[~np.isin(bench.targets[places], bench.rows[half.second])]
        if len(places) < 2:
            raise UserError("too few target pictures lie outside half B; measure on more pictures")
    pictures = bench.edits(contender, bench.target)[places]

    def make() -> NDArray[np.float32]:
        return half.extractor.features(pictures, progress=bench.seen("features")).numpy()

    features = torch.from_numpy(bench.kept(contender, make, "features", half.extractor.label, pictures))
    yield from distances(half, features, seed=bench.seed, strength=1.0)


def references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """Half A as it is, and as a JPEG file."""
    half = halves(bench)
    for measured in distances(half, half.real, seed=bench.seed):
        yield CEILING, measured
    compressed = half.extractor.features(as_jpeg(bench.pictures[half.first]), progress=bench.seen("features"))
    for measured in distances(half, compressed, seed=bench.seed):
        yield COMPRESSED, measured


def label(bench: Bench) -> str:
    """Label of the extractor in results lines; the extractor is opened for it."""
    return halves(bench).extractor.label


REALISM = Protocol(
    catalogue.REALISM,
    METRICS,
    measure,
    references,
    (CEILING, COMPRESSED),
    needs_extractor=True,
    fewest=2 * FEWEST,
    extractor_label=label,
)
