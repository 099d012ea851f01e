"""Boxes of pictures, as people and scripts say them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tgim.errors import ImageError

Box = tuple[int, int, int, int]  # x, y of the upper left corner, width, height; in pixels


def parse_box(box: str | Sequence[int], *, height: int | None = None, width: int | None = None) -> Box:
    """Read a box ``"x,y,w,h"`` in pixels (upper left corner, width, height); also takes four whole numbers.

    Args:
        box: the text or the numbers.
        height: of the picture; when given with `width`, a box that leaves the picture is refused.
        width: of the picture.

    Raises:
        ImageError: not four whole numbers, a negative corner, no area, or outside the picture.

    >>> parse_box("10, 20, 64, 48")
    (10, 20, 64, 48)
    """
    wanted = "expected x,y,width,height in whole pixels, e.g. 40,20,200,150"
    parts = re.split(r"[,\s]+", box.strip()) if isinstance(box, str) else [str(value) for value in box]
    shown = box if isinstance(box, str) else ",".join(parts)
    if len(parts) != 4:
        raise ImageError(f"box {shown!r} has {len(parts) if shown else 0} numbers; {wanted}")
    if not all(re.fullmatch(r"[+-]?[0-9]{1,9}", part) for part in parts):
        raise ImageError(f"box {shown!r} is not four whole numbers; {wanted}")
    x, y, w, h = map(int, parts)
    if w < 1 or h < 1:
        raise ImageError(f"box {shown!r} is {w} wide and {h} high, so nothing is inside; {wanted}")
    if x < 0 or y < 0:
        raise ImageError(f"box {shown!r} starts at {x},{y}, left of or above the picture; {wanted}")
    if height is not None and width is not None and (x + w > width or y + h > height):
        raise ImageError(
            f"box {shown!r} reaches to {x + w},{y + h} but the picture is {width} by {height}; keep it inside"
        )
    return x, y, w, h
