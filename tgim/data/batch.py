"""Batches: the input of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol, TypedDict, TypeVar

import torch
from torch import Tensor
from typing_extensions import Required

from tgim.data.cache import Progress
from tgim.errors import DataError
from tgim.text.vocabulary import Tokens, Vocabulary

_T = TypeVar("_T", "Maps", "SyntheticPairs", "LabelledViews", "DescribedPictures", "PartLessons", "Batch")


@dataclass(frozen=True)
class Maps:
    """Maps that a frozen backbone gives of B pictures."""

    fine: Tensor  # (B, C, g, g)
    coarse: Tensor  # (B, C', h, h)

    def to(self, device: Any) -> Maps:
        return _to(self, device)


@dataclass(frozen=True)
class SyntheticPairs:
    """Synthetic pairs of pictures; their true edit is known because both are rendered."""

    image: Tensor  # (N, 3, S, S) in [-1, 1]
    text: Tokens  # caption of `image`
    target_text: Tokens  # caption of `target`
    target: Tensor  # (N, 3, S, S) in [-1, 1], the true edited picture
    change: Tensor  # (N, 1, S, S) in [0, 1], where the picture may change
    subject: Tensor  # (N, 1, S, S) in [0, 1], where the subject is
    maps: Maps | None = None  # of `image`, for a model that learns from the maps of a frozen backbone
    target_maps: Maps | None = None  # of `target`

    def to(self, device: Any) -> SyntheticPairs:
        return _to(self, device)


@dataclass(frozen=True)
class LabelledViews:
    """Labels of the cells of B pictures, and the maps of a frozen backbone for them."""

    cells: Tensor  # (B, s, s) int64 labels, see `tgim.data.views`
    map4: Tensor | None = None  # (B, C, H, W) of stride 4, and so on; None where the pictures have to be looked at
    map8: Tensor | None = None
    map16: Tensor | None = None
    map32: Tensor | None = None

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """Maps of the backbone, finest first; empty where there are none."""
        found = (self.map4, self.map8, self.map16, self.map32)
        return tuple(each for each in found if each is not None)

    def to(self, device: Any) -> LabelledViews:
        return _to(self, device)


@dataclass(frozen=True)
class DescribedPictures:
    """The parts of B pictures, described once; the first of P parts is the whole subject."""

    features: Tensor  # (B, P, F)
    tones: Tensor  # (B, P, 5) darkest, middle and lightest lightness, mean a and b
    index: Tensor  # (B, 2, S, S) int64, the two parts that have most of each pixel
    share: Tensor  # (B, 2, S, S) in [0, 1], of each pixel
    named: Tensor  # (B, P) in [0, 1], parts that the picture's caption gives a colour
    hidden: Tensor  # (B, P) bool, parts that are not in view
    real: Tensor  # (B,) bool, photographs; the other pictures, after them, are synthetic

    def to(self, device: Any) -> DescribedPictures:
        return _to(self, device)

    def first(self, count: int) -> DescribedPictures:
        """The first `count` pictures."""
        return _first(self, count, {})


@dataclass(frozen=True)
class PartLessons:
    """Texts, N of each of L pictures, of which it is known what they ask of each of P parts.

    The first text of each picture is a caption of its own, or a phrase cut from one.
    """

    rows: Tensor  # (L,) int64, which pictures of the batch
    ids: Tensor  # (L, N, T) int64, their tokens
    mask: Tensor  # (L, N, T) bool
    gates: Tensor  # (L, N, P) 1 where a part is to change, 0 where it is to stay, -1 where nobody knows
    curves: Tensor  # (L, N, P, 9) tones to change to
    weights: Tensor  # (L, N, P) of the curves, 0 where nothing is known

    def to(self, device: Any) -> PartLessons:
        return _to(self, device)

    def first(self, count: int) -> PartLessons:
        """The lessons of the first `count` pictures of the batch."""
        kept = self.rows < count
        return replace(self, **{f.name: getattr(self, f.name)[kept] for f in fields(self)})

    def share(self, rank: int, of: int) -> PartLessons:
        """The lessons of the pictures rank, rank + of, ...; DataError unless each share has as many."""
        mine = self.rows % of == rank
        if of * int(mine.sum()) != len(mine):
            raise _uneven("lessons", len(mine), of)
        kept = replace(self, **{f.name: getattr(self, f.name)[mine] for f in fields(self)})
        return replace(kept, rows=kept.rows // of)


@dataclass(frozen=True)
class Batch:
    """Batch of B pictures with a caption each, and what the data config adds to them."""

    image: Tensor  # (B, 3, S, S) in [-1, 1]
    text: Tokens  # one caption of each image
    labels: Tensor  # (B,) int64 class ids, -1 - row where there is none; equal ids: captions that may fit
    subject: Tensor | None = None  # (B, 1, S, S) in [0, 1], a guess at where the subject is; -1 where nothing is known
    synthetic: SyntheticPairs | None = None
    altered: Tokens | None = None  # `text` made false by one attribute; a row that cannot be is as in `text`
    source: Tensor | None = None  # (B, 3, S, S) in [-1, 1], other pictures that lead to `image`, by
    change: Tokens | None = None  # what they lack; a row of which nothing is said: the picture itself, and its caption
    views: LabelledViews | None = None
    maps: Maps | None = None  # of varied views of `image`, for a model that learns from the maps of a frozen backbone
    parts: DescribedPictures | None = None
    lessons: PartLessons | None = None

    def to(self, device: Any) -> Batch:
        return _to(self, device)

    def first(self, count: int) -> Batch:
        """A batch of the first `count` of these images, with as large a share of the synthetic pairs, two at least."""
        pairs = len(self.synthetic.image) if self.synthetic is not None else 0
        return _first(self, count, {"synthetic": max(2, round(pairs * count / len(self.image)))})

    def share(self, rank: int, of: int) -> Batch:
        """A batch of the pictures rank, rank + of, rank + 2 of, ..., and of such synthetic pairs.

        Raises:
            DataError: pictures, pairs or lessons cannot be shared evenly by `of` processes.
        """
        return _share(self, rank, of, "pictures")


def _to(item: _T, device: Any) -> _T:
    moved = {f.name: getattr(item, f.name).to(device) for f in fields(item) if getattr(item, f.name) is not None}
    return replace(item, **moved)


def _first(item: _T, count: int, counts: Mapping[str, int]) -> _T:
    """The first `count` rows of each field; `counts` says how many of fields that have another number of them."""
    taken: dict[str, Any] = {}
    for name, value in ((f.name, getattr(item, f.name)) for f in fields(item)):
        if value is not None:
            rows = counts.get(name, count)
            if isinstance(value, PartLessons):
                taken[name] = value.first(rows)
            else:
                taken[name] = value[:rows] if isinstance(value, Tensor | Tokens) else _first(value, rows, {})
    return replace(item, **taken)


def _share(item: _T, rank: int, of: int, what: str) -> _T:
    taken: dict[str, Any] = {}
    if isinstance(item, DescribedPictures) and (photographs := int(item.real.sum())) % of:
        raise _uneven("photographs", photographs, of)
    for name, value in ((f.name, getattr(item, f.name)) for f in fields(item)):
        if isinstance(value, PartLessons):
            taken[name] = value.share(rank, of)
        elif isinstance(value, Tensor | Tokens):
            count = len(value.ids if isinstance(value, Tokens) else value)
            if count % of:
                raise _uneven(what, count, of)
            taken[name] = value[rank::of]
        elif value is not None:
            taken[name] = _share(value, rank, of, "synthetic pairs" if name == "synthetic" else what)
    return replace(item, **taken)


def _uneven(what: str, count: int, of: int) -> DataError:
    return DataError(
        f"a batch has {count} {what}, which {of} processes cannot share evenly; change train.batch_size, "
        "data.synthetic.pairs or the number of processes"
    )


def mismatching_rows(labels: Tensor) -> Tensor:
    """Find for each of B class ids the nearest row before it, cyclically, of another class; itself if there is none.

    >>> mismatching_rows(torch.tensor([5, 5, 7, 8]))
    tensor([3, 3, 1, 2])
    """
    rows = torch.arange(len(labels), device=labels.device)
    before = (rows[:, None] - rows[None]) % len(labels)  # B, B: itself, the row before, the one before that, ...
    first = (labels[before] != labels[:, None]).long().argmax(1, keepdim=True)
    return before.gather(1, first)[:, 0]


class BatchOptions(TypedDict, total=False):
    """Keywords by which a source of batches is opened; `tgim.data.loader.Batches` says what each means."""

    batch_size: Required[int]
    vocabulary: Required[Vocabulary]
    seed: int
    cache: str | Path | None
    progress: Progress | None
    limit: int | None


class BatchSource(Protocol):
    """Source of the batches of a training run: `tgim.data.loader.Batches`, or a model's own."""

    @property
    def steps_per_epoch(self) -> float:
        """Batches in which each picture is seen once."""

    def batch(self, step: int) -> Batch:
        """The batch of `step` (0, 1, ...), on the CPU; equal steps give equal batches."""

    def mapped(self, pictures: int, pairs: int) -> int:
        """Bytes of the cache that a run over so many pictures and synthetic pairs has mapped in the end."""
