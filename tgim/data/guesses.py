"""Guess of the subject of a picture: GrabCut, started from the points, or from the picture's centre without any.

GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004; OpenCV's implementation): near the points the subject is likely,
at the points it is sure; at points of the background, and at the border far from all points, it is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tgim.data.points import BACKGROUND, Points
from tgim.data.subject import NOTHING_KNOWN, guess_subject
from tgim.data.views import Guess, Guessed, Pixels
from tgim.errors import DataError

WORKING = 72  # pixels, longer side at which colours are looked at
FEWEST = 4  # points of the subject at the least
THIN = frozenset({"legs"})  # parts too thin for a point to be surely on the subject at that size
PLAUSIBLE = (0.03, 0.9)  # share of the picture that a subject takes
LIKELY, FAR = 7, 19  # pixels: sides of squares within which the hull of the points makes a subject likely, possible


def guesser(*, pointed: bool, others: bool) -> Guess | None:
    """Choose how subjects are guessed: from the points of pictures that are `pointed`, of `others` by the centre."""

    def guess(picture: Pixels, points: Points | None) -> Guessed | None:
        if points is not None and points.spots:
            return grabcut(picture, points) if pointed else None
        return central(picture) if others else None

    return guess if pointed or others else None


def central(picture: Pixels) -> Guessed | None:
    """Guess as `grabcut`, of a picture without points: its centre is the subject, its corners are not.

    Raises:
        DataError: OpenCV is missing.
    """
    height, width = picture.shape[:2]
    labels = guess_subject(_small(picture))
    if labels.flat[0] == NOTHING_KNOWN:
        return None
    return Guessed(labels[..., None].astype(np.float32), (0.0, 0.0, float(width), float(height)))


def grabcut(picture: Pixels, points: Points | None) -> Guessed | None:
    """The subject's probability, 0 or 1, over the whole picture; None where no guess can be made.

    Raises:
        DataError: OpenCV is missing.
    """
    small = _small(picture)
    import cv2

    height, width = picture.shape[:2]
    size = small.shape[1], small.shape[0]
    spots = points.spots if points is not None else {}
    on = [(p, int(s.x * size[0]), int(s.y * size[1])) for p, each in spots.items() if p != BACKGROUND for s in each]
    off = [(int(s.x * size[0]), int(s.y * size[1])) for s in spots.get(BACKGROUND, ())]
    if len(on) < FEWEST:
        return None
    hull = np.zeros(size[::-1], np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.array([[x, y] for _, x, y in on], np.int32)), (1,))
    near = cv2.dilate(hull, np.ones((LIKELY, LIKELY), np.uint8)) > 0
    far = cv2.dilate(hull, np.ones((FAR, FAR), np.uint8)) == 0
    border = np.ones_like(far)
    border[2:-2, 2:-2] = False
    labels: Any = np.where(near, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[far & (border | ~_within(points, size))] = cv2.GC_BGD
    for part, x, y in on:
        if part not in THIN:
            cv2.circle(labels, (x, y), 2, (cv2.GC_FGD,), -1)
    for x, y in off:
        cv2.circle(labels, (x, y), 1, (cv2.GC_BGD,), -1)
    cv2.setRNGSeed(0)
    try:
        models = np.zeros((1, 65)), np.zeros((1, 65))
        bgr = np.ascontiguousarray(small[..., ::-1])
        cv2.grabCut(bgr, labels, None, *models, 2, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    except cv2.error:  # a picture of one colour, say
        return None
    subject = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    if not PLAUSIBLE[0] < subject.mean() < PLAUSIBLE[1]:
        return None
    return Guessed(subject[..., None], (0.0, 0.0, float(width), float(height)))


def _small(picture: Pixels) -> Pixels:
    """Shrink a picture to the size at which colours are looked at."""
    try:
        import cv2
    except ImportError:
        raise DataError('guesses need OpenCV; run pip install "tgim[train]", or set data.views.guess=none') from None

    height, width = picture.shape[:2]
    shrink = WORKING / max(height, width)
    size = max(8, round(width * shrink)), max(8, round(height * shrink))
    small: Pixels = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return small


def _within(points: Points | None, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (height, width) of `size` (width, height) inside the subject's box; all of them where there is none."""
    left, top, width, height = (points.box if points is not None else None) or (0.0, 0.0, 1.0, 1.0)
    x, y = (np.arange(size[0]) + 0.5) / size[0], (np.arange(size[1]) + 0.5) / size[1]
    inside: NDArray[np.bool_] = ((x >= left) & (x <= left + width)) & ((y >= top) & (y <= top + height))[:, None]
    return inside
