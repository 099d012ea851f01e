"""Growth of an edit's time and memory with the size of a photograph, and of a folder's with the number of pictures.

    python benchmarks/growth.py --run      # measures, and writes benchmarks/results/growth.jsonl
    python benchmarks/growth.py            # writes benchmarks/curves/growth.svg of these lines

A rendered bird, enlarged, with noise, is edited by `tgim edit` in a process of its own, on one thread: the processor's
seconds of the whole process (so with its start, which the smallest size shows) and the most memory that it held, each
the median of --times processes. A folder holds so many pictures of 320 x 240. Both should be lines; the slopes of
logarithms between neighbours say how near they come, 1 is in proportion.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
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
RESULTS, PLOT = ROOT / "benchmarks" / "results" / "growth.jsonl", ROOT / "benchmarks" / "curves" / "growth.svg"
MEGAPIXELS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
PICTURES = (100, 1000, 10_000)
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
SHOWN = 12.0  # megapixels of the plot's axis: a phone's photograph


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
    return {"what": what, "size": size, "seconds": round(seconds, 3), "mib": round(memory), "n": len(runs), **origin()}


def sizes(times: int) -> list[dict[str, Any]]:
    """Edits of one photograph of each size."""
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for megapixels in MEGAPIXELS:
            (folder / "bird.jpg").write_bytes(bird(megapixels))
            words = ("edit", "--image", "bird.jpg", "--text", "red head and breast", "--out", "out.jpg")
            lines.append(measured("megapixels", megapixels, [process(*words, folder=folder) for _ in range(times)]))
            click.echo(json.dumps(lines[-1]))
    return lines


def folders(counts: tuple[int, ...]) -> list[dict[str, Any]]:
    """Edits of a folder of each length, once."""
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        few = [bird(320 * 240 / 1e6, seed=seed) for seed in range(20)]
        for count in counts:
            for i in range(count):
                (folder / "in" / f"{i:05d}.jpg").write_bytes(few[i % len(few)])
            words = ("edit", "--images", "in", "--text", "red head and breast", "--out", f"out{count}")
            lines.append(measured("pictures", count, [process(*words, folder=folder)]))
            click.echo(json.dumps(lines[-1]))
    return lines


def plot(lines: list[dict[str, Any]]) -> str:
    """The plot of the sizes that fit its axis."""
    shown = [line for line in lines if line["what"] == "megapixels" and line["size"] <= SHOWN]
    panels = [
        Panel("seconds of one core, with the start", {"edit": [(line["size"], line["seconds"]) for line in shown]}),
        Panel("memory, MiB", {"process": [(line["size"], line["mib"]) for line in shown]}),
    ]
    return curves_svg(panels, title="An edit by the size of the photograph", axis="megapixels")


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
        rows.append(f"| {name} | {line['seconds']:.2f} | {slope} | {line['mib']:,} |")
    return "\n".join(rows)


@click.command()
@click.option("--run", is_flag=True, help="Measure, instead of reading the results.")
@click.option("--times", default=3, show_default=True, help="Processes of each size.")
@click.option("--pictures", default=max(PICTURES), show_default=True, help="Longest folder.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(run: bool, times: int, pictures: int, results: Path) -> None:
    """Measure growth, or plot it."""
    if run:
        lines = sizes(times) + folders(tuple(count for count in PICTURES if count <= pictures))
        write_file(results, "".join(json.dumps(line) + "\n" for line in lines))
    lines = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    write_file(PLOT, plot(lines))
    click.echo(table(lines))


if __name__ == "__main__":
    main()
