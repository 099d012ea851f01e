"""The verb that shows parts: `tgim parts`."""

from __future__ import annotations

from pathlib import Path

import click

from tgim.cli.app import check_not_input, check_picture, main
from tgim.cli.options import FILE, device_option, json_option, model_option
from tgim.errors import UserError
from tgim.system.say import say, say_json


@main.command()
@click.argument("image", type=FILE)
@model_option("birds", of="a part localiser, or of an editor with one")
@click.option("--out", type=FILE, help="File to write.  [default: <name>-parts.png in this folder; with --json none]")
@click.option("--mask", metavar="PART", help="Write the mask of this part alone: 8-bit gray, the picture's size.")
@click.option("--box", metavar="X,Y,W,H", help="The subject is here, in pixels from the upper left.")
@device_option
@json_option
def parts(
    image: Path, model: str, out: Path | None, mask: str | None, box: str | None, device: str, as_json: bool
) -> None:
    """Show where the parts of a picture's subject are.

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

    from tgim.environment import pick_device
    from tgim.images.carry import parse_box
    from tgim.images.photo import check_target, open_image
    from tgim.inference.part_overlay import figures, locate, mask_of, open_localiser, overlay, part_named, save_picture

    check_picture(image, advice="give a picture")
    if out is None and not as_json:
        out = Path(f"{image.stem}-{mask or 'parts'}.png")
    if out is not None:
        check_target(out)
        check_not_input(out, image)
    localiser = open_localiser(model, device=pick_device(device))
    part = part_named(mask, localiser.parts) if mask is not None else None
    photo = open_image(image)
    region = parse_box(box, height=photo.height, width=photo.width) if box is not None else None
    located = locate(photo, localiser, box=region)
    if located is None:
        raise UserError(f"{image} shows no subject that {model} knows; if there is one, say where by --box X,Y,W,H")
    found, maps = located
    if out is not None:
        picture = overlay(photo, found, maps) if part is None else Image.fromarray(mask_of(found, maps, part))
        save_picture(picture, out)
    if as_json:
        say_json(
            {"image": str(image), "model": model, "out": None if out is None else str(out), **figures(found, maps)}
        )
    else:
        say(out)
