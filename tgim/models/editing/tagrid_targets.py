"""Choose target captions for each picture of a batch of TAGrid."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tgim.data.batch import Batch
from tgim.text.vocabulary import Tokens


class Targets(NamedTuple):
    """Target captions of B pictures, and false captions to tell them from."""

    captions: Tokens
    extra: Tokens | None  # the target where it is the own caption altered; elsewhere the target made false
    local: Tensor  # (B,) bool, the target is the own caption altered
    false: Tensor  # (B,) bool, `extra` is a false caption


def sample_targets(batch: Batch, local_share: float) -> Targets:
    """Sample target captions: the previous picture's, or, for `local_share` of the pictures, the own one altered."""
    count = len(batch.labels)
    other, none = batch.text.roll(), torch.zeros(count, dtype=torch.bool, device=batch.labels.device)
    if batch.altered is None:
        return Targets(other, None, none, none)
    differs = (batch.altered.ids != batch.text.ids).any(1)
    local = differs & (torch.rand(count, device=none.device) < local_share)
    extra = either(local, batch.altered, batch.altered.roll())
    return Targets(either(local, batch.altered, other), extra, local, differs.roll(1) & ~local)


def either(choice: Tensor, first: Tokens, second: Tokens) -> Tokens:
    """Select captions of `first` where `choice` (B,) is True, of `second` elsewhere."""
    return Tokens(*(torch.where(choice[:, None], a, b) for a, b in zip(first, second, strict=True)))
