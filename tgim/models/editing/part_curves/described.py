"""Description of the parts of a picture: what the head of `part_curves` knows of each, whatever the caption."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.images.photo import as_array
from tgim.models.editing.painting.brush import tones_of
from tgim.models.editing.painting.lab import to_lab
from tgim.models.editing.painting.masks import outline_mask
from tgim.models.editing.painting.outline import refined
from tgim.models.editing.painting.palette import nearest
from tgim.models.efficientnet import Variant, widths
from tgim.models.parsing.localiser import PartLocaliser
from tgim.text.lexicon.colours import PLAIN as NAMED

SHARPNESS = 3  # power of the parts' probabilities: each pixel is nearly all of one part
LEAST = 0.002  # share of the picture below which a part is not in view
STATISTICS = 10 + len(NAMED)  # of a part's colours, beside the backbone's features
VIEW = -len(NAMED) - 1  # place among a part's features that says whether it is in view
TONES = 5  # darkest, middle and lightest lightness of a part, mean a and b


class DescribedParts(NamedTuple):
    """Parts of one picture; the first is the whole subject."""

    features: Tensor  # (P, F)
    tones: Tensor  # (P, TONES) in Lab units
    shares: Tensor  # (P, H, W) in [0, 1], of each pixel; the first is the sum of the others


def feature_count(backbone: Variant) -> int:
    """F, features of a part: the backbone's maps, averaged over it, and statistics of its colours."""
    return sum(widths(backbone)) + STATISTICS


@torch.no_grad()
def describe(localiser: PartLocaliser, picture: Tensor, *, maps: Tensor | None = None) -> DescribedParts:
    """Describe the parts of a picture.

    Args:
        localiser: finds them, and its backbone describes them.
        picture: (1, 3, S, S) in [-1, 1], S the localiser's size.
        maps: (P, s, s) probabilities of the parts, the first of which is the background, where they are known.
    """
    seen = localiser.backbone(picture)
    if maps is None:
        maps = localiser.probabilities(seen)[0]
    shares = part_shares(maps, picture)
    pooled = []
    for each in seen:
        small = F.adaptive_avg_pool2d(shares, each.shape[-2:]).flatten(1)
        pooled.append(small / small.sum(1, keepdim=True).clamp(min=1e-6) @ each[0].float().flatten(1).T)
    statistics, tones = _colours(picture, shares)
    return DescribedParts(torch.cat([*pooled, statistics], 1), tones, shares)


def part_shares(maps: Tensor, picture: Tensor) -> Tensor:
    """Divide the pixels of a picture (1, 3, S, S) among its parts, by their probabilities (P, s, s): (P, S, S)."""
    large = F.interpolate(maps[None], picture.shape[-2:], mode="bilinear", align_corners=False)[0]
    outline = large.new_tensor(outline_mask(refined(as_array(picture[0]), as_array(1 - large[0]))))
    sharp = large[1:] ** SHARPNESS
    parts = sharp / sharp.sum(0).clamp(min=1e-6) * outline
    return torch.cat([parts.sum(0, keepdim=True), parts])


def _colours(picture: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Statistics (P, STATISTICS) and tones (P, TONES) of a picture (1, 3, S, S) over shares (P, S, S)."""
    small = F.avg_pool2d(picture, 2)[0]
    part = F.avg_pool2d(shares, 2).flatten(1)
    lab = to_lab(small).flatten(1)
    weight = part / part.sum(1, keepdim=True).clamp(min=1e-6)
    name = torch.from_numpy(nearest(as_array(lab))[0]).to(lab.device)
    mean = weight @ lab.T
    deviation = (weight @ (lab**2).T - mean**2).clamp(min=0).sqrt()
    light, shares_of = as_array(lab[0]), as_array(weight)
    own = lab.new_tensor([tones_of(light, each) for each in shares_of])
    named = torch.stack([torch.bincount(name, each, len(NAMED)) for each in weight])
    size = shares.mean((1, 2))
    tones = torch.cat([own, mean[:, 1:]], 1)
    statistics = [own / 50 - 1, mean[:, 1:] / 40, deviation / 20, size.sqrt()[:, None], in_view(size)[:, None], named]
    return torch.cat(statistics, 1), tones


def in_view(size: Tensor) -> Tensor:
    """1 where a share of the picture is large enough to be looked at, else 0."""
    return (size > LEAST).float()
