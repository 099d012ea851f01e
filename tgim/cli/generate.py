"""The verbs that generate pictures from captions and interpolate: `tgim generate` and `tgim interpolate`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgim.cli.app import check_not_input, check_picture, main, note, open_editor, progress_bar, warn
from tgim.cli.options import (
    FILE,
    device_option,
    invert_steps_option,
    json_option,
    model_option,
    quality_option,
    seed_option,
    texts_option,
)
from tgim.cli.pipes import check_output, format_option, is_pipe, path_of, write_picture
from tgim.errors import UserError
from tgim.system.say import say, say_json

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from tgim.inference.editor import Editor
    from tgim.inference.generator import Generator

ROW = 8  # pictures of a caption beside each other in a grid
LEAST = 64  # pixels, of a picture in a grid


@main.command()
@model_option("attngan-birds", of="a text-to-image model")
@texts_option
@click.option("--n", "count", type=click.IntRange(1), default=8, show_default=True, help="Pictures of each text.")
@seed_option()
@click.option(
    "--out",
    "target",
    required=True,
    help="Picture file for a grid, - for the standard output; or a folder, for one file a picture.",
)
@format_option
@click.option(
    "--vary",
    type=click.Choice(["noise", "caption", "both"]),
    default="noise",
    show_default=True,
    help="What differs between the pictures of a text: the noise, or how the caption is read (its conditioning "
    "augmentation).",
)
@click.option("--attention", metavar="FILE", help="Write what each word attended to as well: a row for each picture.")
@device_option
@quality_option
@json_option
def generate(
    model: str,
    texts: tuple[str, ...],
    count: int,
    seed: int,
    target: str,
    kind: str,
    vary: Any,
    attention: str | None,
    device: str,
    quality: int | None,
    as_json: bool,
) -> None:
    """Generate pictures from captions, by a text-to-image model.

    \b
    tgim generate --text "a small red bird" --out red.png
    tgim generate --text "a red bird" --text "a blue bird" --n 4 --out grid.png
    tgim generate --text "a red bird" --n 100 --vary both --out birds/
    tgim generate --text "a red bird" --n 2 --out red.png --attention words.png
    tgim generate --model runs/stackgan1/model.safetensors --text "a red bird" --out red.png

    --out is a folder when it is there as one, or ends with a slash; the files in it are numbered: 1.png, 2.png, ...,
    with several texts 1-1.png, 1-2.png, ..., 2-1.png. Otherwise all pictures go on one grid, a row or more for each
    text, the pictures of a column from one noise; a single picture is written as it is. Existing files are
    replaced. --json prints a line for each file. A model that generates from noise alone (StackGAN-v2 without
    captions) takes no --text.
    """
    from tgim.environment import pick_device
    from tgim.images.photo import Photo, check_target, open_image, output_format, save_image
    from tgim.inference import batch_edit as jobs
    from tgim.inference.generator import Generator
    from tgim.text.understand import understand

    out, into_folder = path_of(target), target.endswith(("/", os.sep)) or Path(target).is_dir()
    if into_folder:
        check_folder(out)
        output_format(kind)  # whether it is known
    else:
        check_output(out, kind=kind, as_json=as_json)
    if attention is not None:
        check_target(attention)
        if os.path.abspath(attention) == os.path.abspath(out):
            raise UserError(f"--out and --attention would both write {out}; name two files")
    generator = Generator.from_pretrained(model, device=pick_device(device))
    generator.check(n=count, seed=seed, vary=vary)
    if attention is not None:
        generator.attentive()
    if not generator.model.reads:
        texts = ("",)  # one row: captions change nothing
    elif not texts:
        raise UserError(f"there is no --text, and {model} generates from captions; give one, e.g. --text 'a red bird'")
    for message in jobs.check_texts(generator, texts):
        warn(message)
    with quiet(), progress_bar("picture", total=len(texts) * count) as progress:
        captions = [generator.caption(text) for text in texts]
        pictures = generator.generate(texts, n=count, seed=seed, vary=vary, progress=progress)
        if attention is not None:
            shown = word_sheet(generator, pictures, texts, seed=seed, vary=vary)
            save_image(open_image(shown), attention, quality=quality)
    line = {"model": model, "device": str(generator.device), "seed": seed, "vary": vary, "attention": attention}
    strange = [understand(text, generator.vocabulary, generator.template).unknown if text else {} for text in texts]
    unknown = [{word: list(near) for word, near in each.items()} for each in strange]
    if not into_folder:
        sheet = grid(pictures, texts)
        write_picture(open_image(sheet), out, kind=kind, quality=quality)
        if as_json:
            told: dict[str, Any] = {"out": target, "texts": texts, "captions": captions, "unknown": unknown}
            say_json(told | {"n": count, "width": sheet.width, "height": sheet.height} | line)
        elif not is_pipe(out):
            say(out)
        return
    out.mkdir(parents=True, exist_ok=True)
    suffix = f".{kind.lower()}" if kind else ".png"
    for i, row in enumerate(pictures):
        for number, picture in enumerate(row, 1):
            digits = f"{number:0{len(str(count))}}"
            name = (f"{i + 1:0{len(str(len(texts)))}}-" if len(texts) > 1 else "") + digits + suffix
            save_image(Photo(picture), out / name, format=kind or None)
            if as_json:
                told = {"out": str(out / name), "text": texts[i], "caption": captions[i], "unknown": unknown[i]}
                say_json(told | {"number": number, "width": row.shape[-1], "height": row.shape[-2]} | line)
    if not as_json:
        say(f"{pictures.shape[0] * count} pictures written to {out}")


def grid(pictures: Tensor, texts: Sequence[str]) -> Image.Image:
    """Lay out pictures (T, n, 3, S, S) in [-1, 1] in rows, each labelled by its text; a single one as it is."""
    from tgim.images.photo import Photo
    from tgim.images.sheet import contact_sheet

    if pictures.shape[0] * pictures.shape[1] == 1:
        return Photo(pictures[0, 0]).to_pil()
    rows, labels = [], []
    for text, row in zip(texts, pictures, strict=True):
        for start in range(0, len(row), ROW):
            rows.append(list(row[start : start + ROW]))
            labels.append("" if start else text)
    return contact_sheet(rows, row_labels=labels, cell=max(LEAST, pictures.shape[-1]))


def word_sheet(generator: Generator, pictures: Tensor, texts: Sequence[str], *, seed: int, vary: Any) -> Image.Image:
    """Sheet of what each word of `texts` attended to in their pictures (T, n, 3, S, S): a row for each picture."""
    from tgim.inference.attention import attention_sheet

    count = pictures.shape[1]
    words, maps = [], []
    for text in texts:
        read, looked = generator.attention(text, n=count, seed=seed, vary=vary)
        words += [read] * count
        maps += list(looked)
    return attention_sheet(pictures.flatten(0, 1), maps, words)


def check_folder(out: Path) -> None:
    """Refuse a folder that could not be written, before pictures are generated; UserError."""
    there = next((folder for folder in (out, *out.absolute().parents) if folder.exists()), Path("/"))
    if not there.is_dir():
        raise UserError(f"{there} is a file, but --out must name a folder here")
    if not os.access(there, os.W_OK):
        raise UserError(f"{out} cannot be written: {there} is write-protected; name another --out")


@main.command()
@model_option("birds")
@click.option("--text", "texts", multiple=True, required=True, help="A caption, or a phrase; once or twice.")
@click.option("--image", "images", multiple=True, type=FILE, help="A photograph; up to twice.")
@click.option("--steps", type=click.IntRange(2, 1000), default=8, show_default=True, help="Pictures, both ends among.")
@seed_option()
@click.option("--out", "target", required=True, help="Strip of pictures; moving pictures with .gif or .webp.")
@click.option(
    "--side",
    type=click.IntRange(16, 4096),
    metavar="PX",
    help="Longest side of a photograph in the frames.  [default: 384]",
)
@invert_steps_option
@device_option
@quality_option
@json_option
def interpolate(
    model: str,
    texts: tuple[str, ...],
    images: tuple[Path, ...],
    steps: int,
    seed: int,
    target: str,
    device: str,
    quality: int | None,
    as_json: bool,
    side: int | None,
    invert_steps: int | None,
) -> None:
    """Interpolate between captions, photographs or noises.

    \b
    tgim interpolate --image bird.jpg --text "a red bird" --text "a blue bird" --out strip.png
    tgim interpolate --image a.jpg --image b.jpg --text "a red bird" --model sisgan.safetensors --out way.gif
    tgim interpolate --text "a red bird" --model attngan-birds --steps 16 --out noise.webp

    Two texts: from one caption to the other, on one photograph, or without one on one noise of a generator. Two
    photographs and one text: from one edited photograph to the other. One text alone: from one noise of a generator to
    another. What was interpolated depends on the model, and is said at the end.

    A generator first searches for the noise of the photographs, and generates every picture from noise; a style
    encoder finds it without a search. An existing --out is replaced. --json prints one line.
    """
    if (len(images), len(texts)) not in ((0, 1), (0, 2), (1, 2), (2, 1)):
        raise click.UsageError(
            f"got {len(images)} --image and {len(texts)} --text; give two texts with at most one photograph, two "
            "photographs with one text, or one text alone"
        )
    from tgim.environment import pick_device
    from tgim.images.photo import check_target, open_image
    from tgim.inference import batch_edit as jobs
    from tgim.inference import interpolate as ways
    from tgim.inference.editor import Editor
    from tgim.inference.generator import Generator

    for image in images:
        check_picture(image)
    check_target(target)
    check_not_input(Path(target), *images)
    side = side or ways.SIDE
    photos = [open_image(image) for image in images]
    maker: Editor | Generator
    if photos:
        maker = open_editor(model, device=device, invert_steps=invert_steps, progress=True)
    else:
        maker = Generator.from_pretrained(model, device=pick_device(device))
    for message in jobs.check_texts(maker, texts):
        warn(message)
    with quiet(), progress_bar("picture") as progress:
        how: dict[str, Any] = {"steps": steps, "progress": progress}
        if len(texts) == 2:
            photo = photos[0] if photos else None
            found = ways.between_captions(maker, texts[0], texts[1], image=photo, seed=seed, side=side, **how)
        elif isinstance(maker, Editor):
            found = ways.between_pictures(maker, photos[0], photos[1], texts[0], side=side, **how)
        else:
            found = ways.between_noises(maker, texts[0], seed=seed, **how)
    ways.save_frames(found.pictures, target, quality=quality)
    if not as_json:
        say(target)
        note(f"interpolated: {found.how}")
        return
    with quiet():
        captions = [maker.caption(text) for text in texts]
    height, width = found.pictures.shape[-2:]
    told: dict[str, Any] = {
        "out": target,
        "images": [str(image) for image in images],
        "texts": texts,
        "captions": captions,
    }
    facts = {"how": found.how, "steps": steps, "width": width, "height": height, "seed": seed, "model": model}
    say_json(told | facts | {"moving": ways.is_moving(target), "device": str(maker.device)})


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings about unknown words, which `jobs.check_texts` has given before."""
    from tgim.text.understand import UnknownWordWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownWordWarning)
        yield
