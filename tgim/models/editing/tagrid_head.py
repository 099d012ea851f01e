"""Networks of TAGrid that are trained: feature encoder, head with attention to words, subject mask, guide.

Shapes: B batch, S side of the small picture (64 px), G = S/2 cells of the grid each way, T words.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from tgim.models.matching.interaction import ImageFeatures, TextFeatures
from tgim.models.matching.late_interaction import LateInteractionConfig, Member
from tgim.nn.layers import PreActivationResidual
from tgim.text.vocabulary import TextCode

FITS = 0.1  # share of the references that may fit a caption better before it counts as quite untrue of a picture


class FeaturePyramid(NamedTuple):
    """Features of a picture at three resolutions and as a whole; they do not depend on a caption."""

    full: Tensor  # (B, W/4, S, S)
    half: Tensor  # (B, W/2, S/2, S/2)
    quarter: Tensor  # (B, W, S/4, S/4), joined with the maps of the matching model
    whole: Tensor  # (B, D) the matching model's embedding, unit length

    def __getitem__(self, rows: object) -> FeaturePyramid:  # type: ignore[override]
        return FeaturePyramid(*(part[rows] for part in tuple(self)))  # type: ignore[index]


class FeatureEncoder(nn.Module):
    """Encoder of pictures, and of the matching model's maps of them, to a `FeaturePyramid`."""

    def __init__(self, width: int, fine: int, coarse: int) -> None:
        super().__init__()
        self.at_full = nn.Sequential(nn.Conv2d(3, width // 4, 3, padding=1), nn.SiLU())
        self.at_half = nn.Sequential(_halve(width // 4), PreActivationResidual(width // 2))
        self.at_quarter = nn.Sequential(_halve(width // 2), PreActivationResidual(width))
        self.join = nn.Conv2d(width + fine + coarse, width, 1)

    def forward(self, image: Tensor, fine: Tensor, coarse: Tensor, whole: Tensor) -> FeaturePyramid:
        """`image` (B, 3, S, S), maps (B, fine, S/4, S/4) and (B, coarse, S/8, S/8), `whole` (B, D)."""
        full = self.at_full(image)
        half = self.at_half(full)
        own = self.at_quarter(half)
        upper = F.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False)
        return FeaturePyramid(full, half, self.join(torch.cat([own, fine, upper], 1)), whole)


def _halve(channels: int) -> nn.Conv2d:
    """Convolution of stride 2: (B, C, H, W) -> (B, 2 C, H/2, W/2)."""
    return nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1)


class CrossAttention(nn.Module):
    """Attention of places to words: (B, C, H, W) and words (B, T, E) -> context (B, C, H, W).

    Scaled dot products of queries and keys (Vaswani et al., NeurIPS 2017, section 3.2.1).
    """

    def __init__(self, channels: int, word_size: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Linear(word_size, channels, bias=False)
        self.value = nn.Linear(word_size, channels)

    def forward(self, x: Tensor, text: TextCode) -> Tensor:
        query = self.query(x).flatten(2).transpose(1, 2)  # B, HW, C
        scores = query @ self.key(text.words).transpose(1, 2) / x.shape[1] ** 0.5  # B, HW, T
        weights = scores.float().masked_fill(~text.mask[:, None], -1e4).softmax(-1)
        context: Tensor = weights.to(query.dtype) @ self.value(text.words)
        return context.transpose(1, 2).reshape(x.shape)


class HeadBlock(nn.Module):
    """Scale and shift by the condition, attend to words, convolve; (B, C, H, W) -> the same.

    The scale and shift are FiLM (Perez et al., AAAI 2018).
    """

    def __init__(self, channels: int, word_size: int, condition_size: int) -> None:
        super().__init__()
        self.film = nn.Linear(condition_size, 2 * channels)
        self.attention = CrossAttention(channels, word_size)
        self.join = nn.Conv2d(2 * channels, channels, 1)
        self.mix = PreActivationResidual(channels)

    def forward(self, x: Tensor, text: TextCode, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[..., None, None].chunk(2, 1)
        x = x * (1 + scale) + shift
        x = x + self.join(torch.cat([x, self.attention(x, text)], 1))
        mixed: Tensor = self.mix(x)
        return mixed


class GridHead(nn.Module):
    """Head from features, caption and strength to the grid (B, 12, bins, G, G); all zero before training."""

    def __init__(self, width: int, bins: int, bound: float, *, word_size: int, embedding_size: int) -> None:
        super().__init__()
        self.bins, self.bound = bins, bound
        condition = 3 * embedding_size + 2
        self.blocks = nn.ModuleList(HeadBlock(width, word_size, condition) for _ in range(2))
        self.rise = nn.Conv2d(width, width // 2, 1)
        self.last = HeadBlock(width // 2, word_size, condition)
        self.leave = nn.Sequential(nn.SiLU(), nn.Conv2d(width // 2, 12 * bins, 1))
        self.gate = nn.Sequential(nn.SiLU(), nn.Conv2d(width // 2, 1, 1))
        nn.init.zeros_(self.leave[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.leave[-1].bias)  # type: ignore[arg-type]

    def forward(self, features: FeaturePyramid, text: TextCode, strength: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the grid, and logits (B, 1, G, G) that a cell changes at all; `strength` (B,) in [0, 1]."""
        sentence = text.sentence
        level = torch.stack([2 * strength - 1, (2 * strength - 1) ** 2], 1)
        fit = 4 * sentence * features.whole  # how well the caption fits already
        condition = torch.cat([sentence, features.whole, fit, level], 1)
        x = features.quarter
        for block in self.blocks:
            x = block(x, text, condition)
        x = F.interpolate(self.rise(x), scale_factor=2.0, mode="bilinear", align_corners=False) + features.half
        x = self.last(x, text, condition)
        change, gate = self.leave(x).float().unflatten(1, (12, self.bins)), self.gate(x).float()
        size = self.bound * strength.view(-1, 1, 1, 1, 1) * torch.sigmoid(gate)[:, :, None]
        return size * torch.tanh(0.5 * change), gate


class References(nn.Module):
    """Matching features of the latest training pictures: a reference for how well a caption usually fits."""

    whole: Tensor  # (R, D)
    regions: Tensor  # (R, K, places)

    def __init__(self, count: int, encoder: LateInteractionConfig) -> None:
        super().__init__()
        places = (encoder.image_size // 8) ** 2
        self.register_buffer("whole", torch.zeros(count, encoder.embedding_size))
        self.register_buffer("regions", torch.zeros(count, encoder.match_size, places))

    @torch.no_grad()
    def remember(self, code: ImageFeatures) -> None:
        """Replace the oldest pictures by new ones."""
        for buffer, new in zip((self.whole, self.regions), code, strict=True):
            buffer.copy_(torch.cat([new.to(buffer), buffer])[: len(buffer)])

    def need(self, member: Member, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """Share (B,) in [0, 1] of an edit that pictures need: 0 where the caption fits better than all references."""
        references = ImageFeatures(self.whole, self.regions)
        better = member.logits(references, text) > member.pair_logits(image, text)  # (R, B)
        share = better.float().mean(0) / FITS
        return share.clamp(max=1) if self.whole.any() else torch.ones_like(share)


class SubjectMask(nn.Module):
    """Predictor of the subject's mask from features alone: logits (B, 1, S, S)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.Conv2d(width, width // 2, 3, padding=1), nn.SiLU())
        self.at_half = nn.Sequential(nn.Conv2d(width, width // 4, 3, padding=1), nn.SiLU())
        self.at_full = nn.Sequential(
            nn.Conv2d(width // 2, width // 4, 3, padding=1), nn.SiLU(), nn.Conv2d(width // 4, 1, 1)
        )

    def forward(self, features: FeaturePyramid) -> Tensor:
        deep = F.interpolate(self.deep(features.quarter), scale_factor=2.0, mode="bilinear", align_corners=False)
        half = self.at_half(torch.cat([deep, features.half], 1))
        half = F.interpolate(half, scale_factor=2.0, mode="bilinear", align_corners=False)
        logits: Tensor = self.at_full(torch.cat([half, features.full], 1))
        return logits.float()


class Guide(nn.Module):
    """Guide of the grid: brightness plus a learned correction, pixelwise, (B, 3, H, W) to (B, 1, H, W) in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.correct = nn.Sequential(nn.Conv2d(3, 8, 1), nn.SiLU(), nn.Conv2d(8, 1, 1))
        nn.init.zeros_(self.correct[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.correct[-1].bias)  # type: ignore[arg-type]
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        brightness = 0.5 + 0.5 * (image * self.luma).sum(1, keepdim=True)  # type: ignore[operator]
        guide: Tensor = (brightness + 0.5 * torch.tanh(self.correct(image).float())).clamp(0, 1)
        return guide


def patch_discriminator(width: int) -> nn.Sequential:
    """Build a discriminator of patches: pictures (B, 3, S, S) to logits (B, 1, S/4 - 1, S/4 - 1).

    Spectrally normalised (Miyato et al., ICLR 2018).
    """
    return nn.Sequential(
        spectral_norm(nn.Conv2d(3, width, 4, stride=2, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(2 * width, 1, 4, padding=1)),
    )
