"""Growth of an edit's time and memory with the size of a photograph, and of a folder's with the number of pictures.

    python benchmarks/growth.py --run      # measures, and writes benchmarks/results/growth.jsonl
    python benchmarks/growth.py            # writes benchmarks/curves/growth_*.svg of these lines

Rendered birds, enlarged, with noise, are edited by `tgim edit` in a process of its own, on one thread: the processor's
seconds of the whole process (so with its start, which the smallest size shows) and the most memory that it held. Of one
photograph each is the median of --times processes; a folder holds so many pictures of 256 x 192 and is edited once, by
a model of about half the default's time. Both should be lines; the slopes of logarithms between neighbours say how near
they come, 1 is in proportion.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from tgim.data.synthetic.pairs import sample_picture
from tgim.environment import origin
from tgim.reporting.curves import Panel, curves_svg
from tgim.system.files import write_file

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PLOTS = ROOT / "benchmarks" / "results" / "growth.jsonl", ROOT / "benchmarks" / "curves"
MEGAPIXELS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
PICTURES = (100, 1000, 10_000)
TEXT = "red head and breast"
TOLD = """
import os, sys
from tgim.cli.main import main
try:
    main(sys.argv[1:])
finally:
    used = os.times()
    memory = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(used.user + used.system + used.children_user + used.children_system, memory.split()[1])
"""
MODELS = {"megapixels": "birds", "pictures": "birds-1"}
TITLES = {"megapixels": "An edit by the size of the photograph", "pictures": "A folder by the number of its pictures"}
SIZE = 256 * 192 / 1e6  # megapixels of a folder's pictures


def bird(megapixels: float, *, seed: int = 0) -> bytes:
    """A JPEG of a rendered bird, of so many pixels, 4 to 3."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    picture = Image.fromarray(sample_picture("birds", seed=seed, size=(600, 800)))
    large = picture.resize((round(height * 4 / 3), height), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(seed).integers(-4, 5, (256, 256, 3))
    tiles = -(-large.height // 256), -(-large.width // 256), 1
    rough = np.asarray(large) + np.tile(noise, tiles)[: large.height, : large.width]
    buffer = io.BytesIO()
    Image.fromarray(rough.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def process(*words: str, folder: Path) -> tuple[float, float]:
    """Run `tgim` with these words in `folder`: the processor's seconds, and the most memory in MiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TOLD, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(done.stderr.strip())
    seconds, memory = done.stdout.split()[-2:]
    return float(seconds), float(memory) / 1024


def measured(what: str, size: float, runs: list[tuple[float, float]]) -> dict[str, Any]:
    """A line of results."""
    seconds, memory = (statistics.median(each) for each in zip(*runs, strict=True))
    line = {"what": what, "size": size, "model": MODELS[what], "seconds": round(seconds, 3), "mib": round(memory)}
    return line | {"n": len(runs)} | origin()


def sizes(times: int) -> Iterator[dict[str, Any]]:
    """Edits of one photograph of each size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for megapixels in MEGAPIXELS:
            (folder / "bird.jpg").write_bytes(bird(megapixels))
            words = ("edit", "--image", "bird.jpg", "--text", TEXT, "--out", "out.jpg", "--model", MODELS["megapixels"])
            yield measured("megapixels", megapixels, [process(*words, folder=folder) for _ in range(times)])


def folders(counts: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Edits of a folder of each length, once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        few = [bird(SIZE, seed=seed) for seed in range(20)]
        for count in counts:
            for i in range(count):
                (folder / "in" / f"{i:05d}.jpg").write_bytes(few[i % len(few)])
            words = ("edit", "--images", "in", "--text", TEXT, "--out", f"out{count}", "--model", MODELS["pictures"])
            yield measured("pictures", count, [process(*words, folder=folder)])


def plot(lines: list[dict[str, Any]], what: str) -> str:
    """The plot of sizes of one kind, both axes logarithmic, with a line of what is in proportion to the largest."""
    shown = [line for line in lines if line["what"] == what]
    last = shown[-1]

    def panel(title: str, key: str) -> Panel:
        return Panel(title, {"tgim edit": [(line["size"], line[key]) for line in shown]}, log=True)

    seconds, memory = panel("seconds of one core, with the start", "seconds"), panel("memory, MiB", "mib")
    straight = [(line["size"], last["seconds"] * line["size"] / last["size"]) for line in shown]
    seconds = replace(seconds, curves={**seconds.curves, "in proportion": straight})
    return curves_svg([seconds, memory], title=TITLES[what], axis=what, log=True)


def table(lines: list[dict[str, Any]]) -> str:
    """The lines as a Markdown table, with the slope from the line before."""
    rows = ["| | seconds of one core | slope | memory, MiB |", "|--:|--:|--:|--:|"]
    before: dict[str, dict[str, Any]] = {}
    for line in lines:
        last, slope = before.get(line["what"]), ""
        if last is not None:
            slope = f"{np.log(line['seconds'] / last['seconds']) / np.log(line['size'] / last['size']):.2f}"
        before[line["what"]] = line
        name = f"{line['size']:g} Mpixel" if line["what"] == "megapixels" else f"{line['size']:,.0f} pictures"
        name += f", `{line['model']}`"
        rows.append(f"| {name} | {line['seconds']:.2f} | {slope} | {line['mib']:,} |")
    return "\n".join(rows)


@click.command()
@click.option("--run", is_flag=True, help="Measure, instead of reading the results.")
@click.option("--only", type=click.Choice(list(MODELS)), help="Measure these alone; the others' lines stay.")
@click.option("--times", default=3, show_default=True, help="Processes of each size.")
@click.option("--pictures", default=max(PICTURES), show_default=True, help="Longest folder.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(run: bool, only: str | None, times: int, pictures: int, results: Path) -> None:
    """Measure growth, or plot it."""
    lines = [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []
    if run:
        counts = tuple(count for count in PICTURES if count <= pictures)
        ways = {"megapixels": lambda: sizes(times), "pictures": lambda: folders(counts)}
        for what in [only] if only else ways:
            new = []
            for line in ways[what]():
                click.echo(json.dumps(line))
                new.append(line)
            lines = sorted([line for line in lines if line["what"] != what] + new, key=lambda line: line["what"])
            write_file(results, "".join(json.dumps(line) + "\n" for line in lines))
    for what in MODELS:
        write_file(PLOTS / f"growth_{what}.svg", plot(lines, what))
    click.echo(table(lines))


if __name__ == "__main__":
    main()
