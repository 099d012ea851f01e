"""Sentence encoders of the generators that use no single words (GAN-INT-CLS, StackGAN and its successor).

The papers' way is a char-CNN-RNN that was trained before, by the structured joint embedding
(`tgim.models.matching.sje`), and is frozen. Without one, words and a `BiGru` are learned along, as a part of the
network that holds them.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from tgim.data.batch import Batch
from tgim.models.base import Codes, Config
from tgim.models.generation.adversarial import AdversarialGenerator
from tgim.models.matching.sje import SJE, SJEConfig, caption_encoder
from tgim.models.parts import Part
from tgim.nn.encoders import BiGru, CharCnnRnn, WordTable
from tgim.text.vocabulary import Alphabet, TextCode, Tokens, Vocabulary

TEXT = Part("text", "encoder", SJE)
C = TypeVar("C", bound="SentenceConfig")


class SentenceConfig(Config):
    """Keys of a generator's config that choose its sentence encoder."""

    text: str | None = None  # trained structured joint embedding: path of a checkpoint; None: words, learned along
    encoder: SJEConfig | None = None  # sizes of that embedding; filled in from its checkpoint
    word_size: int = Field(300, ge=1)  # of a learned word vector, without `text`
    text_size: int = Field(1024, ge=1)  # E, of a learned sentence, without `text`

    @property
    def sentence_size(self) -> int:
        """E, of either encoder."""
        return self.text_size if self.encoder is None else self.encoder.embedding_size

    def filled(self: C) -> C:
        """Copy the config with the sizes of the embedding that it names, if it names one."""
        return self.model_copy(update={"encoder": TEXT.sizes(self.text, self.encoder)})


class SentenceEncoder(nn.Module):
    """Encoder of captions to sentences (B, E); E is `size`."""

    def __init__(self, config: SentenceConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.size = config.sentence_size
        self.characters = frozen_encoder(config, vocabulary_size)
        if self.characters is None:
            self.table = WordTable(vocabulary_size, config.word_size, given=False)
            self.gru = BiGru(config.word_size, self.size)

    def forward(self, tokens: Tokens) -> Tensor:
        if self.characters is not None:
            return encode_frozen(self.characters, tokens)
        learned: TextCode = self.gru(self.table(tokens), tokens.mask)
        return learned.sentence


def frozen_encoder(config: SentenceConfig, vocabulary_size: int) -> CharCnnRnn | None:
    """Build the char-CNN-RNN of the sizes in `config`, untrained; None where words are learned."""
    if config.encoder is None:
        return None
    return caption_encoder(config.encoder, vocabulary_size).requires_grad_(False)


def encode_frozen(encoder: CharCnnRnn, tokens: Tokens) -> Tensor:
    """Encode captions to sentences (B, E) without a gradient."""
    with torch.no_grad():
        code: TextCode = encoder(tokens)
    return code.sentence


def fill_encoder(encoder: CharCnnRnn | None, config: SentenceConfig) -> None:
    """Load the text encoder of the trained embedding that `config` names, if there is an `encoder`.

    Raises:
        CheckpointError: none is named although there is an `encoder`, or one of other sizes.
    """
    if encoder is not None:
        trained = TEXT.load(config.text, config.encoder)
        encoder.load_state_dict(trained.encoders.caption.state_dict())


def vocabulary_of(config: SentenceConfig) -> Vocabulary | None:
    """Alphabet of a char-CNN-RNN; None when words are learned."""
    return None if config.filled().encoder is None else Alphabet()


class SentenceGenerator(AdversarialGenerator):
    """Generator with a `SentenceEncoder` (`read`, a key of saved weights) and conditioning augmentation (`augment`)."""

    generator: Any

    @classmethod
    def vocabulary_for(cls, config: SentenceConfig) -> Vocabulary | None:
        """See `vocabulary_of`."""
        return vocabulary_of(config)

    def load_parts(self) -> None:
        """Load the trained char-CNN-RNN, if one is given; before training only."""
        fill_encoder(self.generator.read.characters, self.config)

    def condition(self, text: Tokens, *, variation: Tensor | None = None) -> Codes:
        """Encode captions to conditions (B, C)."""
        return (self.generator.augment(self.generator.read(text), variation).sample,)

    def generate_for(self, batch: Batch) -> Any:
        """Generate pictures for the captions of a batch, with new noise; returns what the generator's forward does."""
        sentence, noise = self.generator.read(batch.text), self.noise(batch.image)
        return self.generator(sentence, noise, self.generator.augment.noise(len(noise)))
