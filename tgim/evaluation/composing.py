"""How well a picture and a text find the picture meant: `compose@1`, by recall@1, 5, 10 and 50 (Vo et al., CVPR 2019).

Drawn pictures: triples of the test stream (`tgim.data.synthetic.triples`), which no training draws from. Each source
picture and text are looked up among all targets of the test, the five siblings from the same source included, which
make the picture alone right once in six times at most, if it were perfect. The source itself is none of them. Recall is
given by kind of change, too ("recall@1/colour").

Photographs with captions: each picture of the split, whose classes no training saw, is the target of one triple
(`tgim.data.differences`), drawn by the seed, and is looked up among all pictures of the split but the source. One of
them counts as right, though a text such as "but with a black bill" is true of many: read the figures beside the
baselines, not against 100 %. Recall is given by whether the source is of the target's class, too.

Ties count against. Baselines, with the embeddings of the same model: the picture alone, the text alone, and both added;
those of a matching model read the text as `tgim search` does, without "but with". `chance` draws at random.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tgim import metrics
from tgim._version import __version__
from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.data import open_dataset
from tgim.data.base import random_source
from tgim.data.cache import PixelCache, Progress, cache_folder
from tgim.data.config import DataConfig
from tgim.data.differences import Differences
from tgim.data.synthetic.pool import PoolSpec
from tgim.data.synthetic.triples import CHANGES, GROUP, TriplePool, triples_hash
from tgim.environment import origin
from tgim.errors import DataError
from tgim.evaluation.bench import digest
from tgim.evaluation.contenders import shown_name
from tgim.evaluation.records import Kind as Row
from tgim.evaluation.records import Line, Measured, Options, Results
from tgim.evaluation.task import class_numbers, content_hash, in_order
from tgim.images.photo import from_uint8
from tgim.inference.search import SUM, as_caption, open_searching, query
from tgim.models.base import Composing, Matching

PROTOCOL = "compose@1"
DEPTHS = (1, 5, 10, 50)
CHUNK = 64  # pictures that are looked at together
COUNT = 1200  # drawn triples of a test
STREAM = 904  # of `random_source`
SAME, OTHER = "same class", "other class"  # of source and target
KINDS = (*CHANGES, SAME, OTHER)


@dataclass(frozen=True)
class Task:
    """N questions, and M pictures among which the answers are looked for."""

    sources: NDArray[np.uint8]  # (N, S, S, 3)
    texts: list[str]
    candidates: NDArray[np.uint8]  # (M, S, S, 3)
    right: NDArray[np.int64]  # (N,) candidate that is meant
    aside: NDArray[np.int64]  # (N,) candidate that is left out, -1 for none
    kinds: NDArray[np.str_]  # (N,) kind of change
    content: str  # hash of it all
    options: Options


def evaluate_composing(
    models: Sequence[str | Path],
    *,
    data: DataConfig,
    count: int = COUNT,
    seed: int = 0,
    out: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[Line]:
    """Recall of composing systems and of the baselines on the embeddings of each.

    Args:
        models: names or paths of composing systems, and of matching models, of which the baselines alone are measured.
        data: "synthetic" for drawn triples of its `synthetic.kind`, or a data set with captions; `split` of either.
        count: drawn triples, rounded down to whole groups of six.
        seed: of the triples, and of the bootstrap.
        out: file to which each figure is appended; what it holds already is not added again.
        cache: folder of drawn triples and decoded pictures; `tgim.data.cache.cache_folder()` unless given.
        progress: called with (done, total) while triples are drawn, or pictures decoded, for the first time.

    Raises:
        CheckpointError: no such model, or one that neither composes nor matches.
        DataError, UserError: triples that cannot be had, a file that cannot be written.
    """
    results, lines = Results(out), list[Line]()
    for name in models:
        source = open_searching(name)
        side = source.model.image_size
        if data.name == "synthetic":
            task = drawn_task(data, side=side, count=count, seed=seed, cache=cache, progress=progress)
        else:
            task = captioned_task(data, side=side, seed=seed, cache=cache, progress=progress)
        place, shown = origin(), shown_name(name)
        facts = {
            "protocol": PROTOCOL,
            "data": f"drawn {data.synthetic.kind}" if data.name == "synthetic" else data.name,
            "split": data.split,
            "content": task.content,
            "size": side,
            "seed": seed,
            "options": task.options,
            "commit": place["commit"],
            "machine": f"{place['gpu'] or place['processor']}, {place['cores']} cores",
        }
        for row, contender, figure, seconds in _measured(source, shown, task):
            own = None if row == "reference" else checkpoint.fingerprint(name)
            lines.append(results.add(_line(figure, facts, row, contender, own, seconds)))
    return lines


def drawn_task(
    data: DataConfig, *, side: int, count: int, seed: int, cache: Path | None = None, progress: Progress | None = None
) -> Task:
    """Drawn triples, whose targets are the candidates; DataError where they cannot be drawn."""
    kind = data.synthetic.kind
    spec = PoolSpec(kind=kind, count=count, size=side, seed=seed, split=data.split)
    pool = TriplePool.open(spec, folder=cache, progress=progress)
    return Task(
        sources=pool.pixels[..., :3],
        texts=pool.target_captions,
        candidates=pool.pixels[..., 3:6],
        right=np.arange(len(pool)),
        aside=np.full(len(pool), -1),
        kinds=np.array(pool.changes),
        content=digest(*pool.captions, *pool.target_captions, *pool.changes)[:16],
        options={"drawn": f"{kind}:{triples_hash(kind)}", "candidates": len(pool), "siblings": GROUP - 1},
    )


def captioned_task(
    data: DataConfig, *, side: int, seed: int, cache: Path | None = None, progress: Progress | None = None
) -> Task:
    """A triple for each picture of a data set whose captions tell of a difference to one of another class.

    Raises:
        DataError: the data set is not there, or its captions tell of no difference.
    """
    dataset = in_order(open_dataset(data))
    pixels = PixelCache.open(dataset.items, size=side, fit=data.fit, folder=cache, progress=progress)
    dataset = replace(dataset, items=tuple(dataset.items[row] for row in pixels.rows))
    table, labels = Differences([item.captions for item in dataset.items]), class_numbers(dataset.items)
    drawn = [table.sample(row, random_source(seed, STREAM, row)) for row in range(len(dataset))]
    right = np.array([row for row, each in enumerate(drawn) if each.source != row], np.int64)
    if not len(right):
        raise DataError(f"{dataset.root}: no caption tells of a colour that another picture lacks")
    sources, texts = np.array([drawn[row].source for row in right]), [drawn[row].text for row in right]
    candidates = pixels.pixels[pixels.rows]
    return Task(
        sources=candidates[sources],
        texts=texts,
        candidates=candidates,
        right=right,
        aside=sources,
        kinds=np.where(labels[right] == labels[sources], SAME, OTHER),
        content=content_hash(dataset, fit=data.fit, folder=cache if cache is not None else cache_folder()),
        options={"triples": digest(sources.tolist(), texts)[:16], "candidates": len(candidates) - 1},
    )


def _measured(source: Checkpoint, shown: str, task: Task) -> Iterator[tuple[Row, str, Measured, float]]:
    """Kind of the row, name of the contender, figure, and the seconds since the pictures began to be looked at."""
    start = time.monotonic()
    found = ranks_of(source, task)
    rows: dict[str, tuple[Row, str]] = {name: ("baseline", f"{shown}: {name}") for name in found}
    rows |= {source.model.name: ("model", shown)}
    for name, ranks in found.items():
        for figure in figures(ranks, task):
            yield (*rows[name], figure, round(time.monotonic() - start, 3))
    for k in DEPTHS:
        share = min(1.0, k / int(task.options["candidates"]))
        yield "reference", "chance", Measured(f"recall@{k}", interval=(share, share, share), n=len(task.right)), 0.0


@torch.inference_mode()
def ranks_of(source: Checkpoint, task: Task) -> dict[str, NDArray[np.int64]]:
    """By what was asked, "image only", "text only", `SUM` and a composing system's name: the target's rank (N,)."""
    system = source.model
    if not isinstance(system, Composing | Matching):
        raise TypeError(f"{system.name} neither composes nor matches")
    texts = task.texts if isinstance(system, Composing) else [as_caption(text) for text in task.texts]
    seen = torch.cat([_unit(system.embed_images(part)) for part in _pictures(task.candidates)])
    asked: dict[str, list[Tensor]] = {}
    for first, image in zip(range(0, len(texts), CHUNK), _pictures(task.sources), strict=True):
        text = source.vocabulary.encode(texts[first : first + CHUNK])
        alone, said = _unit(system.embed_images(image)), _unit(system.embed_captions(text))
        parts = {"image only": alone, "text only": said, SUM: _unit(alone + said)}
        if isinstance(system, Composing):
            parts[system.name] = query(system, image, text)
        for name, part in parts.items():
            asked.setdefault(name, []).append(part)
    ranks = {}
    for name, each in asked.items():
        scores = (torch.cat(each) @ seen.T).numpy()
        out = task.aside >= 0
        scores[out, task.aside[out]] = -2  # below any cosine
        ranks[name] = metrics.ranks(scores, task.right)
    return ranks


def figures(ranks: NDArray[np.int64], task: Task) -> Iterator[Measured]:
    """Recall at each depth, of all triples and of each kind of change."""
    for k in DEPTHS:
        yield Measured(f"recall@{k}", (ranks <= k).astype(float))
        for kind in KINDS:
            if (chosen := task.kinds == kind).any():
                yield Measured(f"recall@{k}/{kind}", (ranks[chosen] <= k).astype(float))


def _pictures(pixels: NDArray[np.uint8]) -> Iterator[Tensor]:
    """A few at a time, (B, 3, S, S) in [-1, 1]."""
    for first in range(0, len(pixels), CHUNK):
        yield from_uint8(torch.from_numpy(np.array(pixels[first : first + CHUNK])).permute(0, 3, 1, 2))


def _unit(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings.float(), dim=1)


def _line(
    figure: Measured, facts: dict[str, Any], row: Row, contender: str, fingerprinted: str | None, seconds: float
) -> Line:
    value, low, high = figure.figures(seed=facts["seed"])
    return Line(
        **facts,
        model=contender,
        kind=row,
        checkpoint=fingerprinted,
        n=len(figure.values) if figure.values is not None else figure.n or 0,
        judge=None,
        extractor=None,
        strength=None,
        metric=figure.metric,
        higher_is_better=True,
        value=value,
        low=low,
        high=high,
        tgim=__version__,
        torch=torch.__version__,
        seconds=seconds,
    )
