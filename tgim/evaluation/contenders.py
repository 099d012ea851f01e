"""What is measured: anything that turns pictures and captions, or captions alone, into pictures."""

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
from tgim.errors import MissingPartWarning, SubjectError, TextError, UserError
from tgim.evaluation.records import Kind
from tgim.images.photo import Photo, from_uint8, to_uint8
from tgim.inference.editor import Editor
from tgim.inference.inversion import Inverter
from tgim.models.base import Generating, sample_noise
from tgim.text.understand import UnknownWordWarning
from tgim.text.vocabulary import complete

BATCH = 16  # pictures that are drawn together: of a size that fits into memory at 256 px, too
log = logging.getLogger(__name__)


class Contender(Protocol):
    """Something that edits; see `ModelContender` and `tgim.evaluation.baselines`."""

    @property
    def name(self) -> str:
        """As it stands in the tables."""

    @property
    def kind(self) -> Kind:
        """ "model" or "baseline"."""

    @property
    def checkpoint(self) -> str | None:
        """Its `tgim.checkpoints.checkpoint.fingerprint`, 16 hex digits; edits of what has one are kept on disk."""

    @property
    def has_strength(self) -> bool:
        """Whether `edit` minds `strength`; if not, the bench blends its full edit with the photograph."""

    @property
    def replaces(self) -> bool:
        """Whether it hands over another picture instead of an edit; a protocol with pictures of its own says which."""

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        """Edited pictures of the shape of `pictures`, (B, 3, S, S) in [-1, 1], on the 256 levels of a file.

        Args:
            pictures: (B, 3, S, S) in [-1, 1].
            captions: B captions of the wanted results.
            rows: which of the bench's pictures these are, from 0 to n - 1.
            strength: 0 to 1.
        """

    def edit_photo(self, photo: Photo, text: str) -> Photo:
        """The full edit of one photograph at its own size, as people get it."""


@runtime_checkable
class Drawing(Protocol):
    """Something that draws pictures of captions; see `DrawingContender`."""

    @property
    def name(self) -> str:
        """As it stands in the tables."""

    def draw(self, captions: Sequence[str], rows: Sequence[int], *, number: int, seed: int) -> Tensor:
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
    def only_draws(self) -> bool:
        """Whether it is a text-to-image model, which edits by a search for each picture's noise alone."""
        return isinstance(self.editor.model, Inverter)

    @property
    def roles(self) -> tuple[Role, ...]:
        """The kinds of model that it can be measured as, its own first."""
        return ("editor",)

    @staticmethod
    def open(source: str | Path, *, device: str = "cpu", loaded: Checkpoint | None = None) -> ModelContender:
        """The model of a checkpoint, by name or path, a `DrawingContender` if it draws.

        Args:
            source: name or path.
            device: where it edits, "cpu" or "cuda".
            loaded: the checkpoint, where it has been loaded already.

        Raises:
            CheckpointError: there is none, or it neither edits nor draws.
        """
        editor = Editor(loaded if loaded is not None else checkpoint.load(source, device=device), device=device)
        kind = ModelContender if generator_in(editor) is None else DrawingContender
        return kind(editor, name=shown_name(source), checkpoint=checkpoint.fingerprint(source))

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        """Edits, full ones unless it `has_strength`; a picture whose caption has no known word stays as it is."""
        strange = sum(not self.editor.knows(caption) for caption in captions)
        if strange:
            log.info("%s: %d of %d captions have no known word; unedited", self.name, strange, len(captions))
        return quantised(self.editor.edit_batch(pictures, captions, strength=strength if self.has_strength else 1.0))

    def edit_photo(self, photo: Photo, text: str) -> Photo:
        """The full edit; a photograph that the editor cannot edit by the text stays as it is, without warnings."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownWordWarning)
            warnings.simplefilter("ignore", MissingPartWarning)
            try:
                return self.editor.edit_photo(photo, text)
            except (TextError, SubjectError) as error:
                log.info("%s: %s; unedited", self.name, error)
                return photo


class DrawingContender(ModelContender):
    """A text-to-image model, or a style encoder with the one that it belongs to."""

    @property
    def roles(self) -> tuple[Role, ...]:
        return ("generator", "editor") if self.only_draws else ("editor", "generator")

    @torch.no_grad()
    def draw(self, captions: Sequence[str], rows: Sequence[int], *, number: int, seed: int) -> Tensor:
        """Pictures of the noises `row * number` and following of `draws`; captions are read at their mean."""
        model, editor = generator_in(self.editor), self.editor
        if model is None:
            raise UserError(f"{self.name} edits pictures and draws none")
        noise = sample_noise(model, (max(rows) + 1) * number, seed=seed)[0].view(-1, number, model.noise_size)[
            list(rows)
        ]
        drawn = []
        for first in range(0, len(captions), BATCH):
            part = slice(first, first + BATCH)
            texts = [complete(caption, editor.template) for caption in captions[part]]
            condition = model.condition(editor.vocabulary.encode(texts).to(editor.device))
            own = noise[part].to(editor.device)
            drawn.append(torch.stack([model.generate_from(condition, own[:, k]).cpu() for k in range(number)], 1))
        return torch.cat(drawn).float().clamp(-1, 1)


def generator_in(editor: Editor) -> Generating | None:
    """The text-to-image model that an editor draws with, if it does."""
    return editor.model.text_to_image


def quantised(pictures: Tensor) -> Tensor:
    """Pictures as a file would give them back: on the 256 levels."""
    return from_uint8(to_uint8(pictures))


def shown_name(source: str | Path) -> str:
    """What a checkpoint is called in a table: its file's name, or its folder's where the file is a run's `model`.

    >>> shown_name("birds"), shown_name("runs/tagan_cub/model.safetensors")
    ('birds', 'tagan_cub')
    """
    path = Path(source)
    stem = path.name.removesuffix(checkpoint.SUFFIX)
    return path.absolute().parent.name if stem == "model" and path.name != stem else stem
