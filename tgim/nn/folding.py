"""Folding: an equal network with less work, for pictures that are made on a CPU; never for training.

- A batch normalisation goes into the convolution or linear layer before it: with s = gamma / sqrt(var + eps) of the
  running statistics, w' = s w and b' = beta + s (b - mean), computed in 64 bits (Jacob et al., CVPR 2018, §3.2).
- Nearest upsampling by 2 and a 3x3 convolution are one transposed convolution of 4x4 and stride 2: each of the four
  phases of the result sees 2x2 places, so that 4/9 of the products are left. Zeros around a picture stay zeros.
- A 3x3 convolution computes four rows of its result from six sums of rows of its input, F(4, 3) (Winograd 1980; Lavin
  and Gray, CVPR 2016), half of the products: along rows alone, where the sums cost less than they save.
- A vector beside every place of a map adds to a convolution what it adds to a map of 3x3 places: nine vectors.
- A ReLU after a convolution is a part of it, and filters are arranged for oneDNN once.
- Captions that were read lately are not read again.
- Maps have their channels last in memory, and may be of bf16.

Equal up to rounding, and without gradients. A network is folded part by part, each at its first call: what is not
called is not folded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tgim.nn.encoders import BiGru, BiLstm, CharCnnRnn, Gru, MeanOfWords
from tgim.nn.kernels import Conv, Dense, JointConv, Transposed, Weights
from tgim.nn.layers import Joint
from tgim.nn.quick import doubling, phases
from tgim.text.vocabulary import TextCode

ENCODERS = (BiGru, BiLstm, CharCnnRnn, Gru, MeanOfWords)
REMEMBERED = 32  # captions
M = TypeVar("M", bound=nn.Module)


def fold(module: M, *, dtype: torch.dtype = torch.float32) -> M:
    """Make an equal network that takes less time; `module` is left as it is, and shares what stays equal.

    Args:
        module: in evaluation mode.
        dtype: of weights and maps, `torch.float32` or `torch.bfloat16`.

    Raises:
        ValueError: it is in training mode.
    """
    if module.training:
        raise ValueError("fold takes a module in evaluation mode, this one is training; call eval() first")
    folded: M = _fold(module, dtype)  # type: ignore[assignment]
    return folded


def _fold(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module itself where nothing in it can be folded."""
    if isinstance(module, ENCODERS):
        return Remembering(module)
    if type(module) in (nn.Sequential, Joint):
        return Folding(module, dtype)
    children = {name: _fold(child, dtype) for name, child in module.named_children()}
    if all(child is module._modules[name] for name, child in children.items()):
        return module
    twin: nn.Module = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    twin.__dict__["_modules"] = module._modules | children
    return twin


class Folding(nn.Module):
    """Layers in a row that are folded when they are first called; several threads may call them."""

    def __init__(self, layers: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers, self.dtype, self.lock = layers, dtype, threading.Lock()
        self.made: list[nn.Module] = []  # no submodules: the weights of `layers` are the network's
        self.eval()

    @torch.no_grad()
    def forward(self, x: Tensor, vector: Tensor | None = None) -> Tensor:
        with self.lock:
            if not self.made:
                beside = 0 if vector is None else vector.shape[1]
                self.made = list(folded_layers(self.layers, self.dtype, beside=beside)) or [nn.Identity()]
        first, *others = self.made
        x = first(x) if vector is None else first(x, vector)
        for layer in others:
            x = layer(x)
        return x


def folded_layers(layers: nn.Module, dtype: torch.dtype, *, beside: int = 0) -> Iterator[nn.Module]:
    """Fold a `Sequential`, with those inside it, or a `Joint`, to layers that do the same one after the other.

    Args:
        layers: in evaluation mode.
        dtype: as of `fold`.
        beside: E of the vector of a `Joint`.
    """
    found = [_bare(layer) for layer in _flat(layers)]
    if isinstance(layers, Joint):
        if not _plain(found[0], 3):
            raise ValueError(f"a Joint begins with a 3x3 convolution of stride 1, this one with {found[0]}")
        weights, relu, found = _taken(found)
        yield JointConv(weights, beside, before=layers.before, relu=relu, dtype=dtype)
    while found:
        layer = found[0]
        if doubling(layer) and len(found) > 1 and _plain(found[1], 3):
            weights, relu, found = _taken(found[1:])
            yield Transposed(_phases_of(weights), stride=(2, 2), padding=(1, 1), relu=relu, dtype=dtype)
        elif type(layer) in (nn.Conv2d, nn.ConvTranspose2d, nn.Linear) and _simple(layer):
            weights, relu, found = _taken(found)
            if isinstance(layer, nn.Linear):
                yield Dense(*weights())
                if relu:
                    yield nn.ReLU(inplace=True)
            else:
                kind: Any = Transposed if isinstance(layer, nn.ConvTranspose2d) else Conv
                yield kind(weights, stride=layer.stride, padding=layer.padding, relu=relu, dtype=dtype)
        else:
            found = found[1:]
            if type(layer) is not nn.Identity:
                yield _fold(layer, dtype)


class Remembering(nn.Module):
    """Text encoder that keeps the codes of the last captions; several threads may use it."""

    def __init__(self, encoder: nn.Module, size: int = REMEMBERED) -> None:
        super().__init__()
        self.encoder, self.size, self.lock = encoder, size, threading.Lock()
        self.codes: OrderedDict[bytes, tuple[Tensor, ...]] = OrderedDict()
        self.eval()

    @torch.no_grad()
    def forward(self, *inputs: Any) -> TextCode:
        given = [each for one in inputs for each in ([one] if isinstance(one, Tensor) else one)]
        keys = [b"".join(each[i].cpu().numpy().tobytes() for each in given) for i in range(len(given[0]))]
        keys = [str([tuple(each.shape[1:]) for each in given]).encode() + key for key in keys]
        with self.lock:
            known = {key: self.codes[key] for key in keys if key in self.codes}
        first = {key: i for i, key in reversed(list(enumerate(keys))) if key not in known}
        if first:
            places = list(first.values())
            chosen = [one[places] for one in inputs]
            known |= dict(zip(first, zip(*self.encoder(*chosen), strict=True), strict=True))
        with self.lock:
            for key in known:
                self.codes[key] = known[key]
                self.codes.move_to_end(key)
            while len(self.codes) > self.size:
                self.codes.popitem(last=False)
        return TextCode(*(torch.stack(parts) for parts in zip(*(known[key] for key in keys), strict=True)))


def _flat(layers: nn.Module) -> Iterator[nn.Module]:
    for child in layers.children():
        if type(child) is nn.Sequential:
            yield from _flat(child)
        else:
            yield child


def _bare(layer: nn.Module) -> nn.Module:
    """Bake the parametrizations of a layer, spectral normalisation say, into a copy of it."""
    if not parametrize.is_parametrized(layer):
        return layer
    inside = parametrize.type_before_parametrizations(layer)
    plain: nn.Module = object.__new__(inside)
    plain.__dict__.update({key: value for key, value in layer.__dict__.items() if key != "_modules"})
    plain.__dict__["_modules"] = {}
    names = list(layer.parametrizations)  # type: ignore[arg-type]
    baked = {name: nn.Parameter(getattr(layer, name).detach(), requires_grad=False) for name in names}
    plain.__dict__["_parameters"] = {**layer._parameters, **baked}
    return plain


def _simple(layer: nn.Module) -> bool:
    """Test whether a layer is no more than its weight, bias, stride and padding."""
    if layer._forward_pre_hooks or layer._forward_hooks:
        return False
    if isinstance(layer, nn.Linear):
        return True
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) or isinstance(layer.padding, str):
        return False
    outside = getattr(layer, "output_padding", (0, 0))
    return (layer.groups, layer.padding_mode, *layer.dilation, *outside) == (1, "zeros", 1, 1, 0, 0)


def _plain(layer: nn.Module, side: int) -> bool:
    """Test for a convolution of stride 1 that keeps the size of a map."""
    if not isinstance(layer, nn.Conv2d) or type(layer) is not nn.Conv2d or not _simple(layer):
        return False
    return (layer.kernel_size, layer.stride, layer.padding) == ((side, side), (1, 1), (side // 2, side // 2))


def _taken(found: list[nn.Module]) -> tuple[Callable[[], Weights], bool, list[nn.Module]]:
    """Take a layer, with the normalisation and the ReLU after it: its weights, if there is a ReLU, and what remains."""
    layer, *others = found
    norm = others[0] if others and _settled(others[0]) else None
    others = others[1:] if norm is not None else others
    relu = bool(others) and type(others[0]) is nn.ReLU
    return partial(_weights, layer, norm), relu, others[1:] if relu else others


def _settled(norm: nn.Module) -> bool:
    """Test for a batch normalisation by running statistics."""
    return isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.running_mean is not None and not norm.training


def _weights(layer: Any, norm: Any) -> Weights:
    """Weight and bias of a layer and of the normalisation after it."""
    weight = layer.weight.detach().double()
    out = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    bias = weight.new_zeros(weight.shape[out]) if layer.bias is None else layer.bias.detach().double()
    if norm is None:
        return weight, bias
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = torch.zeros_like(scale)
    if norm.affine:
        scale, shift = scale * norm.weight.detach().double(), norm.bias.detach().double()
    shape = [-1 if i == out else 1 for i in range(weight.ndim)]
    return weight * scale.view(shape), shift + scale * (bias - norm.running_mean.double())


def _phases_of(weights: Callable[[], Weights]) -> Callable[[], Weights]:
    def found() -> Weights:
        weight, bias = weights()
        return phases(weight), bias

    return found
