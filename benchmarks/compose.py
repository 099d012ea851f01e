"""Does a picture and a text find the picture meant? Recall among drawn targets, by kind of change.

    python benchmarks/compose.py --model runs/tirg/model.safetensors --model judge-birds --out compose.jsonl

Protocol `compose@1` of `tgim.evaluation.composing`. Below each model stand its baselines: picture alone, text alone,
both embeddings added. Of a matching model the baselines alone are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tgim.data.triples import CHANGES
from tgim.errors import UserError
from tgim.evaluation.composing import COUNT, DEPTHS, evaluate_composing
from tgim.evaluation.records import Line


@click.command()
@click.option("--model", "models", multiple=True, required=True, help="Embedded name or checkpoint; may be repeated.")
@click.option("--kind", type=click.Choice(["birds", "flowers"]), default="birds", show_default=True)
@click.option("--count", type=click.IntRange(6), default=COUNT, show_default=True, help="Triples.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="File of JSON lines that the figures are added to.")
def main(models: tuple[str, ...], kind: str, count: int, seed: int, out: Path | None) -> None:
    """Print recall@1, 5, 10 and 50, and recall@1 by kind of change."""
    try:
        lines = evaluate_composing(models, kind=kind, count=count, seed=seed, out=out)  # type: ignore[arg-type]
    except UserError as error:
        raise click.ClickException(str(error)) from None
    click.echo(table(lines))


def table(lines: Sequence[Line]) -> str:
    """A row for each contender: recall in per cent."""
    names = [f"recall@{k}" for k in DEPTHS] + [f"recall@1/{change}" for change in CHANGES]
    heads = [f"@{k}" for k in DEPTHS] + list(CHANGES)
    rows = {line.model: {} for line in lines}
    for line in lines:
        rows[line.model][line.metric] = line.value
    width = max(map(len, rows))
    cells = [[f"{found[name]:7.1%}" if name in found else f"{'-':>7}" for name in names] for found in rows.values()]
    head = " " * width + "".join(f" {head:>7}" for head in heads)
    return "\n".join([head, *(f"{name:<{width}} {' '.join(row)}" for name, row in zip(rows, cells, strict=True))])


if __name__ == "__main__":
    main()
