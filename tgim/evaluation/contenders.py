"""Contenders, which are measured: they make pictures from pictures and captions, or from captions alone."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.checkpoints.registry import Role
from tgim.errors import FittingAlreadyWarning, MissingPartWarning, SubjectError, TextError, UserError
from tgim.evaluation.records import Kind
from tgim.images.photo import Photo, from_uint8, to_uint8
from tgim.inference.editor import Editor
from tgim.inference.inversion import Inverter
from tgim.models.base import Generating, sample_noise
from tgim.text.understand import UnknownWordWarning
from tgim.text.vocabulary import complete

BATCH = 16  # captions whose pictures are generated together: fits into memory at 256 px, too
log = logging.getLogger(__name__)


class Contender(Protocol):
    """Something that edits; see `ModelContender` and `tgim.evaluation.baselines`."""

    @property
    def name(self) -> str:
        """Name in the tables."""

    @property
    def kind(self) -> Kind:
        """ "model" or "baseline"."""

    @property
    def checkpoint(self) -> str | None:
        """Its `tgim.checkpoints.checkpoint.fingerprint`, 16 hex digits; edits of what has one are kept on disk."""

    @property
    def has_strength(self) -> bool:
        """True if `edit` uses `strength`; otherwise the bench blends its full edit with the photograph."""

    @property
    def replaces(self) -> bool:
        """True if it returns another picture instead of an edit; protocols with pictures of their own choose it."""

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        """Edited pictures of the shape of `pictures`, (B, 3, S, S) in [-1, 1], on the 256 levels of a file.

        Args:
            pictures: (B, 3, S, S) in [-1, 1].
            captions: B captions of the wanted results.
            rows: numbers of the pictures among the bench's, 0 to n - 1.
            strength: 0 to 1.
        """

    def edit_photo(self, photo: Photo, text: str) -> Photo:
        """The full edit of one photograph at its own size, as `Editor.edit_photo` returns it to users."""


@runtime_checkable
class PictureGenerator(Protocol):
    """Something that generates pictures of captions; see `GeneratorContender`."""

    @property
    def name(self) -> str:
        """Name in the tables."""

    def generate(self, captions: Sequence[str], rows: Sequence[int], *, number: int, seed: int) -> Tensor:
        """`number` pictures of each caption, (B, number, 3, S, S) in [-1, 1].

        Args:
            captions: B captions.
            rows: B numbers; the noises of a caption depend on its row and the seed, not on the other captions.
            number: pictures of each caption.
            seed: of the noises.
        """


class ModelContender:
    """An editor under test. Where its strength is a blend with the photograph, the bench may do the blending."""

    kind: Kind = "model"
    replaces = False

    def __init__(self, editor: Editor, *, name: str, checkpoint: str | None) -> None:
        self.editor, self.name, self.checkpoint = editor, name, checkpoint
        self.has_strength = editor.model.has_strength

    @property
    def only_generates(self) -> bool:
        """True for a text-to-image model without an encoder, which edits by a search for each picture's noise."""
        return isinstance(self.editor.model, Inverter)

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles in which it can be measured, its own first."""
        return ("editor",)

    @staticmethod
    def open(source: str | Path, *, device: str = "cpu", loaded: Checkpoint | None = None) -> ModelContender:
        """Open the model of a checkpoint, by name or path, as a `GeneratorContender` if it generates.

        Args:
            source: name or path.
            device: where it edits, "cpu" or "cuda".
            loaded: the checkpoint, where it has been loaded already.

        Raises:
            CheckpointError: there is none, or it neither edits nor generates.
        """
        editor = Editor(loaded if loaded is not None else checkpoint.load(source, device=device), device=device)
        kind = ModelContender if generator_in(editor) is None else GeneratorContender
        return kind(editor, name=shown_name(source), checkpoint=checkpoint.fingerprint(source))

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        """Edits, full ones unless it `has_strength`; a picture whose caption has no known word stays as it is."""
        unknown = sum(not self.editor.knows(caption) for caption in captions)
        if unknown:
            log.info("%s: %d of %d captions have no known word; unedited", self.name, unknown, len(captions))
        return quantised(self.editor.edit_batch(pictures, captions, strength=strength if self.has_strength else 1.0))

    def edit_photo(self, photo: Photo, text: str) -> Photo:
        """The full edit; a photograph that the editor cannot edit by the text stays as it is, without warnings."""
        with warnings.catch_warnings():
            for kind in (UnknownWordWarning, MissingPartWarning, FittingAlreadyWarning):
                warnings.simplefilter("ignore", kind)
            try:
                return self.editor.edit_photo(photo, text)
            except (TextError, SubjectError) as error:
                log.info("%s: %s; unedited", self.name, error)
                return photo


class GeneratorContender(ModelContender):
    """A text-to-image model, or a style encoder with the one that it belongs to."""

    @property
    def roles(self) -> tuple[Role, ...]:
        return ("generator", "editor") if self.only_generates else ("editor", "generator")

    @torch.no_grad()
    def generate(self, captions: Sequence[str], rows: Sequence[int], *, number: int, seed: int) -> Tensor:
        """Pictures (B, number, 3, S, S) of the noises `row * number` and following of `sample_noise`.

        Conditioning augmentation is at its mean.

        Raises:
            UserError: the editor has no text-to-image model.
        """
        model, editor = generator_in(self.editor), self.editor
        if model is None:
            raise UserError(f"{self.name} edits pictures and generates none")
        noise = sample_noise(model, (max(rows) + 1) * number, seed=seed)[0].view(-1, number, model.noise_size)[
            list(rows)
        ]
        generated = []
        for first in range(0, len(captions), BATCH):
            part = slice(first, first + BATCH)
            texts = [complete(caption, editor.template) for caption in captions[part]]
            condition = model.condition(editor.vocabulary.encode(texts).to(editor.device))
            own = noise[part].to(editor.device)
            generated.append(torch.stack([model.generate_from(condition, own[:, k]).cpu() for k in range(number)], 1))
        return torch.cat(generated).float().clamp(-1, 1)


def generator_in(editor: Editor) -> Generating | None:
    """The text-to-image model of an editor, or None."""
    return editor.model.text_to_image


def quantised(pictures: Tensor) -> Tensor:
    """Round pictures in [-1, 1] to the 256 levels of a file."""
    return from_uint8(to_uint8(pictures))


def shown_name(source: str | Path) -> str:
    """Name of a checkpoint in a table: its file's name, or its folder's where the file is a run's `model`.

    >>> shown_name("birds"), shown_name("runs/tagan_cub/model.safetensors")
    ('birds', 'tagan_cub')
    """
    path = Path(source)
    stem = path.name.removesuffix(checkpoint.SUFFIX)
    name = path.absolute().parent.name if stem == "model" and path.name != stem else stem
    return name.encode(errors="replace").decode()  # bytes that are no text become question marks
