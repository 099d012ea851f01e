"""Figures of steering a generator: six operations and three captions, each beside a random direction as long.

    python benchmarks/steer.py                                     # the table of what was measured
    python benchmarks/steer.py --run --sheets sheets               # measure anew with attngan-birds
    python benchmarks/steer.py zoom "a red bird" --run --model runs/mine/model.safetensors

Directions are learned and measured as by `tgim steer`. Each is a line of `benchmarks/results/steer.jsonl`: `slope`,
what is reached of each step, with `low` and `high` (95 %, n fresh noises), `random` of a random direction of the same
length with its own interval, `by` what measures (pixels, the assessor that was learned from, or a judge), `plausible`,
the largest alpha up to which pictures stay plausible, and the CPU seconds of learning and measuring.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from tgim import Generator, steer
from tgim.environment import origin
from tgim.system.memory import keep_memory

RESULTS = Path(__file__).resolve().parent / "results" / "steer.jsonl"
CAPTIONS = ("a red bird", "a blue bird", "a bird with a long beak")


def measured(generator: Generator, model: str, name: str, *, seed: int, sheets: Path | None) -> list[dict[str, Any]]:
    """Lines of one operation or caption, one for each measure."""
    begun = time.process_time()
    door = steer.operation if name in steer.OPERATIONS else steer.towards
    found = door(generator, name, seed=seed)
    seconds = round(time.process_time() - begun, 1)
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        steer.sheet(generator, found, texts=found.facts["captions"], seed=seed).save(
            sheets / f"{name.replace(' ', '_')}.png"
        )
    facts, where = found.facts, origin()
    own = {"model": model, "kind": found.kind, "of": name, "steps": facts["steps"], "captions": facts["captions"]}
    own |= {"length": round(float(found.vector.norm()), 3), "plausible": facts["plausible"]["range"]}
    own |= {"kept": facts["plausible"]["kept"], "cpu_seconds": seconds}
    own |= {key: where[key] for key in ("commit", "torch", "machine", "cores")}
    return [{**own, "by": by, **rounded(figures)} for by, figures in facts["figures"].items()]


def rounded(value: Any) -> Any:
    """Numbers of a JSON value to four places."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown of the results."""
    rows = [
        "| direction | measured by | of a step reached | random direction | n | plausible to alpha | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {x['of']} | {x['by']} | {x['slope']:.2f} ({x['low']:.2f} to {x['high']:.2f}) | {x['random']:.2f} "
        f"({x['random_low']:.2f} to {x['random_high']:.2f}) | {x['n']} | {x['plausible']:g} | {x['cpu_seconds']:.0f} |"
        for x in lines
    ]
    return "\n".join(rows)


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@click.command()
@click.argument("names", nargs=-1)
@click.option("--run", is_flag=True, help="Measure, and write the lines to the results file.")
@click.option("--model", default="attngan-birds", show_default=True, help="Text-to-image model.")
@click.option("--seed", default=0, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
@click.option("--sheets", type=click.Path(path_type=Path), help="Folder for a sheet of each direction.")
def main(names: tuple[str, ...], run: bool, model: str, seed: int, results: Path, sheets: Path | None) -> None:
    """Print the table of all directions, or of those of NAMES, operations and captions."""
    names = names or (*steer.OPERATIONS, *CAPTIONS)
    lines = read(results)
    if run:
        generator = Generator.from_pretrained(model)
        for name in names:
            new = measured(generator, model, name, seed=seed, sheets=sheets)
            lines = [x for x in lines if (x["of"], x["model"], x["seed"]) != (name, model, seed)] + new
            results.write_text("".join(json.dumps(x) + "\n" for x in lines), encoding="utf-8")
    click.echo(table(x for x in lines if x["of"] in names))


if __name__ == "__main__":
    keep_memory()
    main()
