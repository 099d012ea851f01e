"""What is measured: anything that turns pictures and captions into pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from tgim.editor import Editor
from tgim.evaluation.records import Kind


class Contender(Protocol):
    """Something that edits; see `ModelContender` and `tgim.evaluation.baselines`."""

    name: str
    kind: Kind
    checkpoint: str | None  # hash of the checkpoint file, 16 hex digits
    has_strength: bool  # whether `edit` minds `strength`; if not, the bench blends its full edit with the photograph

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        """Edited pictures of the shape of `pictures`, (B, 3, S, S) in [-1, 1], on the 256 levels of a file.

        Args:
            pictures: (B, 3, S, S) in [-1, 1].
            captions: B captions of the wanted results.
            rows: which of the bench's pictures these are.
            strength: 0 to 1.
        """
        ...


class ModelContender:
    """An editor under test; what it changes is scaled by the bench, as the editor's own strength does."""

    kind: Kind = "model"
    has_strength = False

    def __init__(self, editor: Editor, *, name: str, checkpoint: str | None) -> None:
        self.editor, self.name, self.checkpoint = editor, name, checkpoint

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        """Full edits, whatever `strength` says."""
        raise NotImplementedError
