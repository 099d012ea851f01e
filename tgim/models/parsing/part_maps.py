"""Search for a subject and its parts in a photograph: a look at all of it, then closer looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tgim.images.boxes import Box
from tgim.images.photo import as_array
from tgim.images.pieces import labelled, widest
from tgim.images.resample import Floats, interpolated, resize

SURE, MAYBE = 0.5, 0.3  # probabilities: a subject is where one cell is sure, and goes on as long as they may be
EDGE, FINE = 0.6, 4  # probability at a subject's edge, and parts of a cell to which the edge is found
SPECK = 0.02  # share of a subject below which a piece of it does not widen its bounds
ROOM = 1.3  # side of the frame of a closer look over the longer side of what was found
CONVERGED = 0.08  # change of the extent, of its longer side, under which no further look is taken
LOOKS = 3  # closer looks at the most
NEAR, NEARER = (
    3,
    7,
)  # side of the square of cells that joins pieces of one subject, in the first look and in closer ones
FEWEST = 4  # sure cells of a subject at the least
MINOR = 0.25  # smaller subjects than this share of the largest are not counted among the others
FOUND = 0.5  # score above which a subject is there
SPREAD_OUT = 0.03  # probability of the subject's classes, among a thousand, at which a subject is as likely as not

Extent = tuple[float, float, float, float]  # left, top, right, bottom in photograph pixels
Frame = tuple[int, int, int, int]  # x, y, width, height in photograph pixels; may reach beyond the photograph


class PartFinder(Protocol):
    """A model that finds parts, whatever computes it."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the maps that `look_at` gives; the first is "background"."""

    @property
    def together(self) -> bool:
        """True where all subjects of a photograph count as one."""

    @property
    def image_size(self) -> int:
        """S, side of the pictures that it looks at, in pixels."""

    def look_at(self, pictures: Floats) -> tuple[Floats, Floats]:
        """Probabilities (B, P, s, s) of parts in pictures (B, 3, S, S) in [-1, 1], and (B,) that a subject shows."""


@dataclass(frozen=True)
class PartMaps:
    """The parts of one subject of a photograph."""

    names: tuple[str, ...]  # of the maps; the first is "background"
    maps: Floats  # (P, s, s) probabilities, their sum over P 1
    frame: tuple[float, float, float, float]  # x, y, width, height in photograph pixels of the square that `maps` cover
    subject: Box  # x, y, width, height in pixels: the subject's bounding box
    score: float  # 0 to 1, how sure it is that a subject is there
    others: tuple[Box, ...] = ()  # bounding boxes of further subjects, largest first


@dataclass(frozen=True)
class _Look:
    """Output of the localiser for one frame of a photograph."""

    maps: Floats  # (P, s, s)
    present: float  # probability that the frame shows a subject
    frame: Frame
    inside: NDArray[np.bool_]  # (s, s), cells within the photograph

    @property
    def foreground(self) -> Floats:
        """(s, s) probability of the subject; 0 outside of the photograph."""
        return (1 - self.maps[0]) * self.inside

    def extent(self, cells: NDArray[np.bool_]) -> Extent:
        """Bounds of the subject in some cells (s, s), in the photograph's pixels, to a quarter of a cell."""
        x, y, w, h = self.frame
        fine = interpolated(1 - self.maps[0], (FINE * self.maps.shape[1], FINE * self.maps.shape[2]))
        fine = fine * cells.repeat(FINE, 0).repeat(FINE, 1)
        inside = _without_specks(fine > min(EDGE, 0.7 * float(fine.max())))
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        across, down = w / inside.shape[1], h / inside.shape[0]
        return (
            x + float(columns[0]) * across,
            y + float(rows[0]) * down,
            x + float(columns[-1] + 1) * across,
            y + float(rows[-1] + 1) * down,
        )


def _without_specks(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask (H, W), at least one pixel of which is set, without pieces that are next to nothing of it."""
    labels = labelled(inside)
    counts = np.bincount(labels.flat)
    counts[0] = 0
    kept: NDArray[np.bool_] = np.isin(labels, np.flatnonzero(counts >= SPECK * counts.sum()))
    return kept & inside


def find_parts(model: PartFinder, photo: Any, *, box: Box | None = None) -> PartMaps | None:
    """Find a subject and its parts.

    Args:
        model: of the parts.
        photo: (3, H, W) or (1, 3, H, W) in [-1, 1], an array or a tensor.
        box: x, y, width, height in pixels: look at this region alone, and take for granted that a subject is in it.

    Returns:
        The parts of the largest subject, or None where there is none; never None with a box.
    """
    photo = as_array(photo)
    photo = photo[0] if photo.ndim == 4 else photo
    extent: Extent | None
    others: tuple[Box, ...] = ()
    present = 0.0  # in any look: from close by, a subject without colour may be like nothing
    if box is not None:
        extent = (float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3]))
    else:
        extent, others, present = _first_look(model, photo)
    if extent is None:
        return None
    for _ in range(LOOKS):
        look = _look(model, photo, _square(extent, ROOM))
        present = max(present, look.present)
        pieces = subjects(look.foreground, together=model.together, near=NEARER)
        if not pieces:
            break
        before = extent
        chosen = max(pieces, key=lambda piece: _overlap(look.extent(piece), before))
        extent = look.extent(chosen)
        if box is not None or _change(before, extent) < CONVERGED:
            break
    maps = _alone(look.maps, chosen) if pieces and not model.together else look.maps
    inside = 1 - maps[0]
    sure = inside[inside > SURE]
    score = present / (present + SPREAD_OUT) * float(sure.mean()) if pieces and len(sure) else 0.0
    if box is None and score < FOUND:
        return None
    x, y, w, h = look.frame
    return PartMaps(model.parts, maps, (x, y, w, h), _inside(extent, photo), score, others)


def _first_look(model: PartFinder, photo: Floats) -> tuple[Extent | None, tuple[Box, ...], float]:
    """Find the largest subject of a photograph, if there is one, boxes of the others, and how probable one is."""
    height, width = photo.shape[-2:]
    look = _look(model, photo, _square((0, 0, width, height), 1.0), twice=False)
    pieces = subjects(look.foreground, together=model.together)
    if not pieces:
        return None, (), look.present
    others = tuple(_inside(look.extent(piece), photo) for piece in pieces[1:])
    return look.extent(pieces[0]), others, look.present


def _look(model: PartFinder, photo: Floats, frame: Frame, *, twice: bool = True) -> _Look:
    """Look at a square of a photograph, and where `twice` at its mirror image; both are averaged."""
    picture = framed(photo, frame, model.image_size)
    maps, present = model.look_at(np.stack([picture, picture[..., ::-1]] if twice else [picture]))
    mean = (maps[0] + maps[1][..., ::-1]) / 2 if twice else maps[0]
    return _Look(mean, float(present.mean()), frame, _within(mean, frame, photo))


def _within(maps: Floats, frame: Frame, photo: Floats) -> NDArray[np.bool_]:
    """Cells (s, s) of maps (P, s, s) over a frame that show any of the photograph."""
    x, y, w, h = frame
    height, width = photo.shape[-2:]
    tops, lefts = y + np.arange(maps.shape[1]) * h / maps.shape[1], x + np.arange(maps.shape[2]) * w / maps.shape[2]
    down, across = h / maps.shape[1], w / maps.shape[2]
    return ((tops > -down) & (tops < height))[:, None] & ((lefts > -across) & (lefts < width))


def framed(photo: Floats, frame: Frame, size: int) -> Floats:
    """The square `frame` of a photograph (3, H, W) at `size` pixels; outside, the photograph's border goes on."""
    x, y, w, h = frame
    height, width = photo.shape[-2:]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    left, top = round((x0 - x) * size / w), round((y0 - y) * size / h)
    right, bottom = round((x1 - x) * size / w), round((y1 - y) * size / h)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    inside = resize(photo[..., y0:y1, x0:x1], (bottom - top, right - left))
    return np.pad(inside, ((0, 0), (top, size - bottom), (left, size - right)), mode="edge")


def subjects(foreground: Floats, *, together: bool = False, near: int = NEAR) -> list[NDArray[np.bool_]]:
    """Cells (s, s) of each subject, largest first; pieces that lie close together are one, or all of them are."""
    cells = foreground > MAYBE
    labels = labelled(widest(cells, near // 2)) * cells
    sure = np.bincount(labels[foreground > SURE], minlength=int(labels.max()) + 1)
    sure[0] = 0
    if together:
        kept = np.flatnonzero(sure >= FEWEST)
        return [np.isin(labels, kept)] if len(kept) else []
    weight = np.bincount(labels.flat, (foreground - SURE).clip(0).flat) * (sure >= FEWEST)  # large and sure
    order = np.argsort(-weight, kind="stable").tolist()
    return [labels == i for i in order if weight[i] > 0 and weight[i] >= MINOR * weight.max()]


def _alone(maps: Floats, cells: NDArray[np.bool_]) -> Floats:
    """The maps with all that belongs to other subjects made background."""
    parts = maps[1:] * widest(cells, NEARER - 1)
    return np.concatenate([1 - parts.sum(0, keepdims=True), parts])


def _square(extent: Extent, room: float) -> Frame:
    """A square of whole pixels about the centre of `extent`, `room` times its longer side wide."""
    left, top, right, bottom = extent
    side = max(8, round(room * max(right - left, bottom - top)))
    return round((left + right - side) / 2), round((top + bottom - side) / 2), side, side


def _inside(extent: Extent, photo: Floats) -> Box:
    """`extent` as a box of whole pixels within the photograph."""
    height, width = photo.shape[-2:]
    x0, x1 = (round(min(max(v, 0), width)) for v in (extent[0], extent[2]))
    y0, y1 = (round(min(max(v, 0), height)) for v in (extent[1], extent[3]))
    x0, y0 = min(x0, width - 1), min(y0, height - 1)
    return x0, y0, max(1, x1 - x0), max(1, y1 - y0)


def _overlap(a: Extent, b: Extent) -> float:
    """Intersection over union of two extents."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0.0) * max(h, 0.0)
    return both / max(1e-9, (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _change(a: Extent, b: Extent) -> float:
    """The largest move of a side, of the longer side."""
    longer = max(a[2] - a[0], a[3] - a[1])
    return max(abs(p - q) for p, q in zip(a, b, strict=True)) / max(longer, 1.0)
