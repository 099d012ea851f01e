"""Matching by words and regions: the parts that all models of late interaction share.

`late_interaction` says where the score comes from and how it is learned. A model of this kind is a list of members;
each turns pictures into an embedding and regions, captions into an embedding and words, and weighs two cosines.

Shapes: B pictures, N captions, D width of embeddings, K of words and regions, R regions, T words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints import checkpoint
from tgim.data.batch import Batch
from tgim.errors import CheckpointError
from tgim.models.base import Codes, Config, Matching, Terms
from tgim.models.matching.dual_encoder import DualEncoderConfig, TextEncoder
from tgim.nn.losses import contrastive
from tgim.nn.parallel import gathered, gathered_all, own_rows, ratio
from tgim.text.vocabulary import TextCode, Tokens, Vocabulary


class InteractionConfig(Config):
    """Sizes and weights that all models of words and regions have."""

    start: str | None = None  # a trained model of the same sizes to go on from, by path or name
    members: int = Field(3, ge=1)  # models side by side
    glances: int = Field(4, ge=1)  # places that are pooled apart for the picture's embedding
    word_size: int = Field(128, ge=8)  # E, width of a word vector and of each direction of the text encoder
    embedding_size: int = Field(128, ge=8)  # D, of a member's pictures and sentences
    match_size: int = Field(96, ge=8)  # K, of words and regions
    word_dropout: float = Field(0.1, ge=0, lt=1)  # probability that a training word is replaced by "unknown"
    sentence_weight: float = Field(0.3, ge=0)  # of a second loss on the embeddings alone
    synthetic_weight: float = Field(0.5, ge=0)  # of the losses among synthetic pictures
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


class Interaction(nn.Module):
    """A member: encoders of pictures and captions, and the weights a and b of their two cosines.

    Args:
        trunk: the network that pictures, or a frozen backbone's maps of them, go through first.
        channels: C, of the maps (B, C, h, w) that it gives.
        config: sizes.
        vocabulary_size: words that a caption can hold.
    """

    def __init__(self, trunk: nn.Module, channels: int, config: InteractionConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.glance = nn.Conv2d(channels, config.glances, 1, bias=False)
        self.project = nn.Linear((config.glances + 1) * channels, config.embedding_size)
        self.region = nn.Conv2d(channels, config.match_size, 1)
        sizes = config.model_dump(include={"word_size", "embedding_size", "word_dropout"})
        self.text = TextEncoder(DualEncoderConfig(**sizes), vocabulary_size)
        self.word = nn.Linear(2 * config.word_size, config.match_size)
        self.weigh = nn.Linear(2 * config.word_size, 1, bias=False)
        self.log_scales = nn.Parameter(torch.full((2,), math.log(10.0)))  # log a, log b

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """Features of pictures (B, 3, S, S) in [-1, 1]."""
        raise NotImplementedError  # abstract: every kind of member says how it sees

    def encode_maps(self, features: Tensor) -> ImageFeatures:
        """Features of pictures from what the trunk gives of them (B, C, h, w)."""
        places = self.glance(features).float().flatten(2).softmax(-1)  # B, G, R
        pooled = places @ features.float().flatten(2).transpose(1, 2)  # B, G, C
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
        real = text.weights > 0
        owner, weights = real.nonzero()[:, 0], text.weights[real]  # of all words that are no padding, W of them
        best = torch.einsum("bkr,wk->bwr", image.regions, text.words[real]).max(-1).values  # 16 bits under autocast
        words = weights.new_zeros(len(image.whole), len(text.words)).index_add(1, owner, best.float() * weights)
        return image.whole @ text.sentence.T, words

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


class Interacting(Matching):
    """A matching model of words and regions, averaged over members.

    A subclass makes the `members`, and says what they see of a batch where that is more than its pictures.
    """

    networks: ClassVar[tuple[str, ...]] = ("members",)
    averaged: ClassVar[tuple[str, ...]] = ("members",)
    members: Members

    @classmethod
    def vocabulary_for(cls, config: InteractionConfig) -> Vocabulary | None:
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
        parts = [seen.whole for seen in self.features(image)]
        return torch.cat(parts, 1) / math.sqrt(len(parts))

    def embed_captions(self, text: Tokens) -> Tensor:
        """Unit embeddings (B, M D) of captions; the dot product with a picture's is the members' mean cosine."""
        parts = [member.encode_text(text).sentence for member in self._members()]
        return torch.cat(parts, 1) / math.sqrt(len(parts))

    def read_images(self, image: Tensor) -> Codes:
        """Embeddings (B, D) and regions (B, K, R) of pictures, of each member in turn."""
        return tuple(part for seen in self.features(image) for part in seen)

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

    def features(self, image: Tensor) -> list[ImageFeatures]:
        """Features of pictures (B, 3, S, S) in [-1, 1] by each member."""
        return [member.encode_image(image) for member in self._members()]

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the members' losses: symmetric cross-entropy among photographs, and among synthetic pictures."""
        photos, synthetic = self._seen(batch)
        terms = self._contrast(photos, batch.text, batch.labels, batch.altered)
        if batch.synthetic is not None and synthetic:
            pairs = batch.synthetic
            labels = own_rows(2 * len(pairs.image), pairs.image.device)
            found = self._contrast(synthetic, joined(pairs.text, pairs.target_text), labels)
            terms |= {f"synthetic_{name}": self.config.synthetic_weight * term for name, term in found.items()}
        yield "members", terms

    def _seen(self, batch: Batch) -> tuple[list[ImageFeatures], list[ImageFeatures]]:
        """Features by each member of the photographs, and of the synthetic pictures and then their targets."""
        photos = self.features(batch.image)
        if batch.synthetic is None or not self.config.synthetic_weight:
            return photos, []
        return photos, self.features(torch.cat([batch.synthetic.image, batch.synthetic.target]))

    def _contrast(
        self, seen: Sequence[ImageFeatures], text: Tokens, labels: Tensor, altered: Tokens | None = None
    ) -> Terms:
        labels = gathered(labels)
        joint: list[Tensor] = []
        alone: list[Tensor] = []
        true: list[Tensor] = []
        for member, pictures in zip(self._members(), seen, strict=True):
            captions = member.encode_text(text)
            whole, words = member.scores(gathered_all(pictures), gathered_all(captions))
            a, b = member.scales()
            joint += contrastive(a * whole + b * words, labels)
            alone += contrastive(a * whole, labels)
            if altered is not None:
                false = (altered.ids != text.ids).any(1).float()
                fits = member.pair_logits(pictures, captions)
                margin = fits - member.pair_logits(pictures, member.encode_text(altered))
                true.append(ratio((F.softplus(-margin) * false).sum(), false.sum()))
        terms = {
            "words_and_sentence": 0.5 * torch.stack(joint).sum(),
            "sentence": 0.5 * self.config.sentence_weight * torch.stack(alone).sum(),
        }
        return terms | ({"altered": self.config.altered_weight * torch.stack(true).sum()} if true else {})

    def _members(self) -> list[Interaction]:
        return cast(list[Interaction], list(self.members))


def joined(first: Tokens, second: Tokens) -> Tokens:
    """The captions of both, padded to the longest."""
    length = max(first.ids.shape[1], second.ids.shape[1])
    parts = [[F.pad(x, (0, length - x.shape[1])) for x in pair] for pair in zip(first, second, strict=True)]
    return Tokens(*(torch.cat(pair) for pair in parts))
