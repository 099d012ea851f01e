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
from tgim.data.differences import Differences
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
COUNT = 1200  # drawn triples of a test
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


@dataclass(frozen=True, eq=False)
class Asking:
    """One way of asking a model: by its composition, or by one of the baselines on its embeddings."""

    name: str
    kind: Kind
    checkpoint: str
    ranks: Callable[[Task], NDArray[np.int64]]  # of the targets (N,), 1 is best


def ways_of(model: Composer | Matcher) -> list[Asking]:
    """The baselines on the embeddings of a model, and a composing system itself; all look at each picture once."""
    found = lru_cache(maxsize=1)(lambda task: ranks_of(model.file, task))

    def way(by: str, name: str, kind: Kind) -> Asking:
        return Asking(name, kind, model.checkpoint, lambda task: found(task)[by])

    baselines = [way(by, f"{model.name}: {by}", "baseline") for by in ("image only", "text only", SUM)]
    composing = isinstance(model.file.model, Composing)
    return [*baselines, *([way(model.file.model.name, model.name, "model")] if composing else [])]


@lru_cache(maxsize=2)
def task_of(bench: Bench) -> Task:
    """Choose the questions of a bench: drawn ones of the synthetic data set, else of its photographs.

    Raises:
        DataError: triples cannot be drawn, or the captions tell of no difference.
    """
    return drawn_task(bench) if bench.data.name == "synthetic" else captioned_task(bench)


def drawn_task(bench: Bench) -> Task:
    """Drawn triples of a bench's kind, split, size and seed, 1200 or its limit, in whole groups of six."""
    kind, count = bench.data.synthetic.kind, COUNT if bench.limit is None else min(COUNT, bench.limit)
    spec = PoolSpec(kind=kind, count=count, size=bench.size, seed=bench.seed, split=bench.data.split)
    show = bench.progress
    pool = TriplePool.open(
        spec, folder=bench.folder, progress=lambda done, total: show("synthetic triples", done, total)
    )
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


def captioned_task(bench: Bench) -> Task:
    """A triple for each picture of a bench whose captions tell of a difference to one of another class."""
    dataset = bench.dataset
    table, labels = Differences([item.captions for item in dataset.items]), class_numbers(dataset.items)
    rows = bench.rows.tolist()
    drawn = {row: table.sample(row, random_source(bench.seed, Stream.COMPOSE, row)) for row in rows}
    right = np.array([row for row, each in drawn.items() if each.source != row], np.int64)
    if not len(right):
        raise DataError(f"{dataset.root}: no caption tells of a colour that another picture lacks")
    sources, texts = np.array([drawn[row].source for row in right]), [drawn[row].text for row in right]
    pictures = to_uint8(bench.images(np.arange(len(dataset))))
    candidates = np.ascontiguousarray(pictures.permute(0, 2, 3, 1).numpy())
    return Task(
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
    """What lines say of the pictures."""
    task, data = task_of(bench), bench.data
    name = f"drawn {data.synthetic.kind}" if data.name == "synthetic" else data.name
    return {"data": name, "content": task.content, "size": bench.size, "options": task.options}


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


def measure(bench: Bench, contender: Asking) -> Iterator[Measured]:
    """Measure recall of one way of asking."""
    task = task_of(bench)
    yield from figures(contender.ranks(task), task)


def references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """Recall by chance."""
    task = task_of(bench)
    for k in DEPTHS:
        share = min(1.0, k / int(task.options["candidates"]))
        yield CHANCE, Measured(f"recall@{k}", interval=(share, share, share), n=len(task.right))


def figures(ranks: NDArray[np.int64], task: Task) -> Iterator[Measured]:
    """Recall at each depth, of all triples and of each kind of change."""
    for k in DEPTHS:
        for kind in KINDS:
            if (chosen := task.kinds == kind).any():
                yield Measured(f"recall@{k}/{kind}", (ranks[chosen] <= k).astype(float))
        yield Measured(f"recall@{k}", (ranks <= k).astype(float))


def _pictures(pixels: NDArray[np.uint8]) -> Iterator[Tensor]:
    """A few at a time, (B, 3, S, S) in [-1, 1]."""
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
