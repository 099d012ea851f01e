"""Measurements of `scale.py`: rates of one core, and what Ray, workers, listing and starting add."""

from __future__ import annotations

import io
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

MODELS = ("birds", "birds-1", "tagan-birds")
SIZES = {
    "64 px": (64, 64, 31),
    "0.5 MP": (816, 612, 21),
    "1 MP": (1155, 866, 15),
    "12 MP": (4000, 3000, 7),
}  # and number
TEXT = "red head and breast"
NAMES, FEW, MANY, PAIRS = 20_000, 16, 144, 3
TICK = os.sysconf("SC_CLK_TCK")
Row = dict[str, Any]


def pictures(width: int, height: int) -> Iterator[bytes]:
    """JPEG files of rendered birds, enlarged, with noise; without end."""
    import numpy as np
    from PIL import Image

    from tgim.data.synthetic.pairs import sample_picture

    for seed in itertools.count():
        drawn = Image.fromarray(sample_picture("birds", seed=seed, size=(480, 640) if width > 64 else (height, width)))
        pixels = np.asarray(drawn.resize((width, height), Image.Resampling.LANCZOS), np.float32)
        noise = np.random.default_rng(seed).normal(0, 3, pixels.shape).astype(np.float32)
        buffer = io.BytesIO()
        Image.fromarray((pixels + noise).round().clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        yield buffer.getvalue()


def rates(models: tuple[str, ...]) -> Iterator[Row]:
    """A row for each model and size."""
    from tgim import Editor
    from tgim.errors import SubjectError
    from tgim.images.photo import open_image, to_bytes

    for model in models:
        edit = Editor.from_pretrained(model)
        for size, (width, height, count) in SIZES.items():
            found: list[list[float]] = []
            told: list[tuple[int, int]] = []
            for content in pictures(width, height):
                clock = [time.process_time()]
                photo = open_image(content)
                clock.append(time.process_time())
                try:
                    region = edit.region(photo)
                    edited = edit.edit_photo(photo, TEXT, box=region, focus=False)
                except SubjectError:  # which is another amount of work
                    continue
                clock.append(time.process_time())
                written = to_bytes(edited)
                clock.append(time.process_time())
                found.append([after - before for before, after in itertools.pairwise(clock)])
                told.append((len(content), len(written)))
                if len(found) > count:
                    break
            del found[0], told[0]  # the first warms up
            decode, change, encode = (round(median(each), 5) for each in zip(*found, strict=True))
            sums = sorted(map(sum, found))
            yield {
                **{"what": "rate", "model": model, "size": size, "width": width, "height": height, "n": count},
                **{"decode_s": decode, "edit_s": change, "encode_s": encode, "total_s": round(median(sums), 5)},
                **{"lowest_s": round(sums[0], 5), "highest_s": round(sums[-1], 5)},
                **{"bytes_in": round(median(a for a, _ in told)), "bytes_out": round(median(b for _, b in told))},
            }


def start(models: tuple[str, ...]) -> Iterator[Row]:
    """A row for each model: seconds of a process that imports torch and loads it, and the memory that it then holds."""
    code = (
        "import time; from tgim import Editor; Editor.from_pretrained({!r}); print(time.process_time());"
        "print(*[line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')])"
    )
    for model in models:
        runs = [subprocess.run([sys.executable, "-c", code.format(model)], capture_output=True, text=True, check=True)
                for _ in range(5)]  # fmt: skip
        seconds, memory = zip(*(map(float, run.stdout.split()) for run in runs), strict=True)
        yield {
            "what": "start",
            "model": model,
            "cpu_s": round(median(seconds), 3),
            "mb": round(median(memory) / 1024),
            "n": 5,
        }


def photographs() -> Iterator[Row]:
    """A row with the bytes per pixel of real photographs and of their edits by `birds`."""
    from tgim import Editor
    from tgim.errors import SubjectError
    from tgim.images.photo import open_image, to_bytes

    edit, found = Editor.from_pretrained("birds"), []
    folder = Path(os.environ["TGIM_DATA"]) / "photos" / "birds"
    for path in sorted(each for each in folder.rglob("*") if each.suffix.lower() == ".jpg")[:40]:
        photo = open_image(path)
        try:
            written = to_bytes(edit.edit_photo(photo, TEXT))
        except SubjectError:
            continue
        pixels = photo.width * photo.height
        found.append((path.stat().st_size / pixels, len(written) / pixels, pixels / 1e6))
    before, after, size = (round(median(each), 3) for each in zip(*found, strict=True))
    yield {"what": "bytes per pixel", "in": before, "out": after, "megapixels": size, "n": len(found)}


def listing() -> Iterator[Row]:
    """A row: seconds to list a folder, and seconds, bytes on disk and in memory, to read its manifest."""
    from tgim.images.folder import walk_images
    from tgim.inference.folder_edit import Asked, Folder, Maker
    from tgim.inference.manifest import NAME, Manifest

    with tempfile.TemporaryDirectory() as held:
        photos, out = Path(held, "photos"), Path(held, "out")
        for number in range(NAMES):
            path = photos / f"{number // 1000:04}" / f"{number:09}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        out.mkdir()
        folder = Folder(photos, out, (TEXT,), Asked(), checkpoint="0" * 16)
        maker = Maker.__new__(Maker)
        maker.folder = folder
        names = list(walk_images(photos, without=out))
        lines = (maker._line(name, folder.jobs(name)[0], name.encode(), None) for name in names)
        (out / NAME).write_text("".join(json.dumps({**line, "output": "0" * 64}) + "\n" for line in lines))
        walked, read = [], []
        for _ in range(5):
            begun = time.process_time()
            list(walk_images(photos, without=out))
            walked.append(time.process_time() - begun)
            begun = time.process_time()
            Manifest(out).has({"out": "none.jpg"})
            read.append(time.process_time() - begun)
        tracemalloc.start()
        manifest = Manifest(out)
        manifest.has({"out": "none.jpg"})
        held_bytes = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        size = (out / NAME).stat().st_size
    yield {
        **{"what": "listing", "names": NAMES, "n": 5, "list_s": round(median(walked), 4)},
        **{"manifest_s": round(median(read), 4), "manifest_bytes": round(size / NAMES)},
        "held_bytes": round(held_bytes / NAMES),
    }


def workers() -> Iterator[Row]:
    """A row: a folder by one process and by two, in turns."""
    width, height, _ = SIZES["0.5 MP"]
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as held:
        photos = Path(held, "photos")
        photos.mkdir()
        for number, content in enumerate(itertools.islice(pictures(width, height), MANY // 4)):
            (photos / f"{number}.jpg").write_bytes(content)
        for turn in range(PAIRS):
            for count in (1, 2) if turn % 2 else (2, 1):
                command = [sys.executable, "-m", "tgim", "edit", "--images", str(photos), "--text", TEXT]
                command += ["--out", f"{held}/{turn}-{count}", "--workers", str(count)]
                before, begun = children(), time.perf_counter()
                subprocess.run(command, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
                found[count].append((time.perf_counter() - begun, children() - before))
    ratios = sorted(one[0] / two[0] for one, two in zip(found[1], found[2], strict=True))
    yield {
        **{"what": "workers", "size": "0.5 MP", "pictures": MANY // 4, "n": PAIRS},
        **{"one_cpu_s": middle(found[1], 1), "two_cpu_s": middle(found[2], 1)},
        **{"one_wall_s": middle(found[1], 0), "two_wall_s": middle(found[2], 0)},
        **{"faster": round(median(ratios), 2), "lowest": round(ratios[0], 2), "highest": round(ratios[-1], 2)},
        "load": round(os.getloadavg()[0], 1),
    }


def middle(found: list[tuple[float, float]], at: int) -> float:
    return round(median(each[at] for each in found), 2)


def children() -> float:
    """CPU seconds of processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def over_ray() -> Iterator[Row]:
    """A row for each of two sizes: a row of a table in a plain loop and over Ray with one actor."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    import ray
    import ray.data

    from tgim import scale
    from tgim.errors import SubjectError

    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=400 << 20, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    columns = scale.Columns("image", "text", None, None, None, "edited", "notes", "error")
    loop = scale.Rows(model="birds", columns=columns, asked=scale.Asked(), threads=1, forgiving=False)

    def seen(content: bytes) -> bool:
        try:
            return bool(loop.one(content, TEXT))
        except SubjectError:
            return False

    for size in ("64 px", "1 MP"):
        width, height, _ = SIZES[size]
        files = list(itertools.islice(filter(seen, pictures(width, height)), FEW))
        rows = [{"image": files[number % FEW], "text": TEXT} for number in range(MANY)]

        def job(rows: list[Row]) -> tuple[float, float]:
            before, begun = family(), time.perf_counter()
            done = scale.edit(rows, concurrency=1, on_error="raise").materialize()
            spent = time.perf_counter() - begun, sum(s - before.get(each, 0.0) for each, s in family().items())
            if done.count() != len(rows):
                raise ValueError("rows were lost")
            return spent

        found: list[tuple[float, ...]] = []
        for _ in range(PAIRS):
            used, begun = time.process_time(), time.perf_counter()
            for row in rows[FEW:]:
                loop.one(row["image"], row["text"])
            plain = time.perf_counter() - begun, time.process_time() - used
            few, many = job(rows[:FEW]), job(rows)
            found.append((*plain, many[0] - few[0], many[1] - few[1], *few))
        each = [median(values) / (MANY - FEW) for values in zip(*found, strict=True)]
        shares = sorted(one[3] / one[1] - 1 for one in found)
        yield {
            **{"what": "ray", "size": size, "rows": MANY - FEW, "batch": 16, "n": PAIRS, "ray": ray.__version__},
            **{"loop_cpu_s": round(each[1], 5), "ray_cpu_s": round(each[3], 5)},
            **{"loop_wall_s": round(each[0], 5), "ray_wall_s": round(each[2], 5)},
            **{"more": round(median(shares), 3), "lowest": round(shares[0], 3), "highest": round(shares[-1], 3)},
            "job_cpu_s": round(median(one[5] for one in found) - FEW * each[3], 1),
            "load": round(os.getloadavg()[0], 1),
        }
    ray.shutdown()


def family() -> dict[int, float]:
    """CPU seconds of this process and all below it that are alive, by process."""
    parents, seconds = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.name)], seconds[int(path.name)] = int(told[1]), sum(map(int, told[11:15])) / TICK

    def ours(process: int) -> bool:
        while process > 1 and process != os.getpid():
            process = parents.get(process, 0)
        return process == os.getpid()

    return {each: used for each, used in seconds.items() if ours(each)}


RUNS: dict[str, Callable[[tuple[str, ...]], Iterator[Row]]] = {
    "rates": rates,
    "start": start,
    "photographs": lambda _: photographs(),
    "listing": lambda _: listing(),
    "workers": lambda _: workers(),
    "ray": lambda _: over_ray(),
}
