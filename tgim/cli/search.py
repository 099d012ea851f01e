"""The verb that searches pictures: `tgim search` finds those that a picture and a text describe together."""

from __future__ import annotations

from pathlib import Path

import click

from tgim.cli.app import check_picture, end_with, main, naming_unknown_words, note, own_cache, progress_bar
from tgim.cli.options import FILE, cache_option, device_option, json_option, model_option
from tgim.system.say import say, say_json

TRAIN = "tgim train recipes/compose_tirg_birds.yaml"


@main.command()
@click.argument("folder", type=FILE)
@click.option("--image", required=True, type=FILE, help="The picture to start from.")
@click.option("--text", required=True, help="What is to be different.")
@model_option("judge-birds", of="a composing or matching model")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Print this many pictures.")
@device_option
@cache_option
@json_option
def search(folder: Path, image: Path, text: str, model: str, top: int, device: str, cache: bool, as_json: bool) -> None:
    """Find pictures that differ from a picture as a text says.

    FOLDER is searched; the picture itself is left out if it is in it.

    \b
    tgim search photos --image bird.jpg --text "but with a red head"
    tgim search photos --image bird.jpg --text "make the wings black" --model runs/tirg/model.safetensors
    tgim search photos --image bird.jpg --text "but smaller" --top 3 --json

    A composing model is trained for this (recipes/compose_*.yaml). With a matching model the embeddings of picture and
    text are added, and stderr says so. The score is a cosine, -1 to 1: it ranks what one call compares.

    --json prints a line for each picture: rank, image, score, query, text, by (what composed) and model. Pictures that
    cannot be read are named at the end; the exit code is 1 then. Embeddings of pictures are kept in the cache.
    """
    from tgim.environment import pick_device
    from tgim.images.photo import list_images
    from tgim.inference.search import SUM
    from tgim.inference.search import search as find

    check_picture(image)
    pictures = list_images(folder)
    chosen = pick_device(device)
    kept = own_cache() if cache else None
    with naming_unknown_words(), progress_bar("picture", total=len(pictures)) as progress:
        found = find(pictures, image=image, text=text, model=model, device=chosen, cache=kept, progress=progress)
    if found.how == SUM:
        note(f"{model} is not trained to compose; picture and text are added ({TRAIN} trains one)")
    if as_json:
        for row in found.rows(top=top):
            say_json(row | {"model": model})
    else:
        say(found.listed(top=top))
    end_with(found.failed)
