"""Mixed traffic at twice the capacity of `tgim serve`: wrong answers, waiting times, memory.

    python benchmarks/serve_load.py --minutes 10

A server is started on a free port. Every request of the mix (60 % edits of six synthetic pictures by four texts, 15 %
parts, 10 % matches, 10 % generated pictures, 5 % that must be refused) is asked once while nothing else is going on:
those answers are the right ones. Then as many clients as the server has workers ask one request after the other for
--probe seconds: the capacity. Then requests arrive by a Poisson process at --times the capacity for --minutes, whatever
has become of those before. An answer is right when it is the quiet one: equal bytes of an edit, a mask or an error,
levels of generated pictures and scores within rounding (requests that wait are answered by one pass). 429 with
Retry-After is a refusal, anything else is wrong. Resident memory is that of the server's process, every five seconds;
times are those of requests that were answered, from sending to the last byte.

Prints a JSON line, and adds it to `benchmarks/results/serve.jsonl`.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
from PIL import Image

from tgim.data.synthetic.pairs import sample_picture
from tgim.environment import origin
from tgim.system.files import write_file

RESULTS = Path(__file__).parent / "results" / "serve.jsonl"
TEXTS = ("red head and breast", "this bird is yellow with black wings", "blue wings", "white belly")
SIZES = ((480, 640), (675, 900), (1000, 1500), (360, 360), (1500, 1000), (240, 320))


@dataclass
class Request:
    """A request of the mix, and its answer by a quiet server."""

    path: str
    fields: list[tuple[str, Any]]
    share: float
    status: int = 0
    content: bytes = b""


@dataclass
class Counts:
    """Outcome of the traffic."""

    seconds: list[float] = field(default_factory=list)
    by_status: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def mix(seed: int) -> list[Request]:
    """The requests."""
    pictures = []
    for i, size in enumerate(SIZES):
        buffer = io.BytesIO()
        Image.fromarray(sample_picture("birds", seed=seed + i, size=size)).save(buffer, "JPEG", quality=92)
        pictures.append(("image", (f"{i}.jpg", buffer.getvalue(), "image/jpeg")))
    found = [Request("edit", [picture, ("text", (None, text))], 0.6) for picture in pictures for text in TEXTS]
    found += [Request("parts", [picture], 0.15) for picture in pictures]
    texts = [("text", (None, text)) for text in TEXTS]
    found += [Request("match", [picture, *texts[:count]], 0.1) for picture in pictures[:3] for count in (1, 4)]
    found += [Request("generate", [texts[i], ("n", (None, str(n)))], 0.1) for i in range(4) for n in (1, 4)]
    found += [
        Request("edit", [("image", ("x.jpg", b"no picture")), texts[0]], 0.05),
        Request("edit", [pictures[0], ("text", (None, "xqzt"))], 0.05),
        Request("parts", [pictures[0], ("box", (None, "-1,0,5"))], 0.05),
    ]
    each = Counter((request.path, request.share) for request in found)
    for request in found:
        request.share /= each[request.path, request.share]
    return found


def is_right(request: Request, status: int, content: bytes) -> bool:
    """Tell whether an answer is the quiet one."""
    if status != request.status:
        return False
    if content == request.content or status != 200:
        return content == request.content
    if request.path == "match":
        one, two = (json.loads(each)["scores"] for each in (content, request.content))
        return bool(np.allclose(one, two, atol=1e-4))
    if request.path == "generate":
        one, two = (np.asarray(Image.open(io.BytesIO(each))).astype(int) for each in (content, request.content))
        return bool(abs(one - two).max() <= 1)
    return False


async def ask(client: httpx.AsyncClient, request: Request, counts: Counts | None = None) -> tuple[int, bytes]:
    """Ask the server; `counts` notes the answer."""
    start = time.perf_counter()
    try:
        answer = await client.post(request.path, files=request.fields)
        status, content = answer.status_code, answer.content
    except httpx.HTTPError as error:
        status, content = 0, repr(error).encode()
    if counts is not None:
        counts.by_status[status] += 1
        if status == 429 and int(answer.headers["retry-after"]) > 0:
            return status, content
        counts.seconds.append(time.perf_counter() - start)
        if not is_right(request, status, content):
            counts.wrong.append(f"{request.path} {status} {content[:200]!r}")
    return status, content


async def capacity(client: httpx.AsyncClient, requests: list[Request], *, workers: int, seconds: float) -> float:
    """Requests a second of so many clients that wait for each answer."""
    until, done, rng = time.perf_counter() + seconds, 0, random.Random(0)
    weights = [request.share for request in requests]

    async def one() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await ask(client, rng.choices(requests, weights)[0])
            done += 1

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(workers)))
    return done / (time.perf_counter() - start)


async def traffic(
    client: httpx.AsyncClient, requests: list[Request], *, rate: float, seconds: float, seed: int, process: int
) -> Counts:
    """Poisson traffic of so many requests a second."""
    rng, counts = random.Random(seed), Counts()
    weights = [request.share for request in requests]
    start, coming = time.perf_counter(), 0.0
    tasks: set[asyncio.Task[Any]] = set()

    async def watch() -> None:
        while True:
            counts.memory.append(resident(process))
            await asyncio.sleep(5)

    watching = asyncio.create_task(watch())
    while coming < seconds:
        coming += rng.expovariate(rate)
        await asyncio.sleep(max(0.0, start + coming - time.perf_counter()))
        task = asyncio.create_task(ask(client, rng.choices(requests, weights)[0], counts))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    watching.cancel()
    return counts


def resident(process: int) -> int:
    """Resident memory of a process, MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


async def measure(
    url: str, *, process: int, workers: int, minutes: float, times: float, probe: float, seed: int
) -> Any:
    """All of it; gives the line."""
    requests = mix(seed)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        for request in requests:
            request.status, request.content = await ask(client, request)
        quiet = resident(process)
        able = await capacity(client, requests, workers=workers, seconds=probe)
        rate, seconds = times * able, 60 * minutes
        counts = await traffic(client, requests, rate=rate, seconds=seconds, seed=seed, process=process)
    answered = sorted(counts.seconds)
    tenth = max(1, len(counts.memory) // 10)
    return {
        "minutes": minutes, "workers": workers, "capacity": round(able, 2), "rate": round(rate, 2), "seed": seed,
        "requests": sum(counts.by_status.values()), "answered": len(answered), "refused": counts.by_status[429],
        "statuses": {str(status): n for status, n in sorted(counts.by_status.items())},
        "wrong": len(counts.wrong), "wrong_first": counts.wrong[:3],
        "seconds": {f"p{p}": round(float(np.percentile(answered, p)), 3) for p in (50, 90, 99)} if answered else {},
        "memory_mib": {
            "quiet": quiet, "first_tenth": int(np.median(counts.memory[:tenth])),
            "last_tenth": int(np.median(counts.memory[-tenth:])), "most": max(counts.memory),
        },
        **origin(),
    }  # fmt: skip


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--times", default=2.0, show_default=True, help="Traffic over capacity.")
@click.option("--probe", default=20.0, show_default=True, help="Seconds in which the capacity is measured.")
@click.option("--workers", default=2, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(minutes: float, times: float, probe: float, workers: int, seed: int, results: Path) -> None:
    """Measure `tgim serve` under more traffic than it can do."""
    models = [word for name in ("birds", "judge-birds", "attngan-birds") for word in ("--model", name)]
    command = [sys.executable, "-m", "tgim", "serve", "--port", "0", "--workers", str(workers), *models]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ), text=True) as server:
        try:
            url = (server.stdout.readline() if server.stdout else "").split()[0]
            options = {"minutes": minutes, "times": times, "probe": probe, "seed": seed, "workers": workers}
            line = asyncio.run(measure(url, process=server.pid, **options))
        finally:
            server.terminate()
    print(json.dumps(line))
    before = results.read_text("utf-8") if results.exists() else ""
    write_file(results, before + json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
