"""What the loop, the checkpoint and the editor expect of a model, be it an editor or a matching model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from tgim.data.batch import Batch
from tgim.images.carry import Box, carry_change, soft_box
from tgim.images.resample import resize
from tgim.text.vocabulary import Tokens

Terms = dict[str, Tensor]  # loss name -> weighted scalar; their sum is what one network minimises
FEATHER = 0.15  # of the shorter side of a box: how far its edit fades in


@dataclass(frozen=True)
class Request:
    """What is asked of an edit of B photographs of one size."""

    captions: tuple[str, ...]  # B, of the wanted results
    tokens: Tokens  # the same captions by the model's vocabulary
    strength: float = 1.0  # 0 leaves the photographs, 1 edits fully
    seed: int | None = None  # of models that draw noise
    raw: bool = False  # the model's own output at its own resolution, instead of the photographs edited
    skip: bool = False  # photographs in which there is nothing to edit come back as they are, instead of an error


class Config(BaseModel):
    """Base of all model configs: frozen, checked, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(nn.Module):
    """A trainable system: a config, named networks, and `steps`.

    A subclass sets `name` (its key in `MODELS` or `MATCHERS`), `Config` (its config class), `networks` (attribute names
    that `steps` yields; the loop makes one optimiser for each over its parameters that require a gradient) and
    `averaged` (attribute names whose weights are kept as an exponential moving average for editing). The constructor
    takes `(config, *, vocabulary_size)`. Tensors that are not parameters of a network, a frozen matching model say, are
    ordinary submodules and travel in the state dict.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Config]]
    networks: ClassVar[tuple[str, ...]]
    averaged: ClassVar[tuple[str, ...]] = ()
    config: Any

    @property
    def image_size(self) -> int:
        """Side of the square pictures that the model works on, in pixels."""
        return int(self.config.image_size)

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield `(network, {term: loss})` in the paper's order; what follows a yield sees the updated network."""
        raise NotImplementedError  # abstract: every system says what it optimises


class Editing(Model):
    """A model that edits: `edit` maps pictures and captions to pictures at the model's own resolution.

    A photograph is edited by `edit_photo`, a region of it by `edit_box`. Unless a model says otherwise, a small copy is
    edited and the change carried back to the photograph.
    """

    has_strength: ClassVar[bool] = False  # whether a weaker edit is more than a blend of the full one

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edited pictures (B, 3, S, S) in [-1, 1] for `image` of the same shape.

        Equal calls give equal pictures: a model that draws noise uses its mean, or draws it from `seed`.
        """
        raise NotImplementedError  # abstract: every editor says how it edits

    def remarks(self, caption: str) -> tuple[str, ...]:
        """What of a caption this model cannot take as it is said, one line for each."""
        return ()

    def edit_photo(self, photo: Tensor, request: Request) -> Tensor:
        """Photographs (B, 3, H, W) in [-1, 1] of any size, edited; of the model's size where the request says `raw`."""
        side = self.image_size
        small = resize(photo, (side, side))
        edited = self.edit(small, request.tokens, seed=request.seed)
        edited = small + request.strength * (edited - small)
        return edited if request.raw else carry_change(photo, small, edited)

    def edit_box(self, photo: Tensor, request: Request, box: Box) -> Tensor:
        """As `edit_photo`, but of the region `box` alone, with a soft edge inside it; the rest stays bit-identical."""
        x, y, w, h = box
        region = photo[..., y : y + h, x : x + w]
        edited = self.edit_photo(region, request)
        if request.raw:
            return edited
        edge = soft_box(photo.shape[-2], photo.shape[-1], box, feather=FEATHER * min(h, w)).to(photo.device)
        edge = edge[..., y : y + h, x : x + w]
        result = photo.clone()
        result[..., y : y + h, x : x + w] = torch.where(edge > 0, region + edge * (edited - region), region)
        return result


class Generating(Model):
    """A model that draws pictures from captions and noise; it takes no picture.

    Two noises, so that each can be varied alone: `noise` (B, `noise_size`) makes the picture what no caption says, and
    `variation` (B, `variation_size`) draws from the conditioning augmentation; `variation_size` is 0 for a model that
    has none. Both are standard normal; without `variation` the mean of the conditioning augmentation is taken.
    """

    @property
    def noise_size(self) -> int:
        """Z, how many numbers of noise a picture is drawn from."""
        raise NotImplementedError  # abstract: every generator says how much noise it takes

    @property
    def reads(self) -> bool:
        """Whether captions change what is drawn; one that does not read draws of noise alone."""
        return True

    @property
    def variation_size(self) -> int:
        """V, how many numbers the conditioning augmentation draws; 0 where there is none."""
        return 0

    def generate(self, text: Tokens, noise: Tensor, *, variation: Tensor | None = None) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1] of captions, `noise` (B, Z) and `variation` (B, V)."""
        return self.generate_from(self.condition(text, variation=variation), noise)

    def condition(self, text: Tokens, *, variation: Tensor | None = None) -> Codes:
        """All that drawing needs to know of captions; each tensor starts with B, so that codes can be interpolated."""
        raise NotImplementedError  # abstract: every generator says how it reads

    def generate_from(self, condition: Codes, noise: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1] of what `condition` gave and of noise (B, Z)."""
        raise NotImplementedError  # abstract: every generator says how it draws


Codes = tuple[Tensor, ...]  # what a matching model keeps of B pictures or captions; each tensor starts with B


class Matching(Model):
    """A model that says how well pictures and captions fit.

    One vector stands for each picture and each caption (`embed_images`, `embed_captions`), of unit length wherever the
    system's own score is a cosine. A system whose score is more than their dot product, because it looks at words and
    regions, says so by its own `read_images`, `read_captions` and `scores`.
    """

    def embed_images(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of pictures (B, 3, S, S) in [-1, 1], S the model's image size."""
        raise NotImplementedError  # abstract: every matching model says how it sees

    def embed_captions(self, text: Tokens) -> Tensor:
        """Embeddings (B, D) of captions."""
        raise NotImplementedError  # abstract: every matching model says how it reads

    def read_images(self, image: Tensor) -> Codes:
        """What `scores` needs to know of pictures (B, 3, S, S) in [-1, 1]."""
        return (self.embed_images(image),)

    def read_captions(self, text: Tokens) -> Codes:
        """What `scores` needs to know of captions."""
        return (self.embed_captions(text),)

    def scores(self, images: Codes, captions: Codes) -> Tensor:
        """How well each of B pictures fits each of N captions: (B, N), higher is better."""
        return images[0] @ captions[0].T


class Localising(Model):
    """A model that says where the parts of a subject are."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the maps that `locate` gives; the first is "background"."""
        raise NotImplementedError  # abstract: every localiser names its parts

    @property
    def together(self) -> bool:
        """Whether all subjects of a photograph count as one, blossoms of a plant say; else the largest is meant."""
        return False

    def locate(self, image: Tensor) -> Tensor:
        """Probabilities (B, P, s, s) of each part, their sum over P 1, from pictures (B, 3, S, S) in [-1, 1]."""
        return self.look(image)[0]

    def look(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What `locate` gives, and the probability (B,) that a picture shows a subject at all."""
        raise NotImplementedError  # abstract: every localiser says how it sees


class Composing(Model):
    """A model that finds pictures by a picture and a text that says what is to be different.

    `compose` of both lies near `embed_images` of the picture meant, by their dot product; all are of unit length.
    """

    def embed_images(self, image: Tensor) -> Tensor:
        """Unit embeddings (B, D) of pictures (B, 3, S, S) in [-1, 1], S the model's image size."""
        raise NotImplementedError  # abstract: every such model says how it sees

    def embed_captions(self, text: Tokens) -> Tensor:
        """Unit embeddings (B, D) of texts alone."""
        raise NotImplementedError  # abstract: every such model says how it reads

    def compose(self, image: Tensor, text: Tokens) -> Tensor:
        """Unit embeddings (B, D) of the pictures meant by `image` (B, 3, S, S) and `text` together."""
        raise NotImplementedError  # abstract: every such model says how it composes


@runtime_checkable
class Attentive(Protocol):
    """A generator that looks at single words while it draws."""

    def attention_maps(self, text: Tokens, noise: Tensor, *, variation: Tensor | None = None) -> list[Tensor]:
        """How much each place attends to each word: (B, T, h, w) a stage, coarse to fine; 1 in all over T."""


def sample_noise(model: Generating, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Noise (count, Z) and variation (count, V) of a seed, standard normal, drawn on the CPU.

    Row i is the same whatever `count` is; the global random numbers are left alone.
    """
    source = torch.Generator().manual_seed(seed)
    sizes = (model.noise_size, model.variation_size)
    rows = [[torch.randn(size, generator=source) for size in sizes] for _ in range(count)]
    noise, variation = (torch.stack(kind) for kind in zip(*rows, strict=True))
    return noise, variation
