"""Target captions of a batch of an editor that a matching model guides, and the loss of not being found by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.data.batch import Batch
from tgim.models.matching.interaction import ImageFeatures, Interaction
from tgim.nn.parallel import gathered, gathered_all, own_rows, rand, randn_like, rolled, rolled_all
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
    other, none = rolled_all(batch.text), torch.zeros(count, dtype=torch.bool, device=batch.labels.device)
    if batch.altered is None:
        return Targets(other, None, none, none)
    differs = (batch.altered.ids != batch.text.ids).any(1)
    local = differs & (rand(count, device=none.device) < local_share)
    extra = either(local, batch.altered, rolled_all(batch.altered))
    return Targets(either(local, batch.altered, other), extra, local, rolled(differs) & ~local)


def either(choice: Tensor, first: Tokens, second: Tokens) -> Tokens:
    """Select captions of `first` where `choice` (B,) is True, of `second` elsewhere."""
    return Tokens(*(torch.where(choice[:, None], a, b) for a, b in zip(first, second, strict=True)))


def caption_loss(
    members: Sequence[Interaction],
    edited: Sequence[ImageFeatures],
    targets: Targets,
    batch: Batch,
    *,
    scale: float = 1.0,
) -> Tensor:
    """Cross-entropy of the target caption among all captions of a batch, by the mean of some members' logits.

    Captions of the target's class are no negatives; the own caption always is.

    Args:
        members: of a frozen matching model.
        edited: features, by each of them, of the first pictures of the batch, edited.
        targets: of the batch.
        batch: with the pictures' own captions.
        scale: times the members' own inverse temperature.
    """
    labels, count = gathered(batch.labels), len(edited[0].whole)
    few = None if targets.extra is None else Tokens(targets.extra.ids[:count], targets.extra.mask[:count])
    with torch.no_grad():
        own = [gathered_all(member.encode_text(batch.text)) for member in members]
        false = [] if few is None else [member.encode_text(few) for member in members]
    each = zip(members, edited, own, strict=True)
    logits = torch.stack([member.logits(seen, text).float() for member, seen, text in each]).mean(0)
    # (E, B); row i is to become caption i - 1
    local = targets.local[:count]
    rows, places = torch.arange(count, device=labels.device), own_rows(count, labels.device)
    target = (places - 1) % len(labels)
    wanted = torch.where(local, labels[places], labels[target])
    may_fit = wanted[:, None] == labels[None]
    may_fit[rows, target] = False
    may_fit[rows, places] = False
    logits = logits.masked_fill(may_fit, -1e4)
    if false:
        pairs = zip(members, edited, false, strict=True)
        column = torch.stack([member.pair_logits(seen, text).float() for member, seen, text in pairs]).mean(0)
        column = column.masked_fill(~(local | targets.false[:count]), -1e4)
        logits = torch.cat([logits, column[:, None]], 1)
        target = torch.where(local, len(labels), target)
    return F.cross_entropy(scale * logits, target)


def noised_view(image: Tensor, *, size: int | None = None, zoom: tuple[float, float] = (0.85, 1.2)) -> Tensor:
    """Mirror (or not), scale by `zoom` and move by up to a tenth each picture (B, C, H, W), then add noise.

    Returns (B, C, `size`, `size`), by default of the pictures' own size.
    """
    count = len(image)
    mirror, scale, x, y = rand(4, count, device=image.device, dim=1)
    mirror, scale = 2 * mirror.round() - 1, zoom[0] + (zoom[1] - zoom[0]) * scale
    x, y = 0.4 * x - 0.2, 0.4 * y - 0.2
    zero = torch.zeros_like(x)
    affine = torch.stack([mirror / scale, zero, x, zero, 1 / scale, y], 1).view(count, 2, 3)
    shape = [*image.shape[:2], size or image.shape[2], size or image.shape[3]]
    grid = F.affine_grid(affine, shape, align_corners=False)
    moved = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return moved + 0.03 * randn_like(moved)


def rmse(x: Tensor, y: Tensor) -> Tensor:
    """Root of the mean squared difference of each picture: (B, ...) and (B, ...) -> (B,); the slope at 0 is finite."""
    return ((x - y).flatten(1).square().mean(1) + 1e-6).sqrt()
