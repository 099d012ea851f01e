"""Resampling of pictures to another size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LARGE = 2**26  # numbers: of so many one channel at a time is resized, in case it takes a copy


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize pictures `x` (B, C, H, W) in [-1, 1] to `size` (height, width), antialiased bilinear, still in [-1, 1].

    >>> resize(torch.zeros(1, 3, 30, 20), (8, 8)).shape
    torch.Size([1, 3, 8, 8])

    Raises:
        ValueError: not a batch of four dimensions, an empty one, or a size below 1x1.
    """
    if x.ndim != 4 or 0 in x.shape or min(size) < 1:
        raise ValueError(
            f"resize takes a batch (B, C, H, W) and a size of at least 1x1, got {tuple(x.shape)} and {size}"
        )
    if x.shape[-2:] == torch.Size(size):
        return x
    parts = (
        torch.split(x, 1, 1) if x.numel() > LARGE else (x,)
    )  # a copy of one channel at a time, where it takes a copy
    made = [F.interpolate(part, size, mode="bilinear", antialias=True, align_corners=False) for part in parts]
    return torch.cat(made, 1).clamp_(-1, 1) if len(made) > 1 else made[0].clamp(-1, 1)
