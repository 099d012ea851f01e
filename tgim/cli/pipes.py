"""Pictures through pipes: `-` is the standard input where a picture is read, the standard output where one is written.

Nothing but the picture goes to the standard output then; a file of that name is `./-`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgim.errors import ImageError
from tgim.system.say import heard_bytes, say_bytes, to_terminal

if TYPE_CHECKING:
    from tgim.images.photo import Photo

PIPE = Path("-")
INPUT, OUTPUT = "standard input", "standard output"
LIMIT = 2**30  # bytes of a picture that is piped in


class _Picture(click.Path):
    """Path of a picture; `-` is a pipe, and a file of that name, `./-`, becomes an absolute path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return path_of(str(super().convert(value, param, ctx)))


def path_of(text: str) -> Path:
    """The path of a picture as it is given on the command line."""
    path = Path(text)
    return path.absolute() if path == PIPE and text != str(PIPE) else path


PICTURE = _Picture()
format_option = click.option(
    "--format",
    "kind",
    metavar="KIND",
    default="",
    help="Kind of the file: jpeg, png, webp, tiff, bmp or gif.  [default: by its name; of a pipe the input's, or png]",
)


def is_pipe(path: Path | None) -> bool:
    """Tell whether a path, one of `PICTURE` or `path_of`, means a pipe."""
    return path == PIPE


def reader(path: Path | None) -> Callable[[Path], Photo]:
    """Make a function that opens pictures to edit them; with a pipe as `path`, the one that is piped in, read now.

    Raises:
        ImageError: nothing is piped in, or too much. The function raises it where a picture cannot be read.
    """
    from tgim.images.photo import open_to_edit

    if not is_pipe(path):
        return open_to_edit
    content = piped_in()
    return lambda _: open_to_edit(content, name=INPUT)


def piped_in() -> bytes:
    """The bytes that are piped in, at most `LIMIT`; `ImageError` where there are more, none, or no pipe."""
    try:
        content = heard_bytes(LIMIT)
    except OSError as error:
        raise ImageError(f"{INPUT} cannot be read ({error}), expected a picture; pipe one in, or name a file") from None
    if len(content) > LIMIT:
        raise ImageError(f"{INPUT} is longer than {LIMIT // 2**20} MiB, expected one picture; name a file instead")
    if not content:
        raise ImageError(f"{INPUT} is empty, expected a picture; pipe one in, e.g. tgim edit --image - < bird.jpg")
    return content


def write_picture(
    photo: Photo, path: Path, *, kind: str = "", quality: int | None = None, metadata: bool = False
) -> None:
    """Write a picture to the file `path`, or to the standard output; `ImageError` as of `save_image`."""
    from tgim.images.photo import save_image, to_bytes

    if is_pipe(path):
        say_bytes(to_bytes(photo, kind, name=OUTPUT, quality=quality, metadata=metadata))
    else:
        save_image(photo, path, format=kind or None, quality=quality, metadata=metadata)


def check_output(path: Path, *, kind: str = "", as_json: bool = False, pictures: int = 1) -> None:
    """Refuse a target that could not be written, before a long edit.

    Raises:
        UsageError: more than one picture, or JSON beside a picture, would go through a pipe, or it is a terminal.
        ImageError: as of `tgim.images.photo.check_target`.
    """
    from tgim.images.photo import check_target, output_format

    if not is_pipe(path):
        check_target(path, format=kind)
        return
    output_format(kind)  # whether it is known
    if as_json:
        raise click.UsageError("--json prints to the standard output, and --out - writes the picture there; give one")
    if pictures > 1:
        raise click.UsageError(f"--out - takes one picture, and {pictures} would be written; name a folder")
    if to_terminal():
        raise click.UsageError("--out - would write a picture into the terminal; pipe it on, or name a file")
