"""Target captions of a batch of an editor that a matching model guides, and the loss of not being found by them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.data.batch import Batch
from tgim.models.matching.late_interaction import Member
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


def caption_loss(member: Member, edited: Tensor, targets: Targets, batch: Batch, *, scale: float = 1.0) -> Tensor:
    """Cross-entropy of the target caption among all captions of a batch, by one member of a matching model.

    The pictures are moved and noised first. Captions of the target's class are no negatives; the own caption always is.

    Args:
        member: frozen.
        edited: (B, 3, S, S) in [-1, 1].
        targets: of the batch.
        batch: with the pictures' own captions.
        scale: times the member's own inverse temperature.
    """
    labels = batch.labels
    with torch.no_grad():
        own = member.encode_text(batch.text)
        extra = None if targets.extra is None else member.encode_text(targets.extra)
    moved = random_view(edited)
    features = member.encode_image(moved + 0.03 * torch.randn_like(moved))
    logits = member.logits(features, own).float()  # (B, B); row i is to become caption i - 1
    rows = torch.arange(len(labels), device=labels.device)
    target = rows.roll(1)
    wanted = torch.where(targets.local, labels, labels.roll(1))
    may_fit = wanted[:, None] == labels[None]
    may_fit[rows, target] = False
    may_fit[rows, rows] = False
    logits = logits.masked_fill(may_fit, -1e4)
    if extra is not None:
        column = member.pair_logits(features, extra).float().masked_fill(~(targets.local | targets.false), -1e4)
        logits = torch.cat([logits, column[:, None]], 1)
        target = torch.where(targets.local, len(labels), target)
    return F.cross_entropy(scale * logits, target)


def random_view(image: Tensor) -> Tensor:
    """Mirror (or not), scale by 0.85 to 1.2 and move by up to a tenth each picture (B, C, H, W), borders repeated."""
    count = len(image)
    mirror, zoom, x, y = torch.rand(4, count, device=image.device)
    mirror, zoom, x, y = 2 * mirror.round() - 1, 0.85 + 0.35 * zoom, 0.4 * x - 0.2, 0.4 * y - 0.2
    zero = torch.zeros_like(x)
    affine = torch.stack([mirror / zoom, zero, x, zero, 1 / zoom, y], 1).view(count, 2, 3)
    grid = F.affine_grid(affine, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def rmse(x: Tensor, y: Tensor) -> Tensor:
    """Root of the mean squared difference of each picture: (B, ...) and (B, ...) -> (B,); the slope at 0 is finite."""
    return ((x - y).flatten(1).square().mean(1) + 1e-6).sqrt()
