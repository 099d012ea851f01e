"""What the editors that repaint a whole small photograph share (SISGAN and, after it, TAGAN).

An encoder of the photograph, the condition of a caption beside every place of the map, residual blocks, a decoder.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tgim.models.base import Codes, Editing
from tgim.nn.encoders import WordTable, read_word_vectors
from tgim.nn.layers import Condition, ConditioningAugmentation, tile
from tgim.text.vocabulary import Tokens, Vocabulary


class Repainter(nn.Module):
    """Photographs (B, 3, S, S) and sentences (B, E) to edited pictures (B, 3, S, S), all in [-1, 1].

    A subclass makes the four parts; `skip` adds what the residual blocks make to what the encoder saw.
    """

    skip: ClassVar[bool] = False
    augment: ConditioningAugmentation
    encoder: nn.Sequential
    residual: nn.Sequential
    decoder: nn.Sequential

    def forward(self, image: Tensor, sentence: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Condition]:
        """Edited pictures and the condition of their captions; `eps` as in `ConditioningAugmentation`."""
        return self.paint(self.encoder(image), sentence, eps)

    def paint(self, seen: Tensor, sentence: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Condition]:
        """`forward` from what the encoder made of the photographs, (B, C, h, w)."""
        condition = self.augment(sentence, eps)
        return self.decode(seen, condition.sample), condition

    def decode(self, seen: Tensor, condition: Tensor) -> Tensor:
        """Edited pictures of what the encoder made of photographs and of conditions (B, C)."""
        painted = self.residual(tile(seen, condition))
        edited: Tensor = self.decoder(seen + painted if self.skip else painted)
        return edited


class Repainting(Editing):
    """An editor whose `generator` is a `Repainter`; the config may name given word vectors."""

    networks: ClassVar[tuple[str, ...]] = ("discriminator", "generator")
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    generator: Any

    def sentence(self, text: Tokens) -> Tensor:
        """Sentences (B, E) of captions, as the generator takes them."""
        raise NotImplementedError  # abstract: every such editor says how it reads

    @classmethod
    def vocabulary_for(cls, config: Any) -> Vocabulary | None:
        """The words of the given word vectors; None when vectors are learned."""
        return read_word_vectors(config.word_vectors).vocabulary if config.word_vectors else None

    def load_parts(self) -> None:
        """Take the given word vectors; before training only."""
        if self.config.word_vectors:
            self.fill_words(read_word_vectors(self.config.word_vectors).table)

    def fill_words(self, table: Tensor) -> None:
        """Give every network that reads the word vectors `table` (V, word_size)."""
        for module in self.modules():
            if isinstance(module, WordTable):
                module.fill(table)

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edited pictures (B, 3, S, S) in [-1, 1] by the mean of the condition, or a draw from it by `seed`."""
        eps = None
        if seed is not None:
            eps = self.generator.augment.noise(len(image), generator=torch.Generator().manual_seed(seed))
        edited: Tensor = self.generator(image, self.sentence(text), eps)[0]
        return edited.float()

    def encode(self, image: Tensor) -> Codes:
        """What the encoder makes of photographs: (B, C, h, w)."""
        return (self.generator.encoder(image),)

    def condition(self, text: Tokens) -> Codes:
        """Means of the conditioning augmentation of captions: (B, C)."""
        return (self.generator.augment(self.sentence(text)).mean,)

    def edit_from(self, encoded: Codes, condition: Codes) -> Tensor:
        """Edited pictures of what `encode` and `condition` gave; codes of both can be interpolated."""
        edited: Tensor = self.generator.decode(encoded[0], condition[0])
        return edited.float()

    def noise(self, count: int) -> Tensor:
        """`eps` (B, C) of a training step, of the standard deviation in the config."""
        noise: Tensor = self.config.noise * self.generator.augment.noise(count)
        return noise
