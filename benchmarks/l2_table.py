"""The L2 table of the papers, in the four readings of "L2", trivial baselines, and what was published.

    python benchmarks/l2_table.py benchmarks/results/birds.jsonl benchmarks/results/flowers.jsonl
    python benchmarks/l2_table.py --run --data cub --model birds results.jsonl
    python benchmarks/l2_table.py --text results.jsonl
    python benchmarks/l2_table.py --cost tagan-birds runs/tagan/model.safetensors benchmarks/results/birds.jsonl

Protocol `l2-own-caption@1`: every picture of the test classes is edited by each of its own captions, which already fit,
and compared with itself. With `--run` this is measured first, and its lines are added to the (one) results file.
Hours of one core that training took are read from checkpoints by `--cost` and kept in `results/training.jsonl`; those
of a contender that was trained in several runs, a generator and its encoder, are added.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tgim.checkpoints import checkpoint
from tgim.data.config import DataConfig
from tgim.errors import UserError
from tgim.evaluation.records import Line
from tgim.reporting import l2_tables, read_results
from tgim.reporting.tables import OWN, Table

COSTS = Path(__file__).parent / "results" / "training.jsonl"


def table_options(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments of a script that prints tables of results, and may measure them first."""
    data = click.Choice(["cub", "oxford102"])
    for option in (
        click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path)),
        click.option("--run", is_flag=True, help="Measure first what RESULTS does not hold already."),
        click.option(
            "--model", "models", multiple=True, help="With --run: embedded name or checkpoint; may be repeated."
        ),
        click.option("--data", type=data, default="cub", show_default=True, help="With --run."),
        click.option("--root", help="With --run: the data set's folder; $TGIM_DATA/<data> by default."),
        click.option("--limit", type=int, help="With --run: measure so many pictures only."),
        click.option("--seed", default=0, show_default=True, help="With --run."),
        click.option("--text", is_flag=True, help="Plain text instead of Markdown."),
    )[::-1]:
        command = option(command)
    return command


@click.command()
@table_options
@click.option("--cost", "costs", nargs=2, multiple=True, metavar="NAME FILE", help="Count its training for NAME.")
def main(results: tuple[Path, ...], costs: tuple[tuple[str, str], ...], **options: Any) -> None:
    """Print the L2 tables of the files RESULTS."""
    hours = hours_of(costs)
    show(results, OWN, lambda lines: l2_tables(lines, hours=hours), **options)


def hours_of(costs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Hours of one core by contender, of all that `COSTS` holds and of the checkpoints (name, file), which it keeps."""
    lines = [json.loads(line) for line in COSTS.read_text("utf-8").splitlines()] if COSTS.exists() else []
    for name, file in costs:
        path = Path(file)
        found = checkpoint.read_header(path)["history"]
        seconds = found.get("cpu_seconds", found["seconds"])  # older ones tell the time on the clock
        run = path.parent.name if path.stem == "model" else path.stem
        line = {"contender": name, "run": run, "steps": found["steps"], "core_hours": round(seconds / 3600, 2)}
        lines = [each for each in lines if (each["contender"], each["run"]) != (line["contender"], line["run"])] + [
            line
        ]
    if costs:
        COSTS.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    total: dict[str, float] = {}
    for each in lines:
        total[each["contender"]] = total.get(each["contender"], 0.0) + each["core_hours"]
    return total


def show(
    results: tuple[Path, ...],
    protocol: str,
    tables_of: Callable[[list[Line]], list[Table]],
    *,
    run: bool,
    text: bool,
    **options: Any,
) -> None:
    """Print the tables that `tables_of` makes of the results, measured first by `protocol` if `run`."""
    try:
        if run:
            measure(results, (protocol,), **options)
        tables = tables_of(read_results(results))
    except UserError as error:
        raise click.ClickException(str(error)) from None
    if not tables:
        raise click.ClickException(f"no line of {protocol} in {', '.join(map(str, results))}; measure with --run")
    click.echo("\n".join(table.text() if text else table.markdown() for table in tables), nl=False)


def measure(
    results: tuple[Path, ...],
    protocols: tuple[str, ...],
    *,
    models: tuple[str, ...],
    data: str,
    root: str | None,
    limit: int | None,
    seed: int,
    judge: str | None = None,
) -> None:
    """Measure `models` and the baselines on the test classes; the lines are added to the one file of `results`."""
    from tgim.evaluation import evaluate

    if len(results) != 1:
        raise UserError(f"--run writes to one results file, got {len(results)}; name the file that is to grow")
    config = DataConfig(name=data, root=root, split="test")  # type: ignore[arg-type]
    evaluate(list(models), data=config, protocols=protocols, judge=judge, seed=seed, out=results[0], limit=limit)


if __name__ == "__main__":
    main()
