"""A folder of captioned pictures of houses, a subject and parts that no lexicon knows; some have points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (200, 40, 40), "blue": (50, 70, 200), "green": (50, 150, 60), "yellow": (230, 210, 60)}
PARTS = ("door", "roof", "wall")
SIZE = (96, 72)


def folder_of_houses(
    root: Path, *, count: int = 30, pointed: int | None = None, parts: tuple[str, ...] = PARTS, captions: bool = True
) -> Path:
    """Write `count` pictures; the first `pointed` (all of them by default) have points of some `parts`."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        source = np.random.default_rng(number)
        roof, wall, door = source.permutation(list(COLOURS))[:3]
        x, y = (int(v) for v in source.integers(-6, 7, 2))
        picture = Image.fromarray(source.integers(150, 190, (SIZE[1], SIZE[0], 3), dtype=np.uint8))
        draw = ImageDraw.Draw(picture)
        draw.polygon([(22 + x, 34 + y), (48 + x, 12 + y), (74 + x, 34 + y)], fill=COLOURS[roof])
        draw.rectangle((26 + x, 34 + y, 70 + x, 62 + y), fill=COLOURS[wall])
        draw.rectangle((42 + x, 46 + y, 54 + x, 62 + y), fill=COLOURS[door])
        picture.save(root / "images" / f"{number:02d}.png")
        record: dict[str, object] = {"file_name": f"{number:02d}.png"}
        if captions:
            record["captions"] = [f"a {wall} house with a {roof} roof", f"this house has a {door} door"]
        if pointed is None or number < pointed:
            places = {"roof": [(48, 26)], "wall": [(32, 50), (64, 50)], "door": [(48, 54)]}
            known = {part: [[(u + x) / SIZE[0], (v + y) / SIZE[1]] for u, v in places[part]] for part in parts}
            record["points"] = {**known, "background": [[0.04, 0.05], [0.95, 0.95]]}
        lines.append(json.dumps(record))
    (root / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return root
