"""The verbs that score: `tgim match` ranks pictures and captions by each other, `tgim eval` measures models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgim.cli.app import device_for, end_with, fail, main, naming_unknown_words, note, own_cache, progress_bar
from tgim.cli.options import (
    FILE,
    cache_option,
    device_option,
    engine_option,
    json_option,
    layout_option,
    model_option,
    seed_option,
    texts_option,
)
from tgim.errors import DataError, TextError, UserError, nearest, unexpanded
from tgim.evaluation.catalogue import CATALOGUE, COMPOSE, GENERATION, PARTS, Entry, entries
from tgim.system.lines import ForeignText, read_rows
from tgim.system.say import say, say_json

if TYPE_CHECKING:
    from tgim.data.config import DataConfig
    from tgim.evaluation import Line
    from tgim.inference.engines import Engines

TOP = 10  # entries of a list that are printed without --json
NAMED: dict[str, dict[str, Any]] = {  # what --data may name instead of a folder
    "cub": {"name": "cub"},
    "oxford102": {"name": "oxford102"},
    "synthetic": {"name": "synthetic", "synthetic": {"kind": "birds"}},
    "synthetic-flowers": {"name": "synthetic", "synthetic": {"kind": "flowers"}},
}
JUDGES = {"cub": "judge-birds", "oxford102": "judge-flowers"}


@main.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=FILE)
@texts_option
@click.option("--texts", "file", type=FILE, help="A file of captions, one a line; adds to --text.")
@model_option("judge-birds", of="a matching model")
@click.option("--top", type=click.IntRange(1), help=f"Print this many of each list.  [default: {TOP}; all with --json]")
@device_option
@engine_option
@cache_option
@json_option
def match(
    images: tuple[Path, ...],
    texts: tuple[str, ...],
    file: Path | None,
    model: str,
    top: int | None,
    device: str,
    engine: Engines,
    cache: bool,
    as_json: bool,
) -> None:
    """Rank pictures for a caption, or captions for a picture.

    IMAGE is a picture, or a folder: every picture in it.

    \b
    tgim match photos --text "a red bird with black wings"
    tgim match bird.jpg --text "a red bird" --text "a small blue bird"
    tgim match photos --texts captions.txt --top 3 --json

    For each caption the pictures are listed, best first; for a single picture, the captions. The score is the model's
    own, of most a cosine, -1 to 1: it ranks what one call compares, is no probability, and says nothing between models.

    --json prints a line for each pair: text, image, score, the picture's rank for the text (picture_rank) and the
    text's for the picture (text_rank). Pictures that cannot be read are named at the end; the exit code is 1 then.

    What the model sees of a picture is kept in the cache (tgim doctor says where), 65 to 75 kB of each with the judges,
    20 GiB in all at most: the next call, with any text, looks at new pictures alone. --no-cache keeps and takes none.
    """
    from tgim.inference.ranking import rank

    captions = list(dict.fromkeys([*texts, *(read_texts(file) if file else ())]))
    if not captions:
        raise click.UsageError("give --text CAPTION, or --texts FILE with one a line")
    pictures = find_pictures(images)
    with naming_unknown_words(), progress_bar("picture", total=len(pictures)) as progress:
        chosen = device_for(model, device, engine)
        kept = own_cache() if cache else None
        found = rank(pictures, captions, model=model, device=chosen, engine=engine, cache=kept, progress=progress)
    if as_json:
        for pair in found.pairs(top=top):
            say_json(pair | {"model": model})
    else:
        say(found.text(top=top or TOP))
    end_with(found.failed)


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The pictures that `paths`, files and folders, stand for, each once.

    Raises:
        UserError: one is not there, or a folder without pictures.
    """
    from tgim.images.photo import list_images

    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is not there{unexpanded(path)}; give pictures, or folders of pictures")
        found += list_images(path) if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def read_texts(file: Path) -> list[str]:
    """The captions of a file, one a line, blank lines left out; TextError when there is none."""
    try:
        rows = list(read_rows(file))
    except ForeignText as error:
        raise TextError(f"{file} {error}, captions one a line") from None
    if bad := next((row for row in rows if row.fault), None):
        raise TextError(f"{file} is no UTF-8 text (line {bad.number}: {bad.fault.split(';')[0]}); save it as UTF-8")
    texts = [row.text.strip() for row in rows if row.text.strip()]
    if not texts:
        raise TextError(f"{file} holds no caption; expected one a line")
    return texts


def described(*roles: str) -> str:
    """Lines of help: a line for each protocol that measures models of some roles."""
    return "\n".join(f"  {entry.name:<18}{entry.help}" for entry in CATALOGUE.values() if entry.role in roles)


HELP = f"""Measure how well models edit, generate, match or search.

Pictures of classes that were never trained on are edited by captions of other pictures, and judged by a matching model
that no editor learned from. Trivial baselines and references stand in every table. Text-to-image models are measured
by what they generate from captions; matching models, and models that find a picture by a picture and a text, by what
they find.

\b
tgim eval --model birds --data cub --out results.jsonl
tgim eval --model birds --data cub --protocol retrieval,tradeoff --limit 200
tgim eval --model mine.safetensors --data my_birds --judge my_judge.safetensors

Protocols of editors:

\b
{described("editor")}

Of other models:

\b
{described("generator", "matching", "retrieval")}

A text-to-image model edits, too, if a protocol of edits is named: it searches for the noise of each picture, in 200
steps, so give it a --limit. Models with a style encoder edit without a search, and generate if generation is named.
Compose, if it is named, also measures matching models: what they find without composing.

DATA is a folder as "tgim data check" knows them, or a name: cub, oxford102 (below $TGIM_DATA), synthetic (rendered
birds), synthetic-flowers. A folder needs no classes and may be small, but figures of few pictures have wide intervals.

parts edits photographs at their own size, where points say which part is where: cub, the labelled pictures of
oxford102, a folder with points. With --photos it edits whole photographs of cub's pictures, not the cut-outs.

Figures are added to --out one by one, each with its 95 % bootstrap interval over pictures. What is in the file already
is not measured again: after ctrl-C or a crash, the same command goes on.
"""


@main.command(name="eval", help=HELP)
@click.option("--model", "models", multiple=True, required=True, help="Name or file of a model; may be repeated.")
@click.option("--data", required=True, metavar="PATH|NAME", help="What is measured on; see above.")
@layout_option("Layout of PATH.  [default: recognised]")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "trainval", "test", "all"]),
    default="test",
    show_default=True,
    help="Part of the data set; test is classes that were never trained on.",
)
@click.option(
    "--protocol", default="all", show_default=True, metavar="NAME[,NAME]", help="Protocols; all is what the data allow."
)
@click.option("--out", type=FILE, help="File of JSON lines that the figures are added to.")
@click.option(
    "--judge", help="Name or file of a matching model.  [default: judge-birds for cub, judge-flowers for oxford102]"
)
@click.option("--baselines/--no-baselines", default=True, help="Measure trivial editors, too.  [default: baselines]")
@seed_option("Seed of the target captions.", bits=31)
@click.option("--limit", type=click.IntRange(2), metavar="N", help="Measure on this many pictures, a seeded choice.")
@click.option(
    "--size", type=click.IntRange(16, 1024), metavar="PX", help="Side of edited pictures.  [default: the model's]"
)
@click.option("--photos", type=FILE, metavar="DIR", help="For parts: whole photographs, named as cub's pictures are.")
@device_option
@click.option("--extractor", help="For realism: efficientnet-lite0, a file of Inception weights, or a matching model.")
@json_option
def evaluate_command(
    models: tuple[str, ...],
    data: str,
    kind: str | None,
    split: str,
    protocol: str,
    out: Path | None,
    judge: str | None,
    baselines: bool,
    seed: int,
    limit: int | None,
    size: int | None,
    photos: Path | None,
    device: str,
    extractor: str | None,
    as_json: bool,
) -> None:
    """Measure models; the text above is what --help prints."""
    wanted = protocols_of(protocol)
    names: Any = [entry.name for entry in wanted] or "all"
    if out is not None:
        check_out(out)
    if photos is not None and not photos.is_dir():
        raise UserError(f"--photos {photos} is no folder; give one of whole photographs")
    config = data_config(data, kind=kind, split=split)
    from tgim.environment import pick_device
    from tgim.evaluation import counting, evaluate, read_lines

    chosen = pick_device(device)
    judge = judge or default_judge(wanted, config.name, data)
    before = len(read_lines(out)) if out is not None and out.exists() else 0
    if before:
        note(f"{out} holds {before} figures; they are not measured again")
    try:
        with counting() as progress:
            lines = evaluate(
                models,
                data=config,
                protocols=names,
                judge=judge,
                seed=seed,
                out=out,
                baselines=baselines,
                limit=limit,
                size=size,
                extractor=extractor,
                photos=photos,
                device=chosen,
                progress=progress,
            )
    except KeyboardInterrupt:
        kept = f"{len(read_lines(out))} figures are in {out}" if out and out.exists() else "give --out to keep figures"
        fail(f"interrupted; {kept}{', the same command goes on' if out else ''}", code=130, kind="")
    if as_json:
        for line in lines:
            say_json(line.model_dump(mode="json"))
    else:
        say(tables(lines))
    if out is not None:
        new = len(read_lines(out)) - before
        said = f"{new} figures were added to {out}" if new else f"nothing was measured again: all is in {out}"
        note(said)


def protocols_of(text: str) -> list[Entry]:
    """Protocols of ``"all"`` (none are listed then) or of a list with commas; versions may be left out.

    Raises:
        UserError: one is unknown.

    >>> [entry.name for entry in protocols_of("retrieval,mp@1")]
    ['retrieval@1', 'mp@1']
    """
    if text == "all":
        return []
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        known = ", ".join(entry.short for entry in CATALOGUE.values())
        raise UserError(f"--protocol names nothing; expected all, or some of {known}")
    return entries(names)


def check_out(out: Path) -> None:
    """Refuse a results file that could not be written, before hours are spent; UserError."""
    if out.is_dir():
        raise UserError(f"{out} is a folder, expected a file; give --out {out / 'results.jsonl'}")
    there = out if out.exists() else next(folder for folder in out.absolute().parents if folder.exists())
    if (there != out and not there.is_dir()) or not os.access(there, os.W_OK):
        what = "write-protected" if there.is_dir() or there == out else "no folder"
        raise UserError(f"{out} cannot be written: {there} is {what}; name another --out")


def data_config(data: str, *, kind: str | None, split: str) -> DataConfig:
    """Make the config of the data that --data and --kind name.

    Raises:
        DataError: no such folder, none of the known layouts, or a name without $TGIM_DATA.
    """
    from tgim.data.base import existing
    from tgim.data.config import DataConfig
    from tgim.data.report import detect

    chosen: Any = {"name": kind, "root": data}
    if data in NAMED and kind is None:
        chosen = NAMED[data]
        if chosen["name"] != "synthetic" and not os.environ.get("TGIM_DATA"):
            raise DataError(f"--data {data} is looked for below TGIM_DATA, which is not set; set it, or give the path")
    elif kind is None:
        if not Path(os.path.expanduser(data)).exists():
            hint = nearest(data, NAMED)
            raise DataError(f"data set {data} is not there{hint}; give a folder, or one of {', '.join(NAMED)}")
        chosen = {"name": detect(existing(data)), "root": data}
    config = DataConfig(**{**chosen, "split": split})
    if config.name != "synthetic":
        existing(config.folder)
    return config


def default_judge(wanted: Sequence[Entry], kind: str, data: str) -> str | None:
    """Name the judge of protocols that need one, all or those `wanted`, where none is given.

    Raises:
        UserError: the data are the user's own; it says how to come by a judge for them.
    """
    from tgim.evaluation.protocol import load

    needing = [entry.name for entry in wanted or CATALOGUE.values() if load(entry).needs_judge]
    if needing and kind == "folder":
        train = f"tgim train recipes/judge_birds.yaml data.name=folder data.root={data} --out runs/judge"
        raise UserError(
            f"{', '.join(needing)} of {data} need a judge that knows its words; give --judge with a matching model "
            f"that no editor learned from, such as runs/judge/model.safetensors after: {train}"
        )
    return JUDGES.get(kind) if needing else None


def tables(lines: Sequence[Line]) -> str:
    """Write the figures as text: for each protocol a table of references, baselines and models."""
    from tgim.reporting import compose_tables, generation_tables, parts_tables, section_tables

    apart = {entry.name for entry in (PARTS, GENERATION, COMPOSE)}
    edits = [line for line in lines if line.protocol not in apart]
    parts = [[line for line in edits if line.metric != "area"], [line for line in edits if line.metric == "area"]]
    found = [table for part in parts for table in section_tables(part)]
    for tables_of in (parts_tables, generation_tables, compose_tables):
        found += tables_of(lines, intervals=True)
    return "\n".join(table.text() for table in found).rstrip("\n")
