"""A closer look at a small subject: where a photograph shows one, for editors that can tell."""

from __future__ import annotations

import numpy as np

from tgim.images.boxes import Box
from tgim.images.photo import Photo
from tgim.images.pieces import labelled
from tgim.images.resample import Floats, resize
from tgim.inference.engines import Engine

_Extent = tuple[float, float, float, float]  # left, top, right, bottom
CLOSE_UP = 0.9  # share of the frame above which a subject needs no closer look
SURE, MAYBE = 0.5, 0.25  # probabilities: a subject is where one pixel is sure, and goes on as long as they may be
LOOK = 0.2  # around what a first look found, of its longer side: where the second looks
ROOM = 0.12  # around a subject, of its longer side
MINOR = 0.25  # smaller parts than this share of the largest do not count as subjects


def find_subject(photo: Photo, engine: Engine) -> Box | None:
    """Find the subject, with some room around it; as `tgim.inference.editor.Editor.find_subject`."""
    if engine.finder is not None:  # it looks closer by itself
        return None
    side = engine.image_size

    def look(frame: Box) -> _Extent | None:
        x, y, w, h = frame
        small = resize(photo.pixels[:, y : y + h, x : x + w], (side, side))
        probability = engine.subject(np.stack([small, small[..., ::-1]]))
        if probability is None:
            return None
        straight, mirrored = probability
        return _extent((straight + mirrored[:, ::-1]) / 2, frame)

    first = look((0, 0, photo.width, photo.height))
    if first is None:
        return None
    closer = _with_room(first, LOOK, photo)
    box = _with_room(look(closer) or first, ROOM, photo) if min(closer[2:]) > 0 else closer
    small = max(box[2] / photo.width, box[3] / photo.height) < CLOSE_UP and min(box[2:]) > 0
    return box if small else None


def _extent(probability: Floats, frame: Box) -> _Extent | None:
    """Left, top, right and bottom, in the photograph's pixels, of subjects by probabilities (S, S) over a frame."""
    labels = labelled(probability > MAYBE)
    sure = np.bincount(labels[probability > SURE], minlength=labels.max() + 1)
    sure[0] = 0
    kept = np.flatnonzero(sure >= max(MINOR * sure.max(), 4))
    rows, columns = np.nonzero(np.isin(labels, kept))
    if not len(rows):
        return None
    (x, y, w, h), side = frame, len(probability)
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    return x + left * w / side, y + top * h / side, x + right * w / side, y + bottom * h / side


def _with_room(extent: _Extent, room: float, photo: Photo) -> Box:
    """A box around `extent`, larger on each side by `room` of its longer side, inside the photograph."""
    left, top, right, bottom = extent
    more = room * max(right - left, bottom - top)
    x0, x1 = (round(min(max(v, 0), photo.width)) for v in (left - more, right + more))
    y0, y1 = (round(min(max(v, 0), photo.height)) for v in (top - more, bottom + more))
    return x0, y0, x1 - x0, y1 - y0
