"""Does an edited picture show its caption? The retrieval table, with ceiling, floor, chance and baselines.

    python benchmarks/retrieval.py benchmarks/results/birds.jsonl
    python benchmarks/retrieval.py --run --data cub --model birds --judge judge-birds results.jsonl

Protocol `retrieval@1`: a judge that no editor is trained against looks for the target caption of the edited picture
among 100. With `--run` this is measured first, and its lines are added to the (one) results file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from l2_table import measure

from tgim.errors import UserError
from tgim.reporting import read_results, retrieval_tables
from tgim.reporting.tables import RETRIEVAL


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--run", is_flag=True, help="Measure first; lines that RESULTS holds already are not measured again.")
@click.option("--model", "models", multiple=True, help="With --run: embedded name or checkpoint; may be repeated.")
@click.option("--judge", help="With --run: embedded name or checkpoint of a matching model.")
@click.option("--data", type=click.Choice(["cub", "oxford102"]), default="cub", show_default=True, help="With --run.")
@click.option("--root", help="With --run: the data set's folder; $TGIM_DATA/<data> by default.")
@click.option("--limit", type=int, help="With --run: measure so many pictures only.")
@click.option("--seed", default=0, show_default=True, help="With --run.")
@click.option("--text", is_flag=True, help="Plain text instead of Markdown.")
def main(results: tuple[Path, ...], run: bool, text: bool, **options: Any) -> None:
    """Print the retrieval tables of the files RESULTS."""
    try:
        if run:
            measure(results, (RETRIEVAL,), **options)
        tables = retrieval_tables(read_results(results))
    except UserError as error:
        raise click.ClickException(str(error)) from None
    if not tables:
        raise click.ClickException(f"no line of {RETRIEVAL} in {', '.join(map(str, results))}; measure with --run")
    click.echo("\n".join(table.text() if text else table.markdown() for table in tables), nl=False)


if __name__ == "__main__":
    main()
