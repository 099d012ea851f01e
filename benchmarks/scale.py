"""Cost of editing many pictures: measured rates of one core and overheads, and the tables that follow from them.

    python benchmarks/scale.py                       # writes the tables of docs/scale.md from the committed results
    python benchmarks/scale.py --run rates --model birds
    python benchmarks/scale.py --run start photographs listing workers ray

Seconds are of the processor (`time.process_time`; of other processes their user and system time), on one thread, since
other programs may run on the machine; wall-clock times are named so. Pictures are rendered birds, enlarged to the size
asked for, with Gaussian noise of 3 of 255, as JPEG of quality 90; each is decoded, edited (its subject looked for, as
`tgim edit` does) and encoded at the default quality. `photographs` reads the bytes per pixel of real ones
(`TGIM_DATA`/photos/birds) and of their edits. `ray` needs the extra of that name.

`ray` takes the difference of a job of many rows and one of few, so that the start of Ray and of the actor is not in it,
and holds against it the same rows in a loop in this process; the CPU time is that of all of Ray's processes.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from scale_runs import MODELS, RUNS, SIZES, Row

ROOT = Path(__file__).resolve().parents[1]
RESULTS, DOCUMENT = ROOT / "benchmarks" / "results" / "scale.jsonl", ROOT / "docs" / "scale.md"
COUNTS, CORES = (10**4, 10**6, 10**9), (1, 64, 10_000)
TRAINED = ("tagan-birds", "sisgan-birds")  # embedded, with the seconds of the processor that they took


def read(path: Path = RESULTS) -> list[Row]:
    """The lines of a results file; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def kept(lines: list[Row], new: Row, path: Path = RESULTS) -> list[Row]:
    """`lines` with `new` in place of the line of the same thing, written to `path`."""
    told = ("what", "model", "size")
    others = [each for each in lines if any(each.get(name) != new.get(name) for name in told)]
    order = [*MODELS, None]
    sizes = [*SIZES, None]
    lines = sorted([*others, new], key=lambda x: (x["what"], order.index(x.get("model")), sizes.index(x.get("size"))))
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    return lines


def table(head: str, rows: list[str]) -> str:
    """Markdown; the first column is text."""
    columns = head.count("|") + 1
    return "\n".join([f"| {head} |", "|---" + "|--:" * (columns - 1) + "|", *(f"| {row} |" for row in rows)])


def short(value: float) -> str:
    """Two digits that count, thousands with a comma."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def lasting(hours: float) -> str:
    """Hours in a unit that is read easily."""
    for unit, length in (("years", 8766), ("days", 24), ("h", 1), ("min", 1 / 60)):
        if hours >= 2 * length:
            return f"{short(hours / length)} {unit}"
    return f"{short(hours * 3600)} s"


def stored(bytes_: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if bytes_ >= size:
            return f"{short(bytes_ / size)} {unit}"
    return f"{short(bytes_ / 1e3)} kB"


def tables(lines: list[Row]) -> dict[str, str]:
    """Tables by the name of their place in the document."""
    of = {kind: [line for line in lines if line["what"] == kind] for kind in {line["what"] for line in lines}}
    (per_pixel,) = of["bytes per pixel"]
    found = {
        "rates": table(
            "model, picture | decode, s | edit, s | encode, s | together, s | lowest, highest | a core-hour | n",
            [
                f"`{x['model']}`, {x['size']} | {x['decode_s']:.4f} | {x['edit_s']:.3f} | {x['encode_s']:.4f} "
                f"| {x['total_s']:.3f} | {x['lowest_s']:.3f}, {x['highest_s']:.3f} | {short(3600 / x['total_s'])} "
                f"| {x['n']}"
                for x in of["rate"]
            ],
        )
    }
    ready = {x["model"]: x["cpu_s"] for x in of["start"]}
    costs = []
    for x in of["rate"]:
        pixels = x["width"] * x["height"]
        for count in COUNTS:
            hours = x["total_s"] * count / 3600
            walls = " | ".join(
                lasting((-(-count // cores) * x["total_s"] + ready[x["model"]]) / 3600) for cores in CORES
            )
            disk = " | ".join(stored(per_pixel[way] * pixels * count) for way in ("in", "out"))
            costs.append(f"`{x['model']}`, {x['size']}, 10^{len(str(count)) - 1} | {short(hours)} | {walls} | {disk}")
    found["costs"] = table(
        "model, picture, number | core-hours | 1 core | 64 cores | 10,000 cores | read | written", costs
    )
    drive = []
    for x in of["rate"]:
        each = sum(per_pixel[way] for way in ("in", "out")) * x["width"] * x["height"] / x["total_s"]
        drive.append(f"`{x['model']}`, {x['size']} | " + " | ".join(f"{stored(each * cores)}/s" for cores in CORES))
    found["drive"] = table("model, picture | 1 core | 64 cores | 10,000 cores", drive)
    begun = [f"`{x['model']}` | {x['cpu_s']:.1f} | {x['mb']} | {x['n']}" for x in of["start"]]
    found["start"] = table("model | CPU s to start a process | MB of memory | n", begun)
    found["ray"] = table(
        "picture | loop, CPU s | Ray, CPU s | more | lowest, highest | loop, wall s | Ray, wall s | job, CPU s | n",
        [
            f"{x['size']} | {x['loop_cpu_s']:.4f} | {x['ray_cpu_s']:.4f} | {x['more']:.0%} "
            f"| {x['lowest']:.0%}, {x['highest']:.0%} | {x['loop_wall_s']:.3f} | {x['ray_wall_s']:.3f} "
            f"| {x['job_cpu_s']:.1f} | {x['n']} times {x['rows']} rows"
            for x in of["ray"]
        ],
    )
    (two,) = of["workers"]
    found["workers"] = table(
        f"{two['pictures']} pictures of {two['size']} | one worker | two workers | faster | lowest, highest | n",
        [
            f"CPU s | {two['one_cpu_s']:.1f} | {two['two_cpu_s']:.1f} | – | – | {two['n']}",
            f"wall s | {two['one_wall_s']:.1f} | {two['two_wall_s']:.1f} | {two['faster']:.2f} "
            f"| {two['lowest']:.2f}, {two['highest']:.2f} | {two['n']}",
        ],
    )
    (listed,) = of["listing"]
    per = [listed["list_s"] / listed["names"], listed["manifest_s"] / listed["names"]]
    found["listing"] = table(
        "pictures in a folder | list the names, CPU s | read the manifest, CPU s | manifest | in memory",
        [
            f"10^{len(str(count)) - 1} | {short(per[0] * count)} | {short(per[1] * count)} "
            f"| {stored(listed['manifest_bytes'] * count)} | {stored(listed['held_bytes'] * count)}"
            for count in COUNTS
        ],
    )
    found["training"] = trained()
    return found


def trained() -> str:
    """Table of what training costs, by the seconds that embedded models took."""
    from tgim.checkpoints import checkpoint

    rows = []
    for name in TRAINED:
        header = checkpoint.read_header(name)
        told, seen = header["history"], header["data"]["pictures"]
        pictures = told["steps"] * told["recipe"]["train"]["batch_size"]
        hours, epochs = told["cpu_seconds"] / 3600, pictures / seen
        more = " | ".join(short(hours * count / seen) for count in COUNTS[:2])
        rows.append(
            f"`{name}`, {seen:,} pictures | {pictures / told['cpu_seconds']:.0f} | {epochs:.0f} | {hours:.2f} | {more}"
        )
    return table("model, trained on | pictures a s | epochs | core-hours | as many epochs of 10^4 | of 10^6", rows)


def filled(document: str, found: dict[str, str]) -> str:
    """`document` with each table between its markers replaced."""
    for name, rows in found.items():
        before, rest = document.split(f"<!-- {name} -->\n", 1)
        _, after = rest.split(f"<!-- /{name} -->", 1)
        document = f"{before}<!-- {name} -->\n{rows}\n<!-- /{name} -->{after}"
    return document


@click.command()
@click.option("--run", is_flag=True, help="Measure, and write the lines to the results file.")
@click.option("--model", "models", multiple=True, type=click.Choice(MODELS), help="Of rates and start.  [default: all]")
@click.argument("what", nargs=-1, type=click.Choice([*RUNS]))
def main(run: bool, models: tuple[str, ...], what: tuple[str, ...]) -> None:
    """Measure WHAT, or everything, and write the tables of docs/scale.md; print them, too."""
    lines = read()
    if run:
        import torch

        from tgim.environment import origin

        torch.set_num_threads(1)
        facts = origin()
        about = {key: facts[key] for key in ("commit", "torch", "machine", "processor", "cores")}
        for name in what or RUNS:
            for row in RUNS[name](models or MODELS):
                lines = kept(lines, {**row, "clock": "CPU seconds", "threads": 1, **about})
                click.echo(json.dumps(row))
        return
    found = tables(lines)
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8"), found), encoding="utf-8")
    click.echo("\n\n".join(found.values()))


if __name__ == "__main__":
    main()
