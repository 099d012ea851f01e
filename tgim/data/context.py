"""Augmentation of tight cut-outs to whole photographs: the cut-out is shown small, within a scene without a subject.

The scene is made of backgrounds alone: the middle of a picture, and all near a guess at its subject, is filled from
around, coarse to fine (the pull-push of Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.5). Next to the
cut-out lies its own background, mirrored at its edges so that there is no seam, and the more blurred the farther out;
away from it the background of another picture of the batch takes over, on one side more than on the other.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SCALES = (0.35, 0.8)  # side of the cut-out, as a share of the frame's
MIDDLE = 1.25  # squared radius, 1 on the inscribed ellipse: what lies within may be the subject, whatever is guessed
GROWN = 4  # pixels of the coarse copy's: a subject is taken to reach one such further than its guess
COARSEST = 8  # places of a background's blurred copy


def in_scenes(image: Tensor, others: Tensor, size: int, source: np.random.Generator) -> Tensor:
    """Show each picture small and anywhere in a frame, among its own background and another's.

    Args:
        image: (B, C, S, S); colours in [-1, 1], and where subjects are guessed 1 on them and 1 where that is known.
        others: (B, C, S, S), a picture for each whose background may fill the distance.
        size: side of the frames.
        source: of scale, place and mixture.

    Returns:
        (B, C, size, size); outside of the cut-outs the subject is known to be nowhere.
    """
    count = len(image)
    low, high = SCALES
    scale = low * (high / low) ** source.random(count)
    place = source.uniform(-1, 1, (count, 2)) * (1 - scale[:, None])
    turn, shift, sharp = source.uniform(-np.pi, np.pi, count), source.uniform(-0.2, 1.2, count), source.random(count)
    mirror = np.where(source.random(count) < 0.5, -1.0, 1.0)
    columns = np.stack([scale, *place.T, np.cos(turn), np.sin(turn), shift, sharp, mirror]).astype(np.float32)
    side, x0, y0, cos, sin, reach, detail, mirrored = torch.from_numpy(columns)[..., None, None]  # (B, 1, 1) each

    at = (2 * torch.arange(size) + 1) / size - 1  # centres of the pixels
    across, down = at[None, None, :].expand(count, size, size), at[None, :, None].expand(count, size, size)
    x, y = (across - x0) / side, (down - y0) / side  # [-1, 1]^2 is the cut-out
    inside = torch.maximum(x.abs(), y.abs())[:, None] - 1  # below 0 in the cut-out, in halves of its side

    reserve, ground = near_subject(image, wide=False), background(image)
    shrink = ((1 / side - 1) / 1.5).clamp(max=1)[:, None]
    small = torch.lerp(image, coarser(image, image.shape[-1] // 2), shrink)
    sampled = F.grid_sample(
        torch.cat([small, reserve, ground, coarser(ground, COARSEST)], 1),
        torch.stack([x, y], -1),
        padding_mode="reflection",
        align_corners=False,
    )
    picture, reserve, ground, soft = torch.split(sampled, [image.shape[1], 1, 3, 3], 1)
    scene = torch.lerp(ground, soft, (inside.clamp(min=0) * (2 - detail[:, None])).clamp(max=1))

    far = F.grid_sample(
        background(others), torch.stack([across * mirrored, down], -1), padding_mode="border", align_corners=False
    )
    side_of = (cos * across + sin * down)[:, None]  # from -1.4 to 1.4: the other background lies to one side
    there = smooth((side_of - reach[:, None]) + 0.5 + inside.clamp(max=0.8)) * (1 - reserve * (inside < 0))
    scene = torch.lerp(scene, far, there)

    keep = torch.maximum(smooth(-inside / 0.05) * reserve, smooth(-inside / 0.25) * (1 - there))
    result = torch.lerp(scene, picture[:, :3], keep).clamp(-1, 1)
    if image.shape[1] == 3:
        return result
    here = (inside < 0).float()
    subject, known = picture[:, 3:4] * here, torch.maximum(picture[:, 4:], 1 - here)
    return torch.cat([result, subject, known], 1)


def near_subject(image: Tensor, *, wide: bool) -> Tensor:
    """Weights (B, 1, S, S) in [0, 1] of where the subject may be: near its guess, or in the middle without one.

    `wide` for both at once: guesses miss heads and tails.
    """
    side = image.shape[-1]
    at = (2 * torch.arange(side) + 1) / side - 1
    middle = smooth((MIDDLE - (at[:, None].square() + at.square())) / 0.3).expand(len(image), 1, side, side)
    if image.shape[1] == 3:
        return middle
    guess, known = image[:, 3:4] * image[:, 4:], image[:, 4:].amax((2, 3), keepdim=True) > 0.5
    coarse = F.max_pool2d(F.adaptive_max_pool2d(guess, side // GROWN), 3, 1, 1)
    grown = F.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)
    return torch.maximum(middle, grown) if wide else torch.where(known, grown, middle)


def background(image: Tensor) -> Tensor:
    """Fill the subjects of pictures from around them: colours (B, 3, S, S)."""
    return filled(image[:, :3], 1 - near_subject(image, wide=True))


def filled(image: Tensor, weight: Tensor) -> Tensor:
    """Pictures (B, 3, S, S) where `weight` (B, 1, S, S) in [0, 1] is 1, continued smoothly into where it is 0."""
    if image.shape[-1] <= 2:
        total = weight.sum((2, 3), keepdim=True)
        return ((image * weight).sum((2, 3), keepdim=True) / total.clamp(min=1e-3)).expand_as(image)
    size = (image.shape[-1] + 1) // 2
    share = F.adaptive_avg_pool2d(weight, size)
    coarse = F.adaptive_avg_pool2d(image * weight, size) / share.clamp(min=1e-3)
    below = filled(coarse, (4 * share).clamp(max=1))
    return torch.lerp(F.interpolate(below, image.shape[-2:], mode="bilinear", align_corners=False), image, weight)


def coarser(image: Tensor, places: int) -> Tensor:
    """Pictures (B, C, S, S) without what is smaller than one of `places` along a side."""
    return F.interpolate(F.adaptive_avg_pool2d(image, places), image.shape[-2:], mode="bilinear", align_corners=False)


def smooth(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, a cubic between."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
