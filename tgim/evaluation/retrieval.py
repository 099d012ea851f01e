"""Fit of an edited picture to its target caption, by a judge that no editor is trained against.

- `retrieval@1`: the edited picture is the query, its target caption must be found among 100, 99 of them of other
  classes than the target's; ties count against. Reference rows: "real", the photograph with its own caption among 99 of
  other classes (the recall of this judge on real pairs); "unedited", the photograph with the target caption (the
  floor: the recall of an editor that does nothing); "chance".
- `mp@1`, manipulative precision (Li et al., ManiGAN, CVPR 2020): (1 - mean absolute difference in [0, 1]) times the
  cosine of picture and target caption.
- `directional@1` (Gal et al., StyleGAN-NADA, 2022, as a measure): cosine of the change of the picture and the change
  from its own to the target caption; 0 where the picture did not change.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tgim import metrics
from tgim.evaluation import catalogue
from tgim.evaluation.bench import Bench
from tgim.evaluation.catalogue import CEILING, CHANCE, FLOOR
from tgim.evaluation.contenders import Contender
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.records import Measured, Options

DEPTHS = (1, 5, 10)
METRICS = (*(f"recall@{k}" for k in DEPTHS), "mrr")


def target_ranks(bench: Bench, pictures: Tensor) -> NDArray[np.int64]:
    """(n,) rank of each picture's target caption among its candidates, 1 is best."""
    return metrics.ranks(bench.fits(pictures, bench.target, bench.task.target_wrong))


def candidates(bench: Bench) -> Options:
    """Number of captions that a query chooses from, as an option: 100, or fewer in a small data set."""
    return {"candidates": 1 + bench.task.target_wrong.shape[1]}


def _figures(bench: Bench, found: NDArray[np.int64], strength: float | None) -> Iterator[Measured]:
    for k in DEPTHS:
        yield Measured(f"recall@{k}", (found <= k).astype(float), strength, options=candidates(bench))
    yield Measured("mrr", 1 / found, strength, options=candidates(bench))


def measure(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """Recall and mean reciprocal rank with the full edit as query."""
    yield from _figures(bench, target_ranks(bench, bench.edits(contender, bench.target)), 1.0)


def references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """Real photographs with their own captions, unedited ones with the target's, and chance."""
    rows = {
        CEILING: metrics.ranks(bench.fits(bench.pictures, bench.own, bench.task.own_wrong)),
        FLOOR: target_ranks(bench, bench.pictures),
    }
    for name, found in rows.items():
        for figure in _figures(bench, found, None):
            yield name, figure
    count = 1 + bench.task.target_wrong.shape[1]
    by_luck = [min(k, count) / count for k in DEPTHS] + [float((1 / np.arange(1, count + 1)).mean())]
    for metric, value in zip(METRICS, by_luck, strict=True):
        yield CHANCE, Measured(metric, interval=(value, value, value), options=candidates(bench))


def measure_mp(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """Manipulative precision of the full edit."""
    edited = bench.edits(contender, bench.target)
    similarity = F.cosine_similarity(bench.embeddings(edited), bench.captions(bench.target))
    values = metrics.manipulative_precision(bench.pictures, edited, similarity)
    yield Measured("mp", values.double().numpy(), 1.0)


def measure_directional(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """Directional similarity of the full edit."""
    pictures, edited = bench.pictures, bench.edits(contender, bench.target)
    texts = bench.captions(bench.own), bench.captions(bench.target)
    values = metrics.directional_similarity(bench.embeddings(pictures), bench.embeddings(edited), *texts)
    values = torch.where((pictures == edited).flatten(1).all(1), torch.zeros_like(values), values)
    yield Measured("directional", values.double().numpy(), 1.0)


RETRIEVAL = Protocol(catalogue.RETRIEVAL, METRICS, measure, references, (CEILING, FLOOR, CHANCE), needs_judge=True)
MP = Protocol(catalogue.MP, ("mp",), measure_mp, needs_judge=True)
DIRECTIONAL = Protocol(catalogue.DIRECTIONAL, ("directional",), measure_directional, needs_judge=True)
