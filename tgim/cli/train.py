"""The verbs that make models: `tgim train`, `tgim data check`, and `tgim convert` for released ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tgim.cli.app import check_not_input, fail, main, note, progress_bar
from tgim.cli.options import FILE, json_option, layout_option
from tgim.errors import UserError
from tgim.system.say import say, say_json


@main.command()
@click.argument("recipe", type=FILE)
@click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--out", type=FILE, help="Folder of the run: checkpoints, logs, samples.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out, with the same losses.")
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe, parameters, memory and time; write nothing.")
@click.pass_context
def train(
    context: click.Context, recipe: Path, overrides: tuple[str, ...], out: Path | None, resume: bool, dry_run: bool
) -> None:
    """Train the model of a recipe, or the models of all its stages.

    RECIPE is a YAML file; KEY=VALUE replaces some of its values.

    \b
    tgim train recipes/tagrid.yaml data.root=my_pictures --out runs/mine
    tgim train recipes/tagrid.yaml data.root=my_pictures editor.train.steps=500 --out runs/try
    tgim train recipes/tagan_birds.yaml train.steps=100 data.root=~/cub --out runs/try
    tgim train recipes/tagan_birds.yaml --dry-run

    Of a recipe of stages, KEY begins with a stage's name or is for all stages; the last stage may be a report.

    Ctrl-C saves and stops; the same command with --resume goes on. Several processes train as one:

    \b
    torchrun --nproc-per-node 2 -m tgim train recipes/tagan_birds.yaml --out runs/try
    """
    with _of_several() as tell:
        _train(
            recipe,
            overrides,
            out,
            resume=resume,
            dry_run=dry_run,
            own_process=context.find_root().obj["own_process"],
            tell=tell,
        )


def _train(
    recipe: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    *,
    resume: bool,
    dry_run: bool,
    own_process: bool,
    tell: Callable[[object], None],
) -> None:
    from tgim.environment import pick_device
    from tgim.system.memory import keep_memory
    from tgim.training import dry_run as dry
    from tgim.training import recipe as recipes
    from tgim.training import run as training
    from tgim.training.values import read, refuse_twice

    values = read(recipe)
    named = values.get("stages") if isinstance(values, dict) else None
    refuse_twice(overrides, stages=named if isinstance(named, dict) else ())
    if isinstance(values, dict) and "stages" in values:
        from tgim.training import stages

        several = stages.parse(values, overrides, source=str(recipe))
        device = next(iter(several.trainings.values())).train.device
    else:
        several, chosen = None, recipes.parse(values, overrides, source=str(recipe))
        device = chosen.train.device
    if out is None and not dry_run:
        raise click.UsageError("give --out FOLDER for the run, or --dry-run")
    if own_process and pick_device(device) == "cpu":  # also an estimate of memory needs it
        keep_memory()
    if dry_run or out is None:
        say(dry.dry_run(chosen, progress=True) if several is None else stages.dry_run(several, progress=True))
        return
    if several is None:
        tell(training.fit(chosen, out=out, resume=resume))
        return
    outcome = stages.fit(several, out=out, resume=resume, tell=note)
    if summary := outcome.summary():
        tell(f"{summary}\n")
    for path in filter(None, (outcome.model, outcome.page)):
        tell(path)


@contextmanager
def _of_several() -> Iterator[Callable[[object], None]]:
    """Give the function that prints; of several processes one prints for all, and errors that all have it says once."""
    from tgim.training import parallel
    from tgim.training.loop import Interrupted

    try:
        yield say if parallel.launched() == 1 or int(os.environ["RANK"]) == 0 else lambda text: None
        parallel.leave()
    except Interrupted as error:
        if parallel.told_elsewhere(error, alike=True):
            sys.exit(130)
        fail(str(error), code=130, kind="")
    except (UserError, OSError, click.UsageError) as error:
        if parallel.told_elsewhere(error):
            sys.exit(2)
        if parallel.launched() > 1 and int(os.environ["RANK"]):
            fail(f"process {os.environ['RANK']}: {error}")
        raise


@main.group()
def data() -> None:
    """Look at data sets."""


@data.command()
@click.argument("path", type=FILE)
@layout_option("Layout.  [default: recognised]")
@json_option
def check(path: Path, kind: Any, as_json: bool) -> None:
    """Say what a data set holds, and what is wrong with it.

    Every picture and caption in PATH is looked at; what is missing or broken is counted and named. Then it says what
    each verb will do with the pictures that are left, or why it will not.

    Exits with 1 when no model can be trained on it.
    """
    from tgim.data.report import check as check_data

    with progress_bar("picture") as progress:
        report = check_data(path, kind=kind, progress=progress)
    if report.pictures:
        from tgim.training.prospects import prospects

        report = replace(report, verbs=prospects(report))
    if as_json:
        say_json(report.as_dict())
    else:
        say(report)
    sys.exit(0 if report.usable else 1)


@main.command()
@click.option(
    "--system",
    type=click.Choice(["tagan", "sisgan", "stackgan1", "stackgan2", "stackgan_v2", "attngan"]),
    required=True,
    help="System of the release.",
)
@click.argument("source", metavar="FILE.pth", type=FILE)
@click.argument("out", metavar="OUT.safetensors", type=FILE)
@click.option("--word-vectors", type=FILE, help="TAGAN's and SISGAN's: a fastText .vec, or a .npy with --words.")
@click.option(
    "--words", type=FILE, help="Words of the .npy table, those to keep of the .vec, or AttnGAN's; one a line."
)
@click.option("--text-encoder", type=FILE, help="SISGAN's or AttnGAN's, from their authors; StackGAN's `sje`.")
@click.option("--image-encoder", type=FILE, help="AttnGAN's, to train on with its matching loss.")
@click.option("--discriminator", type=FILE, help="The authors', to train on from there; of several netD0.")
@click.option("--image-size", type=click.IntRange(16, 1024), help="Pixels.  [default: the release's]")
@click.option("--template", default="{}", help="Completes a phrase to a caption, e.g. 'this bird has a {}'.")
@click.option("--half", is_flag=True, help="Store weights in 16 bits.")
def convert(
    system: str,
    source: Path,
    out: Path,
    word_vectors: Path | None,
    words: Path | None,
    text_encoder: Path | None,
    image_encoder: Path | None,
    discriminator: Path | None,
    image_size: int | None,
    template: str,
    half: bool,
) -> None:
    """Turn a released checkpoint into one of tgim.

    FILE.pth is a generator from the authors of the system. Those of TAGAN and SISGAN hold no word vectors; give them
    by --word-vectors. Those of StackGAN and StackGAN-v2 hold no text encoder; give by --text-encoder the `sje`
    checkpoint that they were trained with. AttnGAN's needs its text encoder and, by --words, that one's words. The
    authors keep the words in a pickle, captions.pickle, which is not opened here: write them to a text file, in the
    order of their numbers, as the README shows.

    Networks that the files do not hold stay untrained, and the model card says so. Without --discriminator, a model
    generates or edits; if its training is continued, the discriminator starts untrained.
    """
    from tgim.conversion.convert import convert as convert_file

    read = (source, word_vectors, words, text_encoder, image_encoder, discriminator)
    check_not_input(out, *filter(None, read))
    written = convert_file(
        system,
        source,
        out,
        word_vectors=word_vectors,
        words=words,
        text_encoder=text_encoder,
        image_encoder=image_encoder,
        discriminator=discriminator,
        image_size=image_size,
        template=template,
        half=half,
    )
    say(written)
