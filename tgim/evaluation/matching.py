"""Recall of a matching model from pictures to captions and back: `matching@1`.

Pictures and captions are of classes that it was not trained on. Image to text: the picture is the query, its own
caption must be found among 100, 99 of them of other classes. Text to image: the caption is the query, its picture must
be found among the 100 pictures of the same captions. Ties count against. Each picture has one caption, chosen by the
seed, the same as in `retrieval@1`, whose row "real" is image to text at another size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from tgim import metrics
from tgim.evaluation import catalogue
from tgim.evaluation.bench import Bench
from tgim.evaluation.matcher import CHUNK, Matcher
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.records import Measured, Options

DEPTHS = (1, 5, 10)
METRICS = tuple(f"{way} recall@{k}" for way in ("image to text", "text to image") for k in DEPTHS)
AT_ONCE = 8  # pictures that are compared with all captions at a time


def measure(bench: Bench, model: Matcher) -> Iterator[Measured]:
    """Measure recall both ways, of a bench at the model's own size."""
    scores = all_scores(bench, model)
    choices = np.concatenate([bench.rows[:, None], bench.task.own_wrong], 1)  # n, 1 + K; the right one first
    ways = {
        "image to text": metrics.ranks(scores[bench.rows[:, None], choices]),
        "text to image": metrics.ranks(scores[choices, bench.rows[:, None]]),
    }
    options: Options = {"candidates": choices.shape[1]}
    for way, found in ways.items():
        for k in DEPTHS:
            yield Measured(f"{way} recall@{k}", (found <= k).astype(float), options=options)


@torch.no_grad()
def all_scores(bench: Bench, model: Matcher) -> NDArray[np.float32]:
    """Score all N pictures of the data set with the chosen caption of each, by the model's own score: (N, N)."""
    count = len(bench.dataset)
    captions = model.read(bench.task.captions)
    scores = np.empty((count, count), np.float32)
    for first in range(0, count, CHUNK):
        rows = np.arange(first, min(first + CHUNK, count))
        seen = model.model.read_images(model.fitted(bench.images(rows)))
        for i in range(0, len(rows), AT_ONCE):
            part = tuple(each[i : i + AT_ONCE] for each in seen)
            scores[rows[i : i + AT_ONCE]] = model.model.scores(part, captions).float().numpy()
        bench.progress(f"{model.name}: pictures against captions", int(rows[-1]) + 1, count)
    return scores


MATCHING = Protocol(catalogue.MATCHING, METRICS, measure)
