"""Pictures for the page: a contact sheet, and the edits that the judge liked least and most, as JPEG data URIs."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from tgim.carry import resize
from tgim.data.base import CaptionedImages
from tgim.data.loader import DataConfig
from tgim.editor import Editor, UnknownWordWarning
from tgim.evaluation.records import Line
from tgim.images import open_image, to_uint8

BUDGET = 1_500_000  # bytes of all pictures of a page, in base64
QUALITIES = (
    (176, 82),
    (160, 76),
    (144, 70),
    (112, 64),
    (80, 55),
)  # (longer side in pixels, JPEG quality), tried in turn
SHOWN = 901  # stream of `random_source`
CAPTIONS = {
    "cub": (
        "this bird has a red head and breast",
        "this bird is yellow with black wings",
        "a small blue bird with a white belly",
        "this bird is completely black",
        "a white bird with gray wings",
        "this bird has a bright green body",
    ),
    "oxford102": (
        "this flower has red petals",
        "the petals of this flower are yellow with an orange center",
        "a blue flower with a yellow center",
        "this flower is white",
        "a purple flower",
        "this flower has bright pink petals with a white center",
    ),
}


@dataclass(frozen=True)
class Example:
    """One edit with what was measured of it; pictures are data URIs."""

    source: str
    edited: str
    caption: str
    rank: int
    candidates: int
    rmse_own: float


@dataclass(frozen=True)
class Gallery:
    """What the page shows; `rows` are data URIs, one row for each of `captions`."""

    model: str
    data: str
    captions: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    worst: tuple[Example, ...]
    best: tuple[Example, ...]
    notes: tuple[str, ...] = ()


def gallery_of(
    model: str,
    *,
    data: DataConfig,
    lines: Sequence[Line],
    judge: str | None = None,
    columns: int = 10,
    count: int = 10,
    limit: int | None = None,
    cache: Path | None = None,
) -> Gallery:
    """Edit a few pictures of a data set to look at, and find the worst and the best edits of all that were measured.

    Args:
        model: name or path of an editor.
        data: the data set whose pictures are shown.
        lines: results; they say size, seed and judge, and are compared with what is shown.
        judge: name or path of the matching model, where `lines` do not name an embedded one.
        columns: pictures of the contact sheet.
        count: of the worst and of the best edits.
        limit: look for these among so many pictures.
        cache: where edits are kept; those of an evaluation are found again.

    Raises:
        UserError: the data, model or judge cannot be used.
    """
    raise NotImplementedError


def contact_rows(
    editor: Editor, dataset: CaptionedImages, captions: Sequence[str], *, rows: Sequence[int]
) -> list[list[Tensor]]:
    """The photographs of `rows`, then their edits by each caption, at the photographs' own size."""
    photos = [open_image(dataset.items[row].path) for row in rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownWordWarning)
        edited = [[editor.edit_photo(photo, text).pixels for photo in photos] for text in captions]
    return [[photo.pixels for photo in photos], *edited]


def data_uri(pixels: Tensor, *, side: int, quality: int) -> str:
    """A picture (3, H, W) in [-1, 1] as a JPEG of at most `side` pixels."""
    height, width = pixels.shape[-2:]
    scale = min(1.0, side / max(height, width))
    small = resize(pixels[None].float(), (max(1, round(scale * height)), max(1, round(scale * width))))[0]
    file = io.BytesIO()
    Image.fromarray(to_uint8(small).permute(1, 2, 0).contiguous().numpy()).save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def within_budget(pictures: Sequence[Tensor], *, budget: int = BUDGET) -> list[str]:
    """All pictures as data URIs, as large and as good as fits into `budget` bytes; the smallest kind in any case."""
    uris: list[str] = []
    for side, quality in QUALITIES:
        uris = [data_uri(pixels, side=side, quality=quality) for pixels in pictures]
        if sum(map(len, uris)) <= budget:
            break
    return uris
