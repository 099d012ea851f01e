"""Prospects of a data set: what each verb will do with it, found by the code that the verb itself runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from tgim.data.base import CaptionedImages, Split, relative
from tgim.data.config import CaptionConfig, DataConfig
from tgim.data.report import Report, load_split
from tgim.errors import DataError, UserError
from tgim.evaluation.bench import Bench
from tgim.evaluation.catalogue import CATALOGUE, COMPOSE, PARTS, Entry
from tgim.evaluation.composing import triples_of
from tgim.evaluation.protocol import Protocol, load
from tgim.models.parsing.batches import part_names

YES = "yes"
STAGES = "recipes/tagrid.yaml"  # from a folder to an editor and a report of it


def prospects(report: Report) -> dict[str, str]:
    """Say for each verb "yes", or why not; pictures that the report calls unreadable are left out, as the verbs do."""
    broken = {each.path for each in report.problems if each.kind == "unreadable picture"}

    def split(name: Split, *, captions: bool = True) -> CaptionedImages:
        found = load_split(report.root, report.kind, name, captions=captions)
        items = tuple(item for item in found.items if relative(item.path, report.root) not in broken)
        if not items:
            raise DataError(f"no picture of split {name!r} can be read")
        return replace(found, items=items)

    def train() -> str:
        _enough(split("train"), "train")
        return YES

    def stages() -> str:
        _enough(split("trainval"), "trainval")
        parts = part_names(split("trainval", captions=False), _config(report, "trainval", pick="none"))
        bench = _Looked(report, split("test"))
        told = f" {bench.task.note}." if bench.task.note else ""
        return f"{YES}, of {', '.join(parts)}; the report edits {len(bench)} pictures.{told}".rstrip(".")

    found = {"train": _answer(train), f"train {STAGES}": _answer(stages)}

    def evaluate(entry: Entry) -> str:
        return _measured(load(entry), _Looked(report, split("test")))

    answers: dict[str, list[str]] = {}
    for entry in CATALOGUE.values():
        answers.setdefault(_answer(partial(evaluate, entry)), []).append(entry.short)
    said = {f"eval --protocol {','.join(names)}": told for told, names in answers.items()}
    root = str(report.root)
    return {verb: told.replace(f"{root}: ", "").replace(root, "it") for verb, told in (found | said).items()}


def _answer(look: Callable[[], str]) -> str:
    """Return what `look` returns, or the error that it raises."""
    try:
        return look()
    except UserError as error:
        return f"no: {error}"


def _enough(data: CaptionedImages, split: str) -> None:
    if len(data) < 2:
        raise DataError(f"split {split!r} has 1 picture; 2 or more are needed")


def _measured(protocol: Protocol, bench: Bench) -> str:
    """Ask a protocol whether it can measure on the pictures."""
    if protocol.entry is PARTS:
        protocol.facts(bench)
    elif protocol.entry is COMPOSE:
        triples_of(bench)
    elif len(bench) < protocol.fewest:
        raise DataError(f"split 'test' has {len(bench)} pictures, {protocol.fewest} or more are needed")
    return f"{YES}. {bench.task.note}" if bench.task.note else YES


def _config(report: Report, split: Split, *, pick: str = "random") -> DataConfig:
    return DataConfig(
        name=report.kind,  # type: ignore[arg-type]
        root=str(report.root),
        split=split,
        captions=CaptionConfig(pick=pick),  # type: ignore[arg-type]
    )


class _Looked(Bench):
    """A bench of pictures that were looked at before; none is decoded."""

    def __init__(self, report: Report, dataset: CaptionedImages) -> None:
        super().__init__(_config(report, "test"), size=64, cache=Path())
        self._listed = dataset

    @property
    def dataset(self) -> CaptionedImages:
        """The pictures."""
        return self._listed
