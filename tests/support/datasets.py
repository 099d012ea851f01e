"""Small data sets on disk."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image


def make(root: Path, kind: str, *, size: tuple[int, int] = (40, 30)) -> Path:
    """Four classes with two pictures each, in the layout `kind`; three classes for training."""
    rows = []
    for i in range(1, 9):
        label = f"class_{(i + 1) // 2:05d}"
        home = {"cub": root / "images" / label, "oxford102": root / "jpg", "folder": root / "images"}[kind]
        name = f"image_{i:05d}"
        home.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (20 * i, 90, 90)).save(home / f"{name}.jpg")
        rows.append({"file_name": f"{name}.jpg", "captions": ["a red bird", "a blue bird"], "class": label})
        if kind != "folder":
            (root / "text" / label).mkdir(parents=True, exist_ok=True)
            (root / "text" / label / f"{name}.txt").write_text("a red bird\na blue bird\n")
    if kind == "folder":
        (root / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
        return root
    (root / "trainvalclasses.txt").write_text("class_00001\nclass_00002\nclass_00003\n")
    (root / "testclasses.txt").write_text("class_00004\n")
    if kind == "cub":
        listed = [f"{row['class']}/{row['file_name']}" for row in rows]
        (root / "images.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(listed, 1)))
        (root / "bounding_boxes.txt").write_text("".join(f"{i} 5.0 5.0 30.0 20.0\n" for i in range(1, 9)))
    return root
