"""What every conversion has in common: what is given, what is made of it, and how sizes become a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError

from tgim.conversion.files import ReleaseFile, State, read_state
from tgim.errors import UserError
from tgim.models.base import Config, Model
from tgim.text.vocabulary import Vocabulary

C = TypeVar("C", bound=Config)
NO_READER = "no text encoder given: it starts anew, and pictures will not follow captions"
UNTRAINED_JUDGE = "the discriminator is untrained; convert the authors' too before training on"


@dataclass(frozen=True)
class Given:
    """The caller's files and settings; see `tgim.conversion.convert.convert`."""

    system: str
    source: Path
    word_vectors: Path | None = None
    words: Path | None = None
    text_encoder: Path | None = None
    image_encoder: Path | None = None
    discriminator: Path | None = None
    image_size: int | None = None
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """How a checkpoint of ours comes about from files."""

    build: Callable[[], Model]  # with random weights
    files: list[ReleaseFile]  # they fill it
    vocabulary: Vocabulary
    title: str
    limits: list[str]  # of the model card
    finish: Callable[[Model], None] = lambda model: None  # fills what no part does
    licence: str = "that of the release"
    warning: str | None = None  # for the log


def seeded(build: Callable[[], Model]) -> Model:
    """What `build` makes; what the files do not fill is drawn from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def settled(kind: type[C], seen: Mapping[str, Any], given: Mapping[str, Any]) -> C:
    """The config of the sizes that were `seen` in a file, joined by what the caller says, or of that alone.

    Sizes that make no config are those of another network; the defaults stand in, and `ReleaseFile.check` will say.

    Raises:
        UserError: what the caller says makes none.
    """
    try:
        return kind(**seen)
    except ValidationError:
        try:
            return kind(**given)
        except ValidationError as error:
            fault = error.errors()[0]
            raise UserError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, got {fault['input']!r}") from None


def judges(first: Path | None, count: int) -> list[tuple[Path, State]]:
    """The files of `count` discriminators: "0" in the name of the first replaced by the others' number.

    Raises:
        UserError: the first of several is not named ``netD0``.
        CheckpointError: a file that cannot be read.
    """
    if first is None:
        return []
    if count > 1 and "netD0" not in first.name:
        raise UserError(f"discriminator {first} must be the first of {count}, named netD0; the others lie beside it")
    paths = [first.with_name(first.name.replace("netD0", f"netD{i}")) for i in range(count)]
    return [(path, read_state(path, "discriminator")) for path in paths]


def check_size(given: Given, size: int) -> None:
    """Raise UserError where the caller asks for pictures of another side than the file draws, in pixels."""
    if given.image_size not in (None, size):
        raise UserError(f"image_size is {given.image_size}, but {given.source} draws {size} px; leave it out")
