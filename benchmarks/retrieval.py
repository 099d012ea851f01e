"""Retrieval table: does an edited picture show its caption? With real and unedited photographs, chance, baselines.

    python benchmarks/retrieval.py benchmarks/results/birds.jsonl
    python benchmarks/retrieval.py --run --data cub --model birds --judge judge-birds results.jsonl

Protocol `retrieval@1`: a judge that no editor is trained against looks for the target caption of the edited picture
among 100. With `--run` this is measured first, and its lines are added to the (one) results file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from l2_table import show, table_options

from tgim.reporting import retrieval_tables
from tgim.reporting.tables import RETRIEVAL


@click.command()
@click.option("--judge", help="With --run: embedded name or checkpoint of a matching model.")
@table_options
def main(results: tuple[Path, ...], **options: Any) -> None:
    """Print the retrieval tables of the files RESULTS."""
    show(results, RETRIEVAL, retrieval_tables, **options)


if __name__ == "__main__":
    main()
