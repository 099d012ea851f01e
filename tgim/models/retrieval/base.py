"""Base of the systems of composed retrieval: a matching model as encoder, the loss, and the triples.

Training pulls the composition of source picture and text to the target picture, with the other targets of the batch as
negatives (Vo et al., "Composing Text and Image for Image Retrieval", CVPR 2019, eq. 4-5 with K = B: softmax over
cosines times a learned scale). There are two kinds of triples, and a batch may have both:

- synthetic ones (`data.synthetic.pairs`): with `synthetic.task: changes` the texts say what is to change and siblings
  share the source (`tgim.data.synthetic.triples`); with `edits` they are target captions;
- of captioned pictures (`data.captions.changes`): the text says what the source lacks (`tgim.data.differences`).
  Targets of the target's own class are no negatives, since the text may well fit them.

The source itself is one more negative (`own_negatives`): it is so near to the target that the text would else hardly be
needed. The paper's batches have no such negative.

Differs from the authors' release: any matching model of tgim takes the place of ResNet-18 and the LSTM (theirs start
from ImageNet; the ones here from scratch, or from a checkpoint); embeddings come in at unit length and are brought to
entries of about one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from pydantic import AliasChoices, Field, ValidationError, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints import checkpoint
from tgim.checkpoints.registry import find_model, reference
from tgim.data import differences
from tgim.data.batch import Batch
from tgim.data.synthetic import triples
from tgim.errors import CheckpointError, RecipeError, nearest
from tgim.models.base import Composing, Config, Matching, Terms
from tgim.models.retrieval.memory import Memory
from tgim.nn.losses import target_softmax
from tgim.nn.parallel import gathered
from tgim.text.vocabulary import Alphabet, Tokens, Vocabulary, tokenize

WORDING = f"{differences.WORDING} {triples.WORDING}"


class ComposerConfig(Config):
    """The matching model and the loss; the scale is that of the authors' release."""

    matching: str | None = None  # trained matching model: path of a checkpoint or name of an embedded one
    system: str = "dual_encoder"  # a matching model trained from scratch, where `matching` is not given
    encoder: dict[str, Any] | None = None  # the keys of that model; filled in from its checkpoint
    frozen: Literal["nothing", "pictures", "all"] = "nothing"  # what of it stays: how it sees; how it reads, too
    scale: float = Field(4.0, gt=0)  # s at the start: cosines are multiplied by s squared, learned
    own_negatives: bool = True  # the source is one of the wrong targets of a triple
    synthetic_weight: float = Field(  # of the loss on synthetic triples, beside that on captioned pictures
        1.0, gt=0, validation_alias=AliasChoices("synthetic_weight", "drawn_weight")
    )

    @model_validator(mode="after")
    def _checks(self) -> ComposerConfig:
        try:
            system = matching_class(self.system)
        except KeyError as error:
            (known,) = error.args
            hint = nearest(self.system, known)
            raise ValueError(
                f"system {self.system!r} is no matching model{hint} (there are: {', '.join(known)})"
            ) from None
        if self.frozen != "nothing" and not self.matching:
            raise ValueError(f"frozen is {self.frozen!r}, which needs matching: the checkpoint of what is to stay")
        if self.encoder is not None:
            try:
                system.Config(**self.encoder)
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]
                place = ".".join(map(str, ("encoder", *fault["loc"])))
                raise ValueError(
                    f"{place} does not fit {self.system}: {fault['msg']}, got {fault['input']!r}"
                ) from None
        return self


class Parts(nn.Module):
    """Networks that are trained, and the matching model, even where it is frozen."""

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
        filled = {"system": reference(system), "encoder": encoder.model_dump(mode="json")}
        self.config = config.model_copy(update=filled)
        matching = system(encoder, vocabulary_size=vocabulary_size)
        self.composer = Parts(matching, self.join(embedding_size(matching)), config.scale)
        self._memory = Memory()

    @staticmethod
    def join(size: int) -> nn.Module:
        """The network from embeddings of pictures and texts, (B, D) each, to those of the pictures meant (B, D)."""
        raise NotImplementedError  # abstract: this is what the systems differ in

    @classmethod
    def vocabulary_for(cls, config: ComposerConfig) -> Vocabulary | None:
        """The words of the matching model where it has its own; if it learns to read, those that tell of changes."""
        if config.matching:
            known = Vocabulary(checkpoint.read_header(config.matching)["vocabulary"])
            if config.frozen == "all" or isinstance(known, Alphabet):
                return known
            return Vocabulary([*known.words, *dict.fromkeys(word for word in tokenize(WORDING) if word not in known)])
        system, encoder = matching_config(config)
        return system.vocabulary_for(encoder)

    def load_parts(self) -> None:
        """Take the weights of the trained matching model, or what a new one starts from; before training only."""
        if self.config.matching:
            path = checkpoint.resolve(self.config.matching)
            tensors = checkpoint.read_tensors(path)
            words = len(Vocabulary(checkpoint.read_header(path)["vocabulary"]))
            for name, own in self.matching.state_dict().items():
                if name in tensors and own.ndim == 2 and len(tensors[name]) == words < len(own):
                    tensors[name] = torch.cat([tensors[name], own[words:]])  # vectors of the words that are new
            checkpoint.fill(self.matching, tensors, path=path)
        else:
            self.matching.load_parts()

    @property
    def matching(self) -> Matching:
        """The matching model, which encodes pictures and texts."""
        return self.composer.matching

    @property
    def image_size(self) -> int:
        return self.matching.image_size

    def train(self, mode: bool = True) -> Composer:
        """Switch to training mode, a frozen matching model excepted."""
        super().train(mode)
        if self.config.frozen == "all":
            self.matching.eval()
        return self

    def embed_images(self, image: Tensor) -> Tensor:
        """Unit embeddings (B, D) of pictures (B, 3, S, S) in [-1, 1]; in training a frozen model looks at each once."""
        if self.config.frozen == "nothing":
            return self._embed(image)
        reading = self.matching.training
        self.matching.eval()
        with torch.no_grad():
            pictures = self._memory.embedded(image, self._embed) if self.training else self._embed(image)
        self.matching.train(reading)
        return pictures

    def embed_captions(self, text: Tokens) -> Tensor:
        """Unit embeddings (B, D) of texts."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.frozen != "all"):
            return F.normalize(self.matching.embed_captions(text).float(), dim=1)

    def _embed(self, image: Tensor) -> Tensor:
        return F.normalize(self.matching.embed_images(image).float(), dim=1)

    def compose(self, image: Tensor, text: Tokens) -> Tensor:
        """Unit embeddings (B, D) of the pictures meant by `image` (B, 3, S, S) in [-1, 1] and `text`."""
        return self.compose_embeddings(self.embed_images(image), self.embed_captions(text))

    def compose_embeddings(self, image: Tensor, text: Tensor) -> Tensor:
        """Compose unit embeddings (B, D) of pictures and texts."""
        entries = image.shape[1] ** 0.5  # a unit vector times this has entries of about one
        return F.normalize(self.composer.join(entries * image, entries * text).float(), dim=1)

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield the softmax losses over targets, of synthetic triples and of captioned pictures."""
        terms = Terms()
        if batch.synthetic is not None:
            pairs = batch.synthetic
            loss = self._loss(pairs.image, pairs.target_text, pairs.target)
            terms["synthetic"] = self.config.synthetic_weight * loss
        if batch.source is not None and batch.change is not None:
            terms["captioned"] = self._loss(batch.source, batch.change, batch.image, labels=batch.labels)
        if not terms:
            raise RecipeError(
                "there are no triples to learn from; set data.synthetic.pairs, or data.captions.changes to true"
            )
        yield "composer", terms

    def _loss(self, source: Tensor, text: Tokens, target: Tensor, *, labels: Tensor | None = None) -> Tensor:
        """The softmax over targets, of triples."""
        pictures, wanted = self.embed_images(source), self.embed_images(target)
        meant = self.compose_embeddings(pictures, self.embed_captions(text))
        own = None
        if self.config.own_negatives:
            own = gathered(pictures), gathered((source != target).flatten(1).any(1))
        meant, wanted, labels = gathered(meant), gathered(wanted), None if labels is None else gathered(labels)
        return target_softmax(meant, wanted, scale=self._scale, labels=labels, own=own)

    @property
    def _scale(self) -> Tensor:
        return self.composer.scale.square().clamp(max=100)


def matching_config(config: ComposerConfig) -> tuple[type[Matching], Config]:
    """The class and config of the matching model that `config` names.

    Raises:
        CheckpointError: its checkpoint is not there, or holds no matching model.
    """
    if config.encoder is None and config.matching:
        header = checkpoint.read_header(config.matching)
        if header["role"] != "matching":
            raise CheckpointError(f"{config.matching} is a {header['name']}; name a matching model to compose on")
        system = matching_class(header["address"])
        return system, system.Config(**header["config"])
    system = matching_class(config.system)
    return system, system.Config(**(config.encoder or {}))


def matching_class(name: str) -> type[Matching]:
    """The class of a matching model by its name or address; KeyError with the known ones where there is none."""
    system = find_model(name, role="matching")
    if not issubclass(system, Matching):
        raise TypeError(f"{name} has the role of a matching model, but is none; derive its class from Matching")
    return system


def embedding_size(matching: Matching) -> int:
    """D of a matching model, by reading a caption of one word."""
    was, word = matching.training, torch.zeros(1, 1, dtype=torch.long)
    with torch.no_grad():
        size = matching.eval().embed_captions(Tokens(word, word == 0)).shape[1]
    matching.train(was)
    return int(size)
