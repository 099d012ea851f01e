"""Curves of a training run: what its checkpoints of every so many minutes do on training classes that it never saw.

    python benchmarks/curves.py runs/tagan_medium_birds --history runs/history/tagan_medium_birds
    python benchmarks/curves.py --plot          # benchmarks/curves/<system>.svg of all lines

HISTORY holds checkpoints that were copied along the way, `<minutes of CPU>.safetensors`; a checkpoint that tells its
own CPU time (`cpu_seconds` of its history) is believed before its name. The run's own model is the last, once done.
Recipes with `data.split: train` leave a tenth of the training classes out ("val"). On --limit pictures of those, a
seeded choice, are measured, as in `l2-own-caption@1` and `retrieval@1` but with one caption for each picture: RMSE in
[-1, 1] of the edit by the picture's own caption, and how often the judge finds an edit's target caption first of 100.
The default judges learned from those classes, too, so read R@1 beside its rows of real and of unedited photographs,
not beside figures of test classes. Lessons drawn from these curves cost no test class.

A checkpoint is a JSON line of `benchmarks/results/curves.jsonl`: `system` (the run's folder), `data`, `minutes`,
`step`, `losses` (mean of each term over the log's lines since the checkpoint before), `rmse` and `recall@1` with their
95 % bootstrap intervals over `n` pictures, `real` and `unedited` (R@1 of photographs with own and target caption).
What the file has of the same checkpoint, judge, seed and n is not measured again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from tgim.checkpoints import checkpoint
from tgim.cli.evaluate import JUDGES
from tgim.data.config import DataConfig
from tgim.environment import origin
from tgim.errors import UserError
from tgim.evaluation.bench import Bench
from tgim.evaluation.contenders import ModelContender
from tgim.evaluation.records import interval
from tgim.evaluation.retrieval import target_ranks
from tgim.metrics import ranks, rmse
from tgim.reporting.curves import Panel, curves_svg
from tgim.system.files import write_file
from tgim.system.memory import keep_memory
from tgim.training.runlog import flatten, read_log

ROOT = Path(__file__).parents[1]
RESULTS, PLOTS = ROOT / "benchmarks" / "results" / "curves.jsonl", ROOT / "benchmarks" / "curves"
SAME = ("system", "checkpoint", "judge", "seed", "n")  # what makes two lines measurements of one thing


def kept(run: Path, history: Path) -> list[tuple[float, int, Path]]:
    """(minutes of CPU, step, file) of the checkpoints of a run, by their steps; one of each step.

    Raises:
        UserError: there is none, or a file's name is no number of minutes.
    """
    found: dict[int, tuple[float, int, Path]] = {}
    last = run / "model.safetensors"
    for file in [*history.glob("*.safetensors"), *([last] if last.is_file() else [])]:
        told = checkpoint.read_header(file)["history"]
        if file == last and told["steps"] < told["of"]:
            continue
        spent = told.get("cpu_seconds", told["seconds"] if file == last else None)
        if spent is None and not file.stem.isdigit():
            raise UserError(f"{file} is not named by minutes of CPU, expected such as 10.safetensors; rename it")
        step = int(told["steps"])
        found.setdefault(step, (round(spent / 60, 1) if spent is not None else float(file.stem), step, file))
    if not found:
        raise UserError(f"{history} and {run} hold no checkpoint; expected {history}/10.safetensors")
    return [found[step] for step in sorted(found)]


def loss_means(log: Iterable[dict[str, Any]], *, after: int, until: int) -> dict[str, float]:
    """Mean of each loss term, "network.term", over the log's lines of steps above `after` up to `until`.

    >>> lines = [{"step": s, "losses": {"generator": {"fake": float(s)}}} for s in (1, 50, 100, 150)]
    >>> loss_means(lines, after=1, until=100)
    {'generator.fake': 75.0}
    """
    terms: dict[str, list[float]] = {}
    for line in log:
        if after < line["step"] <= until:
            for name, value in flatten(line["losses"]).items():
                if value != {}:  # a network that a step left out
                    terms.setdefault(name, []).append(value)
    return {name: float(f"{np.mean(values):.4g}") for name, values in terms.items()}


def figures(bench: Bench, editor: ModelContender) -> dict[str, float]:
    """RMSE under own captions and R@1 of target captions, each with its interval."""
    own = rmse(bench.edits(editor, bench.own), bench.pictures).double().numpy()
    found = (target_ranks(bench, bench.edits(editor, bench.target)) <= 1).astype(float)
    line = {}
    for name, values in (("rmse", own), ("recall@1", found)):
        spread = (float(f"{value:.4g}") for value in interval(values, seed=bench.seed))
        line |= dict(zip((name, f"{name} low", f"{name} high"), spread, strict=True))
    return line


def levels(bench: Bench) -> dict[str, float]:
    """R@1 of photographs with their own caption, and with the target's."""
    real = ranks(bench.fits(bench.pictures, bench.own, bench.task.own_wrong))
    return {
        name: float(f"{(found <= 1).mean():.4g}")
        for name, found in (("real", real), ("unedited", target_ranks(bench, bench.pictures)))
    }


def measure(
    run: Path, history: Path, *, lines: Sequence[dict[str, Any]], judge: str | None, limit: int, seed: int
) -> Iterable[dict[str, Any]]:
    """A line for each checkpoint that `lines` lack, as soon as it is measured."""
    checkpoints, log = kept(run, history), read_log(run / "log.jsonl")
    header = checkpoint.read_header(checkpoints[0][2])
    data, side = DataConfig(name=header["data"]["name"], split="val"), header["preprocessing"]["image_size"]
    bench = Bench(data, size=side, seed=seed, judge=judge or JUDGES.get(data.name), limit=limit)
    before, floor = 0, {}
    for minutes, step, file in checkpoints:
        facts = {"system": run.name, "data": data.name, "split": "val", "minutes": minutes, "step": step}
        facts |= {"n": len(bench), "seed": seed, "judge": bench.judge_label}
        facts |= {"checkpoint": checkpoint.fingerprint(file)}
        if not any(all(line[key] == facts[key] for key in SAME) for line in lines):
            floor = floor or levels(bench)
            terms = loss_means(log, after=before, until=step)
            yield facts | {"losses": terms, **figures(bench, ModelContender.open(file)), **floor, **origin()}
        before = step


def plot(lines: Sequence[dict[str, Any]]) -> str:
    """Curves of one system as SVG: R@1, RMSE under own captions, and the losses of each network."""
    last = max(lines, key=lambda line: (line["step"], line["n"]))
    alike = [line for line in lines if all(line[key] == last[key] for key in ("judge", "seed", "n"))]
    lines = sorted(alike, key=lambda line: line["step"])

    def curve(key: str) -> list[tuple[float, float]]:
        return [(line["minutes"], line[key]) for line in lines]

    def spread(key: str) -> list[tuple[float, float, float]]:
        return [(line["minutes"], line[f"{key} low"], line[f"{key} high"]) for line in lines]

    panels = [
        Panel(
            f"R@1 of 100 by {last['judge'].partition(':')[0]}, target caption, n {last['n']}",
            {"edits": curve("recall@1")},
            {"real photographs": last["real"], "unedited": last["unedited"]},
            spread("recall@1"),
            percent=True,
        ),
        Panel("RMSE in [-1, 1], own caption", {"edits": curve("rmse")}, spreads=spread("rmse")),
    ]
    terms = list(dict.fromkeys(name for line in lines for name in line["losses"]))
    for network in dict.fromkeys(name.partition(".")[0] for name in terms):
        own = {
            name.partition(".")[2]: [(x["minutes"], x["losses"][name]) for x in lines if name in x["losses"]]
            for name in terms
            if name.startswith(f"{network}.")
        }
        panels.append(Panel(f"losses of {network}, mean since the point before", own, log=True))
    title = f"{last['system']}: {last['data']}, held-out training classes"
    return curves_svg(panels, title=title, axis="minutes of one CPU core")


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--history", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Kept checkpoints.")
@click.option("--judge", help="Name or file of a matching model.  [default: that of the data]")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(2), help="Pictures.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--results", default=RESULTS, type=click.Path(path_type=Path), help="File of JSON lines.")
@click.option("--plot", "plots", is_flag=True, help="Write an SVG of each system in the results.")
@click.option("--out", default=PLOTS, type=click.Path(path_type=Path), help="Folder of the plots.")
def main(
    run: Path | None,
    history: Path | None,
    judge: str | None,
    limit: int,
    seed: int,
    results: Path,
    plots: bool,
    out: Path,
) -> None:
    """Measure the checkpoints of the folder RUN, or plot what was measured."""
    if run is None and not plots:
        raise click.UsageError("give the folder of a run, or --plot for plots of what was measured")
    lines = [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []
    try:
        if run is not None:
            for line in measure(run, history or run / "history", lines=lines, judge=judge, limit=limit, seed=seed):
                lines.append(line)
                lines.sort(key=lambda x: (x["system"], x["step"]))
                results.parent.mkdir(parents=True, exist_ok=True)
                write_file(results, "".join(json.dumps(x) + "\n" for x in lines))
                said = f"RMSE {line['rmse']:.3f}, R@1 {100 * line['recall@1']:.1f} %"
                click.echo(f"{line['system']}, {line['minutes']:g} min, step {line['step']}: {said}")
    except UserError as error:
        raise click.ClickException(str(error)) from None
    for system in dict.fromkeys(line["system"] for line in lines) if plots else ():
        out.mkdir(parents=True, exist_ok=True)
        svg = plot([line for line in lines if line["system"] == system])
        write_file(out / f"{system}.svg", svg)
        click.echo(f"{out / f'{system}.svg'}: {len(svg) / 1024:.1f} KiB")


if __name__ == "__main__":
    keep_memory()
    main()
