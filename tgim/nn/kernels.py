"""Layers that only make pictures: convolutions by fewer products, their filters arranged for oneDNN once.

Shapes: B batch, C channels, K channels of the output, E width of a vector, H W pixels. Maps have their channels last in
memory. Weights are given in 64 bits. None computes gradients; `tgim.nn.folding` puts them in the place of others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tgim.nn.quick import FILTERS, joined_rows, spread, sums_of_rows

Weights = tuple[Tensor, Tensor]  # of a layer, in 64 bits: weight and bias
WIDE = 64 * 128  # channels of input times output, from which on 3x3 convolutions are computed by rows


class Kernel:
    """One convolution, or transposed convolution, whose filters oneDNN arranges at the first call and not at each.

    Several threads may call it.
    """

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
        self.arranged, self._arranging = False, threading.Lock()

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W), channels last; with `relu` what is negative becomes 0."""
        if arranges():  # elsewhere torch's own functions take the filters as they are
            return self._arranged(x)
        run = F.conv_transpose2d if self.transposed else F.conv2d
        y: Tensor = run(x, self.weight, self.bias, self.stride, self.padding)
        return y.relu_() if self.relu else y

    def _arranged(self, x: Tensor) -> Tensor:
        ops, ones, none = torch.ops.mkldnn, (1, 1), (0, 0)
        with self._arranging:
            if not self.arranged:
                where, size = (self.padding, self.stride, ones, 1), list(x.shape)
                if self.transposed:
                    self.weight = ops._reorder_convolution_transpose_weight(
                        self.weight, self.padding, none, *where[1:], size
                    )
                else:
                    self.weight = ops._reorder_convolution_weight(self.weight, *where, size)
                self.arranged = True
        after: tuple[str, list[float], str] = ("relu" if self.relu else "none", [], "")
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
    names = (
        *("_convolution_pointwise", "_convolution_transpose_pointwise"),
        *("_reorder_convolution_weight", "_reorder_convolution_transpose_weight"),
    )
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
        kernels = self._by_rows()
        made = joined_rows([kernels[i](sums) for i, sums in enumerate(sums_of_rows(x))])
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
            first, last = torch.split(weight, [size, rest] if before else [rest, size], 1)
            return (last, first, bias) if before else (first, last, bias)

        self.own, self.relu = Conv(lambda: parts()[::2], dtype=dtype), relu
        self.vector: Callable[[], Tensor] = lambda: parts()[1]
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
        rows = spread(nine, 3, width)
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
