"""Generator of AttnGAN (Xu et al., CVPR 2018, section 3.1): a first stage, and stages that attend to words.

Shapes: B batch, C channels, H W pixels, T tokens, E text width, Z noise.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tgim.nn.layers import ConditioningAugmentation, GatedResidual, gated_up, init_adversarial, start_map, to_image


class WordAttention(nn.Module):
    """Attention of the places of a map to the words of a caption (section 3.1, eq. 2-3; no scale, as there).

    Words are projected to the width of the map; a place attends to them by the softmax of its dot products with them,
    and gets their mean by those weights.
    """

    def __init__(self, channels: int, text_size: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(text_size, channels, 1, bias=False)

    def forward(self, x: Tensor, words: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts (B, C, H, W) and weights (B, T, H, W) that sum to one over T.

        Args:
            x: the map (B, C, H, W).
            words: (B, T, E).
            presence: (B, T) in [0, 1], 1 where there is a word and 0 for padding, which gets a weight of exactly zero;
                what lies between (captions that are interpolated) counts in proportion.
        """
        with torch.autocast(x.device.type, enabled=False):
            keys = self.project(words.float().mT[..., None])[..., 0]  # B, C, T
            presence = torch.where(presence.any(1, keepdim=True), presence.float(), 1.0)  # no word: a mean of zeros
            scores = keys.mT @ x.float().flatten(2) + presence.log()[..., None]  # B, T, HW
            weights = scores.softmax(1)
            if x.is_contiguous(memory_format=torch.channels_last):  # then so is the context
                context = (weights.mT @ keys.mT).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
            else:
                context = (keys @ weights).unflatten(2, x.shape[2:])  # B, C, H, W
        return context, weights.unflatten(2, x.shape[2:])


class RefiningStage(nn.Module):
    """Refining stage: attention, residual blocks, upsampling; maps (B, C, H, W) and words to (B, C, 2H, 2W)."""

    def __init__(self, width: int, text_size: int, residual_blocks: int) -> None:
        super().__init__()
        self.attend = WordAttention(width, text_size)
        self.residual = nn.Sequential(*(GatedResidual(2 * width) for _ in range(residual_blocks)))
        self.up = gated_up(2 * width, width)

    def forward(self, x: Tensor, words: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
        """Refine a map; returns the finer map and the attention (B, T, H, W)."""
        context, weights = self.attend(x, words, presence)
        return self.up(self.residual(torch.cat([x, context.to(x.dtype)], 1))), weights


class GeneratedScales(NamedTuple):
    """Generated pictures and attentions, coarse to fine."""

    images: list[Tensor]  # S pictures (B, 3, h, w) in [-1, 1]
    maps: list[Tensor]  # S - 1 attentions (B, T, h, w), each at the scale before the picture that it made


class Generator(nn.Module):
    """Generator of pictures of one to three scales from conditions (B, C), noise (B, Z) and words (B, T, E)."""

    def __init__(
        self,
        text_size: int,
        *,
        width: int,
        first_size: int,
        scales: int,
        residual_blocks: int,
        condition_size: int,
        noise_size: int,
    ) -> None:
        """`first_size` is the side of the first picture in pixels, a power of two."""
        super().__init__()
        doublings = first_size.bit_length() - 3  # from 4x4
        widths = [width * 2**i for i in range(doublings, -1, -1)]  # 512, 256, 128, 64, 32
        self.augment = ConditioningAugmentation(text_size, condition_size, spelling="log_var", gate="glu")
        self.first = nn.Sequential(
            start_map(condition_size + noise_size, widths[0], gated=True),
            *(gated_up(a, b) for a, b in pairwise(widths)),
        )
        self.refine = nn.ModuleList(RefiningStage(width, text_size, residual_blocks) for _ in range(scales - 1))
        self.paint = nn.ModuleList(to_image(width, bias=False) for _ in range(scales))
        self.apply(init_orthogonal)

    def forward(self, condition: Tensor, noise: Tensor, words: Tensor, presence: Tensor) -> GeneratedScales:
        """Generate pictures and attentions; `presence` as in `WordAttention`."""
        x = self.first(torch.cat([condition, noise], 1))
        result = GeneratedScales([self.paint[0](x).float()], [])
        for refine, paint in zip(self.refine, self.paint[1:], strict=True):
            x, weights = refine(x, words, presence)
            result.maps.append(weights)
            result.images.append(paint(x).float())
        return result


def init_orthogonal(module: nn.Module) -> None:
    """Start convolutions and linear layers at orthogonal matrices, normalisation at N(1, 0.02), as the release does.

    For `Module.apply`; biases start at zero.
    """
    init_adversarial(module)
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.orthogonal_(module.weight)
