"""The contract of models: what the training loop, the checkpoint and the tools for people call.

`Model` is common to all; a class for each role says what models of that role do. Everything that may be called stands
here. What raises NotImplementedError has to be given; all else has a default that does for most models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from typing_extensions import Unpack

from tgim.checkpoints.registry import Role
from tgim.data.base import CaptionedImages
from tgim.data.batch import Batch, BatchOptions, BatchSource
from tgim.data.config import DataConfig
from tgim.data.loader import Batches
from tgim.images.boxes import Box
from tgim.images.matting import FEATHER, soft_box
from tgim.images.photo import as_array
from tgim.images.resample import Floats
from tgim.nn.carry import carry_change
from tgim.nn.resize import resize
from tgim.text.vocabulary import Tokens, Vocabulary

Terms = dict[str, Tensor]  # loss name -> weighted scalar; their sum is what one network minimises
Codes = tuple[Tensor, ...]  # what a model keeps of B pictures or captions; each tensor starts with B


@dataclass(frozen=True)
class Request:
    """Captions and options of an edit of B photographs of one size."""

    captions: tuple[str, ...]  # B, of the wanted results
    tokens: Tokens  # the same captions by the model's vocabulary
    strength: float = 1.0  # 0 leaves the photographs, 1 edits fully
    seed: int | None = None  # of models with noise
    raw: bool = False  # the model's own output at its own resolution, instead of the photographs edited
    skip: bool = False  # photographs in which there is nothing to edit come back as they are, instead of an error


class Config(BaseModel):
    """Base of all model configs: frozen, checked, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(nn.Module):
    """A trainable system: a config, named networks, and `steps`.

    A subclass of one of the roles below, known by `@register("its_name")` (`tgim.checkpoints.registry`), sets:

    - `Config`: its config class. The constructor takes `(config, *, vocabulary_size)` and keeps `config`.
    - `networks`: attribute names that `steps` yields; the loop makes one optimiser for each, over its parameters that
      require a gradient.
    - `averaged`: attribute names whose weights are kept as an exponential moving average, which the checkpoint holds.

    Tensors that are not parameters of a network, a frozen matching model say, are ordinary submodules and travel in the
    state dict.
    """

    name: ClassVar[str] = ""  # set by `register`
    role: ClassVar[Role]  # set by the class of each role
    Config: ClassVar[type[Config]]
    networks: ClassVar[tuple[str, ...]]
    averaged: ClassVar[tuple[str, ...]] = ()
    config: Any

    @property
    def image_size(self) -> int:
        """Side of the square pictures that the model works on, in pixels."""
        return int(self.config.image_size)

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        """Yield `(network, {term: loss})` in the paper's order; what follows a yield sees the updated network.

        Of several processes each gets its share of a batch. What compares its pictures, and random numbers of them, go
        through `tgim.nn.parallel`, so that they are those of the whole batch.
        """
        raise NotImplementedError  # abstract: every system says what it optimises

    @classmethod
    def vocabulary_for(cls, config: Any) -> Vocabulary | None:
        """Return the words that a new model of `config` is trained with; None for those of the data set's captions.

        A system that takes over a part that reads captions needs the words of that part, so that ids mean the same.
        """
        return None

    @classmethod
    def config_for(cls, config: Any, *, dataset: CaptionedImages, data: DataConfig) -> Any:
        """Return the config of a new model with what it leaves to its pictures filled in; `config` itself by default.

        Args:
            config: of the recipe.
            dataset: that the model is trained on.
            data: the recipe's section on it.

        Raises:
            DataError: the pictures do not say what is needed.
        """
        return config

    def load_parts(self) -> None:
        """Take over the trained weights that the config names; called once, before the first step of a new run.

        Raises:
            CheckpointError: they are not there, or do not fit.
        """

    def open_batches(
        self, dataset: CaptionedImages, config: DataConfig, **options: Unpack[BatchOptions]
    ) -> BatchSource:
        """Open the batches that `steps` is given; arguments as of `tgim.data.loader.Batches`, the default."""
        return Batches(dataset, config, **options)

    @property
    def part_localiser(self) -> Localising | None:
        """The model that finds parts for this one: itself, or one inside it; None where there is none."""
        return None

    @property
    def text_to_image(self) -> Generating | None:
        """The generator that the model's pictures come from: itself, or one inside it; None where there is none."""
        return None

    @property
    def noise_encoder(self) -> nn.Module | None:
        """A network from pictures (B, 3, S, S) to the noise (B, Z) of which `text_to_image` makes them, or None."""
        return None

    @property
    def perception(self) -> nn.Module | None:
        """A frozen network from pictures (B, 3, S, S) to a tuple of feature maps by which inversion compares them.

        None (the default) where the model has none of its own.
        """
        return None


class Editing(Model):
    """A model that edits: `edit` maps pictures and captions to pictures at the model's own resolution.

    A photograph is edited by `edit_photo`, a region of it by `edit_box`. Unless a model says otherwise, a small copy is
    edited and the change carried back to the photograph.

    An editor that makes codes of captions (`condition`) can be interpolated between two captions, by `edit_from` or
    `edit_photo_from`; one that makes codes of pictures, too (`encode`), between two pictures, by `edit_from`.
    """

    role: ClassVar[Role] = "editor"
    has_strength: ClassVar[bool] = False  # whether a weaker edit is more than a blend of the full one

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edited pictures (B, 3, S, S) in [-1, 1] for `image` of the same shape.

        Equal calls give equal pictures: a model with noise uses its mean, or samples it by `seed`.
        """
        raise NotImplementedError  # abstract: every editor says how it edits

    def remarks(self, caption: str) -> tuple[str, ...]:
        """List what of a caption this model leaves out or changes, one line for each thing."""
        return ()

    def subject(self, image: Tensor) -> Tensor | None:
        """Locate the subjects of pictures (B, 3, S, S) in [-1, 1], so that small ones are edited enlarged.

        Returns:
            Probabilities (B, 1, S, S) that a pixel is of the subject; None (the default) where the model cannot tell.
        """
        return None

    def condition(self, text: Tokens) -> Codes | None:
        """Return codes of captions, at the mean of the conditioning augmentation; None where there are none."""
        return None

    def encode(self, image: Tensor) -> Codes | None:
        """Return codes of pictures (B, 3, S, S) in [-1, 1]; None where the model edits pictures as they are."""
        return None

    def edit_from(self, encoded: Codes, condition: Codes) -> Tensor:
        """Return what `edit` makes of pictures and captions, (B, 3, S, S) in [-1, 1], by the codes of both."""
        raise NotImplementedError  # abstract: every editor says so that has codes of pictures

    def edit_photo_from(self, photo: Tensor, condition: Codes) -> Tensor:
        """Edit one photograph by codes of N captions.

        Args:
            photo: (1, 3, H, W) in [-1, 1].
            condition: what `condition` gives, or lies between such.

        Returns:
            (N, 3, H, W) in [-1, 1].
        """
        small = resize(photo, (self.image_size, self.image_size))
        encoded = self.encode(small)
        if encoded is None:
            raise NotImplementedError  # abstract: every editor says so that has codes of captions alone
        rows = [tuple(code[i : i + 1] for code in condition) for i in range(len(condition[0]))]
        edited = [carry_change(photo, small, self.edit_from(encoded, row).float()) for row in rows]
        return torch.cat(edited)

    def edit_photo(self, photo: Tensor, request: Request) -> Tensor:
        """Photographs (B, 3, H, W) in [-1, 1] of any size, edited; of the model's size where the request says `raw`."""
        side = self.image_size
        small = resize(photo, (side, side))
        edited = self.edit(small, request.tokens, seed=request.seed)
        edited = small + request.strength * (edited - small)
        return edited if request.raw else carry_change(photo, small, edited)

    def edit_box(self, photo: Tensor, request: Request, box: Box) -> Tensor:
        """Edit the region `box` as `edit_photo` does, with a soft edge inside it; the rest stays bit-identical."""
        x, y, w, h = box
        region = photo[..., y : y + h, x : x + w]
        edited = self.edit_photo(region, request)
        if request.raw:
            return edited
        edge = photo.new_tensor(soft_box(photo.shape[-2], photo.shape[-1], box, feather=FEATHER * min(h, w)))
        edge = edge[y : y + h, x : x + w]
        result = photo.clone()
        result[..., y : y + h, x : x + w] = torch.where(edge > 0, region + edge * (edited - region), region)
        return result


class Generating(Model):
    """A model that generates pictures from captions and noise; it takes no picture.

    Two noises, so that each can be varied alone: `noise` (B, `noise_size`) makes the picture what no caption says, and
    `variation` (B, `variation_size`) samples the conditioning augmentation; `variation_size` is 0 for a model that has
    none. Both are standard normal; without `variation` the mean of the conditioning augmentation is taken.
    """

    role: ClassVar[Role] = "generator"
    attends_to_words: ClassVar[bool] = False  # whether `attention_maps` gives any

    @property
    def text_to_image(self) -> Generating:
        """The model itself."""
        return self

    @property
    def noise_size(self) -> int:
        """Z, the size of the noise of a picture."""
        raise NotImplementedError  # abstract: every generator says how much noise it takes

    @property
    def reads(self) -> bool:
        """True for a model of captions and noise, False for one of noise alone."""
        return True

    @property
    def variation_size(self) -> int:
        """V, the size of the conditioning augmentation; 0 where there is none."""
        return 0

    def generate(self, text: Tokens, noise: Tensor, *, variation: Tensor | None = None) -> Tensor:
        """Generate pictures (B, 3, S, S) in [-1, 1] from captions, `noise` (B, Z) and `variation` (B, V)."""
        return self.generate_from(self.condition(text, variation=variation), noise)

    def condition(self, text: Tokens, *, variation: Tensor | None = None) -> Codes:
        """Encode captions for `generate_from`; each tensor starts with B, so that codes can be interpolated."""
        raise NotImplementedError  # abstract: every generator says how it encodes captions

    def generate_from(self, condition: Codes, noise: Tensor) -> Tensor:
        """Generate pictures (B, 3, S, S) in [-1, 1] from what `condition` gave and noise (B, Z)."""
        raise NotImplementedError  # abstract: every generator says how it generates

    def attention_maps(self, text: Tokens, noise: Tensor, *, variation: Tensor | None = None) -> list[Tensor]:
        """Return how much each place attends to each word in the picture that `generate` gives of the same arguments.

        Returns:
            (B, T, h, w) of each stage that looks at single words, coarse to fine; 1 in all over T. Empty by default.
        """
        return []


class Matching(Model):
    """A model that says how well pictures and captions fit.

    One vector stands for each picture and each caption (`embed_images`, `embed_captions`), of unit length wherever the
    system's own score is a cosine. A system whose score is more than their dot product, because it looks at words and
    regions, says so by its own `read_images`, `read_captions` and `scores`.
    """

    role: ClassVar[Role] = "matching"

    def embed_images(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of pictures (B, 3, S, S) in [-1, 1], S the model's image size."""
        raise NotImplementedError  # abstract: every matching model says how it sees

    def embed_captions(self, text: Tokens) -> Tensor:
        """Embeddings (B, D) of captions."""
        raise NotImplementedError  # abstract: every matching model says how it reads

    def read_images(self, image: Tensor) -> Codes:
        """Encode pictures (B, 3, S, S) in [-1, 1] for `scores`."""
        return (self.embed_images(image),)

    def read_captions(self, text: Tokens) -> Codes:
        """Encode captions for `scores`."""
        return (self.embed_captions(text),)

    def scores(self, images: Codes, captions: Codes) -> Tensor:
        """Score each of B pictures with each of N captions: (B, N), higher is better."""
        return images[0] @ captions[0].T


class Localising(Model):
    """A model that says where the parts of a subject are."""

    role: ClassVar[Role] = "parsing"

    @property
    def part_localiser(self) -> Localising:
        """The model itself."""
        return self

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the maps that `look` gives; the first is "background"."""
        raise NotImplementedError  # abstract: every localiser names its parts

    @property
    def together(self) -> bool:
        """True where all subjects of a photograph count as one, blossoms of a plant say; else the largest is meant."""
        return False

    def look(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Find the parts in pictures (B, 3, S, S) in [-1, 1].

        Returns:
            Probabilities (B, P, s, s) of each part, their sum over P 1; and (B,) that a picture shows a subject at all.
        """
        raise NotImplementedError  # abstract: every localiser says how it sees

    @torch.no_grad()
    def look_at(self, pictures: Floats) -> tuple[Floats, Floats]:
        """`look` at an array (B, 3, S, S): arrays (B, P, s, s) and (B,); see `tgim.models.parsing.part_maps`."""
        device = next(self.parameters(), torch.empty(0)).device
        shown = torch.from_numpy(np.ascontiguousarray(pictures)).to(device, memory_format=torch.channels_last)
        maps, present = self.look(shown)
        return as_array(maps), as_array(present)


class Composing(Model):
    """A model that finds pictures by a picture and a text that says what is to be different.

    `compose` of both lies near `embed_images` of the picture meant, by their dot product; all are of unit length.
    """

    role: ClassVar[Role] = "retrieval"

    def embed_images(self, image: Tensor) -> Tensor:
        """Unit embeddings (B, D) of pictures (B, 3, S, S) in [-1, 1], S the model's image size."""
        raise NotImplementedError  # abstract: every such model says how it sees

    def embed_captions(self, text: Tokens) -> Tensor:
        """Unit embeddings (B, D) of texts alone."""
        raise NotImplementedError  # abstract: every such model says how it reads

    def compose(self, image: Tensor, text: Tokens) -> Tensor:
        """Unit embeddings (B, D) of the pictures meant by `image` (B, 3, S, S) and `text` together."""
        raise NotImplementedError  # abstract: every such model says how it composes


def sample_noise(model: Generating, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Sample noise (count, Z) and variation (count, V) by a seed, standard normal, on the CPU.

    Row i is the same whatever `count` is; the global random numbers are left alone.
    """
    source = torch.Generator().manual_seed(seed)
    sizes = (model.noise_size, model.variation_size)
    rows = [[torch.randn(size, generator=source) for size in sizes] for _ in range(count)]
    noise, variation = (torch.stack(kind) for kind in zip(*rows, strict=True))
    return noise, variation
