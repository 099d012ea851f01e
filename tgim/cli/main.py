"""The command `tgim`: each verb calls one library function and prints the result.

The small verbs are here; the others have a module each, and are added to the group of `tgim.cli.app` by its import.
"""

from __future__ import annotations

from pathlib import Path

import click

from tgim.cli import doctor as cli_doctor
from tgim.cli import edit as cli_edit
from tgim.cli import evaluate as cli_eval
from tgim.cli import export as cli_export
from tgim.cli import generate as cli_make
from tgim.cli import label as cli_label
from tgim.cli import parts as cli_parts
from tgim.cli import search as cli_search
from tgim.cli import serve as cli_serve
from tgim.cli import steer as cli_steer
from tgim.cli import train as cli_train
from tgim.cli.app import main
from tgim.cli.options import json_option, seed_option
from tgim.cli.pipes import PICTURE, check_output, format_option, is_pipe, write_picture
from tgim.system.say import say, say_json

__all__ = [
    "cli_doctor",
    "cli_edit",
    "cli_eval",
    "cli_export",
    "cli_label",
    "cli_make",
    "cli_parts",
    "cli_search",
    "cli_serve",
    "cli_steer",
    "cli_train",
    "main",
]


@main.command()
@click.argument("model")
@json_option
def info(model: str, as_json: bool) -> None:
    """Print a model's card: data, licence, figures, limits.

    MODEL is a name (see tgim list) or a file.
    """
    from tgim.checkpoints import card

    found = card.model_card(model)
    if as_json:
        say_json(found)
    else:
        say(card.render(found))


@main.command(name="list")
@json_option
def list_command(as_json: bool) -> None:
    """List the models and the systems to train."""
    from tgim.checkpoints.card import list_all

    found = list_all()
    if as_json:
        say_json(found)
        return
    width = max(len(name) for names in found.values() for name in names)
    for heading, names in found.items():
        say(f"{heading}:")
        for name, what in names.items():
            say(f"  {name:<{width}}  {what}")


@main.command()
@click.argument("out", type=PICTURE)
@click.option(
    "--kind",
    "subject",
    type=click.Choice(["birds", "flowers"]),
    default="birds",
    show_default=True,
    help="What to render.",
)
@seed_option("Which picture.", bits=31)
@click.option("--force", is_flag=True, help="Replace another picture of that name.")
@format_option
def sample(out: Path, subject: str, seed: int, force: bool, kind: str) -> None:
    """Render a synthetic bird or flower, to try edits on.

    OUT is a file, or - for the standard output.
    """
    from tgim.data.synthetic.pairs import sample_picture
    from tgim.images.photo import open_image
    from tgim.inference.batch_edit import write_new

    picture = sample_picture(subject, seed=seed)
    check_output(out, kind=kind)
    if is_pipe(out):
        write_picture(open_image(picture), out, kind=kind)
    else:
        say(write_new(picture, out, force=force, format=kind))


@main.command()
@json_option
def env(as_json: bool) -> None:
    """Print versions, threads and devices."""
    from tgim.environment import describe

    found = describe()
    if as_json:
        say_json(found)
        return
    for name, value in found.items():
        rows = [f"{key} {inner}" for key, inner in value.items()] if isinstance(value, dict) else value
        say(f"{name.replace('_', ' '):<16}{', '.join(rows) if isinstance(rows, list) else rows}")
