"""Decoder from feature maps of several strides to one fine map, from coarse to fine.

After Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, section 3: each map goes through a
1x1 convolution and is added to the enlarged coarser one. Differs from the paper: the width falls from coarse to fine,
because fine maps are dear, and each sum is refined by residual blocks before it is enlarged.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from tgim.nn.layers import PreActivationResidual

GROUPS = 8  # of the group normalisations


class Decoder(nn.Module):
    """Logits of each part at the finest map's resolution.

    Args:
        channels: of the feature maps, finest first.
        widths: channels of the decoder at each of them; fine maps are dear, so they get few.
        parts: number of maps given out.
        blocks: residual blocks at each map, finest first.
        dropout: share of the feature maps' channels that is left out in training, anew for each picture.
    """

    def __init__(
        self, channels: Sequence[int], *, widths: Sequence[int], parts: int, blocks: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.enter = nn.ModuleList(nn.Conv2d(n, width, 1) for n, width in zip(channels, widths, strict=True))
        self.refine = nn.ModuleList(
            nn.Sequential(*(PreActivationResidual(width, groups=GROUPS, depthwise=True) for _ in range(n)))
            for n, width in zip(blocks, widths, strict=True)
        )
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.output = nn.Sequential(nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], parts, 1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Feature maps (B, C, H, W), finest first -> logits (B, parts, H, W) at the size of the first."""
        x: Tensor = self.refine[-1](self.enter[-1](self.dropout(maps[-1])))
        for i in range(len(maps) - 2, -1, -1):
            coarser = self.narrow[i](x)
            coarser = F.interpolate(coarser, maps[i].shape[-2:], mode="bilinear", align_corners=False)
            x = self.refine[i](self.enter[i](self.dropout(maps[i])) + coarser)
        logits: Tensor = self.output(x)
        return logits
