"""How well a picture and a text find the picture meant: `compose@1`.

Drawn triples of the test stream (`tgim.data.triples`), which no training draws from. Each source picture and text are
looked up among all targets of the test, the five siblings from the same source included; the source itself is none of
them. Ties count against. Recall@1, 5, 10 and 50 (Vo et al., CVPR 2019), of all triples and by kind of change
("recall@1/colour").

Baselines, with the embeddings of the same model: the picture alone, the text alone, and both added. The reference
`chance` draws at random. Siblings make the picture alone right once in six times at most, if it were perfect.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tgim import checkpoint, metrics
from tgim._version import __version__
from tgim.checkpoint import Checkpoint
from tgim.data.cache import Progress
from tgim.data.pool import Kind
from tgim.data.triples import CHANGES, GROUP, TriplePool, fingerprint
from tgim.evaluation.bench import digest
from tgim.evaluation.contenders import shown_name
from tgim.evaluation.records import Kind as Row
from tgim.evaluation.records import Line, Measured, Results
from tgim.images import from_uint8
from tgim.logs import origin
from tgim.model import Composing, Matching
from tgim.search import SUM, open_searching, query

PROTOCOL = "compose@1"
DEPTHS = (1, 5, 10, 50)
CHUNK = 64  # pictures that are looked at together
COUNT = 1200  # triples of a test


def evaluate_composing(
    models: Sequence[str | Path],
    *,
    kind: Kind = "birds",
    count: int = COUNT,
    seed: int = 0,
    out: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[Line]:
    """Recall of composing systems and of the baselines on the embeddings of each.

    Args:
        models: names or paths of composing systems, and of matching models, of which the baselines alone are measured.
        kind: what is drawn, "birds" or "flowers".
        count: triples, rounded down to whole groups of six.
        seed: of what is drawn, and of the bootstrap.
        out: file to which each figure is appended; what it holds already is not added again.
        cache: folder of drawn triples; `tgim.data.cache.cache_folder()` unless given.
        progress: called with (done, total) while triples are drawn for the first time.

    Raises:
        CheckpointError: no such model, or one that neither composes nor matches.
        DataError, UserError: triples that cannot be drawn, a file that cannot be written.
    """
    results, lines = Results(out), list[Line]()
    for name in models:
        source = open_searching(name)
        side = source.model.image_size
        pool = TriplePool.open(kind, count=count, size=side, seed=seed, split="test", folder=cache, progress=progress)
        place, shown = origin(), shown_name(name)
        facts = {
            "protocol": PROTOCOL,
            "data": f"drawn {kind}",
            "split": "test",
            "content": digest(*pool.captions, *pool.target_captions, *pool.changes)[:16],
            "size": side,
            "seed": seed,
            "options": {"drawn": f"{kind}:{fingerprint(kind)}", "candidates": len(pool), "siblings": GROUP - 1},
            "commit": place["commit"],
            "machine": f"{place['gpu'] or place['machine']}, {os.cpu_count()} cores",
        }
        for row, contender, figure, seconds in _measured(source, shown, pool):
            own = None if row == "reference" else checkpoint.fingerprint(name)
            lines.append(results.add(_line(figure, facts, row, contender, own, seconds)))
    return lines


def _measured(source: Checkpoint, shown: str, pool: TriplePool) -> Iterator[tuple[Row, str, Measured, float]]:
    """Kind of the row, name of the contender, figure, and the seconds since the pictures began to be looked at."""
    start = time.monotonic()
    found = ranks_of(source, pool)
    rows: dict[str, tuple[Row, str]] = {name: ("baseline", f"{shown}: {name}") for name in found}
    rows |= {source.model.name: ("model", shown)}
    for name, ranks in found.items():
        for figure in figures(ranks, pool):
            yield (*rows[name], figure, round(time.monotonic() - start, 3))
    for k in DEPTHS:
        share = min(1.0, k / len(pool))
        yield "reference", "chance", Measured(f"recall@{k}", interval=(share, share, share), n=len(pool)), 0.0


@torch.inference_mode()
def ranks_of(source: Checkpoint, pool: TriplePool) -> dict[str, NDArray[np.int64]]:
    """By what was asked, "image only", "text only", `SUM` and a composing system's name: the target's rank (N,)."""
    system = source.model
    if not isinstance(system, Composing | Matching):
        raise TypeError(f"{system.name} neither composes nor matches")
    parts: dict[str, list[Tensor]] = {}
    targets = []
    for first in range(0, len(pool), CHUNK):
        pixels = torch.from_numpy(np.array(pool.pixels[first : first + CHUNK])).permute(0, 3, 1, 2)
        text = source.vocabulary.encode(pool.target_captions[first : first + CHUNK])
        image = from_uint8(pixels[:, :3])
        seen = F.normalize(system.embed_images(image).float(), dim=1)
        said = F.normalize(system.embed_captions(text).float(), dim=1)
        asked = {"image only": seen, "text only": said, SUM: F.normalize(seen + said, dim=1)}
        if isinstance(system, Composing):
            asked[system.name] = query(system, image, text)
        for name, embeddings in asked.items():
            parts.setdefault(name, []).append(embeddings)
        targets.append(F.normalize(system.embed_images(from_uint8(pixels[:, 3:6])).float(), dim=1))
    target, right = torch.cat(targets), np.arange(len(pool))
    return {name: metrics.ranks((torch.cat(each) @ target.T).numpy(), right) for name, each in parts.items()}


def figures(ranks: NDArray[np.int64], pool: TriplePool) -> Iterator[Measured]:
    """Recall at each depth, of all triples and of each kind of change."""
    kinds = np.array(pool.changes)
    for k in DEPTHS:
        yield Measured(f"recall@{k}", (ranks <= k).astype(float))
        for change in CHANGES:
            if (chosen := kinds == change).any():
                yield Measured(f"recall@{k}/{change}", (ranks[chosen] <= k).astype(float))


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
