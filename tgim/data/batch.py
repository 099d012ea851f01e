"""What a training step is given."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from torch import Tensor

from tgim.text import Tokens

_T = TypeVar("_T", "DrawnPairs", "Batch")


@dataclass(frozen=True)
class DrawnPairs:
    """Pairs whose true edit is known because the synthetic renderer drew both pictures."""

    image: Tensor  # (N, 3, S, S) in [-1, 1]
    text: Tokens  # caption of `image`
    target_text: Tokens  # caption of `target`
    target: Tensor  # (N, 3, S, S) in [-1, 1], the true edited picture
    change: Tensor  # (N, 1, S, S) in [0, 1], where the picture may change
    subject: Tensor  # (N, 1, S, S) in [0, 1], where the subject is

    def to(self, device: Any) -> DrawnPairs:
        return _to(self, device)


@dataclass(frozen=True)
class Batch:
    """B images with a caption each."""

    image: Tensor  # (B, 3, S, S) in [-1, 1]
    text: Tokens  # one caption of each image
    labels: Tensor  # (B,) int64 class ids, -1 - row where there is none; equal ids: captions that may fit
    subject: Tensor | None = None  # (B, 1, S, S) in [0, 1], a guess at where the subject is; -1 where nothing is known
    drawn: DrawnPairs | None = None
    altered: Tokens | None = None  # `text` made false by one attribute; a row that cannot be is as in `text`

    def to(self, device: Any) -> Batch:
        return _to(self, device)


def _to(item: _T, device: Any) -> _T:
    moved = {f.name: getattr(item, f.name).to(device) for f in fields(item) if getattr(item, f.name) is not None}
    return replace(item, **moved)
