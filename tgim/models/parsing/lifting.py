"""Part maps at the photograph's own resolution, aligned with its edges.

What a localiser knows of the subject's outline is weighed against the colours of this very photograph
(`tgim.images.matting.weigh_colours`). Then the guided filter (He, Sun and Tang, "Guided Image Filtering", TPAMI 2013,
section 3.5: colour guides) is applied twice: to every map on a grid over the subject, and to the outline at the
photograph's own resolution (He and Sun, "Fast Guided Filter", 2015). Of the parts, only their shares of the subject are
enlarged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tgim.images.boxes import Box
from tgim.images.matting import guided_fit, slopes_of, weigh_colours, window_mean
from tgim.images.photo import as_array
from tgim.images.resample import Floats, interpolated, resize, sampled
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


def lift(found: PartMaps, photo: Any) -> Floats:
    """Probabilities (P, H, W) of each part for every pixel of the photograph; outside the frame it is background.

    Args:
        found: from `find_parts` of this photograph.
        photo: (3, H, W) or (1, 3, H, W) in [-1, 1], an array or a tensor.
    """
    photo = as_array(photo)
    photo = photo[0] if photo.ndim == 4 else photo
    height, width = photo.shape[-2:]
    result = np.zeros((len(found.names), height, width), np.float32)
    result[0] = 1
    region = _region(found, height, width)
    if region is None:
        return result
    x, y, w, h = region
    active = [0, *(i for i in range(1, len(found.names)) if float(found.maps[i].max()) > NOTHING)]
    shrink = min(1.0, GRID / max(w, h))
    size = max(1, round(h * shrink)), max(1, round(w * shrink))
    pixels = photo[:, y : y + h, x : x + w]
    coarse = _sampled(found.maps[active], found.frame, region, size)
    if min(w, h) < FEWEST:
        result[active, y : y + h, x : x + w] = interpolated(coarse, (h, w))
        return result
    guide = resize(pixels, size)
    aligned = guided(guide, _outlined(guide, coarse))
    aligned = aligned / aligned.sum(0).clip(min=1e-6)  # (A, *size)
    subject = 1 - aligned[0]
    inside = interpolated(guided_fit(guide, subject, window=OUTLINE, eps=SMOOTHNESS), (h, w))
    inside = inside[3] + inside[0] * pixels[0] + inside[1] * pixels[1] + inside[2] * pixels[2]
    inside = np.where(inside < NOTHING, np.float32(0), inside).clip(0, 1)
    background = result[0, y : y + h, x : x + w]
    for part, share in zip(active[1:], aligned[1:] / subject.clip(min=1e-6), strict=True):
        own = result[part, y : y + h, x : x + w]
        np.multiply(interpolated(share, (h, w)), inside, out=own)
        background -= own
    return result


def _outlined(guide: Floats, maps: Floats) -> Floats:
    """Maps (A, H, W) with a firmer outline of the subject, by the colours of `guide` (3, H, W), too."""
    before = 1 - maps[0]
    around = float(1 - before.mean())  # without a background, its colours say nothing
    likely = weigh_colours(guide, before, trust=TRUST * min(1.0, around / ENOUGH))
    outline = ((likely - CERTAIN_OUT) / (CERTAIN_IN - CERTAIN_OUT)).clip(0, 1)
    return np.concatenate([1 - outline[None], maps[1:] * (outline / before.clip(min=1e-4))])


def _region(found: PartMaps, height: int, width: int) -> Box | None:
    """Bounds of the subject in whole pixels of the photograph; None where it is nowhere."""
    cells = np.argwhere(found.maps[0] < 1 - NOTHING)
    if not len(cells):
        return None
    x, y, w, h = found.frame
    down, across = h / found.maps.shape[-2], w / found.maps.shape[-1]
    (top, left), (bottom, right) = (cells.min(0) - ROOM).tolist(), (cells.max(0) + 1 + ROOM).tolist()
    x0, x1 = (min(max(round(x + v * across), 0), width) for v in (left, right))
    y0, y1 = (min(max(round(y + v * down), 0), height) for v in (top, bottom))
    return (x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None


def _sampled(maps: Floats, frame: tuple[float, float, float, float], region: Box, size: tuple[int, int]) -> Floats:
    """Maps (A, s, s) over `frame`, read at the centres of `size` (rows, columns) cells of `region`; bilinear."""
    places = []
    for start, length, first, side, count, cells in (
        (region[1], region[3], frame[1], frame[3], size[0], maps.shape[1]),
        (region[0], region[2], frame[0], frame[2], size[1], maps.shape[2]),
    ):
        pixels = start + (np.arange(count) + 0.5) * length / count
        places.append((pixels - first) / side * cells - 0.5)
    return sampled(maps, *places)


def guided(guide: Floats, masks: Floats) -> Floats:
    """The guided filter of several masks at once: guide (3, H, W) in [-1, 1], masks (A, H, W) -> masks in [0, 1].

    As `tgim.images.matting.guided_fit` for each mask; what depends on the guide alone is computed once.
    """
    r, g, b = guide
    own = window_mean(np.stack([r, g, b, r * r, r * g, r * b, g * g, g * b, b * b]), WINDOW)
    each = window_mean(np.stack([masks, r * masks, g * masks, b * masks]), WINDOW)  # 4, A, H, W
    m = each[0]
    red, green, blue = slopes_of((*own[:3], m, *own[3:], *each[1:]), eps=SMOOTHNESS)
    slopes = window_mean(np.stack([red, green, blue, m - red * own[0] - green * own[1] - blue * own[2]]), WINDOW)
    found: Floats = (slopes[0] * r + slopes[1] * g + slopes[2] * b + slopes[3]).clip(0, 1)
    return found
