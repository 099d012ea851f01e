"""Views: training examples of a part localiser, each a square of pixels and labels of its cells.

A view shows a picture's subject large or small, turned, mirrored, in other colours, some among another picture's
background; or no subject at all; or a synthetic subject, whose parts are known everywhere. View i is a function of the
seed and i.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from tgim.data.base import BoundingBox, Stream, random_source
from tgim.data.points import BACKGROUND, Points
from tgim.data.synthetic import pairs as synthetic
from tgim.data.synthetic.scenes import random_scene
from tgim.errors import DataError, ImageError
from tgim.images.decode import decode_small
from tgim.text.lexicon.synthetic import LOCALISED

VERSION = 1  # part of the cache's key: raise it when equal settings would give other views
STRIDE = 4  # pixels of a view that make a cell
GUESSED, SUBJECT, UNKNOWN = (
    100,
    254,
    255,
)  # labels: part p (0: background) by a guess is 100 + p; some part; nothing known
LARGEST = 512  # pixels, longer side at which a picture is read
DOUBTFUL = 0.07  # of the subject's longer side: this near to a point no guess makes background
ALONE = 0.5  # share of a view that its picture must cover; else the subject is shown among another background
SPREAD = 0.03  # of the subject's longer side: how far around a point its part surely goes on
SMALL = frozenset({"beak", "legs", "throat"})  # these do not
MARGIN = 0.03  # of the subject's longer side: what lies farther outside of its box is background
SURE, CUT = (
    0.75,
    0.75,
)  # probabilities: of a guess that is learned, and of the subject where it is cut out of its picture
TRIES = 8  # squares looked at for one without a subject
Pixels = NDArray[np.uint8]
Guess = Callable[[Pixels, Points | None], "Guessed | None"]


class ViewConfig(BaseModel):
    """Number of views, and shares of their sorts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(default=6000, ge=1)
    near: tuple[float, float] = (0.9, 1.6)  # side of a view over the subject's longer side
    far: tuple[float, float] = (1.6, 3.5)  # the same, of small subjects
    small: float = Field(default=0.3, ge=0, le=1)  # share of views that show the subject small
    rotate: float = Field(default=15.0, ge=0, le=180)  # degrees, up to this much either way
    colours: float = Field(default=0.3, ge=0, le=1)  # how far colours are changed
    scenes: float = Field(default=0.3, ge=0, le=1)  # share of subjects shown among another picture's background
    empty: float = Field(default=0.1, ge=0, le=1)  # share of views without a subject
    synthetic: float = Field(  # share of synthetic subjects
        default=0.0, ge=0, le=1, validation_alias=AliasChoices("synthetic", "drawn")
    )
    synthetic_kind: Literal["birds", "flowers"] = Field(
        default="birds", validation_alias=AliasChoices("synthetic_kind", "drawn_kind")
    )
    guess: Literal["grabcut", "none"] = "grabcut"  # of where the subject is, where there is no teacher
    unlabelled: float = Field(default=0.0, ge=0, lt=1)  # share of pictures without points, by their guessed outline
    elsewhere: str | None = None  # pictures without a subject: a data set beside this one
    photographs: str | None = None  # whole photographs of CUB, a folder beside it; their backgrounds are scenes, too
    photograph_times: int = Field(default=8, ge=1)  # how often they are shown for once of the other pictures


@dataclass(frozen=True)
class View:
    """Pixels of a view and the labels of its cells."""

    picture: Pixels  # (S, S, 3) sRGB
    cells: Pixels  # (s, s) labels


@dataclass(frozen=True)
class Guessed:
    """Guessed probabilities of the subject, or of its parts, in a picture."""

    maps: NDArray[np.float32]  # (h, w, C): the subject's probability, or those of background and every part
    frame: tuple[float, float, float, float]  # left, top, width, height in pixels of the picture that it covers

    @property
    def subject(self) -> NDArray[np.float32]:
        """(h, w) probability of the subject."""
        found = self.maps[..., 0] if self.maps.shape[2] == 1 else 1 - self.maps[..., 0]
        return np.ascontiguousarray(found)


@dataclass
class Views:
    """Generator of views of pictures with points."""

    pictures: Sequence[tuple[Path, Points]]
    scenes: Sequence[tuple[Path, BoundingBox | None]]  # without a subject, or with one in a box (fractions)
    config: ViewConfig
    parts: tuple[str, ...]  # of the labels 0, 1, ...; the first is the background
    size: int  # pixels a side
    seed: int = 0
    guess: Guess | None = None
    orders: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.config.count

    def view(self, number: int) -> View:
        """Make view `number` (0, 1, ...)."""
        source = random_source(self.seed, Stream.VIEWS, number)
        sort = source.random()
        if sort < self.config.synthetic:
            return self._synthetic(source)
        if self.scenes and sort < self.config.synthetic + self.config.empty:
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
        alpha = None
        if guessed is not None:
            alpha = np.clip(_warp(guessed.subject, _framed(affine, guessed), self.size), 0, 1)
        lost = known.mean() < ALONE  # most of the view lies outside of the picture
        moved = alpha is not None and bool(self.scenes) and (lost or source.random() < self.config.scenes)
        placement = _Placement(affine, (width, height), scale, known, alpha, moved)
        view = self._changed(_warp(picture, affine, self.size, continued=True), alpha, source)
        if moved and alpha is not None:
            soft = np.clip(2 * alpha - 0.5, 0, 1)[..., None]
            scene = self._changed(self._scene(source), None, source)
            view = np.round(soft * view + (1 - soft) * scene).astype(np.uint8)
        cells = np.full(self._cells, UNKNOWN, np.uint8)
        if points.box is not None and not moved:
            cells[self._outside(points.box, placement) & _shrunk(known)] = 0
        if guessed is not None:
            _label_guess(cells, guessed, points, placement)
        self._label_points(cells, points, placement)
        return View(view, cells)

    def _row(self, number: int) -> int:
        """Choose the picture of view `number`: all in turn, in a new order each time around."""
        count = len(self.pictures)
        round_, place = divmod(number, count)
        if round_ not in self.orders:
            self.orders[round_] = random_source(self.seed, Stream.VIEWS, round_, count).permutation(count)
        return int(self.orders[round_][place])

    def _window(
        self, box: BoundingBox, size: tuple[int, int], source: np.random.Generator
    ) -> tuple[NDArray[np.float64], float]:
        """An affine map (2, 3) from the picture's pixels to the view's, and the subject's longer side in cells."""
        config = self.config
        low, high = config.far if source.random() < config.small else config.near
        width, height = box[2] * size[0], box[3] * size[1]
        longer = max(width, height, 8.0)
        if high == config.far[1]:
            high = max(high, max(size) / longer)  # up to all of a photograph
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
        """Cut out a square without a subject, of a picture that has none or beside its box."""
        for _ in range(TRIES):
            path, box = self.scenes[int(source.integers(len(self.scenes)))]
            picture = read_picture(path)
            height, width = picture.shape[:2]
            side = min(width, height) * source.uniform(0.3 if box is not None else 0.5, 1.0)
            left, top = source.random() * (width - side), source.random() * (height - side)
            if box is None or not _meets(box, (left / width, top / height, side / width, side / height)):
                break
        else:
            return np.full((self.size, self.size, 3), source.integers(256, size=3), np.uint8)
        zoom = self.size / side
        affine = np.array([[zoom, 0, -left * zoom], [0, zoom, -top * zoom]])
        if source.random() < 0.5:
            affine[0] = [-zoom, 0, self.size + left * zoom]
        shown: Pixels = _warp(picture, affine, self.size, continued=True)
        return shown

    def _synthetic(self, source: np.random.Generator) -> View:
        """Render a synthetic subject; its parts are known everywhere but where two of them share a cell."""
        names = LOCALISED[self.config.synthetic_kind]
        rendering = synthetic.render(random_scene(self.config.synthetic_kind[:-1], source), self.size)
        shares = np.zeros((*self._cells, len(self.parts)), np.float32)
        for part, mask in rendering.parts.items():
            if names.get(part) in self.parts[1:]:
                shares[..., self.parts.index(names[part])] += _cell_mean(mask)
        shares[..., 0] = np.clip(1 - shares[..., 1:].sum(-1), 0, 1)
        cells = np.where(shares.max(-1) > 0.7, shares.argmax(-1), UNKNOWN).astype(np.uint8)
        picture = rendering.image
        if source.random() < 0.5:
            picture, cells = picture[:, ::-1], cells[:, ::-1]
        return View(np.ascontiguousarray(picture), np.ascontiguousarray(cells))

    def _changed(self, view: Pixels, subject: Any, source: np.random.Generator) -> Pixels:
        """Vary colours and brightness, in some views the subject's apart, so that shape tells parts apart."""
        amount = self.config.colours
        if not amount:
            return view
        pixels = view.astype(np.float32)
        mixed = _recoloured(pixels, source, 0.3 * amount)
        if subject is not None and source.random() < amount:
            mixed += subject[..., None] * (_recoloured(mixed, source, 1.5 * amount) - mixed)
        return np.clip(mixed, 0, 255).round().astype(np.uint8)

    def _outside(self, box: BoundingBox, placement: _Placement) -> NDArray[np.bool_]:
        """Find the cells (s, s) that surely lie outside the subject's box."""
        import cv2

        width, height = placement.size
        room = MARGIN * max(box[2] * width, box[3] * height)
        x0, x1 = box[0] * width - room, (box[0] + box[2]) * width + room
        y0, y1 = box[1] * height - room, (box[1] + box[3]) * height + room
        corners = [placement.place(x / width, y / height) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
        mask = np.zeros((self.size, self.size), np.uint8)
        cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), (1,))
        free: NDArray[np.bool_] = _cell_mean(mask) == 0
        return free

    def _label_points(self, cells: Pixels, points: Points, placement: _Placement) -> None:
        """Label the cells at points and close around them; where cells are close to several, the nearest says."""
        rows, columns = np.mgrid[: cells.shape[0], : cells.shape[1]]
        nearest = np.full(cells.shape, np.inf)
        for part, spots in points.spots.items():
            spread = 0.0 if part in SMALL else SPREAD * placement.scale
            for spot in spots:
                x, y = placement.place(spot.x, spot.y) / STRIDE
                if not (0 <= x < cells.shape[1] and 0 <= y < cells.shape[0]):
                    continue
                if placement.moved and (part == BACKGROUND or placement.alpha[int(y * STRIDE), int(x * STRIDE)] < CUT):
                    continue
                distance = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
                distance[int(y), int(x)] = 0
                grown = 0.8 * spot.radius * placement.size[0] * placement.zoom / STRIDE
                near = (distance <= max(spread, grown)) & (distance < nearest)
                cells[near], nearest[near] = self.parts.index(part), distance[near]


@dataclass(frozen=True)
class _Placement:
    """Placement of a picture in a view."""

    affine: NDArray[np.float64]  # (2, 3) from the picture's pixels to the view's
    size: tuple[int, int]  # width and height of the picture in pixels
    scale: float  # the subject's longer side in cells
    known: NDArray[np.bool_]  # (S, S) where the view shows the picture
    alpha: Any  # (S, S) probability of the subject by a guess; None without one
    moved: bool  # the subject alone is shown, among another picture's background

    @property
    def zoom(self) -> float:
        """Pixels of the view for one of the picture."""
        return float(np.sqrt(abs(np.linalg.det(self.affine[:, :2]))))

    def place(self, x: float, y: float) -> NDArray[np.float64]:
        """Pixel (x, y) of the view, from fractions of the picture."""
        found: NDArray[np.float64] = self.affine[:, :2] @ [x * self.size[0], y * self.size[1]] + self.affine[:, 2]
        return found


def _label_guess(cells: Pixels, guessed: Guessed, points: Points, placement: _Placement) -> None:
    """Label what a guess is sure of; where the subject was moved, all around it is known to be background."""
    import cv2

    size = placement.known.shape[0]
    inside = (placement.alpha > 0.5).astype(np.uint8)
    out = cv2.dilate(inside, np.ones((9, 9), np.uint8)) == 0
    covered = _warp(np.ones(guessed.maps.shape[:2], np.float32), _framed(placement.affine, guessed), size) > 0.99
    if guessed.maps.shape[2] > 1:
        small = _warp(guessed.maps, _framed(placement.affine, guessed), size)
        maps = np.stack([_cell_mean(small[..., i]) for i in range(small.shape[2])], -1)
        sure = (maps.max(-1) > SURE) & (maps.argmax(-1) > 0) & _shrunk(covered)
        cells[sure] = GUESSED + maps.argmax(-1)[sure].astype(np.uint8)
        out &= placement.alpha < 1 - CUT
    else:
        cells[_shrunk((cv2.erode(inside, np.ones((7, 7), np.uint8)) > 0) & placement.known)] = SUBJECT
    if not placement.moved:
        out &= placement.known & covered & ~_near_points(points, placement)
    cells[_shrunk(out) & (cells == UNKNOWN)] = 0 if placement.moved else GUESSED


def _near_points(points: Points, placement: _Placement) -> NDArray[np.bool_]:
    """Pixels (S, S) near the subject's points: a guess by colours cuts off legs, tails and wings."""
    import cv2

    near = np.zeros(placement.known.shape, np.uint8)
    for part, spots in points.spots.items():
        for spot in spots if part != BACKGROUND else ():
            x, y = placement.place(spot.x, spot.y)
            cv2.circle(near, (round(x), round(y)), round(DOUBTFUL * placement.scale * STRIDE), (1,), -1)
    return near > 0


def _meets(a: BoundingBox, b: BoundingBox) -> bool:
    """Test whether two boxes overlap."""
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _cell_mean(mask: Any) -> NDArray[np.float32]:
    """Means (s, s) of the cells of pixels (S, S)."""
    s = len(mask) // STRIDE
    mean: NDArray[np.float32] = np.asarray(mask, np.float32).reshape(s, STRIDE, s, STRIDE).mean((1, 3))
    return mean


def _shrunk(mask: Any) -> NDArray[np.bool_]:
    """Cells (s, s) that lie in a mask (S, S) altogether, nearly."""
    return _cell_mean(mask) > 0.9


def read_picture(path: Path) -> Pixels:
    """An upright picture (H, W, 3), its longer side at most `LARGEST` pixels.

    Raises:
        DataError: it cannot be read.
    """
    try:
        picture, _, turn = decode_small(os.fspath(path), wanted=lambda _: (LARGEST, LARGEST))
    except ImageError as error:
        raise DataError(f"{error}; run tgim data check on its folder") from None
    picture = picture.transpose(turn) if turn is not None else picture
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
