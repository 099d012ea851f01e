"""Transfer of an edit from the model's resolution to the photograph's.

The change that a repainting model made is carried by the fast guided filter (He, Sun and Tang, "Guided Image
Filtering", TPAMI 2013; He and Sun, "Fast Guided Filter", 2015): around each model pixel the change is fitted as an
affine function of the photograph's colour, and the fit is applied to the photograph's own pixels, so the change ends
where the photograph has its edges and the photograph's fine detail stays. Differs from the papers: pixels that the
model left alone stay bit-identical, and the carried change never leaves the range of the model's change nearby.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.nn.resize import resize

NO_CHANGE = 1 / 255  # in [-1, 1]: half an 8-bit level; a smaller change of the model's output is rounding, not an edit
WINDOW = 5  # model pixels, side of the guided filter's window
SMOOTHNESS = 0.02  # squared [-1, 1] units: texture weaker than about 18 of 255 levels does not shape the change
STRIP = 2**20  # photograph pixels that are worked on at a time, about 100 MB


@torch.no_grad()
def carry_change(photo: Tensor, source: Tensor, edited: Tensor) -> Tensor:
    """Carry what a model changed between `source` and `edited` to the photograph, guided by the photograph.

    Args:
        photo: (1, 3, H, W) in [-1, 1], the whole photograph.
        source: (1, 3, S, S) in [-1, 1], the same field of view at the model's resolution.
        edited: (1, 3, S, S) in [-1, 1], what the model made of `source`.

    Returns:
        (1, 3, H, W) in [-1, 1]. Photograph pixels are bit-identical unless the model changed (by half an 8-bit level or
        more) the model pixel under them or one of its eight neighbours. A photograph no larger than the model's
        resolution takes the change directly.

    Raises:
        ValueError: shapes that do not fit together.
    """
    if photo.ndim != 4 or source.ndim != 4 or source.shape != edited.shape or photo.shape[:2] != source.shape[:2]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (photo, source, edited))
        raise ValueError(f"carry_change takes photo (1, 3, H, W), source and edited (1, 3, S, S), got {shapes}")
    if photo.shape[0] > 1:
        each = [carry_change(photo[i : i + 1], source[i : i + 1], edited[i : i + 1]) for i in range(photo.shape[0])]
        return torch.cat(each)
    change = edited - source
    touched = (change.abs().amax(1, keepdim=True) >= NO_CHANGE).to(change.dtype)  # (1, 1, S, S)
    if not touched.any():
        return photo.clone()
    change = change * touched
    height, width = photo.shape[-2:]
    if height <= change.shape[-2] and width <= change.shape[-1]:
        return _add_small(photo, change)
    fit = _affine_fit(resize(photo, (change.shape[-2], change.shape[-1])), change)
    window = F.pad(change, (1, 1, 1, 1), mode="replicate")
    low, high = -F.max_pool2d(-window, 3, 1), F.max_pool2d(window, 3, 1)
    return _apply(photo, torch.cat([fit, low, high, touched], 1))


def _add_small(photo: Tensor, change: Tensor) -> Tensor:
    """Add a change to a photograph that has no more pixels than it."""
    if change.shape != photo.shape:  # without the clamp of `resize`: a change spans [-2, 2]
        change = F.interpolate(change, photo.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
    return torch.where(change == 0, photo, (photo + change).clamp(-1, 1))


def _affine_fit(guide: Tensor, change: Tensor) -> Tensor:
    """Window-averaged slopes and offsets of `change` over `guide`, both (1, 3, S, S); returns (1, 3 * 3 + 3, S, S)."""

    def mean(x: Tensor) -> Tensor:
        return box_mean(x.flatten(1, -3), WINDOW).view(x.shape)

    mean_g, mean_c = mean(guide), mean(change)  # (1, 3, S, S)
    cov_gg = mean(guide[:, :, None] * guide[:, None]) - mean_g[:, :, None] * mean_g[:, None]  # (1, 3, 3, S, S)
    cov_gc = mean(guide[:, :, None] * change[:, None]) - mean_g[:, :, None] * mean_c[:, None]
    ridge = SMOOTHNESS * torch.eye(3, dtype=guide.dtype, device=guide.device)
    slope = torch.linalg.solve(cov_gg.permute(0, 3, 4, 1, 2) + ridge, cov_gc.permute(0, 3, 4, 1, 2))
    slope = slope.permute(0, 3, 4, 1, 2)  # (1, guide channel, change channel, S, S)
    offset = mean_c - (slope * mean_g[:, :, None]).sum(1)
    return torch.cat([mean(slope).flatten(1, 2), mean(offset)], 1)


def box_mean(x: Tensor, window: int) -> Tensor:
    """Mean of (B, C, H, W) over `window` x `window` pixels, an odd number, borders repeated; the same shape."""
    channels, half = x.shape[1], window // 2
    row = x.new_full((channels, 1, 1, window), 1 / window)
    x = F.conv2d(F.pad(x, (half, half, 0, 0), mode="replicate"), row, groups=channels)
    return F.conv2d(F.pad(x, (0, 0, half, half), mode="replicate"), row.transpose(2, 3), groups=channels)


def _apply(photo: Tensor, maps: Tensor) -> Tensor:
    """Upsample `maps` (1, 9 slopes + 3 offsets + 3 low + 3 high + 1 touched, S, S) and change the photo, by strips."""
    result = photo.clone()
    for strip, wide in _strips(maps, maps[0, -1] != 0, *photo.shape[-2:]):
        slope, offset, low, high, touched = torch.split(wide[0], [9, 3, 3, 3, 1])
        pixels = photo[0, :, strip]
        change = offset
        for i in range(3):
            change = change.addcmul(slope[3 * i : 3 * i + 3], pixels[i])
        change = change.maximum(low).minimum(high)
        weight = (2 * touched).clamp(max=1)  # 1 up to the edge of a touched model pixel, 0 at the centre of the next
        result[0, :, strip] = (pixels + weight * change).clamp(-1, 1)
    return result


def _strips(maps: Tensor, active: Tensor, height: int, width: int) -> Iterator[tuple[slice, Tensor]]:
    """Enlarge maps (1, C, h, w) to (1, C, height, width), a strip of rows at a time; none that sees no `active` one."""
    rows = torch.arange(height, device=maps.device, dtype=maps.dtype)
    centre = ((rows + 0.5) * maps.shape[-2] / height - 0.5).clamp(0, maps.shape[-2] - 1)  # bilinear, pixel centres
    above = centre.floor().long()
    below = (above + 1).clamp(max=maps.shape[-2] - 1)
    part = (centre - above)[:, None]
    seen = active.any(1)
    seen = seen[above] | seen[below]  # (H,) rows that see a change at all
    step = max(1, STRIP // width)
    for start in range(0, height, step):
        strip = slice(start, min(start + step, height))
        if seen[strip].any():
            tall = torch.lerp(maps[:, :, above[strip]], maps[:, :, below[strip]], part[strip])
            yield strip, F.interpolate(tall, (tall.shape[-2], width), mode="bilinear", align_corners=False)
