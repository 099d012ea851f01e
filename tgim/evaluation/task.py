"""Choice of the caption that each picture is edited by, and of the wrong captions that it is compared with.

The choice depends on the pictures' names, their classes and the seed, by integer hashes, not on the order in which
files are listed, nor on the version of any library. Pictures without a class count as a class of their own each.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tgim.data.base import CaptionedImages, Item, relative
from tgim.errors import DataError
from tgim.evaluation.records import write_whole
from tgim.text.vocabulary import tokenize

CANDIDATES = 100  # captions that a query chooses from: the right one and 99 of other classes
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class EditTask:
    """Own, target and wrong captions of n pictures of a data set of N."""

    rows: Rows  # (n,) the pictures, as rows of the data set
    captions: tuple[str, ...]  # (N,) one caption of each picture of the data set: its own caption
    targets: Rows  # (n,) rows: a picture of another class for each
    target: tuple[str, ...]  # (n,) a caption of that picture
    own_wrong: Rows  # (n, K) rows of `captions`: of other classes than the picture's
    target_wrong: Rows  # (n, K) rows of `captions`: of other classes than the target's
    note: str = ""  # on the classes

    @property
    def own(self) -> list[str]:
        """The own caption of each of the n pictures."""
        return [self.captions[row] for row in self.rows]


def in_order(dataset: CaptionedImages) -> CaptionedImages:
    """Sort the pictures of a data set by their names."""
    return replace(dataset, items=tuple(sorted(dataset.items, key=lambda item: relative(item.path, dataset.root))))


def choose_task(dataset: CaptionedImages, *, split: str, seed: int, limit: int | None = None) -> EditTask:
    """Choose the captions of a data set whose pictures are in the order of their names.

    A target list that is kept with the package is used for its split, if the data set has exactly its pictures.

    Raises:
        DataError: fewer than two pictures, or captions that are all alike.
    """
    names = [relative(item.path, dataset.root) for item in dataset.items]
    if len(names) < 2:
        raise DataError(f"{dataset.root} has 1 picture in split {split!r}; an edit needs the caption of another")
    labels, note = class_numbers(dataset.items), ""
    if labels.max() == 0:
        labels = np.arange(len(names))
        note = f"{len(names)} pictures of split {split!r} are of one class; each is edited by the caption of another"
    for turn in range(max(len(item.captions) for item in dataset.items)):
        task = _task(dataset, names, labels, split=split, seed=seed, limit=limit, turn=turn)
        if task.own_wrong.size:
            return replace(task, note=note)
    raise DataError(
        f"{dataset.root} has a picture in split {split!r} for which no caption is wrong; captions must differ"
    )


def _task(
    dataset: CaptionedImages, names: Sequence[str], labels: Rows, *, split: str, seed: int, limit: int | None, turn: int
) -> EditTask:
    """Make a task with each picture's caption `turn` places after the one that is chosen first."""
    captions = [
        item.captions[(_key(seed, "own", name) + turn) % len(item.captions)]
        for name, item in zip(names, dataset.items, strict=True)
    ]
    rows = np.arange(len(names))
    if limit is not None and limit < len(names):
        rows = np.sort(np.argsort(_keys(seed, "limit", names), kind="stable")[:limit])
    kept = frozen_targets(dataset.name, split=split, seed=seed)
    found = _kept_targets(kept, names, dataset.items)
    targets, choices = (x[rows] for x in found) if found else _chosen_targets(names, dataset.items, labels, seed, rows)
    target = [dataset.items[row].captions[i] for row, i in zip(targets, choices, strict=True)]
    texts = np.asarray([hash_text(" ".join(tokenize(caption))) for caption in captions], dtype=np.uint64)
    target_texts = np.asarray([hash_text(" ".join(tokenize(caption))) for caption in target], dtype=np.uint64)
    mark = _keys(seed, "wrong", names)
    own_wrong = [_wrong(mark[row], mark, (labels != labels[row]) & (texts != texts[row])) for row in rows]
    target_wrong = [
        _wrong(mark[row] ^ np.uint64(1), mark, (labels != labels[other]) & (texts != own))
        for row, other, own in zip(rows, targets, target_texts, strict=True)
    ]
    few = min(len(found) for found in (*own_wrong, *target_wrong))
    return EditTask(
        rows=rows,
        captions=tuple(captions),
        targets=targets,
        target=tuple(target),
        own_wrong=np.stack([found[:few] for found in own_wrong]),
        target_wrong=np.stack([found[:few] for found in target_wrong]),
    )


def choose_targets(dataset: CaptionedImages, *, seed: int) -> dict[str, tuple[str, int]]:
    """Choose by the rule: name of each picture -> name of its target picture and number of the caption."""
    names = [relative(item.path, dataset.root) for item in dataset.items]
    rows = np.arange(len(names))
    targets, choices = _chosen_targets(names, dataset.items, class_numbers(dataset.items), seed, rows)
    return {name: (names[row], int(i)) for name, row, i in zip(names, targets, choices, strict=True)}


def frozen_targets(data: str, *, split: str, seed: int) -> Mapping[str, tuple[str, int]]:
    """The target list that is kept with the package, or an empty one."""
    file = importlib.resources.files("tgim.evaluation") / "targets" / f"{data}-{split}-{seed}.json"
    if not file.is_file():
        return {}
    return {name: (target, int(i)) for name, (target, i) in json.loads(file.read_text(encoding="utf-8")).items()}


def class_numbers(items: Sequence[Item]) -> Rows:
    """Class numbers (N,) of pictures; each picture without a class has a number of its own."""
    numbers: dict[Any, int] = {}
    keys = [item.label if item.label is not None else (row,) for row, item in enumerate(items)]
    return np.asarray([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def content_hash(dataset: CaptionedImages, *, fit: str, folder: Path) -> str:
    """16 hex digits of all pictures' names and bytes, how they are cut, and their captions.

    Hashes of files are kept in `folder` by path, size and date, so that only new files are read.

    Raises:
        DataError: a picture cannot be read.
        UserError: the folder cannot be written.
    """
    store = folder / f"digests-{hash_text(str(dataset.root.absolute())):016x}.json"
    known: dict[str, str] = {}
    if store.is_file():
        try:
            known = json.loads(store.read_text(encoding="utf-8"))
        except ValueError:
            known = {}
    fresh = {}
    digest = hashlib.sha256(fit.encode())
    for item in dataset.items:
        try:
            status = item.path.stat()
            mark = f"{item.path.absolute()}|{status.st_size}|{status.st_mtime_ns}"
            fresh[mark] = known.get(mark) or hashlib.sha256(item.path.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"{item.path} cannot be read ({error.strerror}); run tgim data check") from None
        entry = [relative(item.path, dataset.root), fresh[mark], item.captions, item.label, item.box]
        digest.update(json.dumps(entry).encode())
    if fresh.keys() - known.keys():
        write_whole(store, json.dumps(known | fresh).encode())
    return digest.hexdigest()[:16]


def hash_text(text: str) -> int:
    """The first 64 bits of the sha256 of a text."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def _key(seed: int, purpose: str, name: str) -> int:
    return hash_text(f"{seed}:{purpose}:{name}")


def _keys(seed: int, purpose: str, names: Sequence[str]) -> NDArray[np.uint64]:
    return np.asarray([_key(seed, purpose, name) for name in names], dtype=np.uint64)


def _rank(key: np.uint64, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A pseudo-random number for each of `keys`, another sequence for each `key` (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        x = keys * np.uint64(0x9E3779B97F4A7C15) + key
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _chosen_targets(
    names: Sequence[str], items: Sequence[Item], labels: Rows, seed: int, rows: Rows
) -> tuple[Rows, Rows]:
    """For each of `rows` the row of a picture of another class, and the number of one of its captions; (n,), (n,)."""
    mark = _keys(seed, "target", names)
    targets = []
    for row in rows:
        others = np.flatnonzero(labels != labels[row])
        targets.append(others[np.argmin(_rank(mark[row], mark[others]))])
    counts = [len(items[row].captions) for row in targets]
    choices = [_key(seed, "caption", names[row]) % count for row, count in zip(rows, counts, strict=True)]
    return np.asarray(targets, dtype=np.int64), np.asarray(choices, dtype=np.int64)


def _kept_targets(
    kept: Mapping[str, tuple[str, int]], names: Sequence[str], items: Sequence[Item]
) -> tuple[Rows, Rows] | None:
    """The kept list as rows, when it is of exactly these pictures and their captions are as many as it needs."""
    if kept.keys() != set(names):
        return None
    places = {name: row for row, name in enumerate(names)}
    targets = np.asarray([places[kept[name][0]] for name in names], dtype=np.int64)
    choices = np.asarray([kept[name][1] for name in names], dtype=np.int64)
    enough = all(i < len(items[row].captions) for row, i in zip(targets, choices, strict=True))
    return (targets, choices) if enough else None


def _wrong(key: np.uint64, keys: NDArray[np.uint64], allowed: NDArray[np.bool_]) -> Rows:
    """Up to 99 of the allowed rows, in a pseudo-random order."""
    rows = np.flatnonzero(allowed)
    return rows[np.argsort(_rank(key, keys[rows]), kind="stable")[: CANDIDATES - 1]]
