"""Put a trained editor into the package, with a card that carries its measured figures.

    python benchmarks/embed.py runs/tagrid_birds/model.safetensors birds --results benchmarks/results/edits.jsonl

The figures are the rows of `benchmarks/edits.py` for the model's data set; the weights are stored in 16 bits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

import tgim
from tgim import checkpoint
from tgim.errors import UserError

LIMITS = [
    "changes colours of the subject and its parts; no shapes, no stripes or spots, no background",
    "place of a part is known to a sixteenth of the frame; colours of neighbouring parts may run into each other",
    "made for one subject that fills a good part of the frame; name a --box where it does not",
    "knows the words of its training captions; negation, counts and commands mean nothing to it",
]


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("name")
@click.option("--results", type=click.Path(path_type=Path, exists=True), required=True)
def main(source: Path, name: str, results: Path) -> None:
    """Write tgim/weights/NAME.safetensors from the checkpoint SOURCE."""
    found = checkpoint.load(source)
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    figures = [line for line in lines if line["data"] == found.data["name"] and line.get("model", name) == name]
    if not any(line["row"] == "edited" for line in figures):
        raise UserError(f"{results} has no edited row of {name!r}; run benchmarks/edits.py on {source} first")
    card = {**found.card, "figures": [describe(line) for line in figures], "limits": LIMITS}
    path = Path(tgim.__file__).parent / "weights" / f"{name}.safetensors"
    checkpoint.save(
        path,
        found.model,
        vocabulary=found.vocabulary,
        template=found.template,
        card=card,
        history=found.history,
        data=found.data,
        half=True,
    )
    click.echo(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


def describe(line: dict[str, Any]) -> str:
    """One row of results as a line of the card."""
    text = f"{line['protocol']}, {line['data']} {line['split']} classes, n {line['n']}: "
    text += {"real": "photograph, own caption", "unedited": "photograph, target caption", "edited": "edited"}[
        line["row"]
    ]
    if line["row"] == "edited":
        text += f" at strength {line['strength']:g}"
    text += f": R@1 of 100 {line['recall@1']:.1%}"
    if "rmse_own" in line:
        text += f", RMSE in [-1, 1] own caption {line['rmse_own']:.3f}, target caption {line['rmse_target']:.3f}"
    return text


if __name__ == "__main__":
    main()
