"""Views: what a part localiser sees in training, each a square of pixels and what is known of its cells.

A view shows a picture's subject large or small, turned, mirrored, in other colours, some among another picture's
background; or no subject at all; or a drawn subject, whose parts are known everywhere. View i is a function
of the seed and i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from tgim.data import synthetic
from tgim.data.base import Box, random_source
from tgim.data.cache import to_rgb
from tgim.data.points import BACKGROUND, Points
from tgim.data.scenes import random_scene
from tgim.errors import DataError

VERSION = 1  # part of the cache's key: raise it when equal settings would give other views
STREAM = 5  # of `random_source`
STRIDE = 4  # pixels of a view that make a cell
GUESSED, SUBJECT, UNKNOWN = (
    100,
    254,
    255,
)  # labels: part p (0: background) by a guess is 100 + p; some part; nothing known
LARGEST = 512  # pixels, longer side at which a picture is read
ALONE = 0.5  # share of a view that its picture must cover; else the subject is shown among another background
SPREAD, SMALL_SPREAD = 0.03, 0.0  # of the subject's longer side: how far around a point its part surely goes on
SMALL = frozenset({"beak", "legs", "throat"})
DRAWN = {
    "birds": {
        "crown": "head", "face": "head", "nape": "head", "eyes": "head", "throat": "throat", "breast": "breast",
        "belly": "belly", "back": "back", "wings": "wings", "wingbars": "wings", "tail": "tail", "beak": "beak",
        "feet": "legs",
    },
    "flowers": {"petals": "petals", "edges": "petals", "center": "center", "stamen": "center", "leaves": BACKGROUND},
}  # fmt: skip
Pixels = NDArray[np.uint8]
Guess = Callable[[Pixels, Points | None], "Guessed | None"]


class ViewConfig(BaseModel):
    """How many views of which sorts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(default=6000, ge=1)
    near: tuple[float, float] = (0.9, 1.6)  # side of a view over the subject's longer side
    far: tuple[float, float] = (1.6, 3.5)  # the same, of small subjects
    small: float = Field(default=0.3, ge=0, le=1)  # share of views that show the subject small
    rotate: float = Field(default=15.0, ge=0, le=180)  # degrees, up to this much either way
    colours: float = Field(default=0.3, ge=0, le=1)  # how far colours are changed
    scenes: float = Field(default=0.3, ge=0, le=1)  # share of subjects shown among another picture's background
    empty: float = Field(default=0.1, ge=0, le=1)  # share of views without a subject
    drawn: float = Field(default=0.0, ge=0, le=1)  # share of drawn subjects
    drawn_kind: Literal["birds", "flowers"] = "birds"
    guess: Literal["grabcut", "none"] = "grabcut"  # of where the subject is, where there is no teacher
    elsewhere: str | None = None  # pictures without a subject: a data set beside this one
    photographs: str | None = None  # whole photographs of CUB, a folder beside it


@dataclass(frozen=True)
class View:
    """One view."""

    picture: Pixels  # (S, S, 3) sRGB
    cells: Pixels  # (s, s) labels


@dataclass(frozen=True)
class Guessed:
    """What is guessed of a picture."""

    maps: NDArray[np.float32]  # (h, w, C): the subject's probability, or those of background and every part
    frame: tuple[float, float, float, float]  # left, top, width, height in pixels of the picture that it covers

    @property
    def subject(self) -> NDArray[np.float32]:
        """(h, w) probability of the subject."""
        found = self.maps[..., 0] if self.maps.shape[2] == 1 else 1 - self.maps[..., 0]
        return np.ascontiguousarray(found)


@dataclass
class Views:
    """Makes views of pictures with points."""

    pictures: Sequence[tuple[Path, Points]]
    scenes: Sequence[Path]  # pictures without a subject
    config: ViewConfig
    parts: tuple[str, ...]  # of the labels 0, 1, ...; the first is the background
    size: int  # pixels a side
    seed: int = 0
    guess: Guess | None = None
    orders: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.config.count

    def view(self, number: int) -> View:
        """View `number` (0, 1, ...)."""
        source = random_source(self.seed, STREAM, number)
        sort = source.random()
        if sort < self.config.drawn:
            return self._drawn(source)
        if self.scenes and sort < self.config.drawn + self.config.empty:
            return View(self._changed(self._scene(source), None, source), np.zeros(self._cells, np.uint8))
        return self._of_picture(number, source)

    @property
    def _cells(self) -> tuple[int, int]:
        return self.size // STRIDE, self.size // STRIDE

    def _of_picture(self, number: int, source: np.random.Generator) -> View:
        path, points = self.pictures[self._row(number)]
        picture = read_picture(path)
        height, width = picture.shape[:2]
        guessed = self.guess(picture, points) if self.guess is not None else None
        affine, scale = self._window(points.box or (0.0, 0.0, 1.0, 1.0), (width, height), source)
        known = _warp(np.ones((height, width), np.float32), affine, self.size) > 0.999
        view = _warp(picture, affine, self.size, continued=True)
        alpha = None
        if guessed is not None:
            alpha = np.clip(_warp(guessed.subject, _framed(affine, guessed), self.size), 0, 1)
        lost = known.mean() < ALONE  # most of the view lies outside of the picture
        moved = guessed is not None and bool(self.scenes) and (lost or source.random() < self.config.scenes)
        view = self._changed(view, alpha, source)
        if moved and alpha is not None:
            scene = self._changed(self._scene(source), None, source)
            soft = (np.clip(2 * alpha - 0.5, 0, 1))[..., None]
            view = np.round(soft * view + (1 - soft) * scene).astype(np.uint8)
        cells = np.full(self._cells, UNKNOWN, np.uint8)
        outside = self._outside(points.box, (width, height), affine)
        if outside is not None and not moved:
            cells[outside & self._shrunk(known)] = 0
        if guessed is not None and alpha is not None:
            self._label_guess(cells, guessed, affine, alpha, known, moved, points, (width, height))
        self._label_points(cells, points, (width, height), affine, scale, alpha if moved else None)
        return View(view, cells)

    def _row(self, number: int) -> int:
        """Which picture view `number` shows: all of them, in a new order each time around."""
        count = len(self.pictures)
        round_, place = divmod(number, count)
        if round_ not in self.orders:
            self.orders[round_] = random_source(self.seed, STREAM, round_, count).permutation(count)
        return int(self.orders[round_][place])

    def _window(
        self, box: Box, size: tuple[int, int], source: np.random.Generator
    ) -> tuple[NDArray[np.float64], float]:
        """An affine map (2, 3) from the picture's pixels to the view's, and the subject's longer side in cells."""
        config = self.config
        low, high = config.far if source.random() < config.small else config.near
        width, height = box[2] * size[0], box[3] * size[1]
        longer = max(width, height, 8.0)
        side = longer * low * (high / low) ** source.random()
        play = max(0.12 * side, (side - longer) / 2)
        centre = np.array([box[0] * size[0] + width / 2, box[1] * size[1] + height / 2])
        centre += source.uniform(-1, 1, 2) * play
        zoom, aspect = self.size / side, source.uniform(0.9, 1.1)
        angle, mirror = np.deg2rad(source.uniform(-config.rotate, config.rotate)), source.random() < 0.5
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.diag([zoom * aspect * (-1 if mirror else 1), zoom / aspect])
        return np.hstack([matrix, (self.size / 2 - matrix @ centre)[:, None]]), longer * zoom / STRIDE

    def _scene(self, source: np.random.Generator) -> Pixels:
        """A square out of a picture without a subject."""
        picture = read_picture(self.scenes[int(source.integers(len(self.scenes)))])
        height, width = picture.shape[:2]
        side = min(width, height) * source.uniform(0.5, 1.0)
        left, top = source.random() * (width - side), source.random() * (height - side)
        zoom = self.size / side
        mirror = source.random() < 0.5
        affine = np.array([[zoom, 0, -left * zoom], [0, zoom, -top * zoom]])
        if mirror:
            affine[0] = [-zoom, 0, self.size + left * zoom]
        shown: Pixels = _warp(picture, affine, self.size, continued=True)
        return shown

    def _drawn(self, source: np.random.Generator) -> View:
        """A drawn subject; its parts are known everywhere but where two of them share a cell."""
        names = DRAWN[self.config.drawn_kind]
        drawing = synthetic.draw(random_scene(self.config.drawn_kind[:-1], source), self.size)
        shares = np.zeros((*self._cells, len(self.parts)), np.float32)
        for part, mask in drawing.parts.items():
            if names.get(part) in self.parts[1:]:
                shares[..., self.parts.index(names[part])] += self._cell_mean(mask)
        shares[..., 0] = np.clip(1 - shares[..., 1:].sum(-1), 0, 1)
        cells = np.where(shares.max(-1) > 0.7, shares.argmax(-1), UNKNOWN).astype(np.uint8)
        picture = drawing.image
        if source.random() < 0.5:
            picture, cells = picture[:, ::-1], cells[:, ::-1]
        return View(np.ascontiguousarray(picture), np.ascontiguousarray(cells))

    def _changed(self, view: Pixels, subject: Any, source: np.random.Generator) -> Pixels:
        """Other colours and brightness, and in some views the subject's own, so that shape tells parts apart."""
        amount = self.config.colours
        if not amount:
            return view
        pixels = view.astype(np.float32)
        mixed = _recoloured(pixels, source, 0.3 * amount)
        if subject is not None and source.random() < amount:
            mixed += subject[..., None] * (_recoloured(mixed, source, 1.5 * amount) - mixed)
        return np.clip(mixed, 0, 255).round().astype(np.uint8)

    def _outside(self, box: Box | None, size: tuple[int, int], affine: NDArray[np.float64]) -> Any:
        """Cells that surely lie outside the subject's box; None without a box."""
        if box is None:
            return None
        left, top, width, height = box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1]
        room = 0.03 * max(width, height)
        corners = np.array(
            [
                [left - room, top - room],
                [left + width + room, top - room],
                [left + width + room, top + height + room],
                [left - room, top + height + room],
            ]
        )
        import cv2

        mask = np.zeros((self.size, self.size), np.uint8)
        cv2.fillConvexPoly(mask, np.round(corners @ affine[:, :2].T + affine[:, 2]).astype(np.int32), (1,))
        return self._cell_mean(mask) == 0

    def _label_guess(
        self,
        cells: Pixels,
        guessed: Guessed,
        affine: NDArray[np.float64],
        alpha: Any,
        known: Any,
        moved: bool,
        points: Points,
        picture_size: tuple[int, int],
    ) -> None:
        import cv2

        inside = (alpha > 0.5).astype(np.uint8)
        surely_out = cv2.dilate(inside, np.ones((9, 9), np.uint8)) == 0
        if not moved:
            surely_out &= known
        covered = _warp(np.ones(guessed.maps.shape[:2], np.float32), _framed(affine, guessed), self.size) > 0.99
        if guessed.maps.shape[2] > 1:
            small = _warp(guessed.maps, _framed(affine, guessed), self.size)
            maps = np.stack([self._cell_mean(small[..., i]) for i in range(small.shape[2])], -1)
            sure = (maps.max(-1) > 0.75) & (maps.argmax(-1) > 0) & self._shrunk(covered)
            cells[sure] = GUESSED + maps.argmax(-1)[sure].astype(np.uint8)
            surely_out &= alpha < 0.1
        else:
            surely_in = cv2.erode(inside, np.ones((7, 7), np.uint8)) > 0
            cells[self._shrunk(surely_in & known)] = SUBJECT
            if not moved:
                surely_out &= ~self._hull(points, picture_size, affine)
        cells[self._shrunk(surely_out & (covered | moved)) & (cells == UNKNOWN)] = 0 if moved else GUESSED

    def _hull(self, points: Points, size: tuple[int, int], affine: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Pixels (S, S) within the convex hull of the subject's points, and a little around it."""
        import cv2

        spots = [
            [s.x * size[0], s.y * size[1]] for part, each in points.spots.items() if part != BACKGROUND for s in each
        ]
        hull = np.zeros((self.size, self.size), np.uint8)
        if len(spots) > 2:
            seen = np.array(spots) @ affine[:, :2].T + affine[:, 2]
            cv2.fillConvexPoly(hull, cv2.convexHull(np.round(seen).astype(np.int32)), (1,))
        found: NDArray[np.bool_] = cv2.dilate(hull, np.ones((9, 9), np.uint8)) > 0
        return found

    def _label_points(
        self,
        cells: Pixels,
        points: Points,
        size: tuple[int, int],
        affine: NDArray[np.float64],
        scale: float,
        alpha: Any,
    ) -> None:
        rows, columns = np.mgrid[: cells.shape[0], : cells.shape[1]]
        nearest = np.full(cells.shape, np.inf)
        for part, spots in points.spots.items():
            spread = (SMALL_SPREAD if part in SMALL else SPREAD) * scale
            for spot in spots:
                x, y = (affine[:, :2] @ [spot.x * size[0], spot.y * size[1]] + affine[:, 2]) / STRIDE
                if not (0 <= x < cells.shape[1] and 0 <= y < cells.shape[0]):
                    continue
                if alpha is not None and (part == BACKGROUND or alpha[int(y * STRIDE), int(x * STRIDE)] < 0.75):
                    continue
                distance = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
                distance[int(y), int(x)] = 0
                grown = 0.8 * spot.radius * size[0] * np.sqrt(abs(np.linalg.det(affine[:, :2]))) / STRIDE
                near = (distance <= max(spread, grown)) & (distance < nearest)
                cells[near], nearest[near] = self.parts.index(part), distance[near]

    def _cell_mean(self, mask: Any) -> NDArray[np.float32]:
        s = self.size // STRIDE
        mean: NDArray[np.float32] = np.asarray(mask, np.float32).reshape(s, STRIDE, s, STRIDE).mean((1, 3))
        return mean

    def _shrunk(self, mask: Any) -> NDArray[np.bool_]:
        """Cells that lie in a mask (S, S) altogether, nearly."""
        return self._cell_mean(mask) > 0.9


def read_picture(path: Path) -> Pixels:
    """A picture (H, W, 3), its longer side at most `LARGEST` pixels.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (LARGEST, LARGEST))
            picture = to_rgb(opened)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read ({error}); run tgim data check on its folder") from None
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(picture)


def _warp(pixels: Any, affine: NDArray[np.float64], size: int, *, continued: bool = False) -> Any:
    """Pixels (H, W) or (H, W, C) seen through an affine map, (size, size, ...); 0 outside unless `continued`."""
    import cv2

    scale = np.sqrt(abs(np.linalg.det(affine[:, :2])))
    if scale < 0.5:  # first smaller, so that nothing is skipped
        factor = max(1, round(0.7 / scale))
        shape = max(1, pixels.shape[1] // factor), max(1, pixels.shape[0] // factor)
        grow = np.diag([pixels.shape[1] / shape[0], pixels.shape[0] / shape[1]])
        pixels = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
        affine = np.hstack([affine[:, :2] @ grow, affine[:, 2:]])
    shifted = affine.copy()
    shifted[:, 2] += affine[:, :2] @ [0.5, 0.5] - 0.5  # pixel centres
    border = cv2.BORDER_REPLICATE if continued else cv2.BORDER_CONSTANT
    if pixels.ndim == 2 or pixels.shape[2] <= 4:
        return cv2.warpAffine(pixels, shifted, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    parts = [pixels[..., i : i + 4] for i in range(0, pixels.shape[2], 4)]
    warped = [cv2.warpAffine(np.ascontiguousarray(part), shifted, (size, size), borderMode=border) for part in parts]
    return np.concatenate([part.reshape(size, size, -1) for part in warped], -1)


def _framed(affine: NDArray[np.float64], guessed: Guessed) -> NDArray[np.float64]:
    """The affine map from the cells of a guess, in place of the picture's pixels."""
    left, top, width, height = guessed.frame
    rows, columns = guessed.maps.shape[:2]
    matrix = affine[:, :2] @ np.diag([width / columns, height / rows])
    return np.hstack([matrix, (affine[:, :2] @ [left, top] + affine[:, 2])[:, None]])


def _recoloured(pixels: NDArray[np.float32], source: np.random.Generator, amount: float) -> NDArray[np.float32]:
    """Pixels (H, W, 3) with gain, offset, saturation and hue moved by about `amount`."""
    angle = source.normal(0, 1.2 * amount)
    axis = np.ones((3, 3)) / 3  # of hue: gray
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * axis
    saturation = np.exp(source.normal(0, 0.8 * amount))
    matrix = (axis + saturation * (np.eye(3) - axis)) @ turn * np.exp(source.normal(0, 0.6 * amount))
    mean = pixels.mean((0, 1))
    contrast, lift = np.exp(source.normal(0, 0.4 * amount)), source.normal(0, 60 * amount)
    shifted: NDArray[np.float32] = (((pixels - mean) * contrast + mean) @ matrix.T + lift).astype(np.float32)
    return shifted
