"""What the pictures of a training step of TAGrid are to become."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tgim.data.batch import Batch
from tgim.text.vocabulary import Tokens


class Wishes(NamedTuple):
    """What B pictures are to become."""

    target: Tokens
    extra: Tokens | None  # the target where it is the own caption altered; elsewhere the target made false
    local: Tensor  # (B,) bool, the target is the own caption altered
    false: Tensor  # (B,) bool, `extra` is a false caption


def draw_wishes(batch: Batch, local_share: float) -> Wishes:
    """The caption of the picture before it for each picture, or, for `local_share` of them, its own one altered."""
    count = len(batch.labels)
    other, none = batch.text.roll(), torch.zeros(count, dtype=torch.bool, device=batch.labels.device)
    if batch.altered is None:
        return Wishes(other, None, none, none)
    differs = (batch.altered.ids != batch.text.ids).any(1)
    local = differs & (torch.rand(count, device=none.device) < local_share)
    extra = either(local, batch.altered, batch.altered.roll())
    return Wishes(either(local, batch.altered, other), extra, local, differs.roll(1) & ~local)


def either(choice: Tensor, first: Tokens, second: Tokens) -> Tokens:
    """Captions of `first` where `choice` (B,) is True, elsewhere of `second`."""
    return Tokens(*(torch.where(choice[:, None], a, b) for a, b in zip(first, second, strict=True)))
