"""Retrieval of a picture by a picture and a text: `compose@1`, recall@1, 5, 10 and 50 (Vo et al., CVPR 2019).

Synthetic pictures: triples of the test stream (`tgim.data.synthetic.triples`), which no training samples from. Each
source picture and text are looked up among all targets of the test. These include the five other targets of the same
source, so that the picture alone finds the right one at most once in six times; the source itself is not among them.
Recall is given by kind of change, too ("recall@1/colour").

Photographs with captions: each picture of the split, whose classes no training saw, is the target of one triple
(`tgim.data.differences`), chosen by the seed, and is looked up among all pictures of the split but the source. One of
them counts as right, though a text such as "but with a black bill" is true of many: read the figures beside the
baselines, not against 100 %. Recall is given by whether the source is of the target's class, too.

Ties count against. Baselines, with the embeddings of the same model: the picture alone, the text alone, and both added;
those of a matching model read the text as `tgim search` does, without "but with". `chance` guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tgim import metrics
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.checkpoints.registry import Role
from tgim.data.base import Stream, random_source
from tgim.data.differences import Difference, Differences
from tgim.data.synthetic.pool import PoolSpec
from tgim.data.synthetic.triples import CHANGES, GROUP, TriplePool, triples_hash
from tgim.errors import DataError
from tgim.evaluation import catalogue
from tgim.evaluation.bench import Bench
from tgim.evaluation.catalogue import CHANCE
from tgim.evaluation.kept import digest
from tgim.evaluation.matcher import CHUNK, Matcher
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.records import Kind, Measured, Options
from tgim.evaluation.task import class_numbers
from tgim.images.photo import from_uint8, to_uint8
from tgim.inference.search import SUM, as_caption, query
from tgim.models.base import Composing, Matching

DEPTHS = (1, 5, 10, 50)
COUNT = 1200  # synthetic triples of a test
SAME, OTHER = "same class", "other class"  # of source and target
KINDS = (*CHANGES, SAME, OTHER)


class Composer:
    """A composing system that is measured.

    Args:
        file: the loaded checkpoint.
        name: as it stands in the tables.
        fingerprint: `tgim.checkpoints.checkpoint.fingerprint` of the file.
    """

    roles: ClassVar[tuple[Role, ...]] = ("retrieval",)

    def __init__(self, file: Checkpoint, *, name: str, fingerprint: str) -> None:
        self.file, self.name, self.checkpoint = file, name, fingerprint
        self.side: int = file.model.image_size


@dataclass(frozen=True, eq=False)
class ComposeTask:
    """N queries of a picture and a text, and M candidate pictures among which their targets are."""

    sources: NDArray[np.uint8]  # (N, S, S, 3)
    texts: list[str]
    candidates: NDArray[np.uint8]  # (M, S, S, 3)
    right: NDArray[np.int64]  # (N,) candidate that is meant
    aside: NDArray[np.int64]  # (N,) candidate that is left out, -1 for none
    kinds: NDArray[np.str_]  # (N,) kind of change
    content: str  # hash of it all
    options: Options


@dataclass(frozen=True, eq=False)
class QueryContender:
    """A kind of query to a model: by its composition, or by one of the baselines on its embeddings."""

    name: str
    kind: Kind
    checkpoint: str
    ranks: Callable[[ComposeTask], NDArray[np.int64]]  # of the targets (N,), 1 is best


def ways_of(model: Composer | Matcher) -> list[QueryContender]:
    """The baselines on the embeddings of a model, and a composing system itself; all look at each picture once."""
    found = lru_cache(maxsize=1)(lambda task: ranks_of(model.file, task))

    def way(by: str, name: str, kind: Kind) -> QueryContender:
        return QueryContender(name, kind, model.checkpoint, lambda task: found(task)[by])

    baselines = [way(by, f"{model.name}: {by}", "baseline") for by in ("image only", "text only", SUM)]
    composing = isinstance(model.file.model, Composing)
    return [*baselines, *([way(model.file.model.name, model.name, "model")] if composing else [])]


@lru_cache(maxsize=2)
def task_of(bench: Bench) -> ComposeTask:
    """Choose the queries of a bench: synthetic triples for the synthetic data set, else triples of its photographs.

    Raises:
        DataError: triples cannot be rendered, or the captions state no difference.
    """
    return synthetic_task(bench) if bench.data.name == "synthetic" else captioned_task(bench)


def synthetic_task(bench: Bench) -> ComposeTask:
    """Synthetic triples of a bench's kind, split, size and seed, 1200 or its limit, in whole groups of six."""
    kind, count = bench.data.synthetic.kind, COUNT if bench.limit is None else min(COUNT, bench.limit)
    spec = PoolSpec(kind=kind, count=count, size=bench.size, seed=bench.seed, split=bench.data.split)
    show = bench.progress
    pool = TriplePool.open(
        spec, folder=bench.folder, progress=lambda done, total: show("synthetic triples", done, total)
    )
    return ComposeTask(
        sources=pool.pixels[..., :3],
        texts=pool.target_captions,
        candidates=pool.pixels[..., 3:6],
        right=np.arange(len(pool)),
        aside=np.full(len(pool), -1),
        kinds=np.array(pool.changes),
        content=digest(*pool.captions, *pool.target_captions, *pool.changes)[:16],
        options={"drawn": f"{kind}:{triples_hash(kind)}", "candidates": len(pool), "siblings": GROUP - 1},
    )


def triples_of(bench: Bench) -> dict[int, Difference]:
    """Source picture and text for each picture whose captions state a difference to another.

    Raises:
        DataError: there is none.
    """
    table = Differences([item.captions for item in bench.dataset.items])
    rows = bench.rows.tolist()
    triples = {row: table.sample(row, random_source(bench.seed, Stream.COMPOSE, row)) for row in rows}
    found = {row: each for row, each in triples.items() if each.source != row}
    if not found:
        raise DataError(f"{bench.dataset.root}: no caption tells of a colour that another picture lacks")
    return found


def captioned_task(bench: Bench) -> ComposeTask:
    """A triple for each picture of a bench whose captions state a difference to a picture of another class."""
    dataset, labels = bench.dataset, class_numbers(bench.dataset.items)
    triples = triples_of(bench)
    right = np.array(list(triples), np.int64)
    sources, texts = np.array([triples[row].source for row in right]), [triples[row].text for row in right]
    pictures = to_uint8(bench.images(np.arange(len(dataset))))
    candidates = np.ascontiguousarray(pictures.permute(0, 2, 3, 1).numpy())
    return ComposeTask(
        sources=candidates[sources],
        texts=texts,
        candidates=candidates,
        right=right,
        aside=sources,
        kinds=np.where(labels[right] == labels[sources], SAME, OTHER),
        content=bench.content,
        options={
            "triples": digest(sources.tolist(), texts)[:16], "candidates": len(candidates) - 1, **bench.limited(),
        },
    )  # fmt: skip


def facts(bench: Bench) -> dict[str, Any]:
    """Fields of a results line that describe the pictures."""
    task, data = task_of(bench), bench.data
    name = f"drawn {data.synthetic.kind}" if data.name == "synthetic" else data.name
    return {"data": name, "content": task.content, "size": bench.size, "options": task.options}


@torch.inference_mode()
def ranks_of(source: Checkpoint, task: ComposeTask) -> dict[str, NDArray[np.int64]]:
    """Rank the targets: (N,) for each kind of query, "image only", "text only", `SUM` and a composing system's name."""
    system = source.model
    if not isinstance(system, Composing | Matching):
        raise TypeError(f"{system.name} neither composes nor matches")
    texts = task.texts if isinstance(system, Composing) else [as_caption(text) for text in task.texts]
    seen = torch.cat([_unit(system.embed_images(part)) for part in _pictures(task.candidates)])
    asked: dict[str, list[Tensor]] = {}
    for first, image in zip(range(0, len(texts), CHUNK), _pictures(task.sources), strict=True):
        text = source.vocabulary.encode(texts[first : first + CHUNK])
        alone, caption = _unit(system.embed_images(image)), _unit(system.embed_captions(text))
        parts = {"image only": alone, "text only": caption, SUM: _unit(alone + caption)}
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


def measure(bench: Bench, contender: QueryContender) -> Iterator[Measured]:
    """Measure recall of one kind of query."""
    task = task_of(bench)
    yield from figures(contender.ranks(task), task)


def references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """Recall by chance."""
    task = task_of(bench)
    for k in DEPTHS:
        share = min(1.0, k / int(task.options["candidates"]))
        yield CHANCE, Measured(f"recall@{k}", interval=(share, share, share), n=len(task.right))


def figures(ranks: NDArray[np.int64], task: ComposeTask) -> Iterator[Measured]:
    """Recall at each depth, of all triples and of each kind of change."""
    for k in DEPTHS:
        for kind in KINDS:
            if (chosen := task.kinds == kind).any():
                yield Measured(f"recall@{k}/{kind}", (ranks[chosen] <= k).astype(float))
        yield Measured(f"recall@{k}", (ranks <= k).astype(float))


def _pictures(pixels: NDArray[np.uint8]) -> Iterator[Tensor]:
    """Pixels (N, S, S, 3) as pictures (B, 3, S, S) in [-1, 1], 64 at a time."""
    for first in range(0, len(pixels), CHUNK):
        yield from_uint8(torch.from_numpy(np.array(pixels[first : first + CHUNK])).permute(0, 3, 1, 2))


def _unit(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings.float(), dim=1)


COMPOSE = Protocol(
    catalogue.COMPOSE,
    tuple(f"recall@{k}" for k in DEPTHS),
    measure,
    references,
    (CHANCE,),
    facts=facts,
    contenders=ways_of,
)
