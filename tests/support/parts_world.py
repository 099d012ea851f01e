"""A small folder in CUB's layout, grey textured birds with part locations, and editors whose edits are known."""

from __future__ import annotations

import json
import re

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import lab2rgb

from tgim.data.config import DataConfig
from tgim.evaluation import Bench
from tgim.evaluation.part_scores import COLOURS, DISC, PALETTE, lab
from tgim.evaluation.parts import measure, pixels_of
from tgim.images.photo import from_uint8

WIDTH, HEIGHT = 160, 120  # pixels of the whole photographs
BOX = (30, 20, 100, 80)
REACH = 2  # pixels: 2 % of the box's longer side
LOCATIONS = {  # CUB's part -> pixels; those of one part near each other, parts at least 18 apart
    1: (100, 30), 3: (80, 84), 4: (54, 78), 5: (40, 30), 6: (36, 34), 9: (92, 56), 10: (46, 34), 13: (100, 60),
    14: (122, 84), 15: (40, 54), 7: (40, 40),
}  # fmt: skip
HIDDEN = {2: (50, 50)}
CLASSES = ("001.Grey_Finch", "002.Grey_Gull", "003.Grey_Owl")  # the first teaches


def build(root, *, count=2):
    """`count` pictures of each class, whole ones in `photos`, cut to their boxes and doubled in `images`."""
    names, boxes, labels, places = [], [], [], []
    (root / "photos").mkdir(parents=True)
    (root / "parts").mkdir()
    for c, label in enumerate(CLASSES, 1):
        (root / "images" / label).mkdir(parents=True)
        (root / "text" / label).mkdir(parents=True)
        for k in range(count):
            number, name = len(names) + 1, f"{label[4:]}_{k}.png"
            picture = textured(seed=number)
            whole = Image.fromarray(picture)
            whole.save(root / "photos" / name)
            x, y, w, h = BOX
            cut = whole.crop((x, y, x + w, y + h)).resize((2 * w, 2 * h), Image.Resampling.BICUBIC)
            cut.save(root / "images" / label / name)
            (root / "text" / label / f"{name[:-4]}.txt").write_text(f"a grey bird of kind {c}\n")
            names.append(f"{number} {label}/{name}")
            boxes.append(f"{number} {x}.0 {y}.0 {w}.0 {h}.0")
            labels.append(f"{number} {c}")
            places += [f"{number} {part} {u}.0 {v}.0 1" for part, (u, v) in LOCATIONS.items()]
            places += [f"{number} {part} {u}.0 {v}.0 0" for part, (u, v) in HIDDEN.items()]
    written = {"images": names, "bounding_boxes": boxes, "image_class_labels": labels, "parts/part_locs": places}
    names_of_parts = (
        "back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape",
        "right eye", "right leg", "right wing", "tail", "throat",
    )  # fmt: skip
    written["parts/parts"] = [f"{number} {part}" for number, part in enumerate(names_of_parts, 1)]
    written["classes"] = [f"{c} {label}" for c, label in enumerate(CLASSES, 1)]
    written["trainvalclasses"], written["testclasses"] = CLASSES[:1], CLASSES[1:]
    for name, lines in written.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def textured(*, seed, size=(HEIGHT, WIDTH)):
    """A grey picture (H, W, 3) with fine texture."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=size), 1)
    grey = np.clip(120 + 18 * noise / noise.std(), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def folder_of_flowers(root, *, count=3):
    """A folder of captioned pictures with points: petals left, centre in the middle, background right."""
    (root / "images").mkdir(parents=True)
    points = {"petals": [[0.1, 0.2], [0.1, 0.8]], "center": [[0.5, 0.5, 0.05]], "background": [[0.9, 0.2], [0.9, 0.8]]}
    records = []
    for k in range(count):
        Image.fromarray(textured(seed=k, size=(100, 150))).save(root / "images" / f"{k}.png")
        records.append({"file_name": f"{k}.png", "captions": [f"a grey flower {k}"], "points": points})
    records.append({"file_name": "bare.png", "captions": ["a grey flower without points"]})
    Image.fromarray(textured(seed=99)).save(root / "images" / "bare.png")
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, records)))
    return root


def bench_of(root, *, photos=True, split="test", seed=0, limit=None, name="cub"):
    data = DataConfig(name=name, root=str(root), split=split)
    return Bench(data, size=32, seed=seed, limit=limit, photos=root / "photos" if photos else None)


def figures(bench, contender):
    """Metric -> mean over pictures."""
    return {found.metric: float(found.values.mean()) for found in measure(bench, contender)}


class Known:
    """A contender that edits by `paint(picture (H, W, 3), mask (H, W) of the named part, colour)`."""

    kind, checkpoint, has_strength, replaces = "baseline", None, False, False

    def __init__(self, paint, asking, *, name="known"):
        self.paint, self.name = paint, name
        self.scenes = {each.picture.path.name: each for each in asking.pictures}

    def edit_photo(self, photo, text):
        asked = self.scenes[photo.name.rpartition("/")[2]]
        ask = next(ask for ask in asked.asks if ask.text == text)
        assert re.search(rf"\b{ask.colour} {ask.part}$", text)
        picture = pixels_of(photo)
        height, width = picture.shape[:2]
        y, x = np.ogrid[:height, :width]
        longer = max(width, height) if asked.picture.box is None else 100 * (2 if width == 200 else 1)
        radius = (DISC + 1) * max(1, int((0.012 if asked.picture.box is None else 0.02) * longer))
        mask = np.zeros((height, width), bool)
        for u, v in asked.picture.points[ask.part]:
            mask |= np.square(x - int(u * width)) + np.square(y - int(v * height)) <= radius**2
        painted = self.paint(picture, mask, ask.colour)
        return photo.with_pixels(from_uint8(torch.from_numpy(np.ascontiguousarray(painted)).permute(2, 0, 1)))


def nothing(picture, mask, colour):
    return picture


def flat_part(picture, mask, colour):
    painted = picture.copy()
    painted[mask] = COLOURS[colour]
    return painted


def everything(picture, mask, colour):
    return flat_part(picture, np.ones_like(mask), colour)


def fog(share):
    """A blend of the part with the colour, `share` of it."""

    def paint(picture, mask, colour):
        painted = picture + share * mask[..., None] * (np.array(COLOURS[colour]) - picture.astype(float))
        return np.round(painted).astype(np.uint8)

    return paint


def paint_like_feathers(picture, mask, colour):
    """The part's lightness scaled to the colour's (L* + 16 by a factor), in its chroma: texture stays."""
    looks, target = lab(picture), PALETTE[list(COLOURS).index(colour)]
    painted = np.broadcast_to(target, looks.shape).copy()
    mean = looks[mask][:, 0].mean()
    painted[..., 0] = (looks[..., 0] + 16) * (target[0] + 16) / (mean + 16) - 16
    result = picture.copy()
    result[mask] = np.clip(np.round(255 * lab2rgb(painted)[mask]), 0, 255).astype(np.uint8)
    return result
