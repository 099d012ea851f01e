"""VSE: the visual-semantic embedding of Kiros, Salakhutdinov and Zemel ("Unifying Visual-Semantic Embeddings with
Multimodal Neural Language Models", 2014).

A linear map of convolutional features and the last state of a recurrent net over word vectors, both of unit length;
trained by the ranking loss, eq. 1 of its section 2.2 with margin 0.2. `negatives: hardest` is VSE++ (Faghri, Fleet,
Kiros and Fidler, BMVC 2018, eq. 6): of each row and column of the batch the worst wrong pair alone. SISGAN edits by
the sentence vectors of such an embedding.

Differs from the papers:
- the recurrent net is a GRU, as in VSE++ and in SISGAN's release (the first paper: an LSTM);
- captions of the same class as the picture are no negatives, because they may well fit it (`same_class_negatives`);
- the backbone is a small net trained along unless a file of weights is given (see `backbone`), and of VGG the mean of
  the last map is taken, not fc7;
- word vectors are learned unless given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.models.base import Config, Terms
from tgim.models.matching.backbone import PictureCode, PictureConfig, load_weights, make_backbone
from tgim.models.matching.two_tower import TwoTower
from tgim.nn.encoders import Gru, WordTable
from tgim.nn.losses import cosines, ranking
from tgim.nn.parallel import gathered
from tgim.text.vocabulary import TextCode, Tokens, Vocabulary
from tgim.text.word_vectors import read_word_vectors


class VSEConfig(PictureConfig):
    """Sizes and loss of the visual-semantic embedding; the defaults of the text are the paper's."""

    word_size: int = Field(300, ge=1)  # of a word vector
    embedding_size: int = Field(300, ge=1)  # D, of the common space and the GRU
    word_vectors: str | None = None  # .vec or .npy file: its vectors are frozen, its words the vocabulary
    margin: float = Field(0.2, ge=0)  # in cosines
    negatives: Literal["all", "hardest"] = "all"
    same_class_negatives: bool = False  # the papers' batches know no classes


class Encoders(nn.Module):
    """Encoders of pictures and captions."""

    def __init__(self, config: VSEConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.backbone = make_backbone(config)
        self.picture = nn.Linear(self.backbone.whole_size, config.embedding_size)
        self.table = WordTable(vocabulary_size, config.word_size, given=config.word_vectors is not None)
        self.caption = Gru(config.word_size, config.embedding_size)


@register("vse")
class VSE(TwoTower):
    """Kiros et al. 2014: cosines of sentences and pictures, by a ranking loss."""

    Config: ClassVar[type[Config]] = VSEConfig

    def __init__(self, config: VSEConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.encoders = Encoders(config, vocabulary_size)

    @classmethod
    def vocabulary_for(cls, config: VSEConfig) -> Vocabulary | None:
        """The words of the given word vectors; None when vectors are learned."""
        return read_word_vectors(config.word_vectors).vocabulary if config.word_vectors else None

    def load_parts(self) -> None:
        """Take the given word vectors and weights of the backbone; before training only."""
        load_weights(self.encoders.backbone, self.config)
        if self.config.word_vectors:
            self.encoders.table.fill(read_word_vectors(self.config.word_vectors).table)

    def encode_image(self, image: Tensor) -> PictureCode:
        """Code of pictures (B, 3, S, S) in [-1, 1]; its `embedding` is of unit length."""
        regions, whole = self.encoders.backbone(image)
        return PictureCode(regions.flatten(2), F.normalize(self.encoders.picture(whole).float(), dim=1))

    def encode_text(self, tokens: Tokens) -> TextCode:
        """Code of captions; its `sentence` is of unit length."""
        code = self.encoders.caption(self.encoders.table(tokens), tokens.mask)
        return TextCode(code.words, F.normalize(code.sentence.float(), dim=1), code.mask)

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the ranking loss."""
        c = self.config
        scores = cosines(gathered(self.embed_images(batch.image)), gathered(self.embed_captions(batch.text)))
        labels = None if c.same_class_negatives else gathered(batch.labels)
        loss = ranking(scores, margin=c.margin, labels=labels, hardest=c.negatives == "hardest")
        yield "encoders", {"ranking": loss}
