"""Contact sheets: pictures in rows and columns, with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tgim.images.photo import as_array, to_uint8
from tgim.images.resample import Floats, resize

if TYPE_CHECKING:
    from torch import Tensor


def contact_sheet(
    rows: Sequence[Sequence[Floats | Tensor]],
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str] | None = None,
    cell: int = 128,
) -> Image.Image:
    """Pictures (3, h, w) in [-1, 1] of any size, one row for each label, fitted into squares of `cell` pixels on white.

    Labels are wrapped to the width of a cell; the row labels stand on the left, the column labels on top.

    Raises:
        ValueError: no picture, or another number of labels than of rows or columns.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns or len(row_labels) != len(rows) or (column_labels is not None and len(column_labels) != columns):
        top = "no" if column_labels is None else len(column_labels)
        raise ValueError(
            f"{len(rows)} rows of {columns} pictures do not fit {len(row_labels)} row and {top} column labels"
        )
    gap, size = 4, max(9, min(20, cell // 9))
    font = ImageFont.load_default(size)
    tops = [_wrap(label, font, cell) for label in column_labels or ()]
    lefts = [_wrap(label, font, cell) for label in row_labels]
    line = size + 3
    header = max((line * len(lines) + gap for lines in tops), default=0)
    heights = [max(cell, line * len(lines)) + gap for lines in lefts]
    sheet = Image.new("RGB", ((columns + 1) * (cell + gap) + gap, header + sum(heights) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, lines in enumerate(tops):
        draw.multiline_text(((i + 1) * (cell + gap) + gap, gap // 2), "\n".join(lines), "black", font, spacing=3)
    y = header + gap // 2
    for row, lines, height in zip(rows, lefts, heights, strict=True):
        draw.multiline_text((gap, y), "\n".join(lines), "black", font, spacing=3)
        for i, pixels in enumerate(row):
            scale = cell / max(pixels.shape[-2:])
            h, w = (max(1, round(side * scale)) for side in pixels.shape[-2:])
            small = np.ascontiguousarray(to_uint8(resize(as_array(pixels), (h, w))).transpose(1, 2, 0))
            left = (i + 1) * (cell + gap) + gap
            sheet.paste(Image.fromarray(small), (left + (cell - w) // 2, y + (cell - h) // 2))
        y += height
    return sheet


def _wrap(text: str, font: Any, width: int) -> list[str]:
    """Lines of `text` no wider than `width` pixels; a word that is wider is broken."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines
