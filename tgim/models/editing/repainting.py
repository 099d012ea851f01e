"""Generator and base class of the editors that repaint a whole small photograph (SISGAN and TAGAN).

The generator: an encoder of the photograph, the condition of a caption beside every place of the map, residual blocks,
a decoder.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tgim.models.base import Codes, Editing
from tgim.nn.encoders import WordTable
from tgim.nn.layers import Condition, ConditioningAugmentation, Joint
from tgim.text.vocabulary import Tokens, Vocabulary
from tgim.text.word_vectors import read_word_vectors


class Repainter(nn.Module):
    """Generator of edited pictures (B, 3, S, S) from photographs (B, 3, S, S), both in [-1, 1], and sentences (B, E).

    A subclass makes the four parts; `skip` adds the output of the residual blocks to their input.
    """

    skip: ClassVar[bool] = False
    augment: ConditioningAugmentation
    encoder: nn.Sequential
    residual: Joint
    decoder: nn.Sequential

    def forward(self, image: Tensor, sentence: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Condition]:
        """Edit pictures; returns them and the conditions of their captions. `eps` as in `ConditioningAugmentation`."""
        return self.paint(self.encoder(image), sentence, eps)

    def paint(
        self, features: Tensor, sentence: Tensor, eps: Tensor | None = None, *, of_map: Tensor | None = None
    ) -> tuple[Tensor, Condition]:
        """Edit as `forward` does, from features (B, C, h, w) of the encoder; `of_map` as of `Joint.forward`."""
        condition = self.augment(sentence, eps)
        return self.decode(features, condition.sample, of_map=of_map), condition

    def decode(self, features: Tensor, condition: Tensor, *, of_map: Tensor | None = None) -> Tensor:
        """Decode features (B, C, h, w) of photographs with conditions (B, C) to edited pictures."""
        painted = self.residual(features, condition) if of_map is None else self.residual(features, condition, of_map)
        edited: Tensor = self.decoder(features + painted if self.skip else painted)
        return edited


class Repainting(Editing):
    """An editor whose `generator` is a `Repainter`; the config may name given word vectors."""

    networks: ClassVar[tuple[str, ...]] = ("discriminator", "generator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    generator: Any

    def sentence(self, text: Tokens) -> Tensor:
        """Sentence vectors (B, E) of captions, the generator's input."""
        raise NotImplementedError  # abstract: every such editor says how it reads

    @classmethod
    def vocabulary_for(cls, config: Any) -> Vocabulary | None:
        """Vocabulary of the given word vectors; None when vectors are learned."""
        return read_word_vectors(config.word_vectors).vocabulary if config.word_vectors else None

    def load_parts(self) -> None:
        """Load the given word vectors; before training only."""
        if self.config.word_vectors:
            self.fill_words(read_word_vectors(self.config.word_vectors).table)

    def fill_words(self, table: Tensor) -> None:
        """Fill every word table with the vectors `table` (V, word_size)."""
        for module in self.modules():
            if isinstance(module, WordTable):
                module.fill(table)

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edit pictures (B, 3, S, S) in [-1, 1] by the mean of the condition, or a sample of it by `seed`."""
        eps = None
        if seed is not None:
            eps = self.generator.augment.noise(len(image), generator=torch.Generator().manual_seed(seed))
        edited: Tensor = self.generator(image, self.sentence(text), eps)[0]
        return edited.float()

    def encode(self, image: Tensor) -> Codes:
        """Encode photographs (B, 3, S, S) in [-1, 1]: (B, C, h, w)."""
        return (self.generator.encoder(image),)

    def condition(self, text: Tokens) -> Codes:
        """Means of the conditioning augmentation of captions: (B, C)."""
        return (self.generator.augment(self.sentence(text)).mean,)

    def edit_from(self, encoded: Codes, condition: Codes) -> Tensor:
        """Decode what `encode` and `condition` gave to edited pictures; codes of both can be interpolated."""
        edited: Tensor = self.generator.decode(encoded[0], condition[0])
        return edited.float()

    def noise(self, count: int) -> Tensor:
        """Sample `eps` (B, C) of a training step, of the standard deviation in the config."""
        noise: Tensor = self.config.noise * self.generator.augment.noise(count)
        return noise
