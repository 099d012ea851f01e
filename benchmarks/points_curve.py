"""Worth of clicked points: one recipe, trained on pictures of which none, ten, fifty or two hundred have points.

    python benchmarks/points_curve.py                                   # the table of what was measured
    python benchmarks/points_curve.py --data birds --run                # synthetic birds, rendered
    python benchmarks/points_curve.py --data flowers --run --points 0,50,200
    python benchmarks/points_curve.py --data birds --run --budget 0.02 --pictures 60 --points 0,10 --results try.jsonl

Trains the localiser and the editor's first round, lessons, of `recipes/tagrid.yaml` on a folder of captioned pictures,
once for each number of pictures with points, by the same seed, and measures the editor by `parts@1` on test pictures,
all of which have points. `--budget` is the share of the recipe's steps, views and synthetic pairs. With `--guided` the
guide is trained, too, once, since it sees no points, and the editor's second round with it.
Birds are synthetic, and the split is by picture; flowers are Oxford-102's, the split is by class, `--pictures` of the
training classes are taken, those with points first. Pictures lie in a temporary folder, which is removed in the end.

Each figure is a JSON line of `benchmarks/results/points.jsonl`: `data`, `points` (pictures that have some), `metric`,
`value` with `low` and `high` (95 %, bootstrapped over `n` test pictures), `cpu_minutes` of localiser and editor.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from tgim.data import folder, oxford102
from tgim.data.base import random_source
from tgim.data.config import DataConfig
from tgim.data.points import read_points
from tgim.data.synthetic import pairs as synthetic
from tgim.environment import origin
from tgim.errors import UserError
from tgim.evaluation import evaluate
from tgim.system.memory import keep_memory
from tgim.text.lexicon.synthetic import LOCALISED
from tgim.training import stages
from tgim.training.values import read

ROOT = Path(__file__).parents[1]
RECIPE, RESULTS = ROOT / "recipes" / "tagrid.yaml", ROOT / "benchmarks" / "results" / "points.jsonl"
METRICS = ("hit", "half_way", "spilt", "others_change", "background_spilt", "texture")
SIDES = (150, 240)  # pixels of rendered pictures
CAPTIONS = 5  # of each
SPOTS, AROUND = 2, 5  # points of each part that is to be seen, and of the background
SMALLEST = 12  # pixels of a part that is pointed at
STREAM = 31  # of the rendered pictures; no `Stream` has that number


# Pictures


def render_birds(root: Path, *, count: int, seed: int) -> dict[str, dict[str, Any]]:
    """Render birds to `root/images`; the records of `metadata.jsonl` by file name, all with points."""
    (root / "images").mkdir(parents=True)
    records = {}
    for number in range(count):
        source = random_source(seed, STREAM, number)
        scene = synthetic.random_scene("bird", source)
        size = tuple(int(side) for side in source.integers(*SIDES, 2))
        rendered = synthetic.render(scene, size)
        name = f"{number:04d}.png"
        Image.fromarray(rendered.image).save(root / "images" / name)
        captions = list(dict.fromkeys(synthetic.caption_of(scene, source) for _ in range(CAPTIONS)))
        points = points_of(rendered, source)
        records[name] = {"file_name": name, "captions": captions, "points": points}
    return records


def points_of(rendered: synthetic.Rendering, source: np.random.Generator) -> dict[str, list[list[float]]]:
    """Places well inside the parts of a rendered bird, and on its background, as fractions of width and height."""
    names, height, width = LOCALISED["birds"], *rendered.subject.shape
    masks: dict[str, Any] = {}
    for part, mask in rendered.parts.items():
        if part in names:
            masks[names[part]] = masks.get(names[part], 0) + mask
    masks = {part: mask > 0.9 for part, mask in masks.items()} | {"background": rendered.subject < 0.01}
    found = {}
    for part, mask in masks.items():
        depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        inner = np.argwhere(depth > 0.5 * depth.max())
        if mask.sum() < SMALLEST or not len(inner):
            continue
        chosen = source.permutation(len(inner))[: AROUND if part == "background" else SPOTS]
        found[part] = [[round((x + 0.5) / width, 4), round((y + 0.5) / height, 4)] for y, x in inner[chosen]]
    return found


class Birds:
    """Synthetic birds in a folder."""

    options = ("data.name=folder",)

    def __init__(self, root: Path, *, pictures: int, seed: int) -> None:
        self.root, self.seed = root, seed
        self.records = render_birds(root, count=pictures, seed=seed)
        self.give_points(None)
        self.test = {item.path.name for item in folder.load(root, split="test").items}

    def give_points(self, count: int | None) -> None:
        """Write the metadata with points of test pictures and `count` others; of all without it."""
        kept = set(self.records)
        if count is not None:
            kept = self.test | set(chosen(sorted(kept - self.test), count, self.seed))
        bare = {name: {k: v for k, v in record.items() if k != "points"} for name, record in self.records.items()}
        lines = [json.dumps(record if name in kept else bare[name]) for name, record in self.records.items()]
        (self.root / folder.METADATA).write_text("\n".join(lines) + "\n", encoding="utf-8")


class Flowers:
    """Pictures of Oxford-102 in a folder of links: all of the test classes that have points, some of the others."""

    options = ("data.name=oxford102", "data.synthetic.kind=flowers", "parts.model.together=true")

    def __init__(self, root: Path, *, pictures: int, seed: int) -> None:
        self.root, self.seed = root, seed
        home = DataConfig(name="oxford102").folder
        taught, tested = (oxford102.load(home, split=split) for split in ("trainval", "test"))
        self.pointed = sorted(path.stem for path in read_points(taught))
        self.test = {path.stem for path in read_points(tested)}
        others = sorted({item.path.stem for item in taught.items} - set(self.pointed))
        shown = {*self.pointed, *chosen(others, max(0, pictures - len(self.pointed)), seed), *self.test}
        for item in (*taught.items, *tested.items):
            if item.path.stem in shown:
                text = Path("text") / str(item.label) / f"{item.path.stem}.txt"
                for part in (Path("jpg") / item.path.name, text):
                    (root / part).parent.mkdir(parents=True, exist_ok=True)
                    (root / part).symlink_to((home / part).resolve())
        for name in ("trainvalclasses.txt", "testclasses.txt"):
            shutil.copy(home / name, root / name)
        self.lines = (home / "points.jsonl").read_text(encoding="utf-8").splitlines()
        self.give_points(None)

    def give_points(self, count: int | None) -> None:
        """Write the points of test pictures and of `count` others; of all without it."""
        kept = self.test | set(self.pointed if count is None else chosen(self.pointed, count, self.seed))
        lines = [line for line in self.lines if json.loads(line)["file"] in kept]
        (self.root / "points.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


KINDS = {"birds": Birds, "flowers": Flowers}


def chosen(names: Sequence[str], count: int, seed: int) -> list[str]:
    """Choose `count` names by the seed; a smaller choice is part of a larger one."""
    order = random_source(seed, STREAM).permutation(len(names)).tolist()
    if count > len(names):
        raise click.ClickException(f"{count} pictures with points were asked for, there are {len(names)}")
    return [sorted(names)[i] for i in order[:count]]


# Training


def recipe(root: Path, options: Iterable[str], *, budget: float, seed: int, guided: bool) -> stages.Stages:
    """The stages of the recipe on `root` up to the editor, all of them `budget` times as long."""
    values = read(RECIPE)
    for name in ("judge", "report", *(() if guided else ("guide", "editor"))):
        del values["stages"][name]
    if not guided:
        del values["stages"]["lessons"]["model"]["matching"]
    shorter = [f"data.synthetic.pool={max(20, round(budget * values['data']['synthetic']['pool']))}"]
    for name, stage in values["stages"].items():
        amounts = {"train.steps": stage["train"]["steps"], "train.warm_up": stage["train"].get("warm_up", 0)}
        amounts["data.views.count"] = stage["data"].get("views", {}).get("count", 0)
        shorter += [f"{name}.{key}={max(1, round(budget * amount))}" for key, amount in amounts.items() if amount]
        shorter += [f"{name}.train.seed={stage['train']['seed'] + seed}", f"{name}.train.checkpoint_every=100000"]
    given = [*options, f"data.root={root}", "train.threads=1", *shorter]
    return stages.parse(values, given, source=str(RECIPE))


def trained(plan: stages.Stages, out: Path) -> tuple[Path, dict[str, float]]:
    """Train the stages in `out`, a finished guide excepted; the editor, and CPU minutes of each stage."""
    marks: list[tuple[str, float]] = []

    def tell(line: str) -> None:
        click.echo(line, err=True)
        marks.append((line.split(": ")[1].split(",")[0], time.process_time()))

    outcome = stages.fit(plan, out=out, resume=out.exists(), progress=False, tell=tell)
    ends = [at for _, at in marks[1:]] + [time.process_time()]
    return outcome.model, {name: round((end - at) / 60, 2) for (name, at), end in zip(marks, ends, strict=True)}


def curve(
    data: str, counts: Sequence[int], *, pictures: int, budget: float, seed: int, guided: bool, work: Path
) -> Iterator[list[dict[str, Any]]]:
    """Train and measure with so many pictures with points; lines of the results file for each number."""
    world = KINDS[data](work / "pictures", pictures=pictures, seed=seed)
    plan = recipe(world.root, world.options, budget=budget, seed=seed, guided=guided)
    test, first = plan.report_data(), work / str(counts[0])
    for count in counts:
        world.give_points(count)
        out = work / str(count)
        if guided and out != first:  # the guide sees no points
            shutil.copytree(first / "guide", out / "guide")
            shutil.copy(first / "recipe.yaml", out)
        model, minutes = trained(plan, out)
        click.echo(f"{count} pictures with points: CPU minutes {minutes}", err=True)
        found = evaluate([model], data=test, protocols=["parts"], seed=seed, baselines=False)
        facts = {"pictures": pictures, "budget": budget, "guided": guided, "seed": seed}
        facts |= {"cpu_minutes": round(sum(minutes.values()) - minutes.get("guide", 0), 1), **origin()}
        yield [
            {"data": data, "points": count, "metric": each.metric, "value": each.value, "low": each.low}
            | {"high": each.high, "n": each.n, **facts}
            for each in found
            if each.metric in METRICS
        ]


# Results


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown of the results: a row for each number of pictures with points."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for line in lines:
        rows.setdefault((line["data"], line["points"]), {})[line["metric"]] = line
    text = ["| pictures | with points | n | " + " | ".join(METRICS) + " |", "|---|--:|--:|" + "--:|" * len(METRICS)]
    for (data, points), row in sorted(rows.items()):
        figures = [f"{row[metric]['value']:.3g}" if metric in row else "" for metric in METRICS]
        text.append(f"| {data} | {points} | {next(iter(row.values()))['n']} | " + " | ".join(figures) + " |")
    return "\n".join(text)


def plot(lines: Iterable[dict[str, Any]], *, width: int = 50) -> str:
    """Bars of text: `hit`, of which `spilt` is to be small."""
    bars = [
        f"{line['data']:<8} {line['points']:>4} {line['metric']:<6} {'#' * round(width * line['value'])} "
        f"{line['value']:.2f}"
        for line in sorted(lines, key=lambda x: (x["data"], x["metric"], x["points"]))
        if line["metric"] in ("hit", "spilt")
    ]
    return "\n".join(bars)


def kept(lines: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`lines` with `new` in place of those of the same data, points and metric."""
    same = {(x["data"], x["points"], x["metric"]) for x in new}
    found = [x for x in lines if (x["data"], x["points"], x["metric"]) not in same] + new
    return sorted(found, key=lambda x: (x["data"], x["points"]))


@click.command()
@click.option("--data", type=click.Choice(sorted(KINDS)), help="Pictures; without --run, those of the table.")
@click.option("--run", is_flag=True, help="Train and measure, and write the lines to the results file.")
@click.option("--points", default="0,10,50,200", show_default=True, help="Numbers of pictures with points.")
@click.option(
    "--pictures", default=400, show_default=True, type=click.IntRange(20), help="Of all, of flowers to train."
)
@click.option("--budget", default=0.6, show_default=True, type=click.FloatRange(0, 2, min_open=True))
@click.option("--guided", is_flag=True, help="Train the guide and learn from it, too.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--results", default=RESULTS, type=click.Path(path_type=Path), help="File of JSON lines.")
def main(
    data: str | None, run: bool, points: str, pictures: int, budget: float, guided: bool, seed: int, results: Path
) -> None:
    """Measure what clicked points are worth, or print what was measured."""
    lines = [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []
    if run and data is None:
        raise click.UsageError("give --data birds or --data flowers for --run")
    if run:
        counts = [int(each) for each in points.split(",")]
        try:
            with tempfile.TemporaryDirectory(prefix="tgim-points-") as folder_name:
                options = {
                    "pictures": pictures,
                    "budget": budget,
                    "seed": seed,
                    "guided": guided,
                    "work": Path(folder_name),
                }
                for new in curve(str(data), counts, **options):
                    lines = kept(lines, new)
                    results.write_text("".join(json.dumps(x) + "\n" for x in lines), encoding="utf-8")
        except UserError as error:
            raise click.ClickException(str(error)) from None
    shown = [x for x in lines if data in (None, x["data"])]
    click.echo(f"{table(shown)}\n\n{plot(shown)}")


if __name__ == "__main__":
    keep_memory()
    main()
