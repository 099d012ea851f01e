"""The verbs that judge: `tgim match` ranks pictures and captions by each other."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgim.cli import FILE, as_json, main, say, warn
from tgim.errors import TextError, UserError

if TYPE_CHECKING:
    from tgim.ranking import Ranking

TOP = 10  # entries of a list that are printed for people


@main.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=FILE)
@click.option("--text", "texts", multiple=True, help="A caption, or a phrase; may be repeated.")
@click.option("--texts", "file", type=FILE, help="A file of captions, one a line; adds to --text.")
@click.option(
    "--model", default="judge-birds", show_default=True, help="Name (see tgim list) or file of a matching model."
)
@click.option("--top", type=click.IntRange(1), help=f"Print this many of each list.  [default: {TOP}; all with --json]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@as_json
def match(
    images: tuple[Path, ...],
    texts: tuple[str, ...],
    file: Path | None,
    model: str,
    top: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Rank pictures for a caption, or captions for a picture.

    IMAGE is a picture, or a folder: every picture in it.

    \b
    tgim match photos --text "a red bird with black wings"
    tgim match bird.jpg --text "a red bird" --text "a small blue bird"
    tgim match photos --texts captions.txt --top 3 --json

    For each caption the pictures are listed, best first; for a single picture, the captions. The score is the cosine of
    their embeddings, -1 to 1: it ranks what one call compares, is no probability, and says nothing between models.

    --json prints a line for each pair: text, image, score, the picture's rank for the text (picture_rank) and the
    text's for the picture (text_rank). Pictures that cannot be read are named at the end; the exit code is 1 then.
    """
    from tqdm import tqdm

    from tgim.editor import UnknownWordWarning
    from tgim.environment import pick_device
    from tgim.ranking import rank

    captions = list(dict.fromkeys([*texts, *(read_texts(file) if file else ())]))
    if not captions:
        raise click.UsageError("give --text CAPTION, or --texts FILE with one a line")
    pictures = find_pictures(images)
    with (
        warnings.catch_warnings(),
        tqdm(total=len(pictures), unit="picture", disable=None, leave=False) as bar,
    ):

        def progress(done: int, total: int) -> None:
            bar.update(done - bar.n)

        warnings.simplefilter("always", UnknownWordWarning)
        warnings.showwarning = lambda message, *_: warn(str(message))  # at once, before the pictures are read
        found = rank(
            pictures,
            captions,
            model=model,
            device=pick_device(device),
            progress=progress,
        )
    if as_json:
        for pair in pairs(found, top=top):
            say(pair | {"model": model})
    else:
        click.echo(ranked_lists(found, top=top or TOP))
    for error in found.failed:
        click.echo(f"tgim: failed: {' '.join(error.split())}", err=True)
    if found.failed:
        sys.exit(1)


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The pictures that `paths`, files and folders, stand for, each once.

    Raises:
        UserError: one is not there, or a folder without pictures.
    """
    from tgim.images import list_images

    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} is not there; give pictures, or folders of pictures")
        found += list_images(path) if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def read_texts(file: Path) -> list[str]:
    """The captions of a file, one a line, blank lines left out; TextError when there is none."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise TextError(f"{file} is no UTF-8 text; expected captions, one a line") from None
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise TextError(f"{file} holds no caption; expected one a line")
    return texts


def pairs(found: Ranking, *, top: int | None) -> Iterator[dict[str, Any]]:
    """Every pair with its score and both ranks: by text, the pictures best first; of one picture, the texts best first.

    `top` keeps so many of each list.
    """
    picture_ranks, text_ranks = found.pictures.argsort(1).T + 1, found.captions.argsort(1) + 1  # both (N, T)
    for name, rows, columns in lists(found):
        del name
        for row, column in list(zip(rows, columns, strict=True))[:top]:
            yield {
                "text": found.texts[column],
                "image": click.format_filename(found.images[row]),
                "score": round(float(found.scores[row, column]), 6),
                "picture_rank": int(picture_ranks[row, column]),
                "text_rank": int(text_ranks[row, column]),
            }


def lists(found: Ranking) -> Iterator[tuple[str, list[int], list[int]]]:
    """What is listed: a heading, and the rows and columns of the scores below it, best first."""
    count = len(found.images)
    if count == 1:
        yield found.images[0], [0] * len(found.texts), found.captions[0].tolist()
        return
    for column, (text, order) in enumerate(zip(found.texts, found.pictures, strict=True)):
        yield text, order.tolist(), [column] * count


def ranked_lists(found: Ranking, *, top: int) -> str:
    """The lists as text: place, score, and the picture's or the caption's name."""
    blocks = []
    for heading, rows, columns in lists(found):
        lines = [click.format_filename(heading)]
        for place, (row, column) in enumerate(list(zip(rows, columns, strict=True))[:top], 1):
            name = found.texts[column] if len(found.images) == 1 else found.images[row]
            lines.append(f"{place:>6}  {found.scores[row, column]:6.3f}  {click.format_filename(name)}")
        if len(rows) > top:
            lines.append(f"{'':>6}  and {len(rows) - top:,} more; --top {len(rows)} shows all")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
