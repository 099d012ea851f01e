"""How the generators that read sentences alone (StackGAN and its successor) come by them.

The papers' way is a char-CNN-RNN that was trained before, by the structured joint embedding (`tgim.matching.sje`), and
is frozen. Without one, words and a `BiGru` are learned along, as a part of the generator that holds them.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from tgim import checkpoint
from tgim.encoders import BiGru, CharCnnRnn, WordTable
from tgim.errors import CheckpointError
from tgim.matching.sje import SJE, SJEConfig
from tgim.model import Config
from tgim.models.tagrid import wanted
from tgim.text import Alphabet, TextCode, Tokens, Vocabulary


class SentenceConfig(Config):
    """The keys of a generator that say how it reads."""

    text: str | None = None  # trained structured joint embedding: path of a checkpoint; None: words, learned along
    encoder: SJEConfig | None = None  # sizes of that embedding; filled in from its checkpoint
    word_size: int = Field(300, ge=1)  # of a learned word vector, without `text`
    text_size: int = Field(1024, ge=1)  # E, of a learned sentence, without `text`


class SentenceReader(nn.Module):
    """Captions to sentences (B, E); E is `size`."""

    def __init__(self, config: SentenceConfig, vocabulary_size: int) -> None:
        super().__init__()
        encoder = config.encoder
        self.characters: CharCnnRnn | None = None
        if encoder is None:
            self.size = config.text_size
            self.table = WordTable(vocabulary_size, config.word_size, given=False)
            self.gru = BiGru(config.word_size, self.size)
        else:
            self.size = encoder.embedding_size
            self.characters = CharCnnRnn(
                vocabulary_size,
                widths=encoder.text_widths,
                size=self.size,
                length=encoder.text_length,
                recurrent=encoder.recurrent,
            ).requires_grad_(False)

    def forward(self, tokens: Tokens) -> Tensor:
        if self.characters is not None:
            with torch.no_grad():
                given: TextCode = self.characters(tokens)
            return given.sentence
        learned: TextCode = self.gru(self.table(tokens), tokens.mask)
        return learned.sentence

    def load(self, config: SentenceConfig) -> None:
        """Take the text side of the embedding that `config` names, if it names one.

        Raises:
            CheckpointError: it names none but gives the sizes of one, or one of other sizes.
        """
        if self.characters is None:
            return
        if config.text is None:
            raise CheckpointError(
                "model.encoder gives sizes alone; name a trained 'sje' as model.text, or leave it out"
            )
        trained = checkpoint.load(config.text).model
        if not isinstance(trained, SJE) or trained.config != config.encoder:
            raise CheckpointError(f"{config.text} is not of the sizes in model.encoder; leave model.encoder out")
        self.characters.load_state_dict(trained.encoders.caption.state_dict())


def encoder_of(config: SentenceConfig) -> SJEConfig | None:
    """Sizes of the embedding that `config` gives or names; None where words are learned."""
    if config.encoder is not None or config.text is None:
        return config.encoder
    return SJEConfig(**wanted(config.text, SJE.name, "text")["config"])


def vocabulary_of(config: SentenceConfig) -> Vocabulary | None:
    """The characters, where captions are read by them; None when words are learned."""
    return None if encoder_of(config) is None else Alphabet()
