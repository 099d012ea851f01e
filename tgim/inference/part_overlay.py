"""Part maps for people: a coloured overlay with a legend, a mask, figures; and part names as people say them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tgim.checkpoints import checkpoint
from tgim.errors import UserError, nearest
from tgim.images.boxes import Box
from tgim.images.photo import Photo, check_target, output_format, to_uint8, write_bytes
from tgim.images.resample import Floats
from tgim.models.parsing.lifting import lift
from tgim.models.parsing.part_maps import PartFinder, PartMaps, find_parts
from tgim.text.lexicon.parts import ALIASES

if TYPE_CHECKING:
    from tgim.models.base import Localising

NO_PARTS = "{} ({}) knows no parts; give --model a part localiser"
SUBJECT = "subject"  # all parts together
SYNONYMS = {**ALIASES, **dict.fromkeys(("bird", "flower", "body"), SUBJECT)}  # other words for parts
COLOURS = (
    (160, 82, 45), (255, 150, 0), (255, 235, 0), (230, 25, 25), (40, 70, 235), (210, 60, 220), (40, 190, 60),
    (0, 205, 220), (255, 130, 180), (130, 130, 40), (120, 60, 180), (0, 120, 120),
)  # fmt: skip
TINT, FADE = 0.55, 0.6  # how strongly parts are coloured, and what is left of the background's contrast


def open_localiser(name_or_path: str | Path, *, device: str = "cpu") -> Localising:
    """The localiser of a checkpoint, or the one inside the editor that it holds.

    Raises:
        CheckpointError: there is no such checkpoint.
        UserError: it has no localiser.
    """
    model = checkpoint.load(name_or_path, device=device).model
    finder: Localising | None = model.part_localiser
    if finder is None:
        raise UserError(NO_PARTS.format(name_or_path, model.name))
    return finder


def open_finder(name_or_path: str | Path, *, device: str = "cpu", engine: str = "auto") -> PartFinder:
    """The part finder of a checkpoint, run by onnxruntime where `engine` lets it (`tgim.inference.editor.open_editor`).

    Raises:
        CheckpointError: there is no such checkpoint.
        UserError: it finds no parts, or the engine cannot run it.
    """
    from tgim.inference.onnx_engine import EDITING, has_graph, open_engine

    if engine == "onnx" or (engine == "auto" and device == "cpu" and has_graph(name_or_path, EDITING)):
        own = open_engine(name_or_path)
        if own.finder is None:
            raise UserError(NO_PARTS.format(name_or_path, own.name))
        return own.finder
    return open_localiser(name_or_path, device=device)


def locate(photo: Photo, finder: PartFinder, *, box: Box | None = None) -> tuple[PartMaps, Floats] | None:
    """Find the parts of a photograph's subject, or of what is in `box`.

    Returns:
        What was found, and its maps (P, H, W) at the photograph's own resolution; None where there is no subject.
    """
    found = find_parts(finder, photo.pixels, box=box)
    return None if found is None else (found, lift(found, photo.pixels))


def part_named(word: str, names: tuple[str, ...]) -> str:
    """The part that `word` means; UserError where it means none of `names`.

    >>> part_named("Bill", ("background", "beak"))
    'beak'
    """
    name = word.strip().lower()
    part = name if name in names else SYNONYMS.get(name, name)
    if part not in (*names, SUBJECT):
        known = [*names, SUBJECT]
        raise UserError(f"part {word!r} is unknown{nearest(name, known)} (there are: {', '.join(known)})")
    return part


def mask_of(found: PartMaps, maps: Floats, part: str) -> NDArray[np.uint8]:
    """Mask (H, W) of a part, 255 where it surely is; `maps` (P, H, W) are from `lift`."""
    mask = 1 - maps[0] if part == SUBJECT else maps[found.names.index(part)]
    return (255 * mask).round().clip(0, 255).astype(np.uint8)


def save_picture(picture: Image.Image, path: str | os.PathLike[str], *, format: str = "") -> None:
    """Write an overlay or a mask, whole or not at all, in `format`, or in that of its suffix.

    Raises:
        ImageError: unknown suffix or format, missing folder, or a target that cannot be written.
    """
    target, kind = check_target(path, format=format)
    write_bytes(target, picture_bytes(picture, kind))


def picture_bytes(picture: Image.Image, format: str = "") -> bytes:
    """The bytes of an overlay's or a mask's file, a mask's of one channel; PNG unless `format` is given.

    Raises:
        ImageError: unknown format.
    """
    buffer = io.BytesIO()
    picture.save(buffer, format=output_format(format))
    return buffer.getvalue()


def figures(found: PartMaps, maps: Floats) -> dict[str, Any]:
    """Boxes, score, and each part's share of the subject's area, as plain types."""
    areas = maps[1:].sum((1, 2))
    whole = float(areas.sum()) or 1.0
    return {
        "subject": list(found.subject),
        "score": round(found.score, 4),
        "others": [list(box) for box in found.others],
        "shares": {name: round(float(a) / whole, 4) for name, a in zip(found.names[1:], areas, strict=True)},
    }


def overlay(photo: Photo, found: PartMaps, maps: Floats) -> Image.Image:
    """The photograph, its parts coloured and its background faded, the subject's box, and a legend below."""
    pixels = to_uint8(photo.pixels).transpose(1, 2, 0).astype(np.float32)
    gray = pixels.mean(2, keepdims=True)
    shown = FADE * gray + (1 - FADE) * 160
    faded = shown * maps[0, ..., None] + pixels * (1 - maps[0, ..., None])
    for i, mask in enumerate(maps[1:]):
        faded += TINT * mask[..., None] * (np.array(COLOURS[i % len(COLOURS)], np.float32) - pixels)
    picture = Image.fromarray(faded.clip(0, 255).round().astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    x, y, w, h = found.subject
    for box in ((x, y, w, h), *found.others):
        draw.rectangle((box[0], box[1], box[0] + box[2] - 1, box[1] + box[3] - 1), outline="white")
    return _with_legend(picture, found.names[1:])


def _with_legend(picture: Image.Image, names: tuple[str, ...]) -> Image.Image:
    """The picture with a strip below that names the colours."""
    size = max(9, min(20, picture.width // 24))
    font, gap = ImageFont.load_default(size), size // 2
    places: list[tuple[int, int]] = []
    x, y = gap, gap
    for name in names:
        width = 2 * size + round(font.getlength(name)) + gap
        if x + width > picture.width and x > gap:
            x, y = gap, y + size + gap
        places.append((x, y))
        x += width
    sheet = Image.new("RGB", (picture.width, picture.height + y + size + gap), "white")
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for i, (name, (left, top)) in enumerate(zip(names, places, strict=True)):
        top += picture.height
        draw.rectangle((left, top, left + size, top + size), fill=COLOURS[i % len(COLOURS)])
        draw.text((left + size + gap // 2, top), name, "black", font)
    return sheet
