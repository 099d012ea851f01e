"""Seconds of one edit, and pictures a second in training, on this processor; prints JSON lines.

    python benchmarks/speed.py               # edits: alone, beside a busy process, under a quota
    python benchmarks/speed.py --training    # training steps of the recipes for a CPU, one thread, CPU seconds
    python benchmarks/speed.py --soak 5000   # so many edits in one process: memory, and whether the last is the first

An edit is timed without start-up, on a synthetic bird of 1 and of 12 megapixels, in a process of its own, on one thread
and on as many as there are cores. The busy process multiplies matrices on all cores. The quota, of half the cores, is a
control group of Linux and needs the right to make one. A training step is `Trainer.train_step` on the recipe's own data
(`TGIM_DATA`), with a few steps of each model that must be trained first; beside it stands what making its batch costs,
which a thread does during the step before. How a step compares with that of the authors' release is
`benchmarks/steps.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
SIZES = ((866, 1155), (3000, 4000))  # height, width in pixels: 1 and 12 megapixels
TEXT, RUNS, STEPS = "red head and breast", 15, 6
CPU_RECIPES = tuple(
    f"{name}_birds"
    for name in (
        *("guide", "tagrid", "judge", "matching", "vse", "damsm", "sje"),
        *("tagan_small", "sisgan_small", "tagan_medium", "sisgan_medium"),
        *("gan_int_cls_small", "stackgan1_small", "stackgan2_small", "stackgan_v2_small", "attngan_small"),
        *("style_encoder_small", "compose_tirg", "compose_concat"),
    )
)
CGROUP = Path("/sys/fs/cgroup/cpu/tgim-speed")
BUSY = "import numpy as np\nx = np.ones((1500, 1500), np.float32)\nwhile True: x @ x"
EDIT = """
import json, time
from PIL import Image
from tgim import Editor
from tgim.data.synthetic.pairs import sample_picture
from tgim.images.photo import open_image
edit = Editor.from_pretrained({model!r})
drawn = Image.fromarray(sample_picture("birds", size=(433, 577)))
photo = open_image(drawn.resize(({width}, {height}), Image.Resampling.BICUBIC))
edit.edit_photo(photo, {text!r})
seconds = []
for _ in range({runs}):
    start, cpu = time.perf_counter(), time.process_time()
    edit.edit_photo(photo, {text!r})
    seconds.append((time.perf_counter() - start, time.process_time() - cpu))
print(json.dumps(seconds))
"""


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Run another process that keeps all cores busy."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as other:
        time.sleep(1)
        try:
            yield
        finally:
            other.kill()


@contextlib.contextmanager
def quota() -> Iterator[None]:
    """Put this process and its children into a control group with half of the cores."""
    CGROUP.mkdir()
    try:
        period = int((CGROUP / "cpu.cfs_period_us").read_text())
        (CGROUP / "cpu.cfs_quota_us").write_text(str(period * max(1, (os.cpu_count() or 2) // 2)))
        (CGROUP / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (CGROUP.parent / "cgroup.procs").write_text(str(os.getpid()))
        CGROUP.rmdir()


SITUATIONS = {"alone": contextlib.nullcontext, "beside a busy process": busy, "under a quota of half the cores": quota}


def edits(model: str) -> Iterator[dict[str, object]]:
    """Yield a row for each size, situation and number of threads."""
    for height, width in SIZES:
        for situation, around in SITUATIONS.items():
            for threads in sorted({1, os.cpu_count() or 1}):
                code = EDIT.format(model=model, height=height, width=width, runs=RUNS, text=TEXT)
                variables = {**os.environ, "OMP_NUM_THREADS": str(threads)}
                try:
                    with around():
                        done = subprocess.run(
                            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables
                        )
                except OSError as error:
                    print(f"{situation}: {error}", file=sys.stderr)
                    continue
                seconds, cpu = zip(*json.loads(done.stdout), strict=True)
                yield {
                    "edit": model,
                    "megapixels": round(height * width / 1e6, 2),
                    "situation": situation,
                    "threads": threads,
                    "median_seconds": round(statistics.median(seconds), 3),
                    "slowest_seconds": round(max(seconds), 3),
                    "median_cpu_seconds": round(statistics.median(cpu), 3),
                    "n": RUNS,
                }


def soak(model: str, count: int) -> Iterator[dict[str, object]]:
    """Yield a row: memory of this process after a tenth of `count` edits of a small picture, and after all."""
    import torch

    from tgim import Editor
    from tgim.data.synthetic.pairs import sample_picture
    from tgim.images.photo import open_image

    torch.set_num_threads(1)
    edit, picture = Editor.from_pretrained(model), sample_picture("birds", size=(64, 64))
    texts = ("a red bird", "blue head and yellow breast", "black wings")
    held, made, begun = [], [], time.process_time()
    for number in range(count):
        photo = edit.edit_photo(open_image(picture), texts[number % len(texts)])
        if number in (0, (count - 1) // len(texts) * len(texts)):
            made.append(photo.to_pil().tobytes())
        if number in (count // 10, count - 1):
            held.append(memory())
    yield {
        "soak": model,
        "edits": count,
        "megabytes_after_a_tenth": round(held[0] / 1e6, 1),
        "megabytes_after_all": round(held[-1] / 1e6, 1),
        "same_bytes": made[0] == made[-1],
        "cpu_seconds_per_edit": round((time.process_time() - begun) / count, 4),
    }


def memory() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def steps(names: tuple[str, ...], overrides: tuple[str, ...]) -> Iterator[dict[str, object]]:
    """Yield a row for each recipe."""
    import torch

    from tgim.checkpoints import checkpoint
    from tgim.system.memory import keep_memory
    from tgim.training import recipe
    from tgim.training.build import build_trainer
    from tgim.training.dry_run import dry_run

    torch.set_num_threads(1)
    keep_memory()
    files: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder, checkpoint.naming(files):

        def first(name: str) -> Path:
            """Train the model of a recipe for a few steps, for a recipe that needs it; returns its file."""
            made = Path(folder) / name
            chosen = prepared(name)
            made.mkdir()
            dry_run(chosen, keep=made)
            return made / "model.safetensors"

        def prepared(name: str) -> recipe.Recipe:
            text = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
            for part in {word.strip() for word in text.split() if word.startswith("runs/") and "model" in word}:
                if part not in files:
                    files[part] = first(part.split("/")[1])
            return recipe.load(RECIPES / f"{name}.yaml", ["data.synthetic.pool=400", "train.device=cpu", *overrides])

        for name in names:
            chosen = prepared(name)
            trainer = build_trainer(chosen, cache=Path(folder) / "cache", limit=chosen.train.batch_size)
            seconds, loading = [], []
            for step in range(STEPS):
                begun = time.process_time()
                batch = trainer.batches.batch(step)
                loaded = time.process_time()
                trainer.train_step(batch)
                loading.append(loaded - begun)
                seconds.append(time.process_time() - loaded)
            step_seconds, loader_seconds = statistics.median(seconds[1:]), statistics.median(loading[1:])
            yield {
                "recipe": name,
                "precision": trainer.precision.name,
                "batch": chosen.train.batch_size,
                "cpu_seconds_per_step": round(step_seconds, 3),
                "loader_cpu_seconds_per_batch": round(loader_seconds, 4),
                "loader_batches_per_step": round(step_seconds / loader_seconds, 1),
                "pictures_per_second": round(chosen.train.batch_size / step_seconds, 1),
                "hours": round(trainer.total * step_seconds / 3600, 2),
                "n": STEPS - 1,
            }


@click.command()
@click.option("--model", default="birds", show_default=True, help="Of the edits.")
@click.option("--training", is_flag=True, help="Time training steps instead of edits.")
@click.option("--recipe", "names", multiple=True, help="Of --training; several allowed.  [default: all for a CPU]")
@click.option("--soak", "edits_in_all", type=click.IntRange(10), help="Make so many edits in this process instead.")
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
def main(
    model: str, training: bool, names: tuple[str, ...], edits_in_all: int | None, overrides: tuple[str, ...]
) -> None:
    """Time edits, or training steps of recipes, with KEY=VALUE in place of some of their values."""
    from tgim.environment import describe

    about = describe()
    machine = {"processor": about["cpu"], "cores": about["usable_cores"], "torch": about["packages"]["torch"]}
    rows = steps(names or CPU_RECIPES, overrides) if training else edits(model)
    for row in soak(model, edits_in_all) if edits_in_all else rows:
        print(json.dumps(row | machine), flush=True)


if __name__ == "__main__":
    main()
