"""What all systems of composed retrieval share: a matching model that sees and reads, the loss, and the triples.

Training pulls the composition of source picture and text to the target picture, with the other targets of the batch as
negatives (Vo et al., "Composing Text and Image for Image Retrieval", CVPR 2019, eq. 4-5 with K = B: softmax over
cosines times a learned scale). It learns from two kinds of triples:

- drawn pairs (`data.drawn`): the picture, the text for it and the true result. With `data.drawn_task: changes` the
  texts say what is to change and siblings share the source (`tgim.data.triples`); with `edits` they are target
  captions. The source itself is one more negative where the text changes something (`own_negatives`): it is so near to
  the target that the text would else hardly be needed. The paper's batches have no such negative.
- captioned photographs, which no one paired: the target is a picture of the batch, the text its caption, the source the
  other picture of the batch that looks most alike to the model as it is ("something like this, but a red head"). With a
  random source the picture would tell nothing and be unlearned. Targets of the target's own class are no negatives,
  since its caption may well fit them.

Differs from the authors' release: any matching model of tgim takes the place of ResNet-18 and the LSTM (theirs start
from ImageNet; the ones here from scratch, or from a checkpoint); embeddings come in at unit length and are brought to
entries of about one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from tgim import checkpoint
from tgim.data.batch import Batch
from tgim.errors import CheckpointError, RecipeError, nearest
from tgim.losses import target_softmax
from tgim.matching import MATCHERS
from tgim.model import Composing, Config, Matching, Terms
from tgim.text import Tokens, Vocabulary


class ComposerConfig(Config):
    """The matching model and the loss; the scale is that of the authors' release."""

    matching: str | None = None  # trained matching model: path of a checkpoint or name of an embedded one
    system: str = "dual_encoder"  # a matching model trained from scratch, where `matching` is not given
    encoder: dict[str, Any] | None = None  # the keys of that model; filled in from its checkpoint
    frozen: bool = False  # the matching model stays as it is in its checkpoint
    scale: float = Field(4.0, gt=0)  # s at the start: cosines are multiplied by s squared, learned
    own_negatives: bool = True  # the source is one of the wrong targets of a drawn triple
    drawn_weight: float = Field(1.0, ge=0)  # of the loss on drawn triples
    caption_weight: float = Field(1.0, ge=0)  # of the loss on triples of captioned pictures; 0 leaves them out

    @model_validator(mode="after")
    def _checks(self) -> ComposerConfig:
        if self.system not in MATCHERS:
            hint = nearest(self.system, MATCHERS)
            raise ValueError(f"system {self.system!r} is no matching model{hint} (there are: {', '.join(MATCHERS)})")
        if self.frozen and not self.matching:
            raise ValueError("frozen needs matching, the checkpoint of the model that stays as it is")
        if not self.drawn_weight and not self.caption_weight:
            raise ValueError("drawn_weight and caption_weight are both 0, so there is nothing to learn")
        if self.encoder is not None:
            try:
                MATCHERS[self.system].Config(**self.encoder)
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]
                place = ".".join(map(str, ("encoder", *fault["loc"])))
                raise ValueError(
                    f"{place} does not fit {self.system}: {fault['msg']}, got {fault['input']!r}"
                ) from None
        return self


class Parts(nn.Module):
    """All that is trained: one network for the loop. A frozen matching model is part of it, too, and learns nothing."""

    def __init__(self, matching: Matching, join: nn.Module, scale: float) -> None:
        super().__init__()
        self.matching, self.join = matching, join
        self.scale = nn.Parameter(torch.tensor(scale))


class Composer(Composing):
    """A composition on top of a matching model; a subclass says by which network (`join`)."""

    Config: ClassVar[type[Config]] = ComposerConfig
    networks: ClassVar[tuple[str, ...]] = ("composer",)
    averaged: ClassVar[tuple[str, ...]] = ("composer",)

    def __init__(self, config: ComposerConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        system, encoder = matching_config(config)
        filled = {"system": system.name, "encoder": encoder.model_dump(mode="json")}
        self.config = config.model_copy(update=filled)
        matching = system(encoder, vocabulary_size=vocabulary_size)
        self.composer = Parts(matching, self.join(embedding_size(matching)), config.scale)
        matching.requires_grad_(not config.frozen)

    @staticmethod
    def join(size: int) -> nn.Module:
        """The network from embeddings of pictures and texts, (B, D) each, to those of the pictures meant (B, D)."""
        raise NotImplementedError  # abstract: this is what the systems differ in

    @classmethod
    def vocabulary_for(cls, config: ComposerConfig) -> Vocabulary | None:
        """The vocabulary of the matching model, where it has one of its own."""
        if config.matching:
            return Vocabulary(checkpoint.read_header(config.matching)["vocabulary"])
        system, encoder = matching_config(config)
        own = getattr(system, "vocabulary_for", None)
        found: Vocabulary | None = own(encoder) if own else None
        return found

    def load_parts(self) -> None:
        """Take the weights of the trained matching model, or what a new one starts from; before training only."""
        if self.config.matching:
            path = checkpoint.resolve(self.config.matching)
            checkpoint.fill(self.matching, checkpoint.read_tensors(path), path=path)
        elif load_parts := getattr(self.matching, "load_parts", None):
            load_parts()

    @property
    def matching(self) -> Matching:
        """The model that sees and reads."""
        return self.composer.matching

    @property
    def image_size(self) -> int:
        return self.matching.image_size

    def train(self, mode: bool = True) -> Composer:
        """Switch to training mode, a frozen matching model excepted."""
        super().train(mode)
        if self.config.frozen:
            self.matching.eval()
        return self

    def embed_images(self, image: Tensor) -> Tensor:
        """Unit embeddings (B, D) of pictures (B, 3, S, S) in [-1, 1]."""
        with self._learning():
            return F.normalize(self.matching.embed_images(image).float(), dim=1)

    def embed_captions(self, text: Tokens) -> Tensor:
        """Unit embeddings (B, D) of texts."""
        with self._learning():
            return F.normalize(self.matching.embed_captions(text).float(), dim=1)

    def compose(self, image: Tensor, text: Tokens) -> Tensor:
        """Unit embeddings (B, D) of the pictures meant by `image` (B, 3, S, S) in [-1, 1] and `text`."""
        return self.compose_embeddings(self.embed_images(image), self.embed_captions(text))

    def compose_embeddings(self, image: Tensor, text: Tensor) -> Tensor:
        """The same from the unit embeddings (B, D) of both."""
        entries = image.shape[1] ** 0.5  # a unit vector times this has entries of about one
        return F.normalize(self.composer.join(entries * image, entries * text).float(), dim=1)

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """One phase: the softmax over targets, of drawn triples and of captioned pictures."""
        c, terms = self.config, Terms()
        if batch.drawn is not None and c.drawn_weight:
            drawn = batch.drawn
            source, target = self.embed_images(drawn.image), self.embed_images(drawn.target)
            meant = self.compose_embeddings(source, self.embed_captions(drawn.target_text))
            differs = (drawn.image != drawn.target).flatten(1).any(1)
            own = (source, differs) if c.own_negatives else None
            terms["drawn"] = c.drawn_weight * target_softmax(meant, target, scale=self._scale, own=own)
        if c.caption_weight:
            target = self.embed_images(batch.image)
            meant = self.compose_embeddings(target[nearest_other(target)], self.embed_captions(batch.text))
            loss = target_softmax(meant, target, scale=self._scale, labels=batch.labels)
            terms["captions"] = c.caption_weight * loss
        if not terms:
            raise RecipeError("there are no triples to learn from; set data.drawn, or model.caption_weight above 0")
        yield "composer", terms

    @property
    def _scale(self) -> Tensor:
        return self.composer.scale.square().clamp(max=100)

    def _learning(self) -> contextlib.AbstractContextManager[Any]:
        return torch.no_grad() if self.config.frozen else contextlib.nullcontext()


def matching_config(config: ComposerConfig) -> tuple[type[Matching], Config]:
    """The class and config of the matching model that `config` names.

    Raises:
        CheckpointError: its checkpoint is not there, or holds no matching model.
    """
    if config.encoder is None and config.matching:
        header = checkpoint.read_header(config.matching)
        if header["kind"] != "matcher":
            raise CheckpointError(f"{config.matching} is a {header['name']}; name a matching model to compose on")
        system = MATCHERS[header["name"]]
        return system, system.Config(**header["config"])
    system = MATCHERS[config.system]
    return system, system.Config(**(config.encoder or {}))


def embedding_size(matching: Matching) -> int:
    """D of a matching model, by reading a caption of one word."""
    was, word = matching.training, torch.zeros(1, 1, dtype=torch.long)
    with torch.no_grad():
        size = matching.eval().embed_captions(Tokens(word, word == 0)).shape[1]
    matching.train(was)
    return int(size)


def nearest_other(embeddings: Tensor) -> Tensor:
    """For each of B unit embeddings (B, D) the row of the most similar other one, (B,); a lone one gets itself.

    >>> nearest_other(F.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), dim=1))
    tensor([1, 0, 1])
    """
    with torch.no_grad(), torch.autocast(embeddings.device.type, enabled=False):
        similarity = embeddings.float() @ embeddings.float().T
        return similarity.fill_diagonal_(-torch.inf).argmax(1)
