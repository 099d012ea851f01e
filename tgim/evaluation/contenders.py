"""What is measured: anything that turns pictures and captions into pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from tgim import checkpoint
from tgim.editor import Editor
from tgim.evaluation.records import Kind
from tgim.images import from_uint8, to_uint8
from tgim.models.tagrid import TAGrid

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
        """Its `tgim.checkpoint.fingerprint`, 16 hex digits; edits of what has one are kept on disk."""

    @property
    def has_strength(self) -> bool:
        """Whether `edit` minds `strength`; if not, the bench blends its full edit with the photograph."""

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        """Edited pictures of the shape of `pictures`, (B, 3, S, S) in [-1, 1], on the 256 levels of a file.

        Args:
            pictures: (B, 3, S, S) in [-1, 1].
            captions: B captions of the wanted results.
            rows: which of the bench's pictures these are, from 0 to n - 1.
            strength: 0 to 1.
        """


class ModelContender:
    """An editor under test. Where its strength is a blend with the photograph, the bench may do the blending."""

    kind: Kind = "model"

    def __init__(self, editor: Editor, *, name: str, checkpoint: str | None) -> None:
        self.editor, self.name, self.checkpoint = editor, name, checkpoint
        self.has_strength = isinstance(editor.model, TAGrid)

    @classmethod
    def open(cls, source: str | Path, *, device: str = "cpu") -> ModelContender:
        """The editor of a checkpoint, by name or path; CheckpointError when there is none, or it does not edit."""
        return cls(
            Editor.from_pretrained(source, device=device),
            name=shown_name(source),
            checkpoint=checkpoint.fingerprint(source),
        )

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        """Edits, full ones unless it `has_strength`; a picture whose caption has no known word stays as it is."""
        strange = sum(not self.editor.knows(caption) for caption in captions)
        if strange:
            log.info("%s: %d of %d captions have no known word; unedited", self.name, strange, len(captions))
        return quantised(self.editor.edit_batch(pictures, captions, strength=strength if self.has_strength else 1.0))


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
