"""How well a matching model finds what belongs together: `matching@1`.

Pictures and captions of classes that it was not trained on. Image to text: the picture is the query, its own caption
must be found among 100, 99 of them of other classes. Text to image: the caption is the query, its picture must be found
among the 100 pictures of the same captions. Ties count against. One caption of each picture, chosen by the seed: those
of `retrieval@1`, whose row "real" is the first of the two at another size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tgim import metrics
from tgim.checkpoints import checkpoint
from tgim.data.config import DataConfig
from tgim.evaluation.bench import CHUNK, Bench, Progress, open_judge
from tgim.evaluation.contenders import shown_name
from tgim.evaluation.records import Line, Measured, Results
from tgim.images.resample import resize

PROTOCOL = "matching@1"
DEPTHS = (1, 5, 10)
METRICS = tuple(f"{way} recall@{k}" for way in ("image to text", "text to image") for k in DEPTHS)
AT_ONCE = 8  # pictures that are compared with all captions at a time


def evaluate_matching(
    models: Sequence[str | Path],
    *,
    data: DataConfig,
    seed: int = 0,
    out: Path | None = None,
    limit: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[Line]:
    """Recall@1, 5 and 10 of matching models, both ways; arguments and errors as of `tgim.evaluation.evaluate`."""
    results = Results(out)
    lines: list[Line] = []
    for source in models:
        side = open_judge(str(source)).model.image_size
        bench = Bench(data, size=side, seed=seed, judge=str(source), limit=limit, cache=cache, progress=progress)
        lines += _measured(bench, str(source), results)
    return lines


def _measured(bench: Bench, source: str, results: Results) -> Iterator[Line]:
    start = time.monotonic()
    blank = Line(
        **bench.facts(),
        protocol=PROTOCOL,
        model=shown_name(source),
        kind="model",
        checkpoint=checkpoint.fingerprint(source),
        n=len(bench),
        judge=None,
        extractor=None,
        strength=None,
        metric="",
        higher_is_better=True,
        options={"candidates": 1 + bench.task.own_wrong.shape[1], **bench.limited()},
        value=0,
        low=0,
        high=0,
        seconds=0,
    )
    if results.complete(blank, METRICS):
        yield from results.of(blank)
        return
    for figure in figures(bench):
        value, low, high = figure.figures(seed=bench.seed)
        found = {"metric": figure.metric, "value": value, "low": low, "high": high}
        yield results.add(blank.model_copy(update={**found, "seconds": round(time.monotonic() - start, 3)}))


def figures(bench: Bench) -> Iterator[Measured]:
    """Recall of the bench's judge, both ways."""
    scores = all_scores(bench)
    choices = np.concatenate([bench.rows[:, None], bench.task.own_wrong], 1)  # n, 1 + K; the right one first
    ways = {
        "image to text": metrics.ranks(scores[bench.rows[:, None], choices]),
        "text to image": metrics.ranks(scores[choices, bench.rows[:, None]]),
    }
    for way, found in ways.items():
        for k in DEPTHS:
            yield Measured(f"{way} recall@{k}", (found <= k).astype(float))


@torch.no_grad()
def all_scores(bench: Bench) -> NDArray[np.float32]:
    """(N, N): how well each picture of the data set fits the chosen caption of each, by the judge's own score."""
    count, side = len(bench.dataset), bench.judge.image_size
    captions = bench.read(bench.task.captions)
    scores = np.empty((count, count), np.float32)
    for first in range(0, count, CHUNK):
        rows = np.arange(first, min(first + CHUNK, count))
        seen = bench.judge.read_images(resize(bench.images(rows), (side, side)))
        for i in range(0, len(rows), AT_ONCE):
            part = tuple(each[i : i + AT_ONCE] for each in seen)
            scores[rows[i : i + AT_ONCE]] = bench.judge.scores(part, captions).float().numpy()
        bench.progress("pictures against captions", int(rows[-1]) + 1, count)
    return scores
