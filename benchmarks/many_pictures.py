"""Ranking of many pictures by a caption, with an empty cache and with a full one, at folders of growing length.

    python benchmarks/many_pictures.py --run --folder /tmp/many      # writes benchmarks/results/many.jsonl
    python benchmarks/many_pictures.py                               # prints these lines as a table

`tgim match FOLDER --text "a red bird with black wings"` in a process of its own, on one thread: seconds of the clock
and of the processor with its start, and the most memory that it held. Pictures are rendered birds of 96 x 72 pixels as
JPEG, 500 of them again and again with a few bytes at their end that differ, so that each is a file and a content of its
own. Looking up is finding the place of every picture's row: a look at each file and at the index. What is printed must
be the same each time.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
from PIL import Image

from tgim.data.synthetic.pairs import sample_picture
from tgim.environment import origin
from tgim.system.files import write_file

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "many.jsonl"
COUNTS, DRAWN = (1000, 10_000, 100_000), 500
TEXT, MODEL = "a red bird with black wings", "judge-birds"
TOLD = """
import os, sys
from tgim.cli.main import main
try:
    main(sys.argv[1:])
finally:
    used = os.times()
    memory = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(used.user + used.system, memory.split()[1])
"""
LOOKED_UP = """
import sys, time
from pathlib import Path
from tgim.images.folder import list_images
from tgim.inference.embeddings import FOLDER, known_places, stores
from tgim.system.rows import Rows
paths = list_images(sys.argv[1])
begun = time.perf_counter()
(name,) = stores(Path(sys.argv[2]) / FOLDER)
rows = Rows(Path(sys.argv[2]) / FOLDER, name, width=int(sys.argv[3]))
places = known_places(rows, paths)
print(sum(place is not None for place in places), time.perf_counter() - begun)
"""


def fill(folder: Path, count: int) -> None:
    """Make the pictures that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for seed in range(min(DRAWN, count)):
        buffer = io.BytesIO()
        Image.fromarray(sample_picture("birds", seed=seed, size=(72, 96))).save(buffer, "JPEG", quality=85)
        drawn.append(buffer.getvalue())
    for i in range(count):
        path = folder / f"{i:06d}.jpg"
        if not path.exists():
            path.write_bytes(drawn[i % len(drawn)] + b"%06d" % i)


def run(folder: Path, cache: Path, *more: str) -> tuple[dict[str, float], str]:
    """Rank the folder once: seconds, seconds of the processor, MiB; and what was printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TGIM_CACHE": str(cache)}
    command = [sys.executable, "-c", TOLD, "match", str(folder), "--text", TEXT, "--model", MODEL, "--json", *more]
    begun = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(done.stderr.strip())
    printed, _, last = done.stdout.strip().rpartition("\n")
    seconds, memory = map(float, last.split())
    return {"wall": round(time.monotonic() - begun, 2), "cpu": round(seconds, 2), "mib": round(memory / 1024)}, printed


def measure(folder: Path, cache: Path, count: int) -> dict[str, Any]:
    """A line of results."""
    fill(folder, count)
    shutil.rmtree(cache, ignore_errors=True)
    first, printed = run(folder, cache)
    second, again = run(folder, cache)
    if printed != again:
        raise click.ClickException("the second run printed something else")
    files = {path.suffix: path.stat().st_size for path in (cache / "embeddings").iterdir()}
    width = files[".rows"] // count // 4
    command = [sys.executable, "-c", LOOKED_UP, str(folder), str(cache), str(width)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    found = {"found": int(told[0]), "look_up": round(float(told[1]), 3), "bytes": sum(files.values())}
    return {"model": MODEL, "pictures": count, "first": first, "second": second} | found | origin()


def table(lines: list[dict[str, Any]]) -> str:
    """The lines as a Markdown table."""
    rows = [
        "| pictures | first run, s (CPU s) | second, s (CPU s) | look-up, s | cache | memory, MiB |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for line in lines:
        runs = (f"{line[each]['wall']:,.1f} ({line[each]['cpu']:,.1f})" for each in ("first", "second"))
        memory = f"{line['first']['mib']}, {line['second']['mib']}"
        size = f"{line['bytes'] / 1e6:,.0f} MB"
        rows.append(f"| {line['pictures']:,} | {' | '.join(runs)} | {line['look_up']:.3f} | {size} | {memory} |")
    return "\n".join(rows)


@click.command()
@click.option("--run", "measuring", is_flag=True, help="Measure, instead of reading the results.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where pictures and cache are made and removed.")
@click.option("--pictures", default=max(COUNTS), show_default=True, help="Longest folder.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(measuring: bool, folder: Path | None, pictures: int, results: Path) -> None:
    """Measure the ranking of many pictures, or print what was measured."""
    if measuring:
        if folder is None:
            raise click.UsageError("give --folder, with 10 GB of room")
        lines = []
        for count in (count for count in COUNTS if count <= pictures):
            lines.append(measure(folder / "pictures", folder / "cache", count))
            write_file(results, "".join(json.dumps(line) + "\n" for line in lines))
        shutil.rmtree(folder)
    click.echo(table([json.loads(line) for line in results.read_text("utf-8").splitlines()]))


if __name__ == "__main__":
    main()
