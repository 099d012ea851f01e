"""The verb that shows parts: `tgim parts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tgim.cli.app import check_not_input, check_picture, device_for, main
from tgim.cli.options import device_option, engine_option, json_option, model_option
from tgim.cli.pipes import PICTURE, check_output, format_option, is_pipe, reader
from tgim.errors import UserError
from tgim.system.say import say, say_bytes, say_json

if TYPE_CHECKING:
    from tgim.inference.engines import Engines


@main.command()
@click.argument("image", type=PICTURE)
@model_option("birds", of="a part localiser, or of an editor with one")
@click.option(
    "--out",
    type=PICTURE,
    help="File, or - for the standard output.  [default: <name>-parts.png in this folder, - of -; with --json none]",
)
@format_option
@click.option("--mask", metavar="PART", help="Write the mask of this part alone: 8-bit gray, the picture's size.")
@click.option("--box", metavar="X,Y,W,H", help="The subject is here, in pixels from the upper left.")
@device_option
@engine_option
@json_option
def parts(
    image: Path,
    model: str,
    out: Path | None,
    kind: str,
    mask: str | None,
    box: str | None,
    device: str,
    engine: Engines,
    as_json: bool,
) -> None:
    """Show where the parts of a picture's subject are.

    IMAGE is a file, or - for the standard input.

    \b
    tgim parts bird.jpg --model runs/parts/model.safetensors --out parts.png
    tgim parts bird.jpg --model runs/parts/model.safetensors --mask head --out head.png
    tgim parts bird.jpg --model runs/parts/model.safetensors --json

    Parts are coloured, the background is faded, white boxes are the subject and, where there are several, the others;
    the largest one's parts are shown, or those within --box. A mask may also be of "subject", all parts, or of
    "background". Where there is no subject, one line says so, the exit code is 2 and nothing is written.

    --json prints the boxes (x, y, width, height in pixels), the score (0 to 1) and each part's share of the subject.
    """
    from PIL import Image

    from tgim.images.boxes import parse_box
    from tgim.inference.part_overlay import (
        figures,
        locate,
        mask_of,
        open_finder,
        overlay,
        part_named,
        picture_bytes,
        save_picture,
    )

    if not is_pipe(image):
        check_picture(image, advice="give a picture")
    if out is None and not as_json:
        out = image if is_pipe(image) else Path(f"{image.stem}-{mask or 'parts'}.png")
    if out is not None:
        check_output(out, kind=kind, as_json=as_json)
        if not is_pipe(out):
            check_not_input(out, image)
    photo = reader(image)(image)
    localiser = open_finder(model, device=device_for(model, device, engine), engine=engine)
    part = part_named(mask, localiser.parts) if mask is not None else None
    region = parse_box(box, height=photo.height, width=photo.width) if box is not None else None
    located = locate(photo, localiser, box=region)
    if located is None:
        raise UserError(f"{image} shows no subject that {model} knows; if there is one, say where by --box X,Y,W,H")
    found, maps = located
    if out is not None:
        picture = overlay(photo, found, maps) if part is None else Image.fromarray(mask_of(found, maps, part))
        if is_pipe(out):
            say_bytes(picture_bytes(picture, kind))
        else:
            save_picture(picture, out, format=kind)
    if as_json:
        say_json(
            {"image": str(image), "model": model, "out": None if out is None else str(out), **figures(found, maps)}
        )
    elif out is not None and not is_pipe(out):
        say(out)
