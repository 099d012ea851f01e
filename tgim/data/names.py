"""Files of a folder by their names, as people and other systems write them."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath

from tgim.data.base import is_file


def leads_out(name: str) -> bool:
    """Tell whether a relative name is absolute or leads out of its folder, on any system.

    >>> [leads_out(name) for name in ("a/b.jpg", "../b.jpg", "a\\\\..\\\\b.jpg", "/b.jpg", "C:\\\\b.jpg", "a:b.jpg")]
    [False, True, True, True, True, False]
    """
    parts = re.split(r"[/\\]", name)
    return ".." in parts or not parts[0] or re.match(r"[A-Za-z]:[/\\]", name) is not None


class FilesByName:
    """The files below a folder that are not hidden, found by names in any Unicode normalisation and by `\\` for `/`.

    Attributes:
        paths: of all of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: set[Path] = set()
        for home, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            self.paths |= {Path(home, name) for name in files if not name.startswith(".")}
        self._alike: dict[str, Path] = {}
        self._caseless: dict[str, Path] = {}
        for path in sorted(self.paths):
            name = path.relative_to(folder).as_posix()
            self._alike.setdefault(_normal(name), path)
            self._caseless.setdefault(_normal(name).casefold(), path)

    def find(self, name: str) -> Path | None:
        """The file of a name: the very one, else the first that is alike; None without one, or if it is no file."""
        for each in dict.fromkeys((name, name.replace("\\", "/"))):
            path = self.folder / each
            if path not in self.paths and is_file(path):  # hidden, beyond a link, or spelled otherwise
                other = self._caseless.get(_normal(_plain(each)).casefold())
                path = other if other is not None and is_file(other) and other.samefile(path) else path
            elif path not in self.paths:
                path = self._alike.get(_normal(_plain(each)), path)
            if is_file(path):
                return path
        return None

    def near(self, name: str) -> Path | None:
        """A file whose name differs in upper and lower case alone."""
        found = self._caseless.get(_normal(_plain(name.replace("\\", "/"))).casefold())
        return found if found is not None and is_file(found) else None

    def holds(self, name: str) -> bool:
        """Tell whether anything, be it a folder, has exactly this name."""
        try:
            return (self.folder / name).exists()
        except (OSError, ValueError):
            return False


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    return PurePosixPath(name).as_posix()
