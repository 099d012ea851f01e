"""Difference of an edit from its photograph: by the photograph's own captions, where none is wanted, and by the target.

`l2-own-caption@1` is the reconstruction error of the field (Nam et al., TAGAN, NeurIPS 2018, table 1, and those who
followed): the text is a caption of the picture itself, noise is at its mean. Each of its captions is used; errors are
means over captions, then over pictures. The published tables do not say whether squares or roots were averaged, nor
over which range of values: here are all four. `l2-edit@1` is the same for the target caption of another class, and says
how much an editor changes when a change is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tgim.evaluation import catalogue
from tgim.evaluation.bench import Bench
from tgim.evaluation.contenders import Contender
from tgim.evaluation.matcher import CHUNK
from tgim.evaluation.protocol import Protocol
from tgim.evaluation.records import Measured
from tgim.metrics import mse

METRICS = ("rmse", "mse", "rmse_unit", "mse_unit")


def measure_own(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """Errors under each of the picture's own captions."""
    errors = np.concatenate(
        [_chunk_errors(bench, contender, first) for first in range(0, len(bench), CHUNK)]
    )  # (n, K) mean squared errors in [-1, 1], nan where a picture has fewer captions
    yield from _figures(np.nanmean(np.sqrt(errors), 1), np.nanmean(errors, 1))


def measure_edit(bench: Bench, contender: Contender) -> Iterator[Measured]:
    """Errors under the target caption."""
    squares = mse(bench.edits(contender, bench.target), bench.pictures).double().numpy()
    yield from _figures(np.sqrt(squares), squares)


def _chunk_errors(bench: Bench, contender: Contender, first: int) -> NDArray[np.float64]:
    """(B, K) errors of the pictures from `first`, for each of up to K captions; the pictures are not kept."""
    rows = range(first, min(first + CHUNK, len(bench)))
    pictures = bench.images(bench.rows[first : rows.stop])
    captions = [bench.dataset.items[bench.rows[row]].captions for row in rows]
    most = max(len(item.captions) for item in bench.dataset.items)

    def make() -> NDArray[Any]:
        errors = np.full((len(rows), most), np.nan)
        for k in range(most):
            few = [i for i in range(len(rows)) if k < len(captions[i])]
            if few:
                texts, places = [captions[i][k] for i in few], [rows[i] for i in few]
                with torch.no_grad():
                    edited = contender.edit(pictures[few], texts, places, 1.0)
                errors[few, k] = mse(edited, pictures[few]).double().numpy()
            bench.progress(f"{contender.name}: own captions", first * most + (k + 1) * len(rows), len(bench) * most)
        return errors

    flat = [f"{i}:{caption}" for i, own in enumerate(captions) for caption in own]
    return bench.kept(contender, make, "own", pictures, flat, most)


def _figures(roots: NDArray[np.float64], squares: NDArray[np.float64]) -> Iterator[Measured]:
    """The four metrics; values in [0, 1] differ half as much as in [-1, 1]."""
    for metric, values in zip(METRICS, (roots, squares, roots / 2, squares / 4), strict=True):
        yield Measured(metric, values, strength=1.0, higher_is_better=False)


L2_OWN_CAPTION = Protocol(catalogue.L2_OWN_CAPTION, METRICS, measure_own)
L2_EDIT = Protocol(catalogue.L2_EDIT, METRICS, measure_edit)
