"""Picture encoders of the matching models: a map of regions and a vector of the whole, from one network.

Either a small convolutional net, trained from scratch along with the text, or a classifier of torchvision without its
last layer, which is what the papers used. Its weights come from a local file (a state dict as torchvision saves it, or
the same tensors in safetensors); nothing is ever downloaded. Once trained, a checkpoint holds them and needs the file
no more.

Shapes: B batch, S side of the picture, C channels of a region, R regions, F width of the whole, D width of the space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints.state_dict import read_state_dict
from tgim.errors import CheckpointError
from tgim.models.base import Config
from tgim.models.matching.trunk import residual_trunk

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of values in [0, 1]


class PictureConfig(Config):
    """Keys of a matching model's config that choose its picture encoder."""

    image_size: int = Field(64, ge=32, multiple_of=8)  # pixels, square
    backbone: Literal["small", "vgg16_bn", "resnet18", "resnet50", "inception_v3"] = "small"
    backbone_weights: str | None = None  # file of a torchvision backbone's weights, read once before training
    backbone_frozen: bool = True  # a torchvision backbone stays as it is in the file
    width: int = Field(32, ge=8)  # "small": channels at half resolution; doubled at a quarter and again at an eighth
    blocks: int = Field(2, ge=1)  # "small": residual blocks at each of the two coarse resolutions

    @model_validator(mode="after")
    def _weights(self) -> PictureConfig:
        if self.backbone == "small" and self.backbone_weights:
            raise ValueError("backbone_weights is for torchvision backbones; leave it out, or name one as backbone")
        if self.backbone != "small" and self.backbone_frozen and not self.backbone_weights:
            raise ValueError(
                f"backbone {self.backbone} needs backbone_weights, the path of torchvision's state dict "
                f"({PRETRAINED[self.backbone].file}); or train it from scratch with backbone_frozen: false"
            )
        return self


class Features(NamedTuple):
    """Output of a backbone for pictures."""

    regions: Tensor  # (B, C, h, w)
    whole: Tensor  # (B, F)


class PictureCode(NamedTuple):
    """Code of pictures by a matching model."""

    regions: Tensor  # (B, D, R) in the space of the words, or (B, C, R) as the backbone sees them
    embedding: Tensor  # (B, D)


class SmallNet(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] to regions (B, 4 width, S/8, S/8) and the whole (B, 8 width).

    The whole is the mean over the map beside a mean by learned attention: captions speak of the subject.
    """

    def __init__(self, config: PictureConfig) -> None:
        super().__init__()
        eighth = 4 * config.width
        self.body = residual_trunk(config.width, config.blocks)
        self.saliency = nn.Conv2d(eighth, 1, 1, bias=False)
        self.region_size, self.whole_size = eighth, 2 * eighth

    def forward(self, image: Tensor) -> Features:
        regions = self.body(image)
        logits = self.saliency(regions)
        attention = logits.float().flatten(2).softmax(-1).view_as(logits)
        return Features(regions, torch.cat([(regions * attention).sum((2, 3)), regions.mean((2, 3)).float()], 1))


class Pretrained(NamedTuple):
    """Cut of a classifier of torchvision, by the names of its layers."""

    side: int  # pixels, square, that it was trained on
    regions: str  # the last layer before the map of regions
    region_size: int  # C
    whole_size: int  # F
    prefix: str  # of its keys in the file
    file: str  # torchvision's name of it


PRETRAINED = {
    "vgg16_bn": Pretrained(224, "42", 512, 512, "features.", "vgg16_bn-6c64b313.pth"),
    "resnet18": Pretrained(224, "layer3", 256, 512, "", "resnet18-f37072fd.pth"),
    "resnet50": Pretrained(224, "layer3", 1024, 2048, "", "resnet50-11ad3fa6.pth"),
    "inception_v3": Pretrained(299, "Mixed_6e", 768, 2048, "", "inception_v3_google-0cc3c7bd.pth"),
}


class TorchvisionNet(nn.Module):
    """Pictures (B, 3, S, S) in [-1, 1] of any size to regions and the whole, by a classifier of torchvision.

    Resizing and ImageNet's normalisation happen in here. Frozen, it stays in evaluation mode and costs no gradient,
    but for pictures that want one: those that a generator drew.
    VGG gives the mean of its last map, not fc7: the layers between are nine tenths of its weights.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, *, frozen: bool) -> None:
        super().__init__()
        self.name, self.frozen, self.plan = name, frozen, PRETRAINED[name]
        self.region_size, self.whole_size = self.plan.region_size, self.plan.whole_size
        self.net = _BUILD[name]().requires_grad_(not frozen)
        unit = name == "inception_v3"  # its weights were made for values in [-1, 1] as they are
        mean, deviation = ((0.5,) * 3, (0.5,) * 3) if unit else (IMAGENET_MEAN, IMAGENET_DEVIATION)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1), persistent=False)
        self.train()

    def train(self, mode: bool = True) -> TorchvisionNet:
        """Switch to training mode; a frozen network stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.net.eval()
        return self

    def forward(self, image: Tensor) -> Features:
        size = (self.plan.side, self.plan.side)
        x = F.interpolate(image.float(), size, mode="bilinear", align_corners=False, antialias=True)
        x = (0.5 * x + 0.5 - self.mean) / self.deviation
        regions = x
        with torch.set_grad_enabled(torch.is_grad_enabled() and (image.requires_grad or not self.frozen)):
            for layer, module in self.net.named_children():
                x = module(x)
                if layer == self.plan.regions:
                    regions = x
        return Features(regions, x.mean((2, 3)))

    def load(self, path: str | Path) -> None:
        """Take the weights in `path`; layers after the cut are left out.

        Raises:
            CheckpointError: no such file, another format, or weights that are missing or of another shape.
        """
        expected = f"expected torchvision's {self.name} ({self.plan.file}) or the same tensors in .safetensors"
        given, own = read_state_dict(path, expected=expected), self.net.state_dict()
        for name, value in own.items():
            found = given.get(self.plan.prefix + name)
            if found is None and name.endswith("num_batches_tracked"):
                found = value  # older files lack the counter, which nothing reads
            if found is None or found.shape != value.shape:
                what = "is missing" if found is None else f"has shape {tuple(found.shape)}, not {tuple(value.shape)}"
                raise CheckpointError(f"backbone weights {path}: {self.plan.prefix + name} {what}; {expected}")
            own[name] = found
        self.net.load_state_dict(own)


def make_backbone(config: PictureConfig) -> SmallNet | TorchvisionNet:
    """The network that `config` names, with random weights."""
    if config.backbone == "small":
        return SmallNet(config)
    return TorchvisionNet(config.backbone, frozen=config.backbone_frozen)


def load_weights(backbone: nn.Module, config: PictureConfig) -> None:
    """Take the weights that `config` names, if it does; before training only."""
    if isinstance(backbone, TorchvisionNet) and config.backbone_weights:
        backbone.load(config.backbone_weights)


def _vgg16_bn() -> nn.Module:
    from torchvision.models.vgg import cfgs, make_layers

    net: nn.Module = make_layers(cfgs["D"], batch_norm=True)
    return net


def _resnet(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision.models import resnet

        net: nn.Module = getattr(resnet, name)(weights=None)
        del net.avgpool, net.fc
        return net

    return build


def _inception_v3() -> nn.Module:
    from torchvision.models import inception_v3

    net: nn.Module = inception_v3(weights=None, aux_logits=False, init_weights=False)
    del net.avgpool, net.dropout, net.fc
    return net


_BUILD: Mapping[str, Callable[[], nn.Module]] = {
    "vgg16_bn": _vgg16_bn,
    "resnet18": _resnet("resnet18"),
    "resnet50": _resnet("resnet50"),
    "inception_v3": _inception_v3,
}
