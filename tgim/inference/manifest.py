"""Manifest of a folder of edits: one JSON line for each file, from which is told whether the same edit is there.

A line is added before its file is written. One whose file is missing or has other content counts for nothing, so that
a process may be killed at any moment.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tgim.errors import UserError
from tgim.system.files import sha256_of
from tgim.system.journal import Journal

NAME = ".tgim-edits.jsonl"
FIELDS = ("out", "picture", "checkpoint", "text", "options", "tgim", "output")  # two lines that agree in them are one


class Manifest:
    """The manifest of the folder `out`.

    Args:
        out: the folder, which may not be there yet.

    A line has `image` and `out`, names relative to their folders; `picture` and `output`, the SHA-256 of both files;
    `checkpoint`, the model's fingerprint; `text`, `options` and `tgim`, the version.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._journal = Journal(out / NAME)
        self._known: set[bytes] = set()  # marks of lines: of a million edits, about 100 MB

    def has(self, edit: dict[str, Any]) -> bool:
        """Tell whether the file ``edit["out"]`` is there and is this edit; `edit` is a line without `output`.

        Lines that other processes added meanwhile count, too.

        Raises:
            UserError: the manifest cannot be read.
        """
        try:
            for line in self._journal.news():
                found = _parsed(line)
                if found is not None:
                    self._known.add(_mark(found))
        except OSError as error:
            raise UserError(f"{self._journal.path} cannot be read ({error.strerror}); name another --out") from None
        file = self.out / edit["out"]
        try:
            return bool(self._known) and file.is_file() and _mark({**edit, "output": sha256_of(file)}) in self._known
        except OSError:
            return False

    def add(self, edit: dict[str, Any], *, content: bytes) -> None:
        """Add the line of a file that is about to be written; its folder is there.

        Raises:
            UserError: the manifest cannot be written.
        """
        line = {**edit, "output": hashlib.sha256(content).hexdigest()}
        try:
            self._journal.append(json.dumps(line).encode())
        except OSError as error:
            raise UserError(f"{self._journal.path} cannot be written ({error.strerror}); name another --out") from None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line of the manifest; None where it was torn, or is of another kind."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and all(name in found for name in FIELDS) else None


def _mark(line: dict[str, Any]) -> bytes:
    """16 bytes of what a line says."""
    told = json.dumps([line[name] for name in FIELDS], sort_keys=True)
    return hashlib.sha256(told.encode()).digest()[:16]
