"""Birds whose head is red and tail blue, a localiser that sees so, and one that says the same everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from support.datasets import make
from tgim.checkpoints import checkpoint
from tgim.models.base import Localising
from tgim.models.parsing.localiser import PartLocaliser, PartLocaliserConfig

NAMES = ("background", "head", "tail")
SMALL = {"image_size": 64, "widths": (8, 8, 8, 8), "blocks": (1, 1, 1, 1), "pretrained": False}
HEAD, TAIL = (250, 30, 30), (30, 30, 250)


class ByColour(Localising):
    """Sees a head where a picture is red, a tail where it is blue; nothing is learned."""

    name = "by_colour"
    image_size = 192
    parts = NAMES
    presence = 1.0

    def __init__(self):
        super().__init__()
        self.sides = []

    def look(self, image):
        small = torch.nn.functional.avg_pool2d(image, 4)
        self.sides.append(image.shape[-1])
        red, blue = (small[:, 0] - small[:, 2]).clamp(0, 1), (small[:, 2] - small[:, 0]).clamp(0, 1)
        return torch.stack([1 - red - blue, red, blue], 1), image.new_full((len(image),), self.presence)


def scene(*boxes, size=(200, 120)):
    """A gray photograph (1, 3, H, W) with a bird, half head and half tail, in each box."""
    picture = Image.new("RGB", size, (120, 120, 120))
    for x, y, w, h in boxes:
        ImageDraw.Draw(picture).rectangle((x, y, x + w // 2 - 1, y + h - 1), fill=HEAD)
        ImageDraw.Draw(picture).rectangle((x + w // 2, y, x + w - 1, y + h - 1), fill=TAIL)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1


def folder_with_points(root):
    make(root, "folder", size=(60, 40))
    lines = [json.loads(line) for line in (root / "metadata.jsonl").read_text().splitlines()]
    for line in lines:
        picture = Image.new("RGB", (60, 40), (120, 120, 120))
        ImageDraw.Draw(picture).rectangle((10, 8, 29, 31), fill=HEAD)
        ImageDraw.Draw(picture).rectangle((30, 8, 49, 31), fill=TAIL)
        picture.save(root / "images" / line["file_name"])
        line["points"] = {"head": [[0.3, 0.5]], "tail": [[0.7, 0.5]], "background": [[0.05, 0.05], [0.95, 0.9]]}
        del line["captions"]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def saved(folder: Path, **bias: float) -> Path:
    """An untrained localiser whose answer is the same everywhere."""
    torch.manual_seed(0)
    model = PartLocaliser(PartLocaliserConfig(part_names=("head", "tail"), **SMALL), vocabulary_size=5).eval()
    with torch.no_grad():
        last = model.decoder.output[-1]
        last.weight.zero_()
        last.bias.copy_(torch.tensor([bias.get(name, 0.0) for name in NAMES]))
    return checkpoint.save(
        folder / "parts.safetensors", model, vocabulary=model.vocabulary_for(model.config), half=True
    )
