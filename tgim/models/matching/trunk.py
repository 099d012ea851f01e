"""The convolutions that the matching models start from: a small residual network, trained from scratch.

Shapes: B batch, S side of the picture in pixels, W channels at half resolution.
"""

from __future__ import annotations

from torch import nn

from tgim.nn.layers import Residual, down


def residual_trunk(width: int, blocks: int) -> nn.Sequential:
    """Pictures (B, 3, S, S) to maps (B, 4 W, S/8, S/8); `trunk_to_quarter` of its layers give (B, 2 W, S/4, S/4).

    Args:
        width: W; the channels double at each halving.
        blocks: residual blocks at a quarter of the resolution, and again at an eighth; one stands at the half.
    """
    half, quarter, eighth = width, 2 * width, 4 * width
    return nn.Sequential(
        down(3, half),
        Residual(half, rectified=True),
        down(half, quarter),
        *(Residual(quarter, rectified=True) for _ in range(blocks)),
        down(quarter, eighth),
        *(Residual(eighth, rectified=True) for _ in range(blocks)),
    )


def trunk_to_quarter(blocks: int) -> int:
    """Count the layers of `residual_trunk` that lead to a quarter of the resolution."""
    return 3 + blocks
