"""Edits, embeddings and scores that are kept on disk between runs, named by all that they depend on."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tgim.data.cache import store_array, stored_array
from tgim.images.photo import to_uint8

CODE = (  # packages and modules that can change an edit or a score: a change of these makes arrays anew
    "system", "models", "nn", "text", "images",
    "checkpoints/checkpoint.py", "checkpoints/registry.py", "checkpoints/state_dict.py", "checkpoints/tensorfile.py",
    "data/base.py", "data/batch.py", "data/points.py", "data/views.py", "data/synthetic",
    "inference/editor.py", "inference/engines.py", "inference/fast.py", "inference/inversion.py",
    "inference/subject.py", "inference/torch_engine.py", "inference/masking.py", "inference/part_overlay.py",
    "evaluation/contenders.py", "evaluation/features.py", "evaluation/matcher.py", "evaluation/ways.py",
)  # fmt: skip
READ = (".py", ".json")  # suffixes of the files that count as code


class Store:
    """Arrays in a folder, each made once.

    Args:
        folder: of the cache; arrays lie in its subfolder `evaluation`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "evaluation"

    def get(self, kind: str, make: Callable[[], NDArray[Any]], who: str | None, *depends: Any) -> NDArray[Any]:
        """Return what `make` returns, from disk where the same model and code made it before from the same `depends`.

        Args:
            kind: of array, the first word of the file's name.
            make: called where it is not there yet.
            who: label of the model that makes it, with the hash of its file.
            depends: texts, numbers, lists of them, and pictures.
        """
        name = f"{kind}-{digest(who, code(), *depends)}"
        found = stored_array(self.folder, name)
        if found is not None:
            return np.array(found[0])
        array = make()

        def fill(path: Path) -> dict[str, Any]:
            with path.open("wb") as file:  # given a path, numpy would add a suffix
                np.save(file, array)
            return {}

        store_array(self.folder, name, fill)
        return array


def digest(*parts: Any) -> str:
    """24 hex digits of texts, numbers, lists of texts and pictures."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            found.update(repr(tuple(part.shape)).encode() + to_uint8(part).numpy().tobytes())
        else:
            found.update(repr(part if isinstance(part, str | int | float | None) else list(part)).encode())
        found.update(b"\0")
    return found.hexdigest()[:24]


@cache
def code() -> str:
    """16 hex digits of the code that edits and embeds (`CODE`): part of the name of all that is kept."""
    return hash_of(Path(__file__).parents[1], CODE)


def hash_of(home: Path, parts: Iterable[str]) -> str:
    """16 hex digits of the text of files and folders `parts` of `home`, without docstrings."""
    found = hashlib.sha256()
    for file in files_of(home, parts):
        text = file.read_text(encoding="utf-8")
        found.update((without_docstrings(text) if file.suffix == ".py" else text).encode() + b"\0")
    return found.hexdigest()[:16]


def files_of(home: Path, parts: Iterable[str]) -> Iterator[Path]:
    """The files that `parts`, files and folders of `home`, stand for."""
    for part in parts:
        path = home / part
        yield from (path,) if path.is_file() else sorted(each for each in path.rglob("*") if each.suffix in READ)


def without_docstrings(source: str) -> str:
    """Python source without the lines of its docstrings.

    >>> without_docstrings('def one():\\n    "The first number."\\n    return 1\\n')
    'def one():\\n    return 1'
    """
    lines: list[str | None] = list(source.splitlines())
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                for number in range(first.lineno - 1, first.end_lineno or first.lineno):
                    lines[number] = None
    return "\n".join(line for line in lines if line is not None)
