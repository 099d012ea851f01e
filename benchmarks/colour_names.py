"""Learn by which colour names captions call the colours of parts: `colour_names.json` of the painter.

    python benchmarks/colour_names.py --birds ../shared/data/cub --flowers ../shared/data/oxford102 \
        --localiser runs/parts_flowers/model.safetensors --out tgim/models/editing/painting/colour_names.json

For each of eleven names a logistic regression of `tgim.models.editing.painting.already.features`, from training classes
alone. A part of a bird is seen at CUB's part locations, a flower's where a localiser finds it. A part is an example of
the name that its captions give it, and a counterexample of every other name that is not the nearest one by eye; of
those that another caption gives it, it is a weak one. Of all examples and of all counterexamples there are as many, by
weight.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.data import cub, oxford102
from tgim.data.cub import read_boxes, read_table
from tgim.images.photo import open_image
from tgim.inference.editor import load
from tgim.models.editing.painting.already import EVERYWHERE, KNOWN, Surroundings, features
from tgim.models.editing.painting.captions import ColourTarget, parse_caption
from tgim.models.editing.painting.lab import to_lab
from tgim.models.editing.painting.palette import nearest
from tgim.models.parsing.lifting import lift
from tgim.models.parsing.part_maps import find_parts
from tgim.text.lexicon.colours import PLAIN as NAMED
from tgim.text.lexicon.parts import BIRD_PARTS, FLOWER_PARTS

POINTS = {1: "back", 3: "belly", 4: "breast", 5: "head", 6: "head", 10: "head", 9: "wings", 13: "wings", 14: "tail"}
POINTS[15] = "throat"
REACH = 0.02  # of a picture's longer side: half side of the square around a point
SAID = 0.35  # weight of a counterexample that another caption calls so
WHOLE = 3.0  # weight of a whole subject as a counterexample, against a part's 1
RIDGE = 3e-5
SOME = 12  # pixels of a part of a flower that are looked at
Seen = tuple[dict[str, Tensor], Sequence[str]]  # Lab (3, N) of each part, and the captions


def birds(root: Path) -> Iterator[Seen]:
    """Yield the colours at the part locations of training pictures that are cropped to the birds' boxes."""
    boxes, numbers = read_boxes(root), {name: i for i, name in read_table(root / "images.txt").items()}
    places: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
    for line in (root / "parts" / "part_locs.txt").read_text().splitlines():
        picture, part, x, y, visible = line.split()
        if visible == "1" and int(part) in POINTS:
            places[int(picture)].append((int(part), float(x), float(y)))
    for item in cub.load(root, split="train").items:
        name = f"{item.label}/{item.path.name}"
        photo, (left, top, w, h) = open_image(item.path), boxes[name]
        reach = max(1, int(REACH * max(photo.height, photo.width)))
        found: dict[str, list[Tensor]] = defaultdict(list)
        for part, x, y in places[numbers[name]]:
            column, row = int((x - left) * photo.width / w), int((y - top) * photo.height / h)
            if 0 <= column < photo.width and 0 <= row < photo.height:
                rows, columns = (slice(max(0, at - reach), at + reach + 1) for at in (row, column))
                found[POINTS[part]].append(photo.tensor[:, rows, columns].flatten(1).median(1).values)
        yield {part: to_lab(torch.stack(values, 1)) for part, values in found.items()}, item.captions


def flowers(root: Path, localiser: str, *, most: int = 900, seed: int = 0) -> Iterator[Seen]:
    """Yield the colours of training pictures where a localiser finds petals and centres."""
    model, source = load(localiser).model, np.random.default_rng(seed)
    items = oxford102.load(root, split="train").items
    for i in source.permutation(len(items))[:most]:
        photo = open_image(items[i].path).pixels
        found = find_parts(model, photo)
        if found is None:
            continue
        chosen, lab = torch.from_numpy(lift(found, photo).argmax(0)), torch.from_numpy(to_lab(photo))
        seen = {}
        for number, part in enumerate(found.names):
            pixels = lab[:, chosen == number]
            if part in FLOWER_PARTS and pixels.shape[1] >= SOME:
                seen[part] = pixels[:, torch.from_numpy(source.integers(0, pixels.shape[1], SOME))]
        yield seen, items[i].captions


def learn(pictures: Iterator[Seen], parts: Sequence[str], kind: str) -> dict[str, list[float]]:
    """Learn the weights of each name."""
    examples: dict[tuple[str, bool], list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for seen, captions in pictures:
        known = {part: lab for part, lab in seen.items() if part in KNOWN[kind]}
        if not known:
            continue
        usual = torch.cat(list(known.values()), 1)
        dark, light = torch.quantile(usual[0], torch.tensor([0.1, 0.9])).tolist()
        around = Surroundings(dark, light, *usual[1:].mean(1).tolist())
        targets = [target for caption in captions for target in parse_caption(caption, parts).targets]
        for place, lab in (({EVERYWHERE: usual} if kind == "bird" else {}) | known).items():
            named = [target for target in targets if (target.whole if place == EVERYWHERE else place in target.parts)]
            told = [target for target in named if len(target.colours) == 1 and target.whole == (place == EVERYWHERE)]
            x = torch.from_numpy(features(lab.numpy(), around, place, kind))
            even = torch.full((lab.shape[1],), 1 / lab.shape[1])
            for target in told:
                examples[target.colours[0].name, True].append((x, even))
            now = NAMED[int(nearest(lab.median(1).values[:, None].numpy())[0])]
            for name in set(NAMED) - {now}:
                weight = (SAID if says(named, name) else 1.0) * (WHOLE if place == EVERYWHERE else 1.0)
                examples[name, False].append((x, weight * even))
    total = {right: sum(float(w.sum()) for name in NAMED for _, w in examples[name, right]) for right in (True, False)}
    missing = [name for name in NAMED if not examples[name, True]]
    if missing:
        raise SystemExit(f"no {kind} is called {' or '.join(missing)} in these captions; take more pictures")
    return {name: fit(*(stacked(examples[name, right], total[right]) for right in (True, False))) for name in NAMED}


def says(targets: Sequence[ColourTarget], name: str) -> bool:
    return any(name in (colour.name, colour.towards) for target in targets for colour in target.colours)


def stacked(rows: list[tuple[Tensor, Tensor]], total: float) -> tuple[Tensor, Tensor]:
    return torch.cat([x for x, _ in rows]), torch.cat([weight for _, weight in rows]) / total


def fit(right: tuple[Tensor, Tensor], wrong: tuple[Tensor, Tensor]) -> list[float]:
    """Logistic regression of weighted examples (N, F), (N,) against counterexamples."""
    weights = torch.zeros(right[0].shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=300)

    def loss() -> Tensor:
        optimiser.zero_grad()
        cost = (F.softplus(-right[0] @ weights) * right[1]).sum() + (F.softplus(wrong[0] @ weights) * wrong[1]).sum()
        cost = cost / (right[1].sum() + wrong[1].sum()) + RIDGE * weights[1:].square().sum()
        cost.backward()
        return cost

    optimiser.step(loss)
    return [round(value, 3) for value in weights.tolist()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--birds", type=Path, required=True, help="CUB's folder")
    parser.add_argument("--flowers", type=Path, required=True, help="Oxford-102's folder")
    parser.add_argument("--localiser", required=True, help="of flowers: name or file of a checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with torch.no_grad():
        seen = {"bird": list(birds(options.birds)), "flower": list(flowers(options.flowers, options.localiser))}
    tables = {kind: learn(iter(seen[kind]), BIRD_PARTS if kind == "bird" else FLOWER_PARTS, kind) for kind in seen}
    options.out.write_text(json.dumps(tables, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
