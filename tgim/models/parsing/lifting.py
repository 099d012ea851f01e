"""Part maps at the photograph's own resolution, aligned with its edges.

What a localiser knows of the subject's outline is weighed against the colours of this very photograph
(`tgim.images.matting.weigh_colours`). Then the guided filter (He, Sun and Tang, "Guided Image Filtering", TPAMI 2013,
section 3.5: colour guides) is applied twice: to every map on a grid over the subject, and to the outline at the
photograph's own resolution (He and Sun, "Fast Guided Filter", 2015). Of the parts, only their shares of the subject are
enlarged.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.images.carry import Box
from tgim.images.matting import guided_fit, weigh_colours, window_mean
from tgim.images.resample import resize
from tgim.models.parsing.part_maps import PartMaps

GRID = 128  # cells of the longer side of the subject's region, at which the maps are aligned with edges
WINDOW, SMOOTHNESS = 5, 2e-3  # of the guided filter there; squared [-1, 1] units
OUTLINE = 3  # cells: window of the fit that is applied to the photograph's own pixels
NOTHING = 0.02  # probabilities below this, of a part or of the subject, are not worked on
TRUST = 0.5  # power of the colours' evidence
ENOUGH = 0.2  # share of background about the subject at which they count in full
CERTAIN_OUT, CERTAIN_IN = 0.15, 0.6  # probabilities of the subject that become 0 and 1
ROOM = 5  # cells of the maps around the subject that are worked on, too
FEWEST = 8  # pixels a side of the least region that is aligned with edges


@torch.no_grad()
def lift(found: PartMaps, photo: Tensor) -> Tensor:
    """Probabilities (P, H, W) of each part for every pixel of the photograph; outside the frame it is background.

    Args:
        found: from `find_parts` of this photograph.
        photo: (1, 3, H, W) in [-1, 1].
    """
    height, width = photo.shape[-2:]
    result = photo.new_empty((len(found.names), height, width))
    result[0], result[1:] = 1, 0
    region = _region(found, height, width)
    if region is None:
        return result
    x, y, w, h = region
    active = [0, *(i for i in range(1, len(found.names)) if float(found.maps[i].max()) > NOTHING)]
    shrink = min(1.0, GRID / max(w, h))
    size = max(1, round(h * shrink)), max(1, round(w * shrink))
    pixels = photo[..., y : y + h, x : x + w]
    coarse = _sampled(found.maps[None, active].to(photo), found.frame, region, size)
    if min(w, h) < FEWEST:
        result[active, y : y + h, x : x + w] = F.interpolate(coarse, (h, w), mode="bilinear", align_corners=False)[0]
        return result
    guide = resize(pixels, size)
    aligned = guided(guide, _outlined(guide, coarse))
    aligned = aligned / aligned.sum(1, keepdim=True).clamp(min=1e-6)  # (1, A, *size)
    subject = 1 - aligned[:, :1]
    slopes = guided_fit(guide, subject, window=OUTLINE, eps=SMOOTHNESS)
    maps = torch.cat([slopes, aligned[:, 1:] / subject.clamp(min=1e-6)], 1)
    fine = F.interpolate(maps, (h, w), mode="bilinear", align_corners=False)[0]
    inside = fine[3].addcmul_(fine[0], pixels[0, 0]).addcmul_(fine[1], pixels[0, 1]).addcmul_(fine[2], pixels[0, 2])
    inside = torch.where(inside < NOTHING, 0.0, inside).clamp_(0, 1)
    background = result[0, y : y + h, x : x + w]
    for place, part in enumerate(active[1:], 4):
        background -= torch.mul(fine[place], inside, out=result[part, y : y + h, x : x + w])
    return result


def _outlined(guide: Tensor, maps: Tensor) -> Tensor:
    """Maps (1, A, H, W) with a firmer outline of the subject, by the colours of `guide` (1, 3, H, W), too."""
    before = 1 - maps[:, :1]
    around = float(1 - before.mean())  # without a background, its colours say nothing
    likely = weigh_colours(guide, before, trust=TRUST * min(1.0, around / ENOUGH))
    outline = ((likely - CERTAIN_OUT) / (CERTAIN_IN - CERTAIN_OUT)).clamp(0, 1)
    return torch.cat([1 - outline, maps[:, 1:] * (outline / before.clamp(min=1e-4))], 1)


def _region(found: PartMaps, height: int, width: int) -> Box | None:
    """Bounds of the subject in whole pixels of the photograph; None where it is nowhere."""
    cells = (found.maps[0] < 1 - NOTHING).nonzero()
    if not len(cells):
        return None
    x, y, w, h = found.frame
    down, across = h / found.maps.shape[-2], w / found.maps.shape[-1]
    (top, left), (bottom, right) = (cells.amin(0) - ROOM).tolist(), (cells.amax(0) + 1 + ROOM).tolist()
    x0, x1 = (min(max(round(x + v * across), 0), width) for v in (left, right))
    y0, y1 = (min(max(round(y + v * down), 0), height) for v in (top, bottom))
    return (x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None


def _sampled(maps: Tensor, frame: tuple[float, float, float, float], region: Box, size: tuple[int, int]) -> Tensor:
    """Maps (1, A, s, s) over `frame`, read at the centres of `size` (rows, columns) cells of `region`; bilinear."""
    places = []
    for start, length, first, side, count in (
        (region[1], region[3], frame[1], frame[3], size[0]),
        (region[0], region[2], frame[0], frame[2], size[1]),
    ):
        pixels = start + (torch.arange(count, device=maps.device, dtype=maps.dtype) + 0.5) * length / count
        places.append(2 * (pixels - first) / side - 1)
    grid = torch.stack(torch.meshgrid(places[1], places[0], indexing="xy"), -1)[None]
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)


def guided(guide: Tensor, masks: Tensor) -> Tensor:
    """The guided filter of several masks at once: guide (1, 3, H, W) in [-1, 1], masks (1, A, H, W) -> masks in [0, 1].

    As `tgim.images.matting.guided_fit` for each mask; what depends on the guide alone is computed once.
    """
    r, g, b = guide.chunk(3, 1)
    own = window_mean(torch.cat([guide, r * guide, g * g, g * b, b * b], 1), WINDOW)
    mr, mg, mb, rr, rg, rb, gg, gb, bb = own.chunk(9, 1)
    rr, rg, rb = rr - mr * mr + SMOOTHNESS, rg - mr * mg, rb - mr * mb
    gg, gb, bb = gg - mg * mg + SMOOTHNESS, gb - mg * mb, bb - mb * mb + SMOOTHNESS
    m, pr, pg, pb = window_mean(torch.cat([masks, r * masks, g * masks, b * masks], 1), WINDOW).chunk(4, 1)
    pr, pg, pb = pr - m * mr, pg - m * mg, pb - m * mb
    lg, lb = rg / rr, rb / rr  # Cholesky's decomposition without roots, L D L^T
    dg = gg - lg * rg
    lgb = (gb - lb * rg) / dg
    db = bb - lb * rb - lgb * (gb - lb * rg)
    pg = pg - lg * pr
    blue = (pb - lb * pr - lgb * pg) / db
    green = pg / dg - lgb * blue
    red = pr / rr - lg * green - lb * blue
    slopes = window_mean(torch.cat([red, green, blue, m - red * mr - green * mg - blue * mb], 1), WINDOW)
    red, green, blue, offset = slopes.chunk(4, 1)
    return (red * r + green * g + blue * b + offset).clamp_(0, 1)
