"""Curves of tones and colours over lightness, as the painter's brush has them, but differentiable and in batches.

The brush (`tgim.models.editing.painting.brush`) brings a part's own tones into a wanted range by a monotone curve of
lightness, and gives each tone its chroma and hue. Training needs the slope of the result with respect to the wanted
tones; this module gives it, for all parts of all pictures of a batch at once. A table of such curves, one for each
part, is a bilateral grid (Chen, Paris and Durand, SIGGRAPH 2007) whose cells are the parts.

A curve is nine numbers in Lab units: the darkest, the usual and the lightest tone of nearly all of the part, and a and
b at these three.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tgim.data.batch import DescribedPictures
from tgim.models.editing.painting.brush import FLATTEST, LIVELIEST, LIVELY, OWN, OWN_MOST, STEEPEST, bent
from tgim.models.editing.painting.lab import limited, to_lab, to_rgb
from tgim.models.editing.painting.palette import STEPS, Ramp

NUMBERS = 9  # of a curve
KNOTS = 33  # lightness 0 to 100 at which tables are computed


def tables(own: Tensor, wanted: Tensor) -> Tensor:
    """Tabulate new Lab colours over lightness 0 to 100.

    Args:
        own: (..., 5) of the parts, as `DescribedParts.tones`.
        wanted: (..., 9), curves.

    Returns:
        (..., KNOTS, 3).
    """
    dark, middle, bright = (own[..., i : i + 1] for i in range(3))
    low, usual, high = (wanted[..., i : i + 1] for i in range(3))
    light = torch.linspace(0, 100, KNOTS, device=own.device)
    natural = (usual + 16) / (middle + 16)
    down, up = _slope(middle - dark, usual - low, natural), _slope(bright - middle, high - usual, natural)
    offset = light - middle
    tone = usual + torch.where(offset < 0, down * offset, up * offset)
    tone = bent(bent(tone, low, -1.0), high, 1.0).clamp(0.5, 99.8)
    first = ((tone - low) / (usual - low).clamp(min=1.0)).clamp(0, 1)[..., None]
    second = ((tone - usual) / (high - usual).clamp(min=1.0)).clamp(0, 1)[..., None]
    at_low, at_usual, at_high = (wanted[..., None, i : i + 2] for i in (3, 5, 7))
    ab = torch.lerp(torch.lerp(at_low.expand_as(first.expand(*first.shape[:-1], 2)), at_usual, first), at_high, second)
    return limited(torch.stack([tone, ab[..., 0], ab[..., 1]])).movedim(0, -1)


def _slope(own: Tensor, room: Tensor, natural: Tensor) -> Tensor:
    """Slopes of halves of curves, as the brush chooses them."""
    fit = room / own.clamp(min=1e-3)
    least = torch.maximum(natural, (LIVELY * fit).clamp(max=LIVELIEST))
    return torch.minimum(fit, least).clamp(FLATTEST, STEEPEST)


def recolour(image: Tensor, parts: DescribedPictures, gates: Tensor, table: Tensor) -> Tensor:
    """Recolour pictures by a table for each part.

    Args:
        image: (B, 3, S, S) in [-1, 1].
        parts: of the pictures, P each.
        gates: (B, P) in [0, 1], how much of its new colour each part takes.
        table: (B, P, KNOTS, 3).

    Returns:
        (B, 3, S, S) in [-1, 1].
    """
    with torch.autocast(image.device.type, enabled=False):  # colours need more than 16 bits
        there = parts.share.sum(1) > 0  # (B, S, S); the N pixels of the subjects
        change = _change(image, parts, gates.float(), table.float(), there)
        result = image.movedim(1, -1).float().clone()
        result[there] = (result[there] + change.T).clamp(-1, 1)
        return result.movedim(-1, 1)


def _change(image: Tensor, parts: DescribedPictures, gates: Tensor, table: Tensor, there: Tensor) -> Tensor:
    """Differences (3, N) of the pixels `there` (B, S, S), N of them."""
    count = gates.shape[1]
    pixels = image.movedim(1, -1)[there].T  # 3, N
    lab = to_lab(pixels)
    light = lab[0].clamp(0, 100) * ((KNOTS - 1) / 100)
    first = light.long().clamp(max=KNOTS - 2)
    between, before = (light - first)[:, None], to_rgb(lab)
    picture = there.nonzero()[:, 0]
    flat, ab = table.flatten(0, 2), parts.tones[..., 3:].flatten(0, 1)
    total = torch.zeros_like(lab)
    for rank in range(parts.index.shape[1]):
        part = picture * count + parts.index[:, rank][there]
        place = part * KNOTS + first
        colour = torch.lerp(flat[place], flat[place + 1], between).T  # 3, N
        own = (OWN * (lab[1:] - ab[part].T)).clamp(-OWN_MOST, OWN_MOST)
        weight = gates.flatten()[part] * parts.share[:, rank][there]
        total = total + weight * (torch.cat([colour[:1], colour[1:] + own]) - lab)
    return to_rgb(lab + total) - before


def as_curve(ramp: Ramp) -> Tensor:
    """The nine numbers (9,) that describe the painter's tones best."""
    ends = (ramp.low, ramp.usual, ramp.high)
    at = [ramp.ab[:, min(STEPS - 1, max(0, round(light)))] for light in ends]
    return torch.from_numpy(np.concatenate([np.array(ends, np.float32), *at]).astype(np.float32))
