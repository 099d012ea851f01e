"""Distances of two pictures in the features of a network: LPIPS, weighted to agree with people, and one unweighted.

LPIPS needs a file of ImageNet weights (`lpips_network`). `stage_distance` does with the network that comes with tgim.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from tgim.checkpoints.state_dict import read_state_dict
from tgim.errors import UserError
from tgim.metrics.checks import check_pair
from tgim.nn import losses
from tgim.nn.resize import resize

Backbone = Literal["alex", "vgg"]
BATCH = 32  # pictures at once
SIDE = 224  # pixels, of the pictures that ImageNet's networks were trained on
VARIABLE = "TGIM_LPIPS_BACKBONE"
SOURCES = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
}


def lpips(x: Tensor, y: Tensor, *, network: nn.Module) -> Tensor:
    """Learned perceptual distance of each pair; 0 for equal pictures and upwards, lower is better, no unit.

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018, version 0.1.

    Args:
        x: (N, 3, H, W) in [-1, 1], sides of at least 32 pixels.
        y: of the same shape.
        network: from `lpips_network`; figures are comparable only under one backbone.

    >>> class Difference(torch.nn.Module):  # stands in for the network
    ...     def forward(self, x, y):
    ...         return (x - y).abs().mean((1, 2, 3), keepdim=True)
    >>> lpips(torch.zeros(2, 3, 32, 32), torch.full((2, 3, 32, 32), 0.5), network=Difference())
    tensor([0.5000, 0.5000])
    """
    check_pair(x, y, least=32)
    with torch.no_grad():
        found = [
            network(x[start : start + BATCH].float(), y[start : start + BATCH].float()).flatten()
            for start in range(0, len(x), BATCH)
        ]
    return torch.cat(found) if found else x.new_zeros(0, dtype=torch.float32)


def lpips_network(path: str | Path | None = None, *, backbone: Backbone = "alex") -> nn.Module:
    """The network for `lpips`: the linear heads come with the package lpips, the ImageNet backbone from a local file.

    Args:
        path: state dict of torchvision's alexnet or vgg16, ``.pth`` or ``.safetensors``; by default what the
            environment variable TGIM_LPIPS_BACKBONE names. Nothing is downloaded.
        backbone: "alex", which the authors advise for measuring, or "vgg".

    Raises:
        UserError: no file, or one that is not that network.
    """
    if backbone not in SOURCES:
        raise UserError(f"backbone is {backbone!r}, expected 'alex' or 'vgg'")
    what = f"torchvision's {'alexnet' if backbone == 'alex' else 'vgg16'} trained on ImageNet"
    given = path if path is not None else os.environ.get(VARIABLE)
    if not given:
        raise UserError(f"LPIPS needs {what}: get {SOURCES[backbone]} and give its path, or set {VARIABLE} to it")
    state = read_state_dict(given, expected=f"expected {what}: get {SOURCES[backbone]} and give its path")
    try:
        import lpips as package
    except ImportError:
        raise UserError("LPIPS needs the package lpips; run pip install lpips") from None
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # torchvision's about the way in which lpips calls it
        network: nn.Module = package.LPIPS(net=backbone, pnet_rand=True, verbose=False)
    for name, parameter in network.get_submodule(
        "net"
    ).named_parameters():  # slice1.0.weight is torchvision's features.0.weight
        key = f"features.{name.split('.', 1)[1]}"
        if key not in state or state[key].shape != parameter.shape:
            came = f"shape {tuple(state[key].shape)}" if key in state else "nothing"
            raise UserError(
                f"{given} has {came} for {key}, expected {tuple(parameter.shape)}: it is not {what}; "
                f"get {SOURCES[backbone]}"
            )
        with torch.no_grad():
            parameter.copy_(state[key])
    return network.eval().requires_grad_(False)


def stage_distance(
    x: Tensor, y: Tensor, *, network: Callable[[Tensor], Sequence[Tensor]], side: int | None = SIDE
) -> Tensor:
    """Distance of each pair in several stages of a frozen network; 0 for equal pictures, at most 4, no unit.

    LPIPS-like, and not LPIPS: `tgim.nn.losses.stage_distance`, which has no learned weights, in other features. Figures
    are comparable only under one network and side, and never with published LPIPS.

    Args:
        x: (N, 3, H, W) in [-1, 1].
        y: of the same shape.
        network: pictures to maps, such as `tgim.models.efficientnet.embedded()`: EfficientNet-Lite0's maps of strides
            4, 8, 16 and 32, after its stages 2, 3, 5 and 7 (of 24, 40, 112 and 320 channels).
        side: pixels that pictures are resized to first, or None to take them as they are.

    >>> from tgim.models.efficientnet import embedded
    >>> x = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    >>> found = stage_distance(torch.cat([x, x]), torch.cat([x, x.mT]), network=embedded())  # itself, and turned
    >>> [round(value, 2) for value in found.tolist()]
    [0.0, 0.69]
    """
    check_pair(x, y)

    def maps(pictures: Tensor) -> Sequence[Tensor]:
        fitted = pictures.float() if side is None else resize(pictures.float(), (side, side))
        return network(fitted.contiguous(memory_format=torch.channels_last))

    with torch.no_grad():
        found = [
            losses.stage_distance(maps(x[start : start + BATCH]), maps(y[start : start + BATCH]))
            for start in range(0, len(x), BATCH)
        ]
    return torch.cat(found) if found else x.new_zeros(0, dtype=torch.float32)
