"""Scores of an edit at points of a photograph: CIELAB colours of the named part, changes elsewhere, texture kept.

All colours are CIELAB (D65) of sRGB; a point's colour is that of the median of a small square around it. Every figure
of an ask (one part, one colour) is a mean over points or parts; `score` names them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tgim.data.base import BoundingBox
from tgim.evaluation.part_points import WHOLE, Point

COLOURS = {  # the colours that a point can have, typical sRGB of 255
    "red": (200, 25, 25), "blue": (40, 70, 200), "yellow": (235, 210, 40), "green": (40, 140, 50),
    "black": (22, 22, 22), "white": (240, 240, 240), "orange": (235, 130, 30), "brown": (110, 70, 40),
    "gray": (128, 128, 128), "purple": (120, 50, 150), "pink": (240, 150, 180),
}  # fmt: skip
NAMES = tuple(COLOURS)
AXES = np.array([0.5, 1.0, 1.0])  # weights of squared differences when a colour is named: light and shadow count half
REACH = 0.02  # half side of a point's square, of the subject's longer side where its box is known ...
REACH_WHOLE = 0.012  # ... else of the picture's
DISC = 3  # times that: radius of the discs around points in which texture is compared
SPILT = 10.0  # CIELAB; a part that changes by more is spilt upon
ACTED = 5.0  # CIELAB; pixels that change by more are where the edit acted
FEWEST = 25  # pixels where an edit must act for its texture to be compared
PLAIN = 1.0  # lightness; where the photograph's texture deviates less, there is none to keep
AROUND = 0.05  # of the box's sides: how far around it a subject may reach
ROOM = 0.02  # share of a photograph that must lie outside for that to be measured
BACKGROUND = "background"
ROUNDING = 1e-6  # pixels: a fraction of a whole number of pixels gives that number back


@dataclass(frozen=True)
class Scene:
    """A photograph's points in pixels."""

    points: Mapping[str, NDArray[np.int64]]  # part -> (P, 2) x, y
    reach: int  # pixels, half side of a point's square
    outside: NDArray[np.bool_] | None  # (H, W) pixels that are surely not the subject; None if unknown or too few


def scene_of(points: Mapping[str, Sequence[Point]], box: BoundingBox | None, *, height: int, width: int) -> Scene:
    """Points and box, as fractions, in the pixels of a photograph of `height` and `width`."""
    scale = np.array([width, height])
    subject = max(width, height) if box is None else max(width * box[2], height * box[3])
    placed = {part: (np.array(rows) * scale + ROUNDING).astype(np.int64) for part, rows in points.items()}
    reach = max(1, int((REACH_WHOLE if box is None else REACH) * subject))
    return Scene(placed, reach, _outside(box, height, width))


def _outside(box: BoundingBox | None, height: int, width: int) -> NDArray[np.bool_] | None:
    """(H, W) pixels beyond the box and a margin around it; None when they are too few, or there is no box."""
    if box is None or box == WHOLE:
        return None
    left, top, w, h = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    outside = np.ones((height, width), bool)
    rows = slice(max(0, int(top - AROUND * h)), int(top + (1 + AROUND) * h))
    outside[rows, max(0, int(left - AROUND * w)) : int(left + (1 + AROUND) * w)] = False
    return outside if outside.mean() > ROOM else None


def lab(rgb: NDArray[np.uint8] | NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB of sRGB (..., 3) in 0 to 255."""
    from skimage.color import rgb2lab

    return np.asarray(rgb2lab(np.asarray(rgb, np.float64).reshape(-1, 1, 3) / 255).reshape(rgb.shape), np.float64)


PALETTE = lab(np.array(list(COLOURS.values()), np.float64))  # (11, 3) CIELAB


def colours_at(picture: NDArray[np.uint8], points: NDArray[np.int64], reach: int) -> NDArray[np.float64]:
    """CIELAB (P, 3) of the medians of squares of a picture (H, W, 3) around points (P, 2)."""
    return lab(
        np.stack(
            [
                np.median(picture[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1], axis=(0, 1))
                for x, y in points
            ]
        )
    )


def named(colours: NDArray[np.float64]) -> list[str]:
    """The nearest of the eleven colours for each of CIELAB (P, 3), lightness counted by half.

    >>> named(lab(np.array([[180.0, 40, 40], [60, 60, 60]])))
    ['red', 'black']
    """
    distances = (AXES * np.square(colours[:, None] - PALETTE)).sum(-1)
    return [NAMES[i] for i in distances.argmin(1)]


def score(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    scene: Scene,
    *,
    part: str,
    colour: str,
    near: Sequence[str] = (),
    apart: Sequence[str] = (),
) -> dict[str, float]:
    """Compute the figures of one edit; a figure that does not apply is not a number.

    Args:
        before: the photograph, (H, W, 3).
        after: the edited photograph, (H, W, 3).
        scene: its points.
        part: that was named.
        colour: that was named.
        near: parts beside it, which are reported by themselves.
        apart: all other parts that must stay.
    """
    target = PALETTE[NAMES.index(colour)]
    reach = scene.reach
    own = scene.points[part]
    old, new = (colours_at(picture, own, reach) for picture in (before, after))
    far = np.linalg.norm(old - target, axis=1)

    def change(points: NDArray[np.int64]) -> NDArray[np.float64]:
        moved = colours_at(after, points, reach) - colours_at(before, points, reach)
        return np.asarray(np.linalg.norm(moved, axis=1))

    def changes(parts: Sequence[str]) -> list[float]:
        clear = {each: _clear_of(own, scene.points[each], reach) for each in parts if each in scene.points}
        return [float(change(points).mean()) for points in clear.values() if len(points)]

    others = changes(apart)
    ground = change(scene.points[BACKGROUND]) if BACKGROUND in scene.points else np.empty(0)
    outside = math.nan
    if scene.outside is not None:
        outside = float(np.abs(after.astype(np.int16) - before)[scene.outside].mean())
    correlation, kept = texture(before, after, own, reach)
    return {
        "hit": float(np.mean([name == colour for name in named(new)])),
        "half_way": float(np.mean(np.linalg.norm(new - target, axis=1) < 0.5 * far)),
        "named_change": float(np.linalg.norm(new - old, axis=1).mean()),
        "spilt": _mean([other > SPILT for other in others]),
        "others_change": _mean(others),
        "near_change": _mean(changes(near)),
        "background_spilt": _mean(ground > SPILT),
        "background_change": _mean(ground),
        "outside": outside,
        "texture": correlation * kept,
        "texture_correlation": correlation,
    }


def _mean(values: Sequence[float] | Sequence[bool] | NDArray[np.float64] | NDArray[np.bool_]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _clear_of(own: NDArray[np.int64], points: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Points (P, 2) whose squares overlap none of the named part's: the pixels there belong to both."""
    away = np.abs(points[:, None] - own[None]).max(-1).min(1)
    return np.asarray(points[away > 2 * reach])


def texture(
    before: NDArray[np.uint8], after: NDArray[np.uint8], points: NDArray[np.int64], reach: int
) -> tuple[float, float]:
    """Measure the photograph's texture that is left where the edit acted, in discs around `points` (P, 2).

    Lightness minus its local mean (Gaussian, standard deviation `reach`, over the pixels that count alone) is compared,
    so that neither a change of colour nor the outline of the edit counts.

    Returns:
        The correlation of the two, and how much of the contrast is kept, 0 to 1: the ratio of their standard
        deviations, 1 or more counting as 1. A darker colour lowers the contrast of the same texture under the same
        light: expected is the photograph's contrast, times the ratio of mean (lightness + 16) where that falls, since
        L* + 16 grows as the cube root of luminance. Not a number where the edit
        acts on fewer than 25 pixels, or the photograph is plain there.
    """
    y, x = np.ogrid[: before.shape[0], : before.shape[1]]
    radius = DISC * reach
    left, top = np.maximum(points.min(0) - radius, 0)
    right, bottom = points.max(0) + radius + 1
    window = (slice(top, bottom), slice(left, right))
    near = [np.square(x[:, left:right] - px) + np.square(y[top:bottom] - py) <= radius**2 for px, py in points]
    old, new = lab(before[window]), lab(after[window])
    acted = np.any(near, axis=0) & (np.linalg.norm(new - old, axis=2) > ACTED)
    if acted.sum() < FEWEST:
        return math.nan, math.nan
    first, second = (_fine(picture[..., 0], acted, reach) for picture in (old, new))
    deviation, left_over = float(first.std()), float(second.std())
    if deviation < PLAIN:
        return math.nan, math.nan
    if left_over < 1e-6:
        return 0.0, 0.0
    darker = min(1.0, (float(new[acted][:, 0].mean()) + 16) / (float(old[acted][:, 0].mean()) + 16))
    correlation = float(np.mean((first - first.mean()) * (second - second.mean()))) / (deviation * left_over)
    return correlation, min(1.0, left_over / (deviation * darker))


def _fine(lightness: NDArray[np.float64], where: NDArray[np.bool_], sigma: float) -> NDArray[np.float64]:
    """Lightness (H, W) minus its local mean over the pixels `where` (H, W), at these pixels: (P,)."""
    from scipy.ndimage import gaussian_filter

    weight = where.astype(np.float64)
    share = gaussian_filter(weight, sigma, mode="constant")
    mean = gaussian_filter(weight * lightness, sigma, mode="constant")[where] / share[where]
    return np.asarray(lightness[where] - mean, np.float64)
