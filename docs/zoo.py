"""Cards of the embedded models for the page "Model zoo", read from the checkpoints, with pictures that the models make.

python docs/zoo.py FOLDER writes them for a look; `docs/conf.py` adds them to the page when the site is built.
"""

from __future__ import annotations

import hashlib
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from tgim import Editor, Generator, rank
from tgim.checkpoints import checkpoint, graphs
from tgim.checkpoints.card import model_card
from tgim.data.synthetic.pairs import sample_picture
from tgim.images.photo import open_image
from tgim.inference.part_overlay import locate, overlay

CELL, LABEL, GAP = (320, 240), 30, 8  # pixels: width and height of a picture, of the line above it, between them
SEEDS = {"birds": 0, "flowers": 2}  # of the rendered pictures
EDITS = {
    "birds": ("red head and breast", "yellow with black wings", "make its tail purple"),
    "flowers": ("purple petals", "white petals", "red center"),
}
OWN = "a blue bird with an orange breast and a white belly"  # says what the rendered bird is
GENERATED = ("a red bird with black wings", "a small yellow bird with a white belly")
CAPTIONS = {
    "birds": (OWN, "a red bird with black wings", "a yellow bird with a black crown", "a white bird with a long beak"),
    "flowers": (
        "this flower has orange petals with yellow tips and a yellow center",
        "this flower has white petals and a yellow center",
        "this flower has purple petals",
        "this flower is red",
    ),
}
ROLES = ("parsing", "editor", "generator", "matching")  # in the order of the page
FIELDS = ("What", "Data", "Licence", "Limits", "Trained", "Size", "Parameters", "Engines", "SHA-256")
SAMPLE = "tgim sample {one}.jpg --kind {kind} --seed {seed}\n"
COMMANDS = {
    "editor": SAMPLE + 'tgim edit --model {name} --image {one}.jpg --text "{text}" --out e.jpg',
    "generator": 'tgim generate --model {name} --text "a red bird with black wings" --n 8 --out grid.png',
    "matching": SAMPLE + 'tgim match {one}.jpg --model {name} --text "{text}" --text "{other}"',
}


def kind_of(name: str) -> str:
    """Kind of the pictures that a model knows: "birds" or "flowers"."""
    return "flowers" if "flowers" in name else "birds"


def sheet(cells: list[tuple[str, Image.Image]], *, columns: int = 2, size: tuple[int, int] = CELL) -> Image.Image:
    """Pictures in columns, a label above each."""
    rows = -(-len(cells) // columns)
    whole = Image.new("RGB", (columns * (size[0] + GAP) + GAP, rows * (size[1] + LABEL + GAP) + GAP), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(20)
    for i, (label, picture) in enumerate(cells):
        left, top = GAP + i % columns * (size[0] + GAP), GAP + i // columns * (size[1] + LABEL + GAP)
        pen.text((left + 2, top + 2), label, (60, 60, 60), font)
        small = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
        whole.paste(small, (left + (size[0] - small.width) // 2, top + LABEL))
    return whole


def picture_of(name: str, role: str) -> tuple[Image.Image, str]:
    """What a model makes of rendered pictures or of captions, and a line that says so."""
    kind = kind_of(name)
    drawn = sample_picture(kind, seed=SEEDS[kind], size=(2 * CELL[1], 2 * CELL[0]))
    first = ("the picture", Image.fromarray(drawn))
    if role == "generator":
        generate = Generator.from_pretrained(name)
        cells = [("" if i else text, each) for text in GENERATED for i, each in enumerate(generate(text, n=4, seed=4))]
        return sheet(cells, columns=4, size=(160, 160)), f'four pictures each of "{GENERATED[0]}" and "{GENERATED[1]}"'
    if role == "matching":
        return sheet([first], columns=1), "the rendered picture that is scored"
    edit = Editor.from_pretrained(name)
    if "encoder" in name:
        texts = {"again, from its noise": OWN, GENERATED[0]: GENERATED[0], "a yellow bird": "a yellow bird"}
        again = [(label, edit(drawn, text, size="model")) for label, text in texts.items()]
        return sheet([first, *again]), f'a rendered bird, generated again under "{OWN}", and two edits'
    edits = [(text, edit(drawn, text)) for text in EDITS[kind]]
    if role == "parsing":
        found, maps = locate(open_image(drawn), edit.engine.finder)
        edits[-1] = ("its parts", overlay(open_image(drawn), found, maps))
    told = [f'"{label}"' if label in EDITS[kind] else label for label, _ in edits]
    return sheet([first, *edits]), f"a rendered picture, {told[0]}, {told[1]}, and {told[2]}"


def fields(name: str, card: dict[str, Any]) -> dict[str, str]:
    """The facts of a card, by the names of `FIELDS`."""
    file, own, data, training = Path(card["file"]), card["card"], card["data"], card["training"]
    graph = graphs.graphs_of(name)
    engines = f"onnxruntime (by `{graph.name}`) and torch" if graph else "torch"
    machine = ", ".join(str(training[key]) for key in ("processor", "machine") if training.get(key))
    return {
        "What": f"`{card['system']}`, {card['role']}, works at {card['image_size']} px",
        "Data": f"{data['name']}, split {data['split']}, {data['pictures']:,} pictures. {data['licence']}",
        "Licence": own["licence"],
        "Limits": re.sub(r"(--\w+)", r"`\1`", "; ".join(own["limits"])),
        "Trained": f"{training['steps']:,} steps in {training['seconds'] / 60:.0f} minutes; {machine}, "
        f"torch {training['torch']}",
        "Size": f"{card['megabytes']:.2f} MiB",
        "Parameters": f"{card['parameters']:,} ({', '.join(card['number_types'])}); {card['words']:,} words",
        "Engines": engines,
        "SHA-256": f"`{hashlib.sha256(file.read_bytes()).hexdigest()}`",
    }


def figures(card: dict[str, Any]) -> str:
    """Table of a card's figures: a row for each measurement of the same pictures."""
    rows: dict[tuple[str, str], list[str]] = {}
    for line in card["card"]["figures"]:
        where, of, figure = line.split(": ", 2)
        judge = re.search(r"(?<=, judge )[\w-]+$", figure)
        measured = f"{where}, {judge[0]}" if judge else where
        rows.setdefault((measured, of), []).append(re.sub(r", judge [\w-]+$", "", figure))
    table = [f"| {where} | {of} | {'; '.join(found)} |" for (where, of), found in rows.items()]
    return "\n".join(["| measured on, and by which judge | of | figures |", "|---|---|---|", *table])


def command(name: str, role: str) -> str:
    """The commands to try a model with."""
    kind = kind_of(name)
    text, other = (EDITS[kind][0], "") if role != "matching" else CAPTIONS[kind][:2]
    line = COMMANDS.get(role, COMMANDS["editor"])
    return line.format(name=name, kind=kind, seed=SEEDS[kind], one=kind.removesuffix("s"), text=text, other=other)


def scores(name: str) -> str:
    """Table of a matching model's scores of the rendered picture with four captions."""
    kind = kind_of(name)
    drawn = sample_picture(kind, seed=SEEDS[kind], size=(2 * CELL[1], 2 * CELL[0]))
    found = rank([drawn], list(CAPTIONS[kind]), model=name).scores[0]
    rows = [f"| {text} | {score:.3f} |" for text, score in zip(CAPTIONS[kind], found, strict=True)]
    return "\n".join(["| caption | score |", "|---|--:|", *rows])


def files() -> list[Path]:
    """What the cards are made of: the embedded checkpoints, and this script."""
    return [Path(__file__), *(checkpoint.resolve(name) for name in checkpoint.list_embedded())]


def write(folder: Path) -> str:
    """Write the pictures of all embedded models to `folder`/zoo; return the cards as Markdown that refers to them."""
    (folder / "zoo").mkdir(exist_ok=True)
    cards = []
    found = {name: model_card(name) for name in checkpoint.list_embedded()}
    for name, card in sorted(found.items(), key=lambda item: ROLES.index(item[1]["role"])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of words that a model does not know
            picture, shown = picture_of(name, card["role"])
            table = scores(name) if card["role"] == "matching" else ""
        picture.save(folder / "zoo" / f"{name}.jpg", quality=88, optimize=True)
        facts = fields(name, card)
        hashed = f"SHA-256: {facts.pop('SHA-256')}"  # no row: a cell does not break it, and the table outgrows phones
        rows = [f"| {key} | {value} |" for key, value in facts.items()]
        parts = (
            f"## {name}",
            f"{card['card']['title']}.",
            f"![{name}: {shown}](zoo/{name}.jpg)",
            f"{shown[0].upper()}{shown[1:]}.",
            table,
            f"```bash\n{command(name, card['role'])}\n```",
            "\n".join([rows[0], "|---|---|", *rows[1:]]),
            hashed,
            figures(card),
        )
        cards.append("\n\n".join(part for part in parts if part))
    return "\n\n".join(cards) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zoo.md").write_text(write(folder), encoding="utf-8")
    print(folder)
