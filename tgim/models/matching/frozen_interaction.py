"""Late interaction on the maps of a frozen network: words look for their places in what ImageNet taught to see.

The score and its losses are those of `late_interaction`. Pictures are seen by EfficientNet-Lite (Tan and Le, ICML
2019), whose weights never change; a small head is all that is trained, on maps that are computed once and kept.

Differs from `late_interaction`:
- maps of the stages `taps` are the input of the members: those of strides up to 16, averaged to cells of 16 pixels,
  side by side, and those of stride 32; each is normalised and mapped to one width, both are added, neighbours mixed;
- photographs and synthetic pictures go through a member together, so that the normalisations know both;
- a view of a picture is one of a few that were made beforehand: as it is, mirrored, and at random places and zooms.

Gradients reach the picture through the frozen network, so the model can guide an editor. Another of its kind, with
another backbone, other taps and another seed, can judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Unpack

from tgim.checkpoints.registry import register
from tgim.data.base import CaptionedImages
from tgim.data.batch import Batch, BatchOptions, Maps
from tgim.data.config import DataConfig
from tgim.models.base import Config
from tgim.models.efficientnet import STAGE_STRIDES, EfficientNetLite, Variant, load_pretrained, widths
from tgim.models.matching.frozen_batches import MapBatches
from tgim.models.matching.interaction import ImageFeatures, Interacting, Interaction, InteractionConfig, Members
from tgim.nn.layers import DepthwiseConv2d

MOST = 12  # regions a side
CELL = 16  # pixels a side of a region, where there are not too many
Channels = tuple[int, int]  # of the fine and of the coarse maps


class FrozenInteractionConfig(InteractionConfig):
    """Sizes; the defaults train in a quarter of an hour on one CPU core."""

    image_size: int = Field(160, ge=64, le=384, multiple_of=32)  # pixels, square
    backbone: Variant = "lite0"
    pretrained: bool = True  # start from the ImageNet weights of the installed package
    taps: tuple[int, ...] = (2, 4, 6)  # stages of the backbone, 0 to 6, whose maps are looked at
    members: int = Field(2, ge=1)  # models side by side
    width: int = Field(192, ge=8)  # channels of the mixed maps
    blocks: int = Field(1, ge=0)  # residual blocks that mix neighbouring places
    dropout: float = Field(0.1, ge=0, lt=1)  # share of the backbone's channels that is left out in training
    match_size: int = Field(112, ge=8)  # K, of words and regions
    views: int = Field(2, ge=1)  # of each picture: as it is, mirrored, and further ones as data.augment says

    @field_validator("taps")
    @classmethod
    def _taps(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        known = list(value) == sorted(set(value)) and set(value) <= set(range(len(STAGE_STRIDES)))
        if not known or len({STAGE_STRIDES[tap] <= CELL for tap in value}) < 2:
            raise ValueError(f"taps must be rising stages of 0 to 6, one below 5 and one of 5 and 6, got {list(value)}")
        return value


class Eyes(EfficientNetLite):
    """The frozen backbone, as far as it is looked at."""

    def __init__(self, config: FrozenInteractionConfig) -> None:
        super().__init__(config.backbone, stages=config.taps[-1] + 1)
        self.taps = config.taps
        self.requires_grad_(False)

    def see(self, image: Tensor, *, pool: Callable[[Tensor, int], Tensor] = F.adaptive_avg_pool2d) -> Maps:
        """Maps of pictures (B, 3, S, S) in [-1, 1], S a multiple of 32: S / 16 places a side, at most 12; S / 32.

        `pool` averages maps to so many places a side.
        """
        maps, places = self.maps(image, self.taps), min(MOST, math.ceil(image.shape[-1] / CELL))
        levels = [(tap, each) for tap, each in zip(self.taps, maps, strict=True)]
        fine = [pool(each, places) for tap, each in levels if STAGE_STRIDES[tap] <= CELL]
        coarse = [each for tap, each in levels if STAGE_STRIDES[tap] > CELL]
        return Maps(torch.cat(fine, 1).float(), torch.cat(coarse, 1).float())


def map_widths(config: FrozenInteractionConfig) -> Channels:
    """Channels of what `Eyes.see` gives.

    >>> map_widths(FrozenInteractionConfig())
    (152, 320)
    """
    found = list(zip(config.taps, widths(config.backbone, config.taps), strict=True))
    fine = sum(width for tap, width in found if STAGE_STRIDES[tap] <= CELL)
    return fine, sum(width for _, width in found) - fine


class Neighbours(nn.Module):
    """Residual block that mixes neighbouring places, channel by channel, and then the channels: (B, W, g, g)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        mixing = nn.Conv2d(channels, channels, 1, bias=False)
        self.body = nn.Sequential(DepthwiseConv2d(channels, 3, padding=1), nn.ReLU(), mixing, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Mixer(nn.Module):
    """Maps of both resolutions, (B, C, g, g) and (B, C', h, h), to mixed ones (B, W, g, g)."""

    def __init__(self, config: FrozenInteractionConfig) -> None:
        super().__init__()

        def level(channels: int) -> nn.Sequential:
            left_out = nn.Dropout2d(config.dropout)
            return nn.Sequential(nn.BatchNorm2d(channels), left_out, nn.Conv2d(channels, config.width, 1))

        self.fine, self.coarse = (level(channels) for channels in map_widths(config))
        self.blocks = nn.Sequential(*(Neighbours(config.width) for _ in range(config.blocks)))

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        wide = F.interpolate(self.coarse(coarse), fine.shape[-2:], mode="bilinear", align_corners=False)
        mixed: Tensor = self.blocks(F.relu(self.fine(fine) + wide))
        return mixed


class FrozenMember(Interaction):
    """A member on the maps of `eyes`, which all members share."""

    def __init__(self, config: FrozenInteractionConfig, vocabulary_size: int, *, eyes: Eyes) -> None:
        super().__init__(Mixer(config), config.width, config, vocabulary_size)
        self._eyes = (eyes,)  # not among the member's own weights

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """Features of pictures (B, 3, S, S) in [-1, 1], S a multiple of 32."""
        return self.encode_seen(self._eyes[0].see(image))

    def encode_seen(self, maps: Maps) -> ImageFeatures:
        """Features of pictures from the frozen maps of them."""
        return self.encode_maps(self.trunk(maps.fine, maps.coarse))


@register("frozen_interaction")
class FrozenInteraction(Interacting):
    """Image-text matching by words and regions of a frozen network's maps, averaged over members."""

    Config: ClassVar[type[Config]] = FrozenInteractionConfig

    def __init__(self, config: FrozenInteractionConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.backbone = Eyes(config)
        self.members = Members(FrozenMember(config, vocabulary_size, eyes=self.backbone) for _ in range(config.members))

    def load_parts(self) -> None:
        """Take the weights of the model to start from, or ImageNet's for the backbone; before training only."""
        super().load_parts()
        if self.config.pretrained and self.config.start is None:
            load_pretrained(self.backbone, self.config.backbone)

    def open_batches(self, dataset: CaptionedImages, config: DataConfig, **options: Unpack[BatchOptions]) -> MapBatches:
        """Open batches with the backbone's maps; arguments as of `tgim.data.loader.Batches`."""
        return MapBatches(self.backbone, dataset, config, views=self.config.views, **options)

    def see(self, image: Tensor) -> Maps:
        """Frozen maps of pictures (B, 3, S, S) in [-1, 1], S a multiple of 32, for any of the members."""
        return self.backbone.see(image)

    def features(self, image: Tensor) -> list[ImageFeatures]:
        """Features of pictures (B, 3, S, S) in [-1, 1] by each member; the backbone looks at them once."""
        return self.encoded(self.see(image))

    def encoded(self, maps: Maps) -> list[ImageFeatures]:
        """Features by each member of pictures that `see` has seen."""
        return [member.encode_seen(maps) for member in self.members if isinstance(member, FrozenMember)]

    def _seen(self, batch: Batch) -> tuple[list[ImageFeatures], list[ImageFeatures]]:
        """Features by each member of the photographs, and of the synthetic pictures and then their targets."""
        given = [batch.maps or self.see(batch.image)]
        if batch.synthetic is not None and self.config.synthetic_weight:
            pairs = batch.synthetic
            given += [pairs.maps or self.see(pairs.image), pairs.target_maps or self.see(pairs.target)]
        maps = Maps(torch.cat([each.fine for each in given]), torch.cat([each.coarse for each in given]))
        count, found = len(batch.labels), self.encoded(maps)
        photos = [ImageFeatures(each.whole[:count], each.regions[:count]) for each in found]
        others = [ImageFeatures(each.whole[count:], each.regions[count:]) for each in found]
        return photos, others if len(given) > 1 else []
