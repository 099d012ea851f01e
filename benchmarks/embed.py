"""Put a trained editor, generator or matching model into the package, and its measured figures onto its card.

    python benchmarks/embed.py runs/judge_birds_second/model.safetensors judge-birds
    tgim eval --model birds --data cub --out benchmarks/results/birds.jsonl
    python benchmarks/embed.py tgim/weights/judge-birds.safetensors judge-birds --results benchmarks/results/birds.jsonl

Models that run without torch get their graphs (`tgim.checkpoints.graphs`) with them; `--graphs` makes those alone anew.

The weights are stored in 16 bits, so a model goes into the package first, is measured as it lies there, and is written
once more with its figures, which change nothing of what it computes. The figures of an editor are its lines of results
on its own data set, those of a matching model what it finds for real photographs as a judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

import tgim
from tgim.checkpoints import checkpoint
from tgim.checkpoints.graphs import SUFFIX, written
from tgim.errors import UserError
from tgim.evaluation.contenders import shown_name
from tgim.evaluation.records import Line
from tgim.inference.recorded import WEIGHTS, write_record
from tgim.models.base import Generating
from tgim.models.editing.repainting import Repainting
from tgim.reporting import read_results
from tgim.reporting.results import interval, metric_label
from tgim.reporting.results import written as figure
from tgim.system.files import write_file

LIMITS = [
    "changes colours of the subject and its parts; no shapes, no stripes or spots, no background",
    "colours of neighbouring parts may run into each other, and a part that is hidden or seen from behind is guessed",
    "made for one subject that fills a good part of the frame; name a --box where it does not",
    "knows the words of its training captions; negation and counts mean nothing to it: `tgim edit` leaves them "
    "out, with a warning, and reads commands as captions",
]
LIMITS_OF_JUDGES = [
    "it often misses the caption of a real photograph, so read figures against that row",
    "works at {side} px and knows the words of its training captions; finer details and other words do not count",
    "stays a judge only as long as nothing is trained against it, or chosen by its figures on the test classes",
]
LIMITS_OF_GENERATORS = [
    "generates small pictures of the right colours and roughly the right shapes: a baseline to measure against",
    "a short run on one CPU core at a fraction of its authors' sizes; says nothing of what they published",
    "edits a photograph by looking for its noise (`tgim edit`) and generates it anew: little of it is kept",
]
LIMITS_OF_REPAINTERS = [
    "repaints the whole picture at {side} px: the background changes, too, and its change is carried to the photograph",
    "a short run on one CPU core at a fraction of its authors' width and epochs; says nothing of what they published",
    "a baseline to compare with; the default model edits better",
]
LIMITS_OF_PARTS = [
    "changes colours of the subject and its parts; no shapes, no stripes or spots, no background",
    "reads parts and colours by rules; a word that they lack is left out with a warning",
    "a part that has its colour already, by eye or as people speak, is left alone",
    "of several birds the largest is meant, or the one in a --box; of flowers all blossoms",
    "beaks, legs and long wings are the parts that it misses most",
]
QUERIES = {"real": "photograph, own caption", "unedited": "photograph, target caption"}
OF_EDITORS = {  # protocol -> the metrics that a card shows
    "retrieval@1": ("recall@1",),
    "l2-own-caption@1": ("rmse",),
    "l2-edit@1": ("rmse",),
    "tradeoff@1": ("area",),
    "truth@1": ("part_accuracy",),
    "parts@1": ("hit", "spilt", "outside", "background_change", "texture"),
}
OF_GENERATORS = {"generation@1": ("recall@1", "kid", "diversity")}
OF_JUDGES = ("recall@1", "recall@5", "recall@10", "mrr")


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("name")
@click.option("--graphs", "graphs_alone", is_flag=True, help="Write NAME.graph alone, of weights as they lie there.")
@click.option("--results", multiple=True, type=click.Path(path_type=Path, exists=True), help="For the card's figures.")
@click.option("--title", help="Instead of the title that the recipe gave it.")
@click.option("--licence", help="Instead of the licence that the recipe gave it.")
def main(
    source: Path, name: str, graphs_alone: bool, results: tuple[Path, ...], title: str | None, licence: str | None
) -> None:
    """Write tgim/weights/NAME.safetensors, and NAME.graph where there can be one, from the checkpoint SOURCE."""
    path = Path(tgim.__file__).parent / "weights" / f"{name}.safetensors"
    if graphs_alone:
        write_graphs(path)
        return
    found = checkpoint.load(source)
    names = {name, shown_name(source)}
    figures = [figure for path in results for figure in figures_of(found, names, path)]
    if results and not figures:
        what = "judge" if found.role == "matching" else "editor"
        raise UserError(f"{', '.join(map(str, results))}: nothing of {name!r} as {what}; measure {source} first")
    said = {"title": title, "licence": licence}
    card = {**found.card, **{key: value for key, value in said.items() if value}, "figures": figures}
    limits = {"matching": LIMITS_OF_JUDGES, "parsing": LIMITS_OF_PARTS}.get(found.role, LIMITS)
    if found.model.text_to_image is not None:
        limits = LIMITS_OF_GENERATORS
    if isinstance(found.model, Repainting):
        limits = LIMITS_OF_REPAINTERS
    card["limits"] = [line.format(side=found.model.image_size) for line in limits]
    checkpoint.save(
        path,
        found.model,
        vocabulary=found.vocabulary,
        template=found.template,
        card=card,
        history=found.history,
        data=found.data,
        half=True,
    )
    click.echo(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")
    write_graphs(path)
    if path.parent == WEIGHTS:
        click.echo(write_record())


def write_graphs(path: Path) -> None:
    """Write the graphs of embedded weights beside them; none of a model that cannot be exported."""
    from tgim.inference.export import make_graphs

    graphs, place = make_graphs(path), path.with_suffix(SUFFIX)
    if graphs is None:
        place.unlink(missing_ok=True)
        return
    content = written(graphs)
    write_file(place, content)
    click.echo(f"{place}: {len(content) / 2**20:.2f} MiB")


def figures_of(found: checkpoint.Checkpoint, names: set[str], path: Path) -> list[str]:
    """Describe the lines of a results file on a checkpoint that goes by `names`."""
    lines = read_results([path])
    if found.role == "matching":
        return judge_figures(lines, names)
    told = OF_GENERATORS if isinstance(found.model, Generating) else OF_EDITORS
    return editor_figures(lines, names, found.data["name"], told)


def editor_figures(lines: Iterable[Line], names: set[str], data: str, told: Mapping[str, Sequence[str]]) -> list[str]:
    """Describe lines at full strength, on the model's own data set and on synthetic pictures, and the references.

    `told` are the metrics that the card shows, by protocol.
    """
    known = (data, f"{data} photographs", "synthetic")
    lines = [line for line in lines if line.data in known and line.metric in told.get(line.protocol, ())]
    own = [line for line in lines if line.model in names and line.kind == "model" and line.strength in (None, 1)]
    beside = [line for line in lines if line.kind == "reference" and line.model in QUERIES]
    return [describe_line(line) for line in (*beside, *own)] if own else []


def judge_figures(lines: Iterable[Line], names: set[str]) -> list[str]:
    """Describe the lines of a judge on real photographs and on unedited ones."""
    judged = [line for line in lines if line.judge and line.judge.rsplit(":", 1)[0] in names]
    return [
        describe_line(line)
        for line in judged
        if line.kind == "reference" and line.protocol == "retrieval@1" and line.metric in OF_JUDGES
    ]


def describe_line(line: Line) -> str:
    """Write one line of results as a line of the card."""
    own = "drawn" if line.protocol in OF_GENERATORS else "edited"  # the words on the embedded cards
    who = QUERIES.get(line.model, own if line.kind == "model" else line.model)
    spread = f" ({interval(line)})" if line.low < line.high else ""
    size = f"{line.size} px" if line.size else "own size"
    text = f"{line.protocol}, {line.data} {line.split}, n {line.n}, {size}: {who}: "
    text += f"{metric_label(line.metric)} {figure(line.metric, line.value)}{spread}"
    return text + (f", judge {line.judge.rsplit(':', 1)[0]}" if line.judge else "")


if __name__ == "__main__":
    main()
