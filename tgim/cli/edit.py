"""The verb that edits photographs: `tgim edit`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgim.cli.app import check_not_input, check_picture, main, open_editor, warn
from tgim.cli.edit_folder import FolderOptions, check_folder, edit_folder, folder_options
from tgim.cli.options import (
    FILE,
    device_option,
    engine_option,
    invert_steps_option,
    json_option,
    model_option,
    quality_option,
    seed_option,
)
from tgim.cli.pipes import PICTURE, check_output, format_option, is_pipe, path_of, reader, write_picture
from tgim.errors import UserError
from tgim.system.say import say, say_json

if TYPE_CHECKING:
    from tgim.inference.batch_edit import Job
    from tgim.inference.editor import Size
    from tgim.inference.engines import Engines


@main.command()
@click.option("--image", type=PICTURE, help="The picture; - is the standard input.")
@click.option("--images", type=FILE, help="Or a folder: every picture in it; --out is a folder then.")
@click.option(
    "--text", "texts", multiple=True, required=True, help="Caption of the result, or a phrase; may be repeated."
)
@click.option(
    "--out",
    "target",
    help="File or folder to write; - is the standard output.  [default: <name>-edited<suffix> in this folder; - of -]",
)
@format_option
@model_option("birds")
@click.option("--strength", type=float, default=1.0, show_default=True, help="0 leaves the picture, 1 edits fully.")
@click.option("--box", metavar="X,Y,W,H", help="Edit this region alone, in pixels from the upper left; soft edge.")
@click.option("--mask", type=FILE, help="White may change, black stays; any size. With --images, a folder of masks.")
@click.option("--part", help="Let this part of the subject change alone, e.g. head (see tgim parts).")
@click.option("--save-mask", type=PICTURE, help="Write where the edit acted, white on black.")
@click.option("--focus/--no-focus", default=True, help="Look closer at a small subject.  [default: focus]")
@click.option(
    "--size",
    type=click.Choice(["photo", "model"]),
    default="photo",
    show_default=True,
    help="Size of the result: the photograph's own, or the model's raw output.",
)
@seed_option("Seed of models that sample noise.", default=None)
@invert_steps_option
@device_option
@engine_option
@quality_option
@folder_options
@click.option("--metadata", is_flag=True, help="Keep the EXIF block (camera, date, place).")
@click.option("--force", is_flag=True, help="Allow --out to replace the picture itself.")
@json_option
def edit(
    image: Path | None,
    images: Path | None,
    texts: tuple[str, ...],
    target: str | None,
    kind: str,
    model: str,
    strength: float,
    box: str | None,
    mask: Path | None,
    part: str | None,
    save_mask: Path | None,
    focus: bool,
    size: Size,
    seed: int | None,
    invert_steps: int | None,
    device: str,
    engine: Engines,
    quality: int | None,
    metadata: bool,
    force: bool,
    as_json: bool,
    **folder_values: Any,
) -> None:
    """Edit pictures so that a caption becomes true of them.

    \b
    tgim edit --image bird.jpg --text "red head and breast" --out edited.jpg
    tgim edit --image bird.jpg --text "a blue bird" --text "a white bird" --out results/
    tgim edit --images photos --text "this bird is yellow with black wings" --out edited
    tgim edit --image bird.jpg --text "bright red" --part head --out edited.jpg
    curl -s https://example.org/bird.jpg | tgim edit --image - --text "red head" --out - > edited.jpg

    --mask, --part and --box may be combined: what all of them allow may change, the rest stays bit-identical.

    A generator searches for the noise that generates the photograph, and generates a new picture from it. A style
    encoder finds the noise without a search; with --invert-steps the search starts from there.

    A part localiser edits, too: parts and colours are read from the text, and the parts that it finds on the largest
    bird or on the flowers of the picture are painted; --box chooses another subject. Without a subject, nothing is
    written.

    With several --text the files are numbered: edited-1.jpg, edited-2.jpg. An existing --out is replaced, but never the
    picture itself without --force. --json prints a line for each file that was written; its box is the
    region that was edited, the one given or that of a closer look, and null for the whole picture.

    A folder may be of any size: --skip-existing goes on where an earlier command stopped, however it ended, and several
    commands may work into one --out, each on its --shard. What was done is noted in --out, in .tgim-edits.jsonl. At the
    end comes a report: edits written, skipped and failed.
    """
    if (image is None) == (images is None):
        raise click.UsageError("give either --image FILE or --images FOLDER")
    from tgim.images.boxes import parse_box

    region = None if box is None else parse_box(box)
    options = FolderOptions(**folder_values)
    asked: dict[str, Any] = {"strength": strength, "focus": focus, "size": size, "seed": seed, "part": part}
    saved: dict[str, Any] = {"kind": kind, "quality": quality, "metadata": metadata}
    told = {"model": model, "invert_steps": invert_steps, **asked, "mask": None if mask is None else str(mask)}
    if images is not None:
        from tgim.inference.folder_edit import Asked, Folder

        out = None if target is None else path_of(target)
        if out is None or is_pipe(out):
            raise click.UsageError("--images needs --out FOLDER")
        if save_mask is not None:
            raise click.UsageError("--save-mask takes one edit, of --image FILE")
        folder = Folder(images, out, texts, Asked(**asked, **saved, box=region, invert_steps=invert_steps), masks=mask)
        edit_folder(folder, options, model=model, device=device, engine=engine, told=told, force=force, as_json=as_json)
        return
    from tgim.system.memory import keep_memory

    keep_memory(ahead=2**20)  # a folder's edits gain nothing by it
    options.refuse()
    target = "-" if target is None and is_pipe(image) else target
    out = None if target is None else path_of(target)
    into_folder = target is not None and target.endswith(("/", os.sep))
    todo = plan_edits(image or Path(), texts, out=out, into_folder=into_folder, kind=kind, force=force, as_json=as_json)
    check_masks(mask, save_mask, todo)
    read = reader(image)
    editor = open_editor(model, device=device, invert_steps=invert_steps, progress=True, engine=engine)
    from tgim.inference.batch_edit import run
    from tgim.inference.workers import Ready

    ready = Ready.of(editor, texts)
    for message in ready.notes:
        warn(message)
    results = run(
        editor, todo, make_folders=into_folder, box=region, mask=mask, save_mask=save_mask, read=read, **asked,
        write=lambda photo, path: write_picture(photo, path, **saved),
    )  # fmt: skip
    for result in results:
        for message in result.notes:
            warn(f"{result.job.image}: {message}")
        if as_json:
            say_json(told | {"device": ready.device} | result.as_dict() | ready.read[result.job.text])
        elif not is_pipe(result.job.out):
            say(result.job.out)


def plan_edits(
    image: Path, texts: Sequence[str], *, out: Path | None, into_folder: bool, kind: str, force: bool, as_json: bool
) -> list[Job]:
    """Plan the edits of one picture, and refuse what could not be written before a long edit; UserError."""
    from tgim.images.photo import check_target
    from tgim.inference.batch_edit import plan

    if not is_pipe(image):
        check_picture(image, many="give --images FOLDER --out FOLDER for all pictures of a folder")
    if into_folder and out is not None:
        check_folder(out)
    if out is not None and is_pipe(image) and (into_folder or out.is_dir()):
        raise click.UsageError("a picture from the standard input has no name; give --out a file, or -")
    if out is not None and is_pipe(out):
        check_output(out, kind=kind, as_json=as_json, pictures=len(texts))
    todo = plan([image], texts, out=out, into_folder=into_folder, force=force or is_pipe(out))
    for job in todo:
        if not into_folder and not is_pipe(job.out):
            check_target(job.out, format=kind)
    return todo


def check_masks(mask: Path | None, save_mask: Path | None, todo: Sequence[Job]) -> None:
    """Refuse a mask that is not there, or that could not be written, before a long edit; UserError."""
    from tgim.images.photo import check_target

    if mask is not None:
        check_picture(mask, advice="give --mask a picture")
    if save_mask is None:
        return
    if len(todo) != 1:
        raise click.UsageError(f"--save-mask takes one edit, and {len(todo)} would be made")
    if is_pipe(save_mask):
        raise click.UsageError("--save-mask writes a file, and - is none; name one, such as mask.png")
    check_target(save_mask)
    check_not_input(save_mask, *(each for each in (todo[0].image, mask) if each is not None))
    if os.path.abspath(save_mask) == os.path.abspath(todo[0].out):
        raise UserError(f"--out and --save-mask would both write {save_mask}; name two files")
