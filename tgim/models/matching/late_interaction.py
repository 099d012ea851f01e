"""Late interaction: each word of a caption looks for its own place in the picture; several such models side by side.

Khattab and Zaharia, "ColBERT", SIGIR 2020, section 3.3 (the best match of each word, summed), between words and regions
as in Yao et al., "FILIP", ICLR 2022, section 3.1. A member's score of a picture and a caption joins two cosines:

    s = (a cos(picture, sentence) + b sum_t w_t max_r cos(word t, region r)) / (a + b),     sum_t w_t = 1

It guides TAGrid. Another of its kind, trained apart, is the judge that evaluates edits; no editor is trained against a
judge. Words and regions generalise to unseen birds, which are new mixtures of known facts: a red head, a white belly.

Differs from them:
- the weight w of a word is learned from the word in its caption: "this bird has" says little;
- captions of the same class as the picture are not used as negatives, because they may well fit it;
- synthetic pictures, where the batch has them, are a second group with negatives of its own: their parts have any
  colour, so that colours and parts are learned apart from the species that have them;
- captions made false by one attribute, where the batch has them, must score lower than the true ones (pairwise
  logistic loss): a colour found anywhere in the picture is not enough to tell them apart;
- members differ by their starting weights alone; their scores are averaged, and their embeddings joined.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import AliasChoices, Field
from torch import Tensor, nn

from tgim.checkpoints.registry import register
from tgim.models.base import Config
from tgim.models.matching.interaction import ImageFeatures, Interacting, Interaction, InteractionConfig, Members
from tgim.models.matching.trunk import residual_trunk, trunk_to_quarter


class LateInteractionConfig(InteractionConfig):
    """Sizes; the defaults train in about an hour on one CPU core."""

    image_size: int = Field(64, ge=32, multiple_of=8)  # pixels, square
    width: int = Field(32, ge=8)  # channels at half resolution; doubled at a quarter and again at an eighth
    blocks: int = Field(2, ge=1)  # residual blocks at each of the two coarse resolutions
    synthetic_weight: float = Field(  # of the losses among synthetic pictures
        0.5, ge=0, validation_alias=AliasChoices("synthetic_weight", "drawn_weight")
    )


class Member(Interaction):
    """A member that sees pictures by convolutions of its own."""

    trunk: nn.Sequential

    def __init__(self, config: LateInteractionConfig, vocabulary_size: int) -> None:
        super().__init__(residual_trunk(config.width, config.blocks), 4 * config.width, config, vocabulary_size)
        self.quarter = trunk_to_quarter(config.blocks)

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of pictures (B, 3, S, S) in [-1, 1]: (B, 2W, S/4, S/4) and (B, 4W, S/8, S/8)."""
        fine = self.trunk[: self.quarter](image)
        return fine, self.trunk[self.quarter :](fine)

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """Features of pictures (B, 3, S, S) in [-1, 1]."""
        return self.encode_maps(self.maps(image)[1])


@register("late_interaction")
class LateInteraction(Interacting):
    """Image-text matching by words and regions, averaged over members."""

    Config: ClassVar[type[Config]] = LateInteractionConfig

    def __init__(self, config: LateInteractionConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.members = Members(Member(config, vocabulary_size) for _ in range(config.members))
