"""The bench that every protocol works on: pictures, captions, edits and their place in the judge's space, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tgim.data.base import CaptionedImages
from tgim.data.loader import DataConfig
from tgim.evaluation.contenders import Contender
from tgim.evaluation.records import Measured

CHUNK = 64  # pictures that are edited, and kept, at a time
Progress = Callable[[str, int, int], None]  # (what, done, total)


class Bench:
    """Pictures of one data set at one size, what is to be done to them, and who judges.

    Args:
        data: the data set and split.
        size: pixels, side of the pictures that are edited and compared.
        seed: of the task.
        judge: name or path of a matching model, or None.
        extractor: of `realism@1`: a name or path that `tgim.features` understands, or None for its default.
        limit: measure on this many pictures, a seeded choice.
        cache: where edits are kept; `cache_folder() / "evaluation"` unless given.
        progress: called with (what, done, total).
    """

    dataset: CaptionedImages  # all readable pictures of the split, in the order of their names
    data: DataConfig
    content: str  # hash of the data set's pictures and captions, 16 hex digits
    size: int
    seed: int
    folder: Path  # of the cache
    extractor: str | None
    judge_label: str | None  # "judge-birds:0123456789abcdef"
    rows: NDArray[np.int64]  # (n,) rows of `dataset` that are measured
    own: list[str]  # n, a caption of each picture
    targets: NDArray[np.int64]  # (n,) rows of `dataset`: a picture of another class for each
    target: list[str]  # n, a caption of that picture

    def __init__(
        self,
        data: DataConfig,
        *,
        size: int,
        seed: int = 0,
        judge: str | None = None,
        extractor: str | None = None,
        limit: int | None = None,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        """Number of pictures that are measured."""
        return len(self.rows)

    @property
    def pictures(self) -> Tensor:
        """The photographs that are edited, (n, 3, S, S) in [-1, 1]."""
        raise NotImplementedError

    def images(self, rows: NDArray[np.int64]) -> Tensor:
        """Photographs of any rows of `dataset`, (m, 3, S, S) in [-1, 1]."""
        raise NotImplementedError

    def edits(
        self, contender: Contender, captions: Sequence[str], strength: float = 1.0, *, pictures: Tensor | None = None
    ) -> Tensor:
        """`pictures` (the bench's own unless given, as many as `captions`) edited, (n, 3, S, S) on the 256 levels.

        Edits of models are kept in the cache folder in chunks of 64, named by all that they depend on: model file,
        code of tgim, pictures, captions.
        """
        raise NotImplementedError

    def embeddings(self, pictures: Tensor) -> Tensor:
        """Pictures (n, 3, S, S) in the judge's space, (n, D); resized to the judge's side if need be."""
        raise NotImplementedError

    def captions(self, texts: Sequence[str]) -> Tensor:
        """Captions in the judge's space, (n, D)."""
        raise NotImplementedError


def nothing(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """No reference rows."""
    return iter(())


@dataclass(frozen=True)
class Protocol:
    """A way to measure.

    `measure` yields the figures of one contender, `references` those of rows that stand in the table for comparison
    (name, figure). `metrics` names what each of them yields: once a results file has a line of every metric for a
    contender, it is not measured again, so a figure that sums up others comes last.
    """

    name: str  # with its version: raise it when figures would no longer be comparable
    metrics: tuple[str, ...]
    measure: Callable[[Bench, Contender], Iterator[Measured]]
    references: Callable[[Bench], Iterator[tuple[str, Measured]]] = nothing
    reference_names: tuple[str, ...] = ()
    needs_judge: bool = False
    needs_extractor: bool = False  # lines carry the label of `bench.extractor_label`
    needs_truth: bool = False  # runs on the synthetic data set alone
