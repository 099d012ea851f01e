"""Protocols: functions that measure one contender, and their needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tgim.checkpoints.registry import Role
from tgim.evaluation.bench import Bench
from tgim.evaluation.catalogue import Entry
from tgim.evaluation.records import Measured


def no_references(bench: Bench) -> Iterator[tuple[str, Measured]]:
    """Return no reference rows."""
    return iter(())


def no_label(bench: Bench) -> str | None:
    """Return no label, for a protocol without feature extractor."""
    return None


def always(bench: Bench) -> bool:
    """Return True, for a protocol that takes any data."""
    return True


def itself(model: Any) -> Sequence[Any]:
    """Return the model as its only contender."""
    return (model,)


@dataclass(frozen=True)
class Protocol:
    """A way to measure.

    `measure` yields the figures of one contender, `references` those of rows that stand in the table for comparison
    (name, figure). `metrics` names what each of them yields: once a results file has a line of every metric for a
    contender, it is not measured again, so a figure that sums up others comes last.
    """

    entry: Entry  # name, help and role; the version is raised when figures would no longer be comparable
    metrics: tuple[str, ...]
    measure: Callable[[Bench, Any], Iterator[Measured]]
    references: Callable[[Bench], Iterator[tuple[str, Measured]]] = no_references
    reference_names: tuple[str, ...] = ()
    needs_judge: bool = False
    needs_extractor: bool = False
    extractor_label: Callable[[Bench], str | None] = no_label  # label of the extractor in results lines
    fewest: int = 2  # pictures that it needs
    own_size: bool = False  # whether photographs are edited at their own size, whatever the bench's is
    facts: Callable[[Bench], dict[str, Any]] = Bench.facts  # fields of its lines that describe the pictures
    possible: Callable[[Bench], bool] = always  # whether it can measure on the data, asked if it was not named
    contenders: Callable[[Any], Sequence[Any]] = itself  # contenders of a model

    @property
    def name(self) -> str:
        """The name with its version, "retrieval@1"."""
        return self.entry.name

    @property
    def role(self) -> Role:
        """The kind of model that is measured."""
        return self.entry.role


def load(entry: Entry) -> Protocol:
    """Import a protocol's code."""
    module, _, name = entry.address.partition(":")
    found: Protocol = getattr(importlib.import_module(f"tgim.evaluation.{module}"), name)
    return found
