"""Points at which `parts@1` measures: those of `tgim.data.points`, in the grouping of this version of the protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tgim.data.base import BoundingBox
from tgim.data.points import Points

Point = tuple[float, float]  # x, y: fractions of the picture's width and height
WHOLE: BoundingBox = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Pointed:
    """A picture with points: those of each part, and its subject's box."""

    path: Path
    points: Mapping[str, tuple[Point, ...]]  # part -> points inside the picture; parts without one are left out
    box: BoundingBox | None = None  # fractions; WHOLE where the picture is cropped to it, None if unknown


def pointed(pictures: Iterable[tuple[Path, Points]]) -> tuple[Pointed, ...]:
    """Pictures with their points inside them, without radii; those that have none are left out."""
    found = []
    for path, known in pictures:
        inside = {part: tuple((s.x, s.y) for s in spots if max(s.x, s.y) < 1) for part, spots in known.spots.items()}
        if kept := {part: points for part, points in inside.items() if points}:
            found.append(Pointed(path, kept, known.box))
    return tuple(found)
