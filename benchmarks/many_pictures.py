"""Ranking of many pictures by a caption, with an empty cache and with a full one, at folders of growing length.

    python benchmarks/many_pictures.py --run --folder /tmp/many      # writes benchmarks/results/many.jsonl
    python benchmarks/many_pictures.py                               # prints these lines as a table

`tgim match FOLDER --text "a red bird with black wings"` in a process of its own, on one thread: seconds of the clock
and of the processor with its start, and the most memory that it held. Pictures are rendered birds of 96 x 72 pixels as
JPEG, 500 of them again and again with a few bytes at their end that differ, so that each is a file and a content of its
own; with --contents N those after the first N are hard links to them, and a run in between finds all by content, as
after they were moved. Looking up is finding the place of every picture's row: a look at each file and at the index.
What is printed must be the same each time.
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
from tgim.inference.embeddings import FOLDER, known_rows, stores
from tgim.system.rows import Rows
paths = list_images(sys.argv[1])
begun, cpu = time.perf_counter(), time.process_time()
(name,) = stores(Path(sys.argv[2]) / FOLDER)
rows = Rows(Path(sys.argv[2]) / FOLDER, name, width=int(sys.argv[3]))
found = known_rows(rows, paths)
print((found >= 0).sum(), time.perf_counter() - begun, time.process_time() - cpu)
"""


def fill(folder: Path, count: int, contents: int) -> None:
    """Make the pictures that are not there yet; those after the first `contents` are links to them."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for seed in range(min(DRAWN, count)):
        buffer = io.BytesIO()
        Image.fromarray(sample_picture("birds", seed=seed, size=(72, 96))).save(buffer, "JPEG", quality=85)
        drawn.append(buffer.getvalue())
    for i in range(count):
        path = folder / f"{i:06d}.jpg"
        if path.exists():
            continue
        if i >= contents:
            os.link(folder / f"{i % contents:06d}.jpg", path)
        else:
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


def measure(folder: Path, cache: Path, count: int, contents: int) -> dict[str, Any]:
    """A line of results."""
    contents = min(contents, count)
    fill(folder, contents, contents)
    shutil.rmtree(cache, ignore_errors=True)
    first, printed = run(folder, cache)
    moved = None
    if contents < count:
        fill(folder, count, contents)
        moved, printed = run(folder, cache)
    second, again = run(folder, cache)
    if printed != again:
        raise click.ClickException("the second run printed something else")
    files = {path.suffix: path.stat().st_size for path in (cache / "embeddings").iterdir()}
    width = files[".rows"] // contents // 4
    command = [sys.executable, "-c", LOOKED_UP, str(folder), str(cache), str(width)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    line = {"model": MODEL, "pictures": count, "contents": contents, "first": first, "moved": moved, "second": second}
    line |= {"found": int(told[0]), "look_up": round(float(told[1]), 3), "look_up_cpu": round(float(told[2]), 3)}
    return line | {"bytes": sum(files.values())} | origin()


def table(lines: list[dict[str, Any]]) -> str:
    """The lines as a Markdown table."""
    rows = [
        "| pictures | contents | first run, s (CPU s) | second | all moved | look-up | cache | memory, MiB |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for line in lines:
        runs = [line[each] for each in ("first", "second", "moved")]
        told = [f"{each['wall']:,.1f} ({each['cpu']:,.1f})" if each else "–" for each in runs]
        told.append(f"{line['look_up']:.2f} ({line['look_up_cpu']:.2f})" if line["look_up_cpu"] else "–")
        told.append(f"{line['bytes'] / 1e6:,.0f} MB")
        told.append(f"{max(each['mib'] for each in runs if each):,}")
        rows.append(f"| {line['pictures']:,} | {line['contents']:,} | {' | '.join(told)} |")
    return "\n".join(rows)


@click.command()
@click.option("--run", "measuring", is_flag=True, help="Measure, instead of reading the results.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where pictures and cache are made and removed.")
@click.option("--pictures", default=max(COUNTS), show_default=True, help="Longest folder.")
@click.option("--contents", default=max(COUNTS), show_default=True, help="Of different content.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(measuring: bool, folder: Path | None, pictures: int, contents: int, results: Path) -> None:
    """Measure the ranking of many pictures, or print what was measured."""
    if measuring:
        if folder is None:
            raise click.UsageError("give --folder, with 10 GB of room")
        lines = []
        for count in (count for count in COUNTS if count <= pictures):
            lines.append(measure(folder / "pictures", folder / "cache", count, contents))
            write_file(results, "".join(json.dumps(line) + "\n" for line in lines))
        shutil.rmtree(folder)
    click.echo(table([json.loads(line) for line in results.read_text("utf-8").splitlines()]))


if __name__ == "__main__":
    main()
