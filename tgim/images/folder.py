"""Pictures in a folder, known by their suffix."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from tgim.errors import ImageError, unexpanded
from tgim.images.door import one_line, reason
from tgim.images.kinds import FOREIGN, PHONE, SUFFIXES, suffixes

log = logging.getLogger(__name__)


def list_images(folder: str | os.PathLike[str], *, deeper: str = "") -> list[Path]:
    """The pictures directly in `folder` by their suffix, hidden files left out, in alphabetical order.

    Pictures of kinds that tgim does not open (HEIC, AVIF, ...) are left out, and logged as a warning.

    Args:
        folder: where they are.
        deeper: advice for the error about a folder in which there are folders alone.

    Raises:
        ImageError: no such folder, or no picture in it.
    """
    name = one_line(os.fspath(folder))
    try:
        visible = sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))
        files = [path for path in visible if not path.is_dir()]
    except (OSError, ValueError) as error:
        raise _unlisted(name, error) from error
    tell_foreign(name, (path.name for path in files))
    opened = suffixes()
    found = [path for path in files if path.suffix.lower() in opened]
    inner = [one_line(str(path)) for path in visible if path not in files] if not found else []
    if inner:
        what = f"but {len(inner)} folders" if len(inner) > 1 else "but a folder"
        raise ImageError(
            f"{name} holds no picture, {what}, which are not looked into; name one of them: {inner[0]}{deeper}"
        )
    if not found:
        raise _no_picture(name)
    return found


def walk_images(folder: str | os.PathLike[str], *, without: Path | None = None) -> list[str]:
    """Names of the pictures in `folder` and all folders below, relative to it, in alphabetical order.

    Hidden files and folders are left out. Links to folders are followed, but each folder is read once, links after the
    folders that are really there, so that links in circles end. As for `list_images`, other kinds of pictures are left
    out with a warning, and so are folders that cannot be read.

    Args:
        folder: where to begin.
        without: a folder below that is not read; it may not be there yet.

    Raises:
        ImageError: no such folder, or no picture in it.
    """
    name = one_line(os.fspath(folder))
    files, unread = walk(folder, without=without)
    for path in unread:
        log.warning("%s cannot be read and is left out", one_line(os.path.join(folder, path)))
    tell_foreign(name, files)
    found = pictures_among(files)
    if not found:
        raise _no_picture(name)
    return found


def walk(
    folder: str | os.PathLike[str], *, recursive: bool = True, without: Path | None = None
) -> tuple[list[str], list[str]]:
    """Names of all files, relative to `folder`, as `walk_images` finds them, and of the folders that cannot be read.

    Raises:
        ImageError: `folder` itself cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    aside = _identity(without)
    files: list[str] = []
    unread: list[str] = []
    folders = [""]
    links: list[str] = []
    while folders or links:
        inner = folders.pop() if folders else links.pop()
        path = os.path.join(os.fspath(folder), inner)
        try:
            identity = _identity(path)
            if identity in seen or (identity is not None and identity == aside and inner):
                continue
            with os.scandir(path) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
            if identity is not None:
                seen.add(identity)
        except (OSError, ValueError) as error:
            if not inner:
                raise _unlisted(one_line(os.fspath(folder)), error) from error
            unread.append(inner)
            continue
        for entry in visible:
            if not _is_folder(entry):
                files.append(os.path.join(inner, entry.name))
            elif recursive:
                (links if entry.is_symlink() else folders).append(os.path.join(inner, entry.name))
        links.sort(reverse=True)
    return sorted(files), unread


def pictures_among(names: Iterable[str]) -> list[str]:
    """Choose those of `names` whose suffix is one of a picture that is opened here."""
    opened = suffixes()
    return [name for name in names if os.path.splitext(name)[1].lower() in opened]


def tell_foreign(folder: str, names: Iterable[str]) -> None:
    """Log as a warning how many of `names` are pictures of kinds that are not opened here."""
    unknown = {*FOREIGN, *PHONE}.difference(suffixes())
    foreign = [suffix for name in names if (suffix := os.path.splitext(name)[1].lower()) in unknown]
    if foreign:
        kinds = ", ".join(sorted(set(foreign)))
        extra = ', or pip install "tgim[phone]"' if not PHONE.keys().isdisjoint(foreign) else ""
        log.warning("%s: %d files are left out, convert them first (%s)%s", folder, len(foreign), kinds, extra)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False


def _identity(path: str | os.PathLike[str] | None) -> tuple[int, int] | None:
    """Equal for two paths of one folder; None where there is none."""
    try:
        found = None if path is None else os.stat(path)
    except (OSError, ValueError):
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _unlisted(name: str, error: OSError | ValueError) -> ImageError:
    return ImageError(f"{name} cannot be listed ({reason(error)}{unexpanded(name)}); expected a folder of pictures")


def _no_picture(name: str) -> ImageError:
    return ImageError(f"{name} holds no picture; expected files that end in {', '.join(SUFFIXES)}")
