"""Do a picture and a text find the picture meant? Recall among synthetic targets by kind of change, or photographs.

    python benchmarks/compose.py --model runs/compose_tirg_synthetic/model.safetensors --out compose.jsonl
    python benchmarks/compose.py --data cub --model runs/compose_tirg_birds/model.safetensors --model judge-birds

Protocol `compose@1` of `tgim.evaluation.composing`. Below each model stand its baselines: picture alone, text alone,
both embeddings added. Of a matching model the baselines alone are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tgim.data.config import DataConfig
from tgim.errors import UserError
from tgim.evaluation.composing import COUNT, DEPTHS, KINDS, evaluate_composing
from tgim.evaluation.records import Line


@click.command()
@click.option("--model", "models", multiple=True, required=True, help="Embedded name or checkpoint; may be repeated.")
@click.option("--data", type=click.Choice(["synthetic", "cub", "oxford102"]), default="synthetic", show_default=True)
@click.option("--root", help="The data set's folder; $TGIM_DATA/<data> by default.")
@click.option("--kind", type=click.Choice(["birds", "flowers"]), default="birds", show_default=True, help="Drawn.")
@click.option("--count", type=click.IntRange(6), default=COUNT, show_default=True, help="Drawn triples.")
@click.option("--split", default="test", show_default=True, type=click.Choice(["val", "test"]))
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="File of JSON lines that the figures are added to.")
def main(
    models: tuple[str, ...],
    data: str,
    root: str | None,
    kind: str,
    count: int,
    split: str,
    seed: int,
    out: Path | None,
) -> None:
    """Print recall@1, 5, 10 and 50, and recall@10 by kind of change."""
    config = DataConfig.model_validate({"name": data, "root": root, "split": split, "synthetic": {"kind": kind}})
    try:
        lines = evaluate_composing(models, data=config, count=count, seed=seed, out=out)
    except UserError as error:
        raise click.ClickException(str(error)) from None
    click.echo(table(lines))


def table(lines: Sequence[Line]) -> str:
    """A row for each contender: recall in per cent."""
    told = {line.metric for line in lines}
    names = [f"recall@{k}" for k in DEPTHS] + [f"recall@10/{kind}" for kind in KINDS]
    names = [name for name in names if name in told]
    heads = [name.removeprefix("recall").removeprefix("@10/") for name in names]
    rows: dict[str, dict[str, float]] = {line.model: {} for line in lines}
    for line in lines:
        rows[line.model][line.metric] = line.value
    width = max(map(len, rows))
    cells = [[f"{found[name]:11.1%}" if name in found else f"{'-':>11}" for name in names] for found in rows.values()]
    head = " " * width + "".join(f" {head:>11}" for head in heads)
    return "\n".join([head, *(f"{name:<{width}} {' '.join(row)}" for name, row in zip(rows, cells, strict=True))])


if __name__ == "__main__":
    main()
