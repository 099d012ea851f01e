"""`perceptual@1`: how far an edit is from its photograph in the stages of a network that knows ImageNet.

The full edit by the target caption is compared with its photograph: `tgim.nn.losses.stage_distance` (like LPIPS, Zhang
et al., CVPR 2018, without its learned weights, and in EfficientNet-Lite0; the line's extractor says so). RMSE weighs a
repainted wing like a wing that became a smear; this distance sees texture and shapes, and colours less.

It says how much was changed, not how well: doing nothing scores 0. Read it against an invisible change (`real_jpeg75`,
the photograph after JPEG at quality 75), against blur, and against an unrelated photograph.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tgim.evaluation import catalogue
from tgim.evaluation.bench import Bench
from tgim.evaluation.contenders import Contender
from tgim.evaluation.features import Stages
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.realism import COMPRESSED, as_jpeg
from tgim.evaluation.records import Measured

METRIC = "stage_distance"


@lru_cache(maxsize=1)
def stages() -> Stages:
    """The network, read once."""
    return Stages()


def measure(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """Distance of each full edit from its photograph."""
    photographs, edited = bench.pictures, bench.edits(contender, bench.target)

    def make() -> NDArray[np.float32]:
        return stages().apart(photographs, edited, progress=bench.seen("distances")).numpy()

    yield _figure(bench.kept(contender, make, "apart", stages().label, photographs, edited), 1.0)


def references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """Photographs as JPEG files."""
    yield COMPRESSED, _figure(stages().apart(bench.pictures, as_jpeg(bench.pictures)).numpy(), None)


def _figure(values: NDArray[np.float32], strength: float | None) -> Measured:
    return Measured(METRIC, values.astype(np.float64), strength, higher_is_better=False)


def label(bench: Bench) -> str:
    """Label of the network in results lines."""
    return stages().label


PERCEPTUAL = Protocol(catalogue.PERCEPTUAL, (METRIC,), measure, references, (COMPRESSED,), extractor_label=label)
