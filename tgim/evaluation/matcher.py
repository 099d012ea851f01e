"""A matching model at work: the judge of a bench, or a model that is measured itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.checkpoints.registry import Role
from tgim.errors import UserError
from tgim.evaluation.contenders import shown_name
from tgim.evaluation.records import Kind
from tgim.models.base import Codes, Matching
from tgim.nn.resize import resize
from tgim.text.vocabulary import Tokens

CHUNK = 64  # pictures that are embedded, or edited, at a time: part of what makes figures repeat to the last digit
Seen = Callable[[int, int], None]  # (done, total)


class Matcher:
    """A matching model on the CPU; pictures of any size are resized to its own.

    Args:
        file: the loaded checkpoint.
        name: as it stands in the tables.
        fingerprint: `tgim.checkpoints.checkpoint.fingerprint` of the file.

    Raises:
        UserError: the model is of another kind.
    """

    kind: Kind = "model"
    roles: ClassVar[tuple[Role, ...]] = ("matching", "retrieval")

    def __init__(self, file: Checkpoint, *, name: str, fingerprint: str) -> None:
        if not isinstance(file.model, Matching):
            raise UserError(f"judge {name} is a {file.name!r}, which edits; name a matching model, such as judge-birds")
        self.file, self.name, self.checkpoint = file, name, fingerprint
        self.model: Matching = file.model
        self.side: int = file.model.image_size

    @staticmethod
    def open(source: str | Path) -> Matcher:
        """Load a matching model by name or path.

        Raises:
            CheckpointError: there is none.
            UserError: it is of another kind.
        """
        file = checkpoint.load(source)
        return Matcher(file, name=shown_name(source), fingerprint=checkpoint.fingerprint(source))

    @property
    def label(self) -> str:
        """Label of a judge in results lines: "judge-birds:0123456789abcdef"."""
        return f"{self.name}:{self.checkpoint}"

    @torch.no_grad()
    def embeddings(self, pictures: Tensor, *, progress: Seen) -> NDArray[Any]:
        """Embed pictures (n, 3, S, S) in [-1, 1]: (n, D)."""
        seen = []
        for first in range(0, len(pictures), CHUNK):
            part = pictures[first : first + CHUNK]
            seen.append(self.model.embed_images(self.fitted(part)).float().cpu())
            progress(first + len(part), len(pictures))
        return torch.cat(seen).numpy()

    @torch.no_grad()
    def captions(self, texts: Sequence[str]) -> Tensor:
        """Embed captions: (n, D)."""
        parts = [texts[first : first + CHUNK] for first in range(0, len(texts), CHUNK)]
        vocabulary = self.file.vocabulary
        return torch.cat([self.model.embed_captions(vocabulary.encode(part)).float() for part in parts])

    @torch.no_grad()
    def scores(
        self, pictures: Tensor, texts: Sequence[str], rows: NDArray[np.int64], *, progress: Seen
    ) -> NDArray[np.float32]:
        """Score pictures (n, 3, S, S) with some of `texts` each, by the model's own score: (n, K) for rows (n, K)."""
        codes = self.read(texts)
        scores = np.empty(rows.shape, np.float32)
        for first in range(0, len(pictures), CHUNK):
            part = pictures[first : first + CHUNK]
            seen = self.model.read_images(self.fitted(part))
            for i in range(len(part)):
                asked = torch.from_numpy(rows[first + i])
                one = tuple(each[i : i + 1] for each in seen)
                scores[first + i] = self.model.scores(one, tuple(each[asked] for each in codes))[0].float().numpy()
            progress(first + len(part), len(pictures))
        return scores

    def read(self, texts: Sequence[str]) -> Codes:
        """Codes of captions, all padded alike."""
        ids, mask = self.file.vocabulary.encode(texts)
        cuts = [slice(first, first + CHUNK) for first in range(0, len(texts), CHUNK)]
        parts = [self.model.read_captions(Tokens(ids[cut], mask[cut])) for cut in cuts]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def fitted(self, pictures: Tensor) -> Tensor:
        """Resize pictures (n, 3, S, S) to the model's side."""
        return resize(pictures, (self.side, self.side))
