"""The bilateral grid: colour transforms by place and brightness (Gharbi et al., SIGGRAPH 2017, section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def slice_grid(grid: Tensor, guide: Tensor) -> Tensor:
    """Look up the transform of every pixel: grid (B, 12, bins, G, G), guide (B, 1, H, W) -> (B, 12, H, W)."""
    batch, _, height, width = guide.shape
    y, x = (((torch.arange(n, device=grid.device) + 0.5) / n) for n in (height, width))
    x, y = x.expand(batch, height, width), y[:, None].expand(batch, height, width)
    return look_up(grid, x.flatten(1), y.flatten(1), guide.flatten(1)).view(batch, 12, height, width)


def look_up(grid: Tensor, x: Tensor, y: Tensor, guide: Tensor) -> Tensor:
    """Trilinear look-up in a bilateral grid.

    Args:
        grid: (B, 12, bins, G, G).
        x: (B, N) place from left to right, 0 to 1.
        y: (B, N) place from top to bottom, 0 to 1.
        guide: (B, N) 0 at the centre of the first bin, 1 at that of the last.

    Returns:
        (B, 12, N) affine coefficients.
    """
    bins = grid.shape[2]
    where = torch.stack([2 * x - 1, 2 * y - 1, (2 * guide * (bins - 1) + 1) / bins - 1], -1)  # B, N, 3
    return F.grid_sample(grid, where[:, None, None], padding_mode="border", align_corners=False)[:, :, 0, 0]


def apply_affine(image: Tensor, coefficients: Tensor) -> Tensor:
    """y = A [r g b 1]: (B, 3, ...) and (B, 12, ...) -> (B, 3, ...)."""
    matrix = coefficients.reshape(len(image), 3, 4, *image.shape[2:])
    turned: Tensor = (matrix[:, :, :3] * image[:, None]).sum(2)
    return turned + matrix[:, :, 3]


def roughness(grid: Tensor) -> Tensor:
    """Mean squared difference of neighbouring cells of a grid (B, 12, bins, G, G), in space and along the bins."""
    return sum((grid.diff(dim=dim).square().mean() for dim in (2, 3, 4)), grid.new_zeros(()))
