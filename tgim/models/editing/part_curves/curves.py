"""Curves of tones and colours over lightness, as the painter's brush has them, but differentiable and in batches.

The brush (`tgim.models.editing.painting.brush`) brings a part's own tones into a wanted range by a monotone curve of
lightness, and gives each tone its chroma and hue. Training needs the slope of the result with respect to the wanted
tones; this module gives it, for all parts of all pictures of a batch at once. A table of such curves, one for each
part, is a bilateral grid (Chen, Paris and Durand, SIGGRAPH 2007) whose cells are the parts.

A curve is nine numbers in Lab units: the darkest, the usual and the lightest tone of nearly all of the part, and a and
b at these three.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tgim.data.batch import DescribedPictures
from tgim.models.editing.painting.brush import FLATTEST, LIVELIEST, LIVELY, OWN, OWN_MOST, STEEPEST
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
    tone = _bent(_bent(tone, low, -1.0), high, 1.0).clamp(0.5, 99.8)
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


def _bent(curve: Tensor, end: Tensor, side: float) -> Tensor:
    """Compress what lies beyond `end`, as the brush does."""
    over = (side * (curve - end)).clamp(min=0)
    return torch.where(over > 0, end + side * 4 * (1 - torch.exp(-over / 10)), curve)


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
        return _recoloured(image, parts, gates.float(), table.float())


def _recoloured(image: Tensor, parts: DescribedPictures, gates: Tensor, table: Tensor) -> Tensor:
    places = parts.index.flatten(1)
    lab = to_lab(image.movedim(1, 0)).movedim(0, -1)  # B, S, S, 3
    light = lab[..., 0].clamp(0, 100) * ((KNOTS - 1) / 100)
    first = light.long().clamp(max=KNOTS - 2)
    place = (parts.index * KNOTS + first[:, None]).flatten(1)[..., None].expand(-1, -1, 3)
    part = (light - first)[:, None].expand_as(parts.share).flatten(1)[..., None]
    flat = table.flatten(1, 2)
    colour = torch.lerp(flat.gather(1, place), flat.gather(1, place + 1), part).view(*parts.index.shape, 3)
    usual = parts.tones[..., 3:].gather(1, places[..., None].expand(-1, -1, 2)).view(*parts.index.shape, 2)
    own = (OWN * (lab[:, None, ..., 1:] - usual)).clamp(-OWN_MOST, OWN_MOST)
    weight = (gates.gather(1, places).view_as(parts.share) * parts.share)[..., None]
    new = colour + torch.cat([torch.zeros_like(own[..., :1]), own], -1)
    changed = lab + (weight * (new - lab[:, None])).sum(1)
    difference = to_rgb(changed.movedim(-1, 0)) - to_rgb(lab.movedim(-1, 0))
    return (image + difference.movedim(0, 1)).clamp(-1, 1)


def as_ramp(curve: Tensor) -> Ramp:
    """The tones of a curve (9,) for the painter's brush."""
    low, usual, high = curve[:3].tolist()
    light = torch.arange(STEPS, dtype=torch.float32)
    first = ((light - low) / max(1.0, usual - low)).clamp(0, 1)
    second = ((light - usual) / max(1.0, high - usual)).clamp(0, 1)
    ab = curve[3:].view(3, 2, 1)
    return Ramp(torch.lerp(torch.lerp(ab[0], ab[1], first), ab[2], second), low, usual, high)


def as_curve(ramp: Ramp) -> Tensor:
    """The nine numbers (9,) that describe the painter's tones best."""
    ends = (ramp.low, ramp.usual, ramp.high)
    at = [ramp.ab[:, min(STEPS - 1, max(0, round(light)))] for light in ends]
    return torch.cat([torch.tensor(ends), *at])
