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

Equal up to rounding, and without gradients. A network is folded at its first call, part by part: what is not called is not folded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from tgim.nn.encoders import BiGru, BiLstm, CharCnnRnn, Gru, MeanOfWords
from tgim.nn.layers import Joint
from tgim.text.vocabulary import TextCode

ENCODERS = (BiGru, BiLstm, CharCnnRnn, Gru, MeanOfWords)
REMEMBERED = 32  # captions
WIDE = 64 * 128  # channels of input times output, from which on 3x3 convolutions are computed by rows
M = TypeVar("M", bound=nn.Module)
Weights = tuple[Tensor, Tensor]  # of a layer, in 64 bits: weight and bias
# What a 3x3 filter becomes for `Conv.by_rows`, (6, 3); F(4, 3) at the points 0, 1, -1, 2, -2 and infinity
FILTERS = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
).div(24)
PHASES = torch.tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float64)  # phase, place, tap


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
    twin = module.__new__(type(module))
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
        if _doubling(layer) and len(found) > 1 and _plain(found[1], 3):
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
                yield kind(weights, stride=layer.stride, padding=layer.padding, relu=relu, dtype=dtype)  # type: ignore[union-attr]
        else:
            found = found[1:]
            if type(layer) is not nn.Identity:
                yield _fold(layer, dtype)


class Kernel:
    """One convolution, or transposed convolution, whose filters oneDNN arranges at the first call and not at each."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: Sequence[int] = (1, 1),
        padding: Sequence[int] = (1, 1),
        transposed: bool = False,
        relu: bool = False,
        dtype: torch.dtype,
    ) -> None:
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.to(dtype)
        self.stride, self.padding, self.transposed, self.relu = stride, padding, transposed, relu
        self.arranged = not arranges()  # where it cannot be, torch's own functions take the filters as they are

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W), channels last; with `relu` what is negative becomes 0."""
        if arranges():
            return self._arranged(x)
        run = F.conv_transpose2d if self.transposed else F.conv2d
        y: Tensor = run(x, self.weight, self.bias, self.stride, self.padding)  # type: ignore[operator]
        return y.relu_() if self.relu else y

    def _arranged(self, x: Tensor) -> Tensor:
        ops, ones, none = torch.ops.mkldnn, (1, 1), (0, 0)
        if not self.arranged:
            where, size = (self.padding, self.stride, ones, 1), list(x.shape)
            if self.transposed:
                self.weight = ops._reorder_convolution_transpose_weight(
                    self.weight, self.padding, none, *where[1:], size
                )
            else:
                self.weight = ops._reorder_convolution_weight(self.weight, *where, size)
            self.arranged = True
        after = ("relu" if self.relu else "none", [], "")
        if self.transposed:
            found = ops._convolution_transpose_pointwise(
                x, self.weight, self.bias, self.padding, none, self.stride, ones, 1, *after
            )
        else:
            found = ops._convolution_pointwise(x, self.weight, self.bias, self.padding, self.stride, ones, 1, *after)
        made: Tensor = found
        return made


@cache
def arranges() -> bool:
    """Test for oneDNN and for the operators of torch that arrange filters for it."""
    names = ("_convolution_pointwise", "_convolution_transpose_pointwise")
    names += ("_reorder_convolution_weight", "_reorder_convolution_transpose_weight")
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(hasattr(torch.ops.mkldnn, name) for name in names)


class Conv(nn.Module):
    """Convolution with a bias; one of 3x3 and stride 1 is computed by rows where that is faster, see the module."""

    def __init__(
        self,
        weights: Callable[[], Weights],
        *,
        stride: Sequence[int] = (1, 1),
        padding: Sequence[int] = (1, 1),
        relu: bool = False,
        dtype: torch.dtype,
    ) -> None:
        """`weights` gives (K, C, h, w) and (K,) when the first picture shows in which way they are needed."""
        super().__init__()
        self.weights, self.dtype, self.relu = weights, dtype, relu
        self.stride, self.padding = tuple(stride), tuple(padding)
        shape = weights()[0].shape
        usual = shape[2:] == (3, 3) and (self.stride, self.padding) == ((1, 1), (1, 1))
        self.can = usual and dtype == torch.float32 and shape[0] * shape[1] >= WIDE
        self.whole: Kernel | None = None
        self.rows: list[Kernel] = []  # six of 1x3

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype, memory_format=torch.channels_last)
        if self.can and x.shape[2] % 4 == 0 and x.shape[2] >= 8:
            return self.by_rows(x)
        if self.whole is None:
            more = {"stride": self.stride, "padding": self.padding}
            self.whole = Kernel(*self.weights(), **more, relu=self.relu, dtype=self.dtype)  # type: ignore[arg-type]
        return self.whole(x)

    def _by_rows(self) -> list[Kernel]:
        if not self.rows:
            weight, bias = self.weights()
            made = torch.einsum("nr,kcrs->nkcs", FILTERS.to(weight.device), weight)[:, :, :, None]
            self.rows = [  # the bias of the second comes to every row, once
                Kernel(each, bias if i == 1 else None, padding=(0, 1), dtype=self.dtype) for i, each in enumerate(made)
            ]
        return self.rows

    def by_rows(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W) with H a multiple of 4: sums of input rows, six convolutions along rows, sums."""
        count, _, height, width = x.shape
        rows = F.pad(x.permute(0, 2, 3, 1), (0, 0, 0, 0, 1, 1))  # B, H + 2, W, C
        r0, r1, r2, r3, r4, r5 = (rows[:, i : i + height - 3 : 4] for i in range(6))  # B, H / 4, W, C
        v = x.new_empty(6, *r0.shape)
        a, b = torch.sub(r4, r2, alpha=4), torch.sub(r3, r1, alpha=4)
        torch.add(a, b, out=v[1])
        torch.sub(a, b, out=v[2])
        torch.sub(r4, r2, out=a)
        torch.sub(r3, r1, out=b)
        torch.add(a, b, alpha=2, out=v[3])
        torch.sub(a, b, alpha=2, out=v[4])
        torch.add(a, torch.sub(r0, r2, out=v[0]), alpha=4, out=v[0])
        torch.sub(torch.sub(r5, r3, out=v[5]), b, alpha=4, out=v[5])
        kernels = self._by_rows()
        m0, m1, m2, m3, m4, m5 = (kernels[i](v[i].permute(0, 3, 1, 2)).permute(0, 2, 3, 1) for i in range(6))
        out = x.new_empty(count, height // 4, 4, width, m0.shape[3])
        p, q = m1 + m2, m1.sub_(m2)
        s, t = torch.add(m3, m4, out=m2), m3.sub_(m4)
        torch.add(m0.add_(p), s, out=out[:, :, 0])
        torch.add(q, t, alpha=2, out=out[:, :, 1])
        torch.add(p, s, alpha=4, out=out[:, :, 2])
        torch.add(m5.add_(q), t, alpha=8, out=out[:, :, 3])
        made = out.view(count, height, width, -1).permute(0, 3, 1, 2)
        return made.relu_() if self.relu else made


class JointConv(nn.Module):
    """3x3 convolution of a map (B, C, H, W) and a vector (B, E) that stands beside every place of it."""

    def __init__(
        self, weights: Callable[[], Weights], size: int, *, before: bool, relu: bool, dtype: torch.dtype
    ) -> None:
        """`size` is E; with `before` the vector's channels come before the map's."""
        super().__init__()

        def parts() -> tuple[Tensor, Tensor, Tensor]:
            weight, bias = weights()
            rest = weight.shape[1] - size
            first, last = weight.split((size, rest) if before else (rest, size), 1)
            return (last, first, bias) if before else (first, last, bias)

        self.own, self.relu = Conv(lambda: parts()[::2], dtype=dtype), relu
        self.vector = lambda: parts()[1]
        self.nine: dict[tuple[int, int], Tensor] = {}  # by rows and columns, 3 or fewer: (E, rows * columns * K)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        height, width = x.shape[2:]
        size = min(height, 3), min(width, 3)
        if size not in self.nine:  # each place is seen by the taps that lie on the map
            taps = [1.0 * ((torch.arange(n)[:, None] + torch.arange(3)).clamp(0, n + 1) % (n + 1) > 0) for n in size]
            seen = torch.einsum("ir,js,kers->eijk", taps[0].double(), taps[1].double(), self.vector())
            self.nine[size] = seen.flatten(1).float()
        made: Tensor = self.own(x)
        nine = (vector.float() @ self.nine[size]).to(made.dtype).view(len(vector), *size, -1).permute(0, 3, 1, 2)
        rows = _spread(nine, 3, width)
        if height < 3:
            made = made + rows
        else:
            made[:, :, :1] += rows[:, :, :1]
            made[:, :, 1:-1] += rows[:, :, 1:2]
            made[:, :, -1:] += rows[:, :, 2:]
        return made.relu_() if self.relu else made


class Transposed(nn.Module):
    """Transposed convolution with a bias."""

    def __init__(self, weights: Callable[[], Weights], **options: Any) -> None:
        """`weights` gives (C, K, h, w) and (K,); options as of `Kernel`."""
        super().__init__()
        self.kernel, self.dtype = Kernel(*weights(), transposed=True, **options), options["dtype"]

    def forward(self, x: Tensor) -> Tensor:
        return self.kernel(x.to(self.dtype, memory_format=torch.channels_last))


class Dense(nn.Module):
    """Linear layer with a bias, in 32 bits: for a few rows its time is that of reading the weights."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """`weight` (K, C) and `bias` (K,)."""
        super().__init__()
        self.weight, self.bias = weight.float(), bias.float()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.float(), self.weight, self.bias)


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


def phases(weight: Tensor) -> Tensor:
    """Weight (C, K, 4, 4) of the transposed convolution that upsampling by 2 and a 3x3 convolution (K, C, 3, 3) are."""
    matrix = PHASES.to(weight.device)
    found = torch.einsum("pai,qbj,kcij->ckpqab", matrix, matrix, weight)
    made = weight.new_zeros(*found.shape[:2], 4, 4)
    for p in (0, 1):
        for q in (0, 1):  # the place a of phase p is 3 - p - 2 a of the transposed filter
            made[:, :, (3 - p) % 2 :: 2, (3 - q) % 2 :: 2] = found[:, :, p, q].flip(2, 3)
    return made


def _spread(edges: Tensor, axis: int, size: int) -> Tensor:
    """Repeat the middle of three along an axis, so that there are `size`; fewer are left."""
    if size <= 3:
        return edges
    first, middle, last = edges.split(1, axis)
    shape = [-1] * edges.ndim
    shape[axis] = size - 2
    return torch.cat([first, middle.expand(shape), last], axis).contiguous(memory_format=torch.channels_last)


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
    inside = parametrize.type_before_parametrizations(layer)  # type: ignore[no-untyped-call]
    plain: nn.Module = inside.__new__(inside)
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


def _doubling(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Upsample) and layer.mode == "nearest" and layer.scale_factor in (2, (2, 2))


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
