"""Masks of edits: where a photograph may change, by a picture or by the name of a part, and where it did change.

White may change, black stays bit-identical, gray blends: the convention of inpainting tools.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tgim.errors import ImageError, SubjectError, UserError
from tgim.images.boxes import Box
from tgim.images.folder import list_images
from tgim.images.photo import Photo, Source, open_image
from tgim.images.resample import Floats, resize
from tgim.inference.part_overlay import locate, mask_of, part_named
from tgim.models.parsing.part_maps import PartFinder

AROUND = 0.1  # of the longer side of what a mask covers: room around it for a second look
STRIP = 2**20  # pixels that are blended at a time


def weight_of(mask: Source, *, height: int, width: int) -> Floats:
    """Read a mask as weights (H, W) in [0, 1] of the photograph's size, 1 where it may change.

    Args:
        mask: a picture of any size: its alpha where it has one that is not the same everywhere, else its lightness.
        height: of the photograph, in pixels.
        width: of the photograph, in pixels.

    Raises:
        ImageError: the mask cannot be read, or is black everywhere.
    """
    found = open_image(mask)
    alpha, name = found.alpha, found.name
    if alpha is not None and alpha.min() < alpha.max():
        light = alpha.astype(np.float32) / (255 if found.bits == 8 else 65535)
    else:
        light = (found.pixels.mean(0) + 1) / 2
    weight = ((resize(light * 2 - 1, (height, width)) + 1) / 2).clip(0, 1)
    if not weight.any():
        raise ImageError(f"{name} is black everywhere, so nothing may change; as a mask, white is what may change")
    return weight


def mask_beside(path: Path, image: Path) -> Path:
    """The mask of the picture `image`: `path` itself, or in a folder `path` the picture of that name.

    Raises:
        UserError: the folder has no such mask, or several.
    """
    if not path.is_dir():
        return path
    found = [each for each in list_images(str(path)) if each.stem == image.stem]
    if len(found) != 1:
        many = f"{len(found)} masks" if found else "no mask"
        raise UserError(f"{path} has {many} of the name {image.stem!r}; put one there for each picture")
    return found[0]


def able_to_find(finder: PartFinder | None, part: str, *, model: str) -> PartFinder:
    """The part finder itself; UserError where `model` has none, or it knows no such part."""
    if finder is None:
        raise UserError(f"{model} finds no parts, so it cannot edit the {part} alone; give a mask instead of a part")
    part_named(part, finder.parts)
    return finder


def part_weight(photo: Photo, finder: PartFinder, part: str, *, box: Box | None = None) -> Floats:
    """Find a part of the photograph's subject, or of the one in `box`: weights (H, W) in [0, 1].

    Raises:
        UserError: the part finder knows no such part.
        SubjectError: no subject is found, or this part of it is not in view.
    """
    name = part_named(part, finder.parts)
    located = locate(photo, finder, box=box)
    if located is None:
        raise SubjectError(f"{photo.name}: no subject is found to have a {name}; say where it is by a box")
    mask = mask_of(*located, name).astype(np.float32) / 255
    if not (mask > 0.5).any():
        raise SubjectError(f"{photo.name}: no {name} is in view; name another part, or draw a mask")
    return mask


def chosen_weight(
    photo: Photo, *, mask: Source | None, part: str | None, finder: PartFinder | None, box: Box | None, model: str
) -> Floats | None:
    """Weights (H, W) of a mask, of a part, or of both together; None without either.

    Raises:
        UserError: as `weight_of` and `part_weight`, there is no part finder, or mask and part have nothing in common.
    """
    weight = None if mask is None else weight_of(mask, height=photo.height, width=photo.width)
    if part is None:
        return weight
    own = part_weight(photo, able_to_find(finder, part, model=model), part, box=box)
    both = own if weight is None else own * weight
    if not both.any():
        raise UserError(f"{photo.name}: the mask covers nothing of the {part}; draw it there, or leave one of them out")
    return both


def blend(photo: Floats, edited: Floats, weight: Floats) -> Floats:
    """Take `edited` where `weight` (H, W) is 1 and `photo` where it is 0, both (3, H, W); pixels at 0 are equal."""
    result = photo.copy()
    rows = max(1, STRIP // photo.shape[-1])
    for top in range(0, photo.shape[-2], rows):
        strip = slice(top, top + rows)
        here, share = photo[:, strip], weight[strip]
        mixed = np.where(share == 1, edited[:, strip], here + share * (edited[:, strip] - here))
        result[:, strip] = np.where(share == 0, here, mixed)
    return result


def extent(weight: Floats) -> Box:
    """The box of what a mask (H, W) lets change, with room around it, inside the picture."""
    height, width = weight.shape
    rows, columns = np.flatnonzero(weight.any(1)), np.flatnonzero(weight.any(0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    room = round(AROUND * max(bottom - top, right - left))
    x0, y0, x1, y1 = max(0, left - room), max(0, top - room), min(width, right + room), min(height, bottom + room)
    return x0, y0, x1 - x0, y1 - y0


def changed(before: Photo, after: Photo) -> NDArray[np.uint8]:
    """Mask (H, W) of where two photographs of one size differ in 8 bits, 255 there and 0 elsewhere."""
    one, two = before.levels(8)[0], after.levels(8)[0]
    if one.shape != two.shape:
        raise UserError(f"a mask of changes needs pictures of one size, got {one.shape[1::-1]} and {two.shape[1::-1]}")
    return np.where((one != two).any(-1), np.uint8(255), np.uint8(0))
