"""Plan of a conversion: the caller's files, the model that they fill, and the config for sizes in a file."""

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
NO_TEXT_ENCODER = "no text encoder given: it starts anew, and pictures will not follow captions"
UNTRAINED_DISCRIMINATOR = "the discriminator is untrained; convert the authors' too before training on"


@dataclass(frozen=True)
class Inputs:
    """Files and settings of the caller; see `tgim.conversion.convert.convert`."""

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
    """Model to build, files that fill it, and texts of its card."""

    build: Callable[[], Model]  # with random weights
    files: list[ReleaseFile]  # they fill it
    vocabulary: Vocabulary
    title: str
    limits: list[str]  # of the model card
    finish: Callable[[Model], None] = lambda model: None  # fills what no part does
    licence: str = "that of the release"
    warning: str | None = None  # for the log


def seeded(build: Callable[[], Model]) -> Model:
    """Build a model from a fixed seed, for tensors that the files do not fill."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def checked_config(kind: type[C], found: Mapping[str, Any], given: Mapping[str, Any]) -> C:
    """Build the config from sizes found in a file and values of the caller, or from the latter alone.

    Sizes that make no config are those of another network; the defaults stand in, and `ReleaseFile.check` will say.

    Raises:
        UserError: what the caller says makes none.
    """
    try:
        return kind(**found)
    except ValidationError:
        try:
            return kind(**given)
        except ValidationError as error:
            fault = error.errors()[0]
            raise UserError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, got {fault['input']!r}") from None


def discriminator_files(first: Path | None, count: int) -> list[tuple[Path, State]]:
    """Read the files of `count` discriminators: "0" in the first name is replaced by the others' number.

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


def check_size(given: Inputs, size: int) -> None:
    """Raise UserError where the caller asks for another side in pixels than the file's pictures have."""
    if given.image_size not in (None, size):
        raise UserError(f"image_size is {given.image_size}, but {given.source} generates {size} px; leave it out")
