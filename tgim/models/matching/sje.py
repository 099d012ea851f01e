"""SJE: the structured joint embedding with characters (Reed, Akata, Schiele and Lee, "Learning deep representations
of fine-grained visual descriptions", CVPR 2016; Akata et al., CVPR 2015).

Score F(v, t) = theta(v) . phi(t): theta a linear map of convolutional features, phi the char-CNN-RNN of section 4.
Loss, eq. 2-5: hinges with the 0-1 loss as margin, pictures against classes of captions and captions against classes of
pictures. The captions of GAN-INT-CLS and StackGAN were read by such an encoder.

Differs from the paper or the authors' release:
- the hinge is summed over the wrong classes (the release's) where the paper takes the worst;
- a batch holds classes as they come, not one picture of each; a class is the mean of what the batch holds of it;
- the backbone is a small net trained along unless a file of weights is given (their features: GoogLeNet's, 1024 wide,
  frozen); theta is a linear map in both cases;
- characters: the 70 of the release, see `tgim.text.vocabulary.Alphabet`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.models.base import Config, Terms
from tgim.models.matching.backbone import PictureCode, PictureConfig, load_weights, make_backbone
from tgim.models.matching.two_tower import TwoTower
from tgim.nn.encoders import CharCnnRnn
from tgim.nn.losses import structured_hinge
from tgim.nn.parallel import gathered
from tgim.text.vocabulary import Alphabet, TextCode, Tokens, Vocabulary


class SJEConfig(PictureConfig):
    """Sizes of the structured joint embedding; the defaults of the text are the release's."""

    text_widths: tuple[int, int, int] = (384, 512, 256)  # of the three convolutions; the last is the recurrent net's
    text_length: int = Field(201, ge=66)  # characters that are read; 201 leave 8 steps, 66 one
    recurrent: Literal["relu", "gru"] = "relu"
    embedding_size: int = Field(1024, ge=1)  # D, of the common space
    margin: float = Field(1.0, ge=0)  # the 0-1 loss, in units of the score


def caption_encoder(config: SJEConfig, vocabulary_size: int) -> CharCnnRnn:
    """Build phi, the text encoder, untrained."""
    return CharCnnRnn(
        vocabulary_size,
        widths=config.text_widths,
        size=config.embedding_size,
        length=config.text_length,
        recurrent=config.recurrent,
    )


class Encoders(nn.Module):
    """Encoders of pictures and captions."""

    def __init__(self, config: SJEConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.backbone = make_backbone(config)
        self.picture = nn.Linear(self.backbone.whole_size, config.embedding_size)
        self.caption = caption_encoder(config, vocabulary_size)


@register("sje")
class SJE(TwoTower):
    """Reed et al. 2016: captions read character by character, matched by class."""

    Config: ClassVar[type[Config]] = SJEConfig

    def __init__(self, config: SJEConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.encoders = Encoders(config, vocabulary_size)

    @classmethod
    def vocabulary_for(cls, config: SJEConfig) -> Vocabulary:
        """The 70 characters."""
        return Alphabet()

    def load_parts(self) -> None:
        """Take the given weights of the backbone; before training only."""
        load_weights(self.encoders.backbone, self.config)

    def encode_image(self, image: Tensor) -> PictureCode:
        """Code of pictures (B, 3, S, S) in [-1, 1]; its `embedding` is not of unit length, the score is no cosine."""
        regions, whole = self.encoders.backbone(image)
        return PictureCode(regions.flatten(2), self.encoders.picture(whole).float())

    def encode_text(self, tokens: Tokens) -> TextCode:
        """Code of captions, given as characters."""
        code: TextCode = self.encoders.caption(tokens)
        return code

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the two hinge losses."""
        images, captions = gathered(self.embed_images(batch.image)), gathered(self.embed_captions(batch.text))
        with torch.autocast(images.device.type, enabled=False):  # 16 bits would blur the margin
            scores = images @ captions.T
        pictures, texts = structured_hinge(scores, gathered(batch.labels), margin=self.config.margin)
        yield "encoders", {"image_to_class": 0.5 * pictures, "caption_to_class": 0.5 * texts}
