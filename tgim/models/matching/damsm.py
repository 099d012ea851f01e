"""DAMSM, the matching model of AttnGAN: Fine-Grained Text to Image Generation (Xu et al., CVPR 2018, section 3.2).

Words (a bidirectional LSTM) attend to the regions of a picture, and a caption's score is how well its words are found
(eq. 7-10); a second score is the cosine of the sentence with the whole picture. Both are trained by the posterior of
the right caption in the batch and of the right picture (eq. 11-13), captions of the same class left out.
The gammas are 5, 5 and 10.

Differs from the paper or the authors' release:
- captions of different length: padding takes part in no softmax and no sum (the release repeats the padding mask in
  the wrong order wherever lengths differ);
- the backbone is a small net trained along (64 regions at 64 px) unless a file of weights is given, for which
  `backbone: inception_v3` is the paper's: 289 regions of Mixed_6e, the mean of the last map as the whole;
- pictures are embedded by their sentence-level vector; `match` gives both scores together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.models.base import Codes, Config, Terms
from tgim.models.matching.backbone import PictureCode, PictureConfig, load_weights, make_backbone
from tgim.models.matching.two_tower import TwoTower
from tgim.nn.encoders import BiLstm, WordTable
from tgim.nn.losses import cosines, damsm_sentence, damsm_words, word_scores
from tgim.nn.parallel import gathered, gathered_all
from tgim.text.vocabulary import TextCode, Tokens


class DAMSMConfig(PictureConfig):
    """Sizes and gammas of the DAMSM; the defaults of the text are the paper's."""

    word_size: int = Field(300, ge=1)  # of a word vector
    embedding_size: int = Field(256, ge=2, multiple_of=2)  # D, of the common space: both directions of the LSTM
    dropout: float = Field(0.5, ge=0, lt=1)  # on word vectors, the release's
    gamma1: float = Field(5.0, ge=0)  # how much a word singles out regions
    gamma2: float = Field(5.0, gt=0)  # how much a caption singles out its best words
    gamma3: float = Field(10.0, gt=0)  # of the posterior over the batch


class Encoders(nn.Module):
    """Encoders of pictures and captions; the table and the LSTM are the release's text encoder."""

    def __init__(self, config: DAMSMConfig, vocabulary_size: int) -> None:
        super().__init__()
        size = config.embedding_size
        self.backbone = make_backbone(config)
        self.region = nn.Conv2d(self.backbone.region_size, size, 1, bias=False)
        self.picture = nn.Linear(self.backbone.whole_size, size)
        self.table = WordTable(vocabulary_size, config.word_size, given=False)
        self.caption = BiLstm(config.word_size, size, dropout=config.dropout)
        nn.init.uniform_(self.table.embed.weight, -0.1, 0.1)  # the release's
        nn.init.zeros_(self.table.embed.weight[0].data)


@register("damsm")
class DAMSM(TwoTower):
    """Xu et al. 2018: words find their regions, sentences their pictures."""

    Config: ClassVar[type[Config]] = DAMSMConfig

    def __init__(self, config: DAMSMConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.encoders = Encoders(config, vocabulary_size)

    def load_parts(self) -> None:
        """Take the given weights of the backbone; before training only."""
        load_weights(self.encoders.backbone, self.config)

    def encode_image(self, image: Tensor) -> PictureCode:
        """Code of pictures (B, 3, S, S) in [-1, 1]: `regions` (B, D, R), `embedding` (B, D) of unit length."""
        regions, whole = self.encoders.backbone(image)
        places = self.encoders.region(regions).flatten(2).float()
        return PictureCode(places, F.normalize(self.encoders.picture(whole).float(), dim=1))

    def encode_text(self, tokens: Tokens) -> TextCode:
        """Code of captions: `words` (B, T, D), `sentence` (B, D) of unit length."""
        code = self.encoders.caption(self.encoders.table(tokens), tokens.mask)
        return TextCode(code.words, F.normalize(code.sentence, dim=1), code.mask)

    def read_images(self, image: Tensor) -> Codes:
        """Regions (B, D, R) and embeddings (B, D)."""
        return tuple(self.encode_image(image))

    def read_captions(self, text: Tokens) -> Codes:
        """Words (B, T, D), sentences (B, D) and masks (B, T)."""
        return tuple(self.encode_text(text))

    def scores(self, images: Codes, captions: Codes) -> Tensor:
        """R of `word_scores` plus the cosine of the sentence: (B, N); training's posteriors weigh the two alike."""
        (regions, embedding), (words, sentence, mask) = images, captions
        found = word_scores(regions, words, mask, gamma1=self.config.gamma1, gamma2=self.config.gamma2)
        return found + cosines(embedding, sentence)

    def match(self, image: Tensor, text: Tokens) -> Tensor:
        """`scores` of pictures (N, 3, S, S) in [-1, 1] against M captions: (N, M)."""
        return self.scores(self.read_images(image), self.read_captions(text))

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the losses of words and of sentences, from picture to caption and back."""
        c, labels = self.config, gathered(batch.labels)
        picture, caption = gathered_all(self.encode_image(batch.image)), gathered_all(self.encode_text(batch.text))
        gammas = {"gamma1": c.gamma1, "gamma2": c.gamma2, "gamma3": c.gamma3}
        words = damsm_words(picture.regions, caption.words, caption.mask, labels, **gammas)
        sentence = damsm_sentence(picture.embedding, caption.sentence, labels, gamma3=c.gamma3)
        names = ("image_to_words", "words_to_image", "image_to_sentence", "sentence_to_image")
        yield "encoders", dict(zip(names, (*words, *sentence), strict=True))
