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

import math
from collections.abc import Iterator
from typing import ClassVar, NamedTuple, cast

import torch
from pydantic import AliasChoices, Field
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints import checkpoint
from tgim.checkpoints.registry import register
from tgim.data.batch import Batch
from tgim.errors import CheckpointError
from tgim.models.base import Codes, Config, Matching, Terms
from tgim.models.matching.dual_encoder import DualEncoderConfig, TextEncoder
from tgim.models.matching.trunk import residual_trunk, trunk_to_quarter
from tgim.nn.losses import contrastive
from tgim.text.vocabulary import TextCode, Tokens, Vocabulary


class LateInteractionConfig(Config):
    """Sizes; the defaults train in about an hour on one CPU core."""

    start: str | None = None  # a trained model of the same sizes to go on from, by path or name
    image_size: int = Field(64, ge=32, multiple_of=8)  # pixels, square
    members: int = Field(3, ge=1)  # models side by side
    width: int = Field(32, ge=8)  # channels at half resolution; doubled at a quarter and again at an eighth
    blocks: int = Field(2, ge=1)  # residual blocks at each of the two coarse resolutions
    glances: int = Field(4, ge=1)  # places that are pooled apart for the picture's embedding
    word_size: int = Field(128, ge=8)  # E, width of a word vector and of each direction of the text encoder
    embedding_size: int = Field(128, ge=8)  # D, of a member's pictures and sentences
    match_size: int = Field(96, ge=8)  # K, of words and regions
    word_dropout: float = Field(0.1, ge=0, lt=1)  # probability that a training word is replaced by "unknown"
    sentence_weight: float = Field(0.3, ge=0)  # of a second loss on the embeddings alone
    synthetic_weight: float = Field(  # of the losses among synthetic pictures
        0.5, ge=0, validation_alias=AliasChoices("synthetic_weight", "drawn_weight")
    )
    altered_weight: float = Field(0.5, ge=0)  # of captions made false by one attribute, where the batch has them


class ImageFeatures(NamedTuple):
    """Features of B pictures by one member."""

    whole: Tensor  # (B, D), unit length
    regions: Tensor  # (B, K, R), unit length over K


class TextFeatures(NamedTuple):
    """Features of N captions by one member."""

    sentence: Tensor  # (N, D), unit length
    words: Tensor  # (N, T, K), unit length over K
    weights: Tensor  # (N, T), sum to one; 0 on padding


class Member(nn.Module):
    """Encoders of pictures and captions, and the weights a and b of their two cosines."""

    def __init__(self, config: LateInteractionConfig, vocabulary_size: int) -> None:
        super().__init__()
        eighth, self.quarter = 4 * config.width, trunk_to_quarter(config.blocks)
        self.trunk = residual_trunk(config.width, config.blocks)
        self.glance = nn.Conv2d(eighth, config.glances, 1, bias=False)
        self.project = nn.Linear((config.glances + 1) * eighth, config.embedding_size)
        self.region = nn.Conv2d(eighth, config.match_size, 1)
        sizes = config.model_dump(include={"word_size", "embedding_size", "word_dropout"})
        self.text = TextEncoder(DualEncoderConfig(**sizes), vocabulary_size)
        self.word = nn.Linear(2 * config.word_size, config.match_size)
        self.weigh = nn.Linear(2 * config.word_size, 1, bias=False)
        self.log_scales = nn.Parameter(torch.full((2,), math.log(10.0)))  # log a, log b

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of pictures (B, 3, S, S) in [-1, 1]: (B, 2W, S/4, S/4) and (B, 4W, S/8, S/8)."""
        fine = self.trunk[: self.quarter](image)
        return fine, self.trunk[self.quarter :](fine)

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """Features of pictures (B, 3, S, S) in [-1, 1]."""
        return self.encode_maps(self.maps(image)[1])

    def encode_maps(self, features: Tensor) -> ImageFeatures:
        """Features of pictures from their coarser maps (B, 4W, S/8, S/8)."""
        places = self.glance(features).float().flatten(2).softmax(-1)  # B, G, R
        pooled = places @ features.float().flatten(2).mT  # B, G, C
        pooled = torch.cat([pooled.flatten(1), features.float().mean((2, 3))], 1)
        regions = self.region(features).float().flatten(2)
        return ImageFeatures(F.normalize(self.project(pooled).float(), dim=1), F.normalize(regions, dim=1))

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Features of captions."""
        return self.encode_words(self.text(tokens))

    def encode_words(self, code: TextCode) -> TextFeatures:
        """Features of captions from the codes of the text encoder."""
        worth = self.weigh(code.words).float().squeeze(-1).masked_fill(~code.mask, -1e4)
        return TextFeatures(code.sentence, F.normalize(self.word(code.words).float(), dim=-1), worth.softmax(-1))

    def scores(self, image: ImageFeatures, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """Cosines of pictures with sentences, and of words with their best regions: (B, N) each."""
        best = torch.einsum("bkr,ntk->bntr", image.regions, text.words).max(-1).values  # 16 bits under autocast
        return image.whole @ text.sentence.T, (best.float() * text.weights).sum(-1)

    def logits(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """a and b times both cosines: (B, N)."""
        whole, words = self.scores(image, text)
        a, b = self.scales()
        logits: Tensor = a * whole + b * words
        return logits

    def pair_logits(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """`logits` of picture i and caption i alone: (B,)."""
        best = torch.einsum("bkr,btk->btr", image.regions, text.words).max(-1).values
        a, b = self.scales()
        logits: Tensor = a * (image.whole * text.sentence).sum(1) + b * (best * text.weights).sum(1)
        return logits

    def scales(self) -> Tensor:
        """(2,) the weights a and b."""
        return self.log_scales.exp().clamp(max=100)


class Members(nn.ModuleList):
    """List of members, trained as one network."""


@register("late_interaction")
class LateInteraction(Matching):
    """Image-text matching by words and regions, averaged over members."""

    Config: ClassVar[type[Config]] = LateInteractionConfig
    networks: ClassVar[tuple[str, ...]] = ("members",)
    averaged: ClassVar[tuple[str, ...]] = ("members",)

    def __init__(self, config: LateInteractionConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.members = Members(Member(config, vocabulary_size) for _ in range(config.members))

    @classmethod
    def vocabulary_for(cls, config: LateInteractionConfig) -> Vocabulary | None:
        """The words of the model to start from; without one, those of the data."""
        return Vocabulary(checkpoint.read_header(config.start)["vocabulary"]) if config.start else None

    def load_parts(self) -> None:
        """Take the weights of the model to start from; before training only."""
        if self.config.start is None:
            return
        begun = checkpoint.load(self.config.start).model
        if begun.state_dict().keys() != self.state_dict().keys():
            raise CheckpointError(
                f"{self.config.start} is a {begun.name!r} of other parts; name a {self.name!r} with the same ones"
            )
        self.load_state_dict(begun.state_dict())

    def embed_images(self, image: Tensor) -> Tensor:
        """Unit embeddings (B, M D) of pictures (B, 3, S, S) in [-1, 1]: those of the members side by side."""
        parts = [member.encode_image(image).whole for member in self._members()]
        return torch.cat(parts, 1) / math.sqrt(len(parts))

    def embed_captions(self, text: Tokens) -> Tensor:
        """Unit embeddings (B, M D) of captions; the dot product with a picture's is the members' mean cosine."""
        parts = [member.encode_text(text).sentence for member in self._members()]
        return torch.cat(parts, 1) / math.sqrt(len(parts))

    def read_images(self, image: Tensor) -> Codes:
        """Embeddings (B, D) and regions (B, K, R) of pictures, of each member in turn."""
        return tuple(part for member in self._members() for part in member.encode_image(image))

    def read_captions(self, text: Tokens) -> Codes:
        """Sentences (N, D), words (N, T, K) and their weights (N, T), of each member in turn."""
        return tuple(part for member in self._members() for part in member.encode_text(text))

    def scores(self, images: Codes, captions: Codes) -> Tensor:
        """Mean over members of s, in [-1, 1]: (B, N)."""
        total = images[0].new_zeros(len(images[0]), len(captions[0]))
        for i, member in enumerate(self._members()):
            parts = member.scores(ImageFeatures(*images[2 * i : 2 * i + 2]), TextFeatures(*captions[3 * i : 3 * i + 3]))
            a, b = member.scales() / member.scales().sum()
            total = total + a * parts[0] + b * parts[1]
        return total / len(self.members)

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the members' losses: symmetric cross-entropy among photographs, and among synthetic pictures."""
        terms = self._contrast(batch.image, batch.text, batch.labels, batch.altered)
        if batch.synthetic is not None and self.config.synthetic_weight:
            pairs = batch.synthetic
            labels = torch.arange(2 * len(pairs.image), device=pairs.image.device)
            images = torch.cat([pairs.image, pairs.target])
            found = self._contrast(images, joined(pairs.text, pairs.target_text), labels)
            terms |= {f"synthetic_{name}": self.config.synthetic_weight * term for name, term in found.items()}
        yield "members", terms

    def _contrast(self, image: Tensor, text: Tokens, labels: Tensor, altered: Tokens | None = None) -> Terms:
        joint: list[Tensor] = []
        alone: list[Tensor] = []
        true: list[Tensor] = []
        for member in self._members():
            pictures, captions = member.encode_image(image), member.encode_text(text)
            whole, words = member.scores(pictures, captions)
            a, b = member.scales()
            joint += contrastive(a * whole + b * words, labels)
            alone += contrastive(a * whole, labels)
            if altered is not None:
                false = (altered.ids != text.ids).any(1).float()
                fits = member.pair_logits(pictures, captions)
                margin = fits - member.pair_logits(pictures, member.encode_text(altered))
                true.append((F.softplus(-margin) * false).sum() / false.sum().clamp(min=1))
        terms = {
            "words_and_sentence": 0.5 * torch.stack(joint).sum(),
            "sentence": 0.5 * self.config.sentence_weight * torch.stack(alone).sum(),
        }
        return terms | ({"altered": self.config.altered_weight * torch.stack(true).sum()} if true else {})

    def _members(self) -> list[Member]:
        return cast(list[Member], list(self.members))


def joined(first: Tokens, second: Tokens) -> Tokens:
    """The captions of both, padded to the longest."""
    length = max(first.ids.shape[1], second.ids.shape[1])
    parts = [[F.pad(x, (0, length - x.shape[1])) for x in pair] for pair in zip(first, second, strict=True)]
    return Tokens(*(torch.cat(pair) for pair in parts))
