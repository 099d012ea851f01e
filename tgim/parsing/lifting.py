"""Part maps at the photograph's own resolution, drawn to its edges.

The guided filter (He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, section 3.5: colour guides) is applied twice:
to every map on a grid of `GRID` pixels over the frame, and to the subject's outline at the photograph's own resolution
(He and Sun, "Fast Guided Filter", 2015). Of the parts, only their shares of the subject are enlarged.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.matting import guided_fit, window_mean
from tgim.parsing.look import PartMaps, framed

GRID = 144  # pixels a side over the frame, at which the maps are drawn to edges
WINDOW, SMOOTHNESS = 7, 2e-3  # of the guided filter there; squared [-1, 1] units
OUTLINE = 5  # pixels of that grid: window of the fit that is applied to the photograph's own pixels
NOTHING = 0.02  # probabilities below this, of a part or of the subject, are not worked on
STRIP = 2**16  # photograph pixels that are worked on at a time


@torch.no_grad()
def lift(found: PartMaps, photo: Tensor) -> Tensor:
    """Probabilities (P, H, W) of each part for every pixel of the photograph; outside the frame it is background.

    Args:
        found: from `find_parts` of this photograph.
        photo: (1, 3, H, W) in [-1, 1].
    """
    height, width = photo.shape[-2:]
    x, y, w, h = (round(v) for v in found.frame)
    result = photo.new_zeros((len(found.names), height, width))
    result[0] = 1
    active = [0, *(i for i in range(1, len(found.names)) if float(found.maps[i].max()) > NOTHING)]
    guide = framed(photo, (x, y, w, h), GRID)
    coarse = F.interpolate(found.maps[None, active].to(photo), (GRID, GRID), mode="bilinear", align_corners=False)
    drawn = guided(guide, coarse)
    drawn = drawn / drawn.sum(1, keepdim=True).clamp(min=1e-6)  # (1, A, G, G)
    subject = 1 - drawn[:, :1]
    cells = (subject[0, 0] > NOTHING).nonzero()
    if not len(cells):
        return result
    maps = torch.cat([guided_fit(guide, subject, window=OUTLINE, eps=SMOOTHNESS), drawn[:, 1:] / subject.clamp(min=1e-6)], 1)
    (top, left), (bottom, right) = (cells.amin(0) - 1).tolist(), (cells.amax(0) + 2).tolist()
    x0, x1 = (min(max(x + v * w // GRID, 0), width) for v in (left, right))
    y0, y1 = (min(max(y + v * h // GRID, 0), height) for v in (top, bottom))
    if x1 <= x0 or y1 <= y0:
        return result
    columns, rows = (torch.arange(a, b, device=photo.device, dtype=photo.dtype) for a, b in ((x0, x1), (y0, y1)))
    across, down = (columns - x + 0.5) * GRID / w - 0.5, (rows - y + 0.5) * GRID / h - 0.5
    step = max(1, STRIP // (x1 - x0))
    for start in range(y0, y1, step):
        strip = slice(start, min(start + step, y1))
        fine = _along(_along(maps, 2, down[strip.start - y0 : strip.stop - y0]), 3, across)[0]
        pixels = photo[0, :, strip, x0:x1]
        inside = fine[3].addcmul(fine[0], pixels[0]).addcmul_(fine[1], pixels[1]).addcmul_(fine[2], pixels[2])
        inside = inside.clamp_(0, 1)
        result[0, strip, x0:x1] = 1 - inside
        for place, part in enumerate(active[1:]):
            torch.mul(fine[4 + place], inside, out=result[part, strip, x0:x1])
    return result


def guided(guide: Tensor, masks: Tensor) -> Tensor:
    """The guided filter of several masks at once: guide (1, 3, H, W) in [-1, 1], masks (1, A, H, W) -> the same, 0 to 1.

    As `tgim.matting.guided_fit` for each mask; what depends on the guide alone is computed once.
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


def _along(maps: Tensor, dim: int, places: Tensor) -> Tensor:
    """Linear interpolation along an axis at `places`, in cells."""
    last = maps.shape[dim] - 1
    places = places.clamp(0, last)
    first = places.floor().long()
    shape = [1] * maps.ndim
    shape[dim] = len(places)
    after = (first + 1).clamp(max=last)
    return torch.lerp(maps.index_select(dim, first), maps.index_select(dim, after), (places - first).view(shape))
