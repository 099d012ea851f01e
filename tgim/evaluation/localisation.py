"""Accuracy of a part localiser: at points that people clicked, by boxes, and where there is no subject."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tgim.data.base import Stream, random_source
from tgim.data.guesses import grabcut
from tgim.data.points import BACKGROUND, Points
from tgim.data.views import read_picture
from tgim.images.boxes import Box
from tgim.images.photo import open_image
from tgim.models.base import Localising
from tgim.models.parsing.lifting import lift
from tgim.models.parsing.part_maps import find_parts

OUTSIDE = 20  # places outside the subject's box that are measured at, in each picture that has such
MARGIN = 0.03  # of the box's longer side: what lies farther out is background
CLEAR = 9  # pixels: a guess at the background counts this far from a guess at the subject


@dataclass
class Tally:
    """Counts of true and predicted parts at points, and overlaps of boxes."""

    names: tuple[str, ...]
    counts: NDArray[np.int64] = field(init=False)  # (P, P): true part, predicted part
    guessed: list[float] = field(default_factory=list)  # share of the background right, where GrabCut guesses it
    overlaps: list[float] = field(default_factory=list)  # intersection over union of the boxes
    missed: int = 0  # pictures in which no subject was found

    def __post_init__(self) -> None:
        self.counts = np.zeros((len(self.names), len(self.names)), np.int64)

    def as_dict(self) -> dict[str, Any]:
        """Figures with their counts, as plain types; shares are 0 to 1."""
        right, asked = self.counts.diagonal(), self.counts.sum(1)
        figures: dict[str, Any] = {"n": len(self.overlaps), "missed": self.missed, "points": int(asked[1:].sum())}
        if asked[1:].any():
            figures["parts"] = round(float(right[1:].sum() / asked[1:].sum()), 4)
            figures["by_part"] = {
                name: round(float(r / a), 4)
                for name, r, a in zip(self.names[1:], right[1:], asked[1:], strict=True)
                if a
            }
        if asked[0]:
            figures |= {"background_points": int(asked[0]), "background": round(float(right[0] / asked[0]), 4)}
        if self.guessed:
            figures["background_by_grabcut"] = round(float(np.mean(self.guessed)), 4)
        if boxes := [each for each in self.overlaps if each == each]:
            figures |= {"box_iou": round(float(np.mean(boxes)), 4), "box_iou_median": round(float(np.median(boxes)), 4)}
        return figures


def measure(
    model: Localising, pictures: Sequence[tuple[Path, Points]], *, seed: int = 0, guesses: bool = False
) -> Tally:
    """Predict the part at every point of the pictures, and at places outside of the boxes of subjects.

    A point is right when its own part's map, of those lifted to the photograph's size, is the largest at its pixel; all
    points of a picture in which no subject is found count as background. Neighbouring parts are wrong.

    Args:
        model: the localiser.
        pictures: with their points; those with boxes are compared with the box found.
        seed: of the places outside of boxes.
        guesses: also measure on the background that GrabCut, started from the points, finds with certainty. It is
            sometimes wrong.
    """
    tally = Tally(model.parts)
    for number, (path, points) in enumerate(pictures):
        photo = open_image(path)
        found = find_parts(model, photo.pixels[None])
        shown = np.zeros((photo.height, photo.width), np.int64)
        if found is not None:
            shown = lift(found, photo.pixels).argmax(0)
        tally.missed += found is None
        for part, spots in points.spots.items():
            asked = model.parts.index(part)
            for spot in spots:
                y, x = (
                    min(int(spot.y * photo.height), photo.height - 1),
                    min(int(spot.x * photo.width), photo.width - 1),
                )
                tally.counts[asked, shown[y, x]] += 1
        if points.box is None:
            tally.overlaps.append(float("nan"))
            continue
        box = in_pixels(points.box, photo.height, photo.width)
        tally.overlaps.append(overlap(found.subject, box) if found is not None else 0.0)
        outside = _outside(box, shown.shape)
        places = np.flatnonzero(outside)
        if len(places) > 0.02 * outside.size:
            for place in random_source(seed, Stream.BACKGROUND_POINTS, number).choice(places, OUTSIDE):
                tally.counts[0, shown.flat[place]] += 1
        if guesses and (share := _guessed_background(path, points, shown)) is not None:
            tally.guessed.append(share)
    return tally


def in_pixels(box: tuple[float, float, float, float], height: int, width: int) -> Box:
    """A box in fractions as whole pixels."""
    x, y, w, h = box
    return round(x * width), round(y * height), max(1, round(w * width)), max(1, round(h * height))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x, y, width, height).

    >>> overlap((0, 0, 2, 2), (1, 0, 2, 2))
    0.3333333333333333
    """
    w = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    h = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def false_alarms(model: Localising, pictures: Iterable[Path]) -> list[Path]:
    """Pictures in which a subject is found, of `pictures` that show none."""
    return [path for path in pictures if find_parts(model, open_image(path).pixels[None]) is not None]


def _outside(box: Box, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels (H, W) that lie outside of a box, and not next to it."""
    x, y, w, h = box
    room = round(MARGIN * max(w, h))
    outside = np.ones(shape, bool)
    outside[max(0, y - room) : y + h + room, max(0, x - room) : x + w + room] = False
    return outside


def _guessed_background(path: Path, points: Points, shown: NDArray[np.int64]) -> float | None:
    """Share of the background found by GrabCut that the localiser predicts as background; None where it finds none."""
    import cv2

    guess = grabcut(read_picture(path), points)
    if guess is None or BACKGROUND in points.spots:
        return None
    subject = cv2.resize(guess.subject, shown.shape[::-1], interpolation=cv2.INTER_NEAREST)
    sure = cv2.dilate(subject, np.ones((CLEAR, CLEAR), np.uint8)) == 0
    return float((shown[sure] == 0).mean()) if sure.any() else None
