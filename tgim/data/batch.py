"""Batches: the input of a training step."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from tgim.text.vocabulary import Tokens

_T = TypeVar("_T", "SyntheticPairs", "LabelledViews", "Batch")


@dataclass(frozen=True)
class SyntheticPairs:
    """Synthetic pairs of pictures; their true edit is known because both are rendered."""

    image: Tensor  # (N, 3, S, S) in [-1, 1]
    text: Tokens  # caption of `image`
    target_text: Tokens  # caption of `target`
    target: Tensor  # (N, 3, S, S) in [-1, 1], the true edited picture
    change: Tensor  # (N, 1, S, S) in [0, 1], where the picture may change
    subject: Tensor  # (N, 1, S, S) in [0, 1], where the subject is

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

    def to(self, device: Any) -> Batch:
        return _to(self, device)


def _to(item: _T, device: Any) -> _T:
    moved = {f.name: getattr(item, f.name).to(device) for f in fields(item) if getattr(item, f.name) is not None}
    return replace(item, **moved)


def mismatching_rows(labels: Tensor) -> Tensor:
    """Find for each of B class ids the nearest row before it, cyclically, of another class; itself if there is none.

    >>> mismatching_rows(torch.tensor([5, 5, 7, 8]))
    tensor([3, 3, 1, 2])
    """
    rows = torch.arange(len(labels), device=labels.device)
    before = (rows[:, None] - rows[None]) % len(labels)  # B, B: itself, the row before, the one before that, ...
    first = (labels[before] != labels[:, None]).long().argmax(1, keepdim=True)
    return before.gather(1, first)[:, 0]
