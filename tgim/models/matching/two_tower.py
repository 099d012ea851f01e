"""The base of matching models that encode pictures and captions apart, into vectors of one space."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor

from tgim.models.base import Matching
from tgim.text.vocabulary import TextCode, Tokens


class Embedded(Protocol):
    """A code of pictures that holds their embeddings."""

    @property
    def embedding(self) -> Tensor:
        """(B, D)."""


class TwoTower(Matching):
    """A matching model of two encoders, both in `encoders`: one network for the loop.

    A subclass says how pictures and captions are encoded; their embeddings are the vectors of a whole picture and of a
    whole sentence.
    """

    networks: ClassVar[tuple[str, ...]] = ("encoders",)
    averaged: ClassVar[tuple[str, ...]] = ("encoders",)

    def encode_image(self, image: Tensor) -> Embedded:
        """Code of pictures (B, 3, S, S) in [-1, 1], S the model's image size."""
        raise NotImplementedError  # abstract: every system says how it sees

    def encode_text(self, tokens: Tokens) -> TextCode:
        """Code of captions."""
        raise NotImplementedError  # abstract: every system says how it reads

    def embed_images(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of pictures (B, 3, S, S) in [-1, 1]."""
        return self.encode_image(image).embedding

    def embed_captions(self, text: Tokens) -> Tensor:
        """Embeddings (B, D) of captions."""
        return self.encode_text(text).sentence
