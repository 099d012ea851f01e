"""Region of a photograph about its subject: where masks are made small, and enlarged at the photograph's edges."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tgim.images.boxes import Box
from tgim.images.matting import follow, guided_fit
from tgim.images.resample import Floats, interpolated, part_of, resize
from tgim.images.resample import sampled as read_maps
from tgim.models.editing.painting.masks import CUT, outline_mask
from tgim.models.editing.painting.outline import refined
from tgim.models.parsing.part_maps import PartMaps
from tgim.system import threads

AROUND = 0.1  # of the subject's longer side: how much of its surroundings is looked at
MAYBE = 0.25  # probability of the subject from which on a cell is looked at, too
WORKING = 224  # pixels of the longer side of the region, at which masks are made
WINDOW, SMOOTHNESS = 5, 1e-3  # of the guided filter that enlarges them
EDGE = 0.02  # of a box's shorter side: how far an edit fades in inside it


@dataclass(frozen=True)
class Region:
    """The part of a photograph that shows the subject, and the part maps there.

    Attributes:
        rows, columns: of the photograph.
        pixels: (3, H, W) of it, in [-1, 1].
        small: (3, h, w), the same at `WORKING` pixels or fewer.
        maps: (P, h, w) probabilities of the parts, the first of which is the background.
        subject: (h, w) in [0, 1], the subject's mask.
        scale: of `small` over `pixels`.
    """

    rows: slice
    columns: slice
    pixels: Floats
    small: Floats
    maps: Floats
    subject: Floats
    scale: float

    @classmethod
    def about(cls, found: PartMaps, photo: Floats) -> Region:
        """Find the region about the subject of a photograph (3, H, W)."""
        top, bottom, left, right = _bounds(found, photo)
        pixels = photo[:, top:bottom, left:right]
        scale = min(1.0, WORKING / max(bottom - top, right - left))
        small = resize(pixels, (max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))))
        maps = sampled(_moved(found, left, top, scale), small)
        subject = outline_mask(refined(small, 1 - maps[0]))
        return cls(slice(top, bottom), slice(left, right), pixels, small, maps, subject, scale)

    def enlarged(self, masks: Floats, *, box: Box | None = None) -> Floats:
        """Enlarge masks (N, h, w) to the region's own pixels, (N, H, W), aligned with its edges; 0 outside a box."""
        large = enlarged(masks, self.small, self.pixels)
        return large if box is None else large * self._within(box)

    def _within(self, box: Box) -> Floats:
        """Weights over the region: 1 inside a box, 0 outside, a ramp of `EDGE` inside its border."""
        x, y, w, h = box
        fade = max(1.0, EDGE * min(w, h))
        rows = np.arange(self.rows.start, self.rows.stop, dtype=np.float32) + 0.5
        columns = np.arange(self.columns.start, self.columns.stop, dtype=np.float32) + 0.5
        down = np.minimum(rows - y, y + h - rows)
        across = np.minimum(columns - x, x + w - columns)
        weights: Floats = (np.minimum(down[:, None], across) / np.float32(fade)).clip(0, 1)
        return weights


def _bounds(found: PartMaps, photo: Floats) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the subject and some of its surroundings, in a photograph (3, H, W)."""
    x, y, w, h = found.subject
    around = round(AROUND * max(w, h)) + 2
    left, top, right, bottom = float(x), float(y), float(x + w), float(y + h)
    cells = found.maps[0] < 1 - MAYBE
    rows, columns = cells.any(1).nonzero()[0], cells.any(0).nonzero()[0]
    if len(rows):  # what may be of the subject, too: a tail that nobody was sure of
        frame_x, frame_y, across, down = found.frame
        across, down = across / cells.shape[1], down / cells.shape[0]
        left, right = min(left, frame_x + int(columns[0]) * across), max(right, frame_x + int(columns[-1] + 1) * across)
        top, bottom = min(top, frame_y + int(rows[0]) * down), max(bottom, frame_y + int(rows[-1] + 1) * down)
    height, width = photo.shape[-2:]
    first_row, last_row = max(0, round(top) - around), min(height, round(bottom) + around)
    return first_row, last_row, max(0, round(left) - around), min(width, round(right) + around)


def _moved(found: PartMaps, left: int, top: int, scale: float) -> PartMaps:
    """Part maps in the frame of a region of the photograph that begins at `left`, `top`, resized by `scale`."""
    x, y, w, h = found.frame
    return replace(found, frame=((x - left) * scale, (y - top) * scale, w * scale, h * scale))


def sampled(found: PartMaps, photo: Floats) -> Floats:
    """Sample part maps (P, H, W) over a small photograph (3, H, W); outside their frame is background."""
    height, width = photo.shape[-2:]
    x, y, w, h = found.frame
    columns, rows = (np.arange(width) + 0.5 - x) / w, (np.arange(height) + 0.5 - y) / h  # 0 to 1 inside of the frame
    maps = read_maps(found.maps, rows * found.maps.shape[1] - 0.5, columns * found.maps.shape[2] - 0.5)
    maps[1:] *= ((rows >= 0) & (rows <= 1))[:, None] & ((columns >= 0) & (columns <= 1))
    maps[0] = 1 - maps[1:].sum(0)
    return maps


def enlarged(masks: Floats, small: Floats, region: Floats) -> Floats:
    """Enlarge masks (N, h, w) of a small copy (3, h, w) to the region (3, H, W), aligned with its edges."""
    if small.shape == region.shape or min(small.shape[-2:]) < WINDOW:
        return interpolated(masks, region.shape[-2:])
    height, width = region.shape[-2:]
    large = np.zeros((len(masks), height, width), np.float32)
    fits = threads.shared(lambda mask: guided_fit(small, mask, window=WINDOW, eps=SMOOTHNESS), masks)
    places = [_about(mask > 0, height, width) for mask in masks]  # elsewhere the fit is of zeros

    def enlarge(rows: slice) -> None:
        for target, fit, (down, across) in zip(large, fits, places, strict=True):
            here = slice(max(down.start, rows.start), min(down.stop, rows.stop)), across
            if here[0].start < here[0].stop:
                mask = follow(region[(slice(None), *here)], part_of(fit, (height, width), here))
                mask[mask < CUT] = 0
                target[here] = mask
        if len(large) > 1:
            some = large[:, rows]
            some /= some.sum(0).clip(min=1)

    threads.shared(enlarge, threads.strips(height, threads.PIXELS // width))
    return large


def _about(cells: npt.NDArray[np.bool_], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a picture of `height` x `width` pixels around cells of a small copy, with a margin.

    A cell's fit reaches as far as two windows of the filter, and a pixel reads the cells beside it.
    """
    slices = []
    for axis, length in ((1, height), (0, width)):
        found, count = np.flatnonzero(cells.any(axis)), cells.shape[1 - axis]
        if not len(found):
            return slice(0, 0), slice(0, 0)
        first, last = max(0, int(found[0]) - WINDOW), min(count, int(found[-1]) + 1 + WINDOW)
        slices.append(slice(first * length // count, -(-last * length // count)))
    return slices[0], slices[1]


def scaled_box(box: Box, across: float, down: float, size: int) -> Box:
    """Scale a box with its photograph, which becomes a square of `size` pixels."""
    x, y = min(size - 1, int(box[0] * across)), min(size - 1, int(box[1] * down))
    return x, y, max(1, min(size - x, round(box[2] * across))), max(1, min(size - y, round(box[3] * down)))
