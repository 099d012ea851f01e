"""Blocks that the adversarial models share, each named for what it does and stacked from widths.

Shapes: B batch, C channels, H W pixels, E text width.
Activations work in place: nothing but they reads what the layer before them gives. That saves a step time and memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.nn.parallel import randn
from tgim.nn.quick import plain, spread

Gate = Literal["leaky_relu", "relu", "glu"]
SLOPE = 0.2  # of every LeakyReLU


class DepthwiseConv2d(nn.Conv2d):
    """Depthwise convolution, (B, C, H, W) to (B, C, H', W'), computed in 32 bits under autocast, too.

    A CPU's bf16 instructions multiply matrices; convolutions of one channel are about ten times slower in bf16.
    """

    def __init__(self, channels: int, size: int, *, padding: int = 0) -> None:
        """`channels` is C, `size` the side of the square filters in pixels."""
        super().__init__(channels, channels, size, padding=padding, groups=channels)

    def forward(self, input: Tensor) -> Tensor:
        """Filter `input` (B, C, H, W)."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float())


class Condition(NamedTuple):
    """Output of conditioning augmentation for sentences: three tensors (B, C)."""

    sample: Tensor
    mean: Tensor
    log_var: Tensor


class ConditioningAugmentation(nn.Module):
    """Conditioning augmentation: sentence (B, E) to a Gaussian of size C and a sample (Zhang et al., StackGAN, §3.2).

    One linear layer gives mean and spread, both through the same activation. The spread is read as the logarithm of the
    variance (StackGAN, AttnGAN) or of the standard deviation (SISGAN, TAGAN): `log_var = 2 log_sigma`.

    Args:
        text_size: E.
        size: C.
        spelling: what the second half of the layer's output means.
        gate: activation; "glu" halves a layer of twice the width.
        bias: whether the linear layer has one.
    """

    def __init__(
        self,
        text_size: int,
        size: int,
        *,
        spelling: Literal["log_sigma", "log_var"] = "log_sigma",
        gate: Gate = "leaky_relu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.size, self.spelling, self.gate = size, spelling, gate
        self.linear = nn.Linear(text_size, 2 * size * (2 if gate == "glu" else 1), bias=bias)

    def forward(self, sentence: Tensor, eps: Tensor | None = None) -> Condition:
        """Condition of `sentence`; `eps` (B, C) standard normal, or None for the mean itself."""
        mean, spread = self._activate(self.linear(sentence)).float().chunk(2, 1)
        log_var = 2 * spread if self.spelling == "log_sigma" else spread
        sample = mean if eps is None else mean + (0.5 * log_var).exp() * eps
        return Condition(sample, mean, log_var)

    def noise(self, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal `eps` (count, C), see `normal`."""
        return normal(count, self.size, like=self.linear.weight, generator=generator)

    def _activate(self, x: Tensor) -> Tensor:
        if self.gate == "glu":
            return F.glu(x, 1)
        return F.relu(x) if self.gate == "relu" else F.leaky_relu(x, SLOPE)


def normal(count: int, size: int, *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise (count, size) for the device of `like`.

    It is sampled on the CPU, so that a seed means the same on every device.
    """
    return randn(count, size, generator=generator).to(like.device)


class Residual(nn.Module):
    """Two 3x3 convolutions with batch normalisation around a skip: (B, C, H, W) -> the same.

    `rectified` puts a ReLU after the sum, as SISGAN does and TAGAN does not.
    """

    def __init__(self, channels: int, *, rectified: bool = False) -> None:
        super().__init__()
        self.rectified = rectified
        self.body = nn.Sequential(*conv_block(channels, channels), *conv_block(channels, channels)[:2])

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.body(x)
        return F.relu(x) if self.rectified else x


class PreActivationResidual(nn.Module):
    """Two 3x3 convolutions around a skip, normalised and activated before each: (B, C, H, W) -> the same.

    After He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, with group normalisation and SiLU.

    Args:
        channels: C.
        groups: of the normalisations; one for each 8 channels unless given.
        depthwise: whether the second convolution has one filter for each channel.
    """

    def __init__(self, channels: int, *, groups: int | None = None, depthwise: bool = False) -> None:
        super().__init__()
        groups = channels // 8 if groups is None else groups
        first = nn.Conv2d(channels, channels, 3, padding=1)
        second = DepthwiseConv2d(channels, 3, padding=1) if depthwise else nn.Conv2d(channels, channels, 3, padding=1)
        norms = (nn.GroupNorm(groups, channels), nn.GroupNorm(groups, channels))
        self.body = nn.Sequential(norms[0], nn.SiLU(), first, norms[1], nn.SiLU(), second)

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = x + self.body(x)
        return refined


def conv_block(inputs: int, outputs: int, *, kernel: int = 3, activation: nn.Module | None = None) -> nn.Sequential:
    """3x3 (or 1x1) convolution, batch normalisation, activation (ReLU): (B, inputs, H, W) -> (B, outputs, H, W)."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), activation or nn.ReLU(inplace=True))


def bottleneck(channels: int, *, activation: nn.Module) -> nn.Sequential:
    """1x1, 3x3 and 3x3 convolutions by way of a quarter of the channels: (B, C, H, W) -> the same.

    For one side of a skip: nothing is activated after the last normalisation, which the sum is to follow.
    """
    narrow = max(1, channels // 4)
    return nn.Sequential(
        conv_block(channels, narrow, kernel=1, activation=activation),
        conv_block(narrow, narrow, activation=activation),
        conv_block(narrow, channels, activation=nn.Identity()),
    )


def down(inputs: int, outputs: int, *, activation: nn.Module | None = None) -> nn.Sequential:
    """4x4 convolution of stride 2, batch normalisation, activation (ReLU): H x W -> H/2 x W/2."""
    convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), activation or nn.ReLU(inplace=True))


def up(inputs: int, outputs: int) -> nn.Sequential:
    """Nearest upsampling and `conv_block`: H x W -> 2H x 2W."""
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), *conv_block(inputs, outputs))


def gated(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution to twice the width, batch normalisation, GLU: (B, inputs, H, W) -> (B, outputs, H, W)."""
    return conv_block(inputs, 2 * outputs, activation=nn.GLU(1))


def gated_up(inputs: int, outputs: int) -> nn.Sequential:
    """Nearest upsampling and `gated`: H x W -> 2H x 2W."""
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), *gated(inputs, outputs))


class GatedResidual(nn.Module):
    """`gated` and one more 3x3 convolution with batch normalisation, around a skip: (B, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*gated(channels, channels), *conv_block(channels, channels)[:2])

    def forward(self, x: Tensor) -> Tensor:
        refined: Tensor = x + self.body(x)
        return refined


class RowNorm(nn.BatchNorm1d):
    """Batch normalisation of rows (B, C); a lone row, which has no deviation, takes the running statistics."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and len(input) == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def start_map(inputs: int, channels: int, *, gated: bool = False) -> nn.Sequential:
    """Noise and condition, side by side, to a first map of pictures: (B, inputs) -> (B, channels, 4, 4).

    Linear layer without bias, batch normalisation, ReLU or (`gated`) a gated linear unit.
    """
    size = 16 * channels * (2 if gated else 1)
    linear, activation = nn.Linear(inputs, size, bias=False), nn.GLU(1) if gated else nn.ReLU(inplace=True)
    return nn.Sequential(linear, RowNorm(size), activation, nn.Unflatten(1, (channels, 4, 4)))


def from_image(outputs: int, *, halve: bool = False, bias: bool = True) -> nn.Sequential:
    """First layer, without normalisation: 3x3 and ReLU, or 4x4 of stride 2 and LeakyReLU when `halve`."""
    if halve:
        return nn.Sequential(
            nn.Conv2d(3, outputs, 4, stride=2, padding=1, bias=bias), nn.LeakyReLU(SLOPE, inplace=True)
        )
    return nn.Sequential(nn.Conv2d(3, outputs, 3, padding=1, bias=bias), nn.ReLU(inplace=True))


def to_image(inputs: int, *, bias: bool = True) -> nn.Sequential:
    """Last layer: 3x3 convolution and tanh, (B, inputs, H, W) -> (B, 3, H, W) in [-1, 1]."""
    return nn.Sequential(nn.Conv2d(inputs, 3, 3, padding=1, bias=bias), nn.Tanh())


def tile(x: Tensor, vector: Tensor, *, before: bool = False) -> Tensor:
    """Put a vector (B, E) beside every place of a map (B, C, H, W): (B, C + E, H, W), or (E + C) with `before`."""
    spread = vector.to(x.dtype)[..., None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([spread, x] if before else [x, spread], 1)


class Joint(nn.Sequential):
    """Layers over a map (B, C, H, W) and a vector (B, E) that is put beside every place of it, see `tile`.

    In training a first convolution of 3x3 is one of the map plus one of the vector, which is the same everywhere but at
    the edges: nine places of it are computed. The map's part may be computed once for several vectors (`of_map`).
    """

    def __init__(self, *layers: nn.Module, before: bool = False) -> None:
        """`before` puts the vector's channels before the map's."""
        super().__init__(*layers)
        self.before = before

    def forward(self, x: Tensor, vector: Tensor, of_map: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Apply the layers; `of_map` is what the method of that name gives for `x`, if it was called."""
        first = self._parted()
        if first is None:
            joined: Tensor = super().forward(tile(x, vector, before=self.before))  # type: ignore[no-untyped-call]
            return joined
        own, beside = self._split(first, x)
        size = (min(x.shape[2], 3), min(x.shape[3], 3))
        nine = F.conv2d(vector.to(x.dtype)[..., None, None].expand(-1, -1, *size), beside, first.bias, padding=1)
        alone = F.conv2d(x, own, padding=1) if of_map is None else of_map
        x = alone + spread(spread(nine, 2, x.shape[2]), 3, x.shape[3])
        block, *others = self
        for layer in (*(block[1:] if isinstance(block, nn.Sequential) else ()), *others):
            x = layer(x)
        return x

    def of_map(self, x: Tensor) -> Tensor | None:
        """Compute the first convolution of a map (B, C, H, W) alone; None where it is not computed in parts."""
        first = self._parted()
        return None if first is None else F.conv2d(x, self._split(first, x)[0], padding=1)

    def _parted(self) -> nn.Conv2d | None:
        """The first convolution, where it is computed in parts."""
        first = self[0][0] if isinstance(self[0], nn.Sequential) else self[0]
        return first if self.training and isinstance(first, nn.Conv2d) and plain(first, 3) else None

    def _split(self, first: nn.Conv2d, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weights for the map and for the vector."""
        rest = first.in_channels - x.shape[1]
        if self.before:
            return first.weight[:, rest:], first.weight[:, :rest]
        return first.weight[:, : x.shape[1]], first.weight[:, x.shape[1] :]


class JointDiscriminator(nn.Module):
    """Discriminator of pictures alone and with a condition, from one map: that of StackGAN and its successors.

    4x4 convolutions of stride 2, each doubling the channels, lead to a map of 4x4 places; where that has more than
    eight times `width` channels, 3x3 convolutions halve them again.

    Args:
        side: of the pictures in pixels, a power of two from 8 on.
        width: channels after the first convolution.
        condition_size: C, of the condition; 0 for a discriminator of pictures alone.
        alone: whether there is a head for pictures without a condition.
        before: whether the condition's channels come before the map's.
    """

    def __init__(self, side: int, width: int, condition_size: int, *, alone: bool = True, before: bool = False) -> None:
        super().__init__()
        leaky = nn.LeakyReLU(SLOPE, inplace=True)
        widths = [width * 2**i for i in range(side.bit_length() - 3)]
        narrowing = [w for w in widths[::-1] if w >= 8 * width] or widths[-1:]
        deep = narrowing[-1]
        self.before = before
        self.encoder = nn.Sequential(
            from_image(width, halve=True, bias=False),
            *(down(a, b, activation=leaky) for a, b in pairwise(widths)),
            *(conv_block(a, b, activation=leaky) for a, b in pairwise(narrowing)),
        )
        self.join = conv_block(deep + condition_size, deep, activation=leaky) if condition_size else None
        self.joint = nn.Conv2d(deep, 1, 4) if condition_size else None
        self.single = nn.Conv2d(deep, 1, 4) if alone else None
        self.apply(init_adversarial)

    def encode(self, image: Tensor) -> Tensor:
        """Features (B, D, 4, 4) of pictures (B, 3, side, side) in [-1, 1]."""
        features: Tensor = self.encoder(image)
        return features

    def match(self, features: Tensor, condition: Tensor) -> Tensor:
        """Logits (B,) that pictures are real and fit their `condition` (B, C); ValueError where there is none."""
        if self.join is None or self.joint is None:
            raise ValueError("this discriminator judges pictures alone; build it with a condition_size above 0")
        logits: Tensor = self.joint(self.join(tile(features, condition, before=self.before)))
        return logits.flatten().float()

    def alone(self, features: Tensor) -> Tensor:
        """Logits (B,) that pictures are real, whatever the condition; ValueError where there is no such head."""
        if self.single is None:
            raise ValueError("this discriminator has no head for pictures alone; build it with alone=True")
        logits: Tensor = self.single(features)
        return logits.flatten().float()


class JointDiscriminators(nn.ModuleList):
    """A `JointDiscriminator` for each size of picture, one network for the loop.

    Their losses share no weight, so that the sum of all trains them as apart. `sides` are the sizes in pixels; see
    `JointDiscriminator` for the other arguments.
    """

    def __init__(
        self, sides: Iterable[int], width: int, condition_size: int, *, alone: bool = True, before: bool = False
    ) -> None:
        super().__init__(JointDiscriminator(side, width, condition_size, alone=alone, before=before) for side in sides)

    def __iter__(self) -> Iterator[JointDiscriminator]:
        return (each for each in super().__iter__() if isinstance(each, JointDiscriminator))


def init_adversarial(module: nn.Module) -> None:
    """Start convolutions and linear layers at N(0, 0.02), normalisation at N(1, 0.02) (Radford et al., DCGAN, §4).

    For `Module.apply`; biases start at zero.
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d | RowNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Pass gradients of the block through `module`, and none to its parameters."""
    learning = [p for p in module.parameters() if p.requires_grad]
    try:
        for p in learning:
            p.requires_grad_(False)
        yield
    finally:
        for p in learning:
            p.requires_grad_(True)
