"""The bench of all protocols: pictures, captions, edits and their embeddings by the judge, kept on disk."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tgim.data.base import CaptionedImages, existing
from tgim.data.cache import cache_folder
from tgim.data.config import DataConfig
from tgim.data.doing import note
from tgim.errors import UserError
from tgim.evaluation.contenders import Contender, quantised
from tgim.evaluation.kept import Store, digest
from tgim.evaluation.matcher import CHUNK, Matcher
from tgim.evaluation.pictures import Pictures, Progress
from tgim.evaluation.records import Options
from tgim.evaluation.task import EditTask, choose_task
from tgim.images.photo import from_uint8, to_uint8


class Bench:
    """Pictures of one data set at one size, the captions that they are edited by, and the judge.

    The data set is read when its pictures are first needed.

    Attributes:
        judge_label: "judge-birds:0123456789abcdef", or None.

    Args:
        data: the data set and split; pictures are cut as it says (`crop`, `fit`), never varied.
        size: pixels, side of the pictures that are edited and compared.
        seed: of the task.
        judge: a matching model, or its name or path, or None.
        extractor: of `realism@1`, as `tgim.evaluation.features` understands it, or None for none.
        limit: measure on this many pictures, a seeded choice; targets and wrong captions are those of the whole split.
        photos: folder of whole photographs for protocols that edit photographs at their own size; without it they
            edit the pictures of the data set.
        cache: where pictures, edits and embeddings are kept; `cache_folder()` unless given.
        progress: called with (what, done, total).

    Raises:
        DataError: the data set is not there. Other errors in it, or in its captions, are raised when it is read.
        UserError: the judge is no matching model, or `size` or `limit` is out of range.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        size: int,
        seed: int = 0,
        judge: str | Matcher | None = None,
        extractor: str | None = None,
        limit: int | None = None,
        photos: Path | None = None,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        if size < 16:
            raise UserError(f"size is {size} pixels, expected at least 16")
        if limit is not None and limit < 2:
            raise UserError(f"limit is {limit} pictures, expected at least 2")
        if data.name != "synthetic":
            existing(data.folder)
        self.data, self.size, self.seed, self.extractor, self.limit = data, size, seed, extractor, limit
        self.photos = photos
        self.folder = cache if cache is not None else cache_folder()
        self.progress: Progress = progress if progress is not None else lambda what, done, total: None
        self._store = Store(self.folder)
        self._judge = Matcher.open(judge) if isinstance(judge, str) else judge
        self.judge_label = None if self._judge is None else self._judge.label
        self._held: tuple[str, Tensor] = ("", torch.empty(0))
        self._texts: dict[str, Tensor] = {}

    def by(self, extractor: str) -> Bench:
        """The same bench by another extractor of features."""
        other = self if extractor == self.extractor else copy.copy(self)
        other.extractor = extractor
        return other

    @cached_property
    def _pictures(self) -> Pictures:
        return Pictures(self.data, size=self.size, folder=self.folder, progress=self.progress)

    @cached_property
    def task(self) -> EditTask:
        """Own and target captions, target pictures, wrong captions; DataError if the captions allow no choice."""
        task = choose_task(self.dataset, split=self.data.split, seed=self.seed, limit=self.limit)
        if task.note:
            note(f"{self.dataset.root}: {task.note}")
        return task

    @property
    def dataset(self) -> CaptionedImages:
        """The readable pictures of the split, in the order of their names."""
        return self._pictures.dataset

    @property
    def content(self) -> str:
        """Hash of the data set's pictures and captions, 16 hex digits."""
        return self._pictures.content

    def __len__(self) -> int:
        """Number of pictures that are measured."""
        return len(self.task.rows)

    def facts(self) -> dict[str, Any]:
        """Fields of a results line that describe the pictures; see `limited` for its `options`."""
        return {"data": self.data.name, "content": self.content, "size": self.size, "options": self.limited()}

    def limited(self) -> Options:
        """The limit as an option of results lines, if it leaves pictures out; else no option."""
        return {"limit": self.limit} if self.limit is not None and len(self) < len(self.dataset) else {}

    @property
    def rows(self) -> NDArray[np.int64]:
        """(n,) rows of `dataset` that are measured."""
        return self.task.rows

    @property
    def own(self) -> list[str]:
        """n captions: one of each picture."""
        return self.task.own

    @property
    def targets(self) -> NDArray[np.int64]:
        """(n,) rows of `dataset`: a picture of another class for each."""
        return self.task.targets

    @property
    def target(self) -> list[str]:
        """n captions: one of each target picture."""
        return list(self.task.target)

    @property
    def pictures(self) -> Tensor:
        """The photographs that are edited, (n, 3, S, S) in [-1, 1]."""
        return self.images(self.rows)

    def images(self, rows: NDArray[np.int64]) -> Tensor:
        """Photographs of any rows of `dataset`, (m, 3, S, S) in [-1, 1] on the 256 levels."""
        return self._pictures.images(rows)

    def edits(
        self, contender: Contender, captions: Sequence[str], strength: float = 1.0, *, pictures: Tensor | None = None
    ) -> Tensor:
        """`pictures` (the bench's own unless given; as many as `captions`) edited, (n, 3, S, S) on the 256 levels.

        A strength below 1 blends the full edit with the photograph, unless the contender `has_strength` of its own.
        Edits of models are kept in the cache folder in chunks of 64, named by all that they depend on: model file,
        code of tgim, pictures, captions.
        """
        pictures = self.pictures if pictures is None else pictures
        asked = strength if contender.has_strength else 1.0
        mark = f"{contender.name}|{contender.checkpoint}|{asked}|{digest(pictures, captions)}"
        if self._held[0] != mark:
            self._held = mark, self._edited(contender, captions, asked, pictures)
        full = from_uint8(self._held[1])
        return full if asked == strength else quantised(pictures + strength * (full - pictures))

    def _edited(self, contender: Contender, captions: Sequence[str], strength: float, pictures: Tensor) -> Tensor:
        """Edits as uint8 (n, 3, S, S), made and kept in chunks of 64."""
        edited = torch.empty(pictures.shape, dtype=torch.uint8)
        for first in range(0, len(captions), CHUNK):
            part = slice(first, min(first + CHUNK, len(captions)))
            rows = range(part.start, part.stop)

            def make(part: slice = part, rows: range = rows) -> NDArray[Any]:
                with torch.no_grad():
                    made = contender.edit(pictures[part], captions[part], rows, strength)
                return to_uint8(made).numpy()

            edited[part] = torch.from_numpy(
                self.kept(contender, make, "edits", strength, pictures[part], captions[part])
            )
            self.progress(f"{contender.name}: edits", part.stop, len(captions))
        return edited

    def kept(self, contender: Contender, make: Callable[[], NDArray[Any]], kind: str, *depends: Any) -> NDArray[Any]:
        """Return what `make` returns, from the cache folder where a model made it before from the same `depends`."""
        if contender.checkpoint is None:
            return make()
        return self._store.get(kind, make, contender.checkpoint, *depends)

    def seen(self, what: str) -> Callable[[int, int], None]:
        """The function that tells (done, total) of `what` to `progress`."""
        return lambda done, total: self.progress(what, done, total)

    def embeddings(self, pictures: Tensor) -> Tensor:
        """Pictures (n, 3, S, S) in the judge's space, (n, D); resized to the judge's side if need be."""
        judge = self.judge

        def make() -> NDArray[Any]:
            return judge.embeddings(pictures, progress=self.seen("judge"))

        return torch.from_numpy(self._store.get("seen", make, judge.label, pictures))

    def captions(self, texts: Sequence[str]) -> Tensor:
        """Captions in the judge's space, (n, D)."""
        mark = digest(texts)
        if mark not in self._texts:
            self._texts[mark] = self.judge.captions(texts)
        return self._texts[mark]

    def fits(self, pictures: Tensor, right: Sequence[str], wrong: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score each picture with its right caption and its wrong ones, by the judge's own score: (n, 1 + K).

        Args:
            pictures: (n, 3, S, S); resized to the judge's side if need be.
            right: n captions.
            wrong: (n, K) rows of `task.captions`.

        Returns:
            Scores, that of the right caption first.
        """
        own = np.arange(len(right))[:, None]
        return self.scores(pictures, [*right, *self.task.captions], np.concatenate([own, len(right) + wrong], 1))

    def scores(self, pictures: Tensor, texts: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The judge's own score of each picture with some of `texts`: (n, K) for rows (n, K) of `texts`."""
        judge = self.judge

        def make() -> NDArray[Any]:
            return judge.scores(pictures, texts, rows, progress=self.seen("judge"))

        return self._store.get("fits", make, judge.label, pictures, texts, rows.ravel().tolist())

    @property
    def judge(self) -> Matcher:
        """The matching model that judges; UserError without one."""
        if self._judge is None:
            raise UserError("this protocol needs a judge: name a matching model, such as judge='judge-birds'")
        return self._judge
