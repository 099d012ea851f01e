"""Draw the strip of pictures at the top of the README: two photographs and a rendered bird, and edits of them.

python docs/strip.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from tgim import Editor
from tgim.data.synthetic.pairs import sample_picture

STRIP = Path(__file__).parent / "strip.jpg"
WIDTH, HEIGHT, LABEL, GAP = 300, 225, 26, 8  # pixels of a cell, of the line above it, between cells
PHOTOS = Path(__file__).parent / "photos"  # whose they are is said there
ROWS = (  # model, photograph or seed of a rendered bird, texts
    ("birds", "hummingbird.jpg", ("red head and breast", "make it yellow", "blue head and a white belly")),
    ("flowers", "dahlia.jpg", ("purple petals", "white petals", "pink petals and a yellow center")),
    ("birds", 0, ("red head and breast", "yellow with black wings", "make its tail purple")),
)
FAILURES = (  # each by itself: model, picture, text
    ("birds", "hummingbird.jpg", "yellow with black wings"),
    ("birds", 4, "blue head and white belly"),
    ("birds-1", 0, "red head and breast"),
    ("tagan-birds", "hummingbird.jpg", "a yellow bird"),
)


def cell(model: str, what: str | int, text: str) -> Image.Image:
    """The picture, or where `text` is not empty its edit, at the size of a cell."""
    if isinstance(what, str):
        with Image.open(PHOTOS / what) as file:
            picture = file.convert("RGB")
    else:
        picture = Image.fromarray(sample_picture("birds", seed=what, size=(2 * HEIGHT, 2 * WIDTH)))
    edited = Editor.from_pretrained(model)(picture, text) if text else picture
    return ImageOps.fit(edited, (WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def place(row: int, column: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a cell in the strip."""
    left, top = GAP + column * (WIDTH + GAP), GAP + LABEL + row * (HEIGHT + LABEL + GAP)
    return left, top, left + WIDTH, top + HEIGHT


def draw() -> Image.Image:
    """Draw the strip."""
    right, bottom = place(len(ROWS), 3)[2:]
    strip = Image.new("RGB", (right + GAP, bottom + GAP), "white")
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(17)
    for row, (model, what, texts) in enumerate(ROWS):
        for column, text in enumerate(("", *texts)):
            left, top, *_ = place(row, column)
            strip.paste(cell(model, what, text), (left, top))
            pen.text((left + 2, top - LABEL + 3), text or "the picture", (60, 60, 60), font)
    for column, (model, what, text) in enumerate(FAILURES):
        left, top, *_ = place(len(ROWS), column)
        strip.paste(cell(model, what, text), (left, top))
        shown = f"{text} ({model})" if model.endswith(("-1", "-birds")) else text
        pen.text((left + 2, top - LABEL + 3), shown, (160, 40, 30), font)
    return strip


def differences(row: int, column: int) -> float:
    """Mean difference, in levels of 255, of a cell that is drawn anew and that of the file."""
    model, what, texts = ROWS[row]
    anew = np.asarray(cell(model, what, ("", *texts)[column]), np.float32)
    return float(np.abs(anew - np.asarray(Image.open(STRIP).crop(place(row, column)), np.float32)).mean())


if __name__ == "__main__":
    draw().save(STRIP, quality=88, optimize=True)
    print(STRIP)
