"""Options that several verbs of the command `tgim` have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Verb = TypeVar("Verb", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto is a GPU where torch sees one.",
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "onnx", "torch"]),
    default="auto",
    show_default=True,
    help="onnx runs most embedded models without torch, torch all; auto takes the first where it can.",
)
cache_option = click.option(
    "--cache/--no-cache",
    default=True,
    help="Keep what the model sees of each picture in the cache, so that it is looked at once.  [default: cache]",
)
quality_option = click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="Quality of JPEG and WebP files; 100 is lossless WebP.  [default: 95; lossless WebP stays lossless]",
)
texts_option = click.option("--text", "texts", multiple=True, help="A caption, or a phrase; may be repeated.")
invert_steps_option = click.option(
    "--invert-steps",
    type=click.IntRange(0, 100_000),
    metavar="N",
    help="Steps of the search for a photograph's noise, with a generator.  [default: 200; 0 with a style encoder]",
)


def model_option(default: str, *, of: str = "a checkpoint") -> Callable[[Verb], Verb]:
    """Make the option `--model`, with a default; `of` names the kind of model in its help."""
    return click.option("--model", default=default, show_default=True, help=f"Name (see tgim list) or file of {of}.")


def seed_option(
    help: str = "Seed of what is sampled at random.", *, default: int | None = 0, bits: int = 63
) -> Callable[[Verb], Verb]:
    """Make the option `--seed`, a number of so many `bits`."""
    return click.option(
        "--seed", type=click.IntRange(0, 2**bits - 1), default=default, show_default=default is not None, help=help
    )


def layout_option(help: str) -> Callable[[Verb], Verb]:
    """Make the option `--kind`, the layout of a folder of pictures and captions."""
    return click.option("--kind", type=click.Choice(["cub", "oxford102", "folder"]), help=help)
