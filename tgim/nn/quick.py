"""Convolutions of training on a CPU by fewer products, with gradients; equal up to rounding.

- Nearest upsampling by 2 and a 3x3 convolution are one transposed convolution of 4x4 and stride 2: each of the four
  phases of the result sees 2x2 places, so that 4/9 of the products are left, and no enlarged map is laid out.
- A wide 3x3 convolution computes four rows of its result from six sums of rows of its input, F(4, 3) (Winograd 1980;
  Lavin and Gray, CVPR 2016), half of the products, in the forward pass and for both gradients.

`quicken` lets a model compute so; weights, keys and what a model is stay as they are. For a network that only makes
pictures `tgim.nn.folding` does more. Shapes: B batch, C channels, K channels of the output, H W pixels.
"""

from __future__ import annotations

from itertools import pairwise
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

WIDE = 192 * 192  # channels of input times output, from which on sums of rows cost less than they save
PLACES = 4096  # of the maps of a batch, likewise: filters are summed anew at each step
# What a 3x3 filter becomes, (6, 3); F(4, 3) at the points 0, 1, -1, 2, -2 and infinity
FILTERS = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
).div(24)
TAPS = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float64)  # of 4, sums of those of 3
PHASES = torch.kron(TAPS, TAPS)  # 16, 9


def quicken(model: nn.Module) -> None:
    """Let the convolutions of a model on a CPU be computed by fewer products from now on, where that is faster."""
    for module in model.modules():
        if type(module) is nn.Sequential and any(_doubled(a, b) for a, b in pairwise(module)):
            module.forward = MethodType(_in_turn, module)  # type: ignore[method-assign]
        elif plain(module, 3) and module.in_channels * module.out_channels >= WIDE:  # type: ignore[operator]
            module.forward = MethodType(_wide, module)


def phases(weight: Tensor) -> Tensor:
    """Weight (C, K, 4, 4) of the transposed convolution that upsampling by 2 and a 3x3 convolution (K, C, 3, 3) are."""
    with torch.autocast(weight.device.type, enabled=False):
        made = PHASES.to(weight) @ weight.permute(1, 2, 3, 0).flatten(1, 2)  # C, 16, K
    return made.view(len(made), 4, 4, -1).permute(0, 3, 1, 2)


def plain(layer: nn.Module, side: int) -> bool:
    """Test for a convolution of stride 1 that keeps the size of a map and is no more than its weight and bias."""
    if type(layer) is not nn.Conv2d or layer._forward_pre_hooks or layer._forward_hooks:
        return False
    if (layer.groups, layer.padding_mode, *layer.dilation) != (1, "zeros", 1, 1):
        return False
    return (layer.kernel_size, layer.stride, layer.padding) == ((side, side), (1, 1), (side // 2, side // 2))


def doubling(layer: nn.Module) -> bool:
    """Test for nearest upsampling by 2."""
    return isinstance(layer, nn.Upsample) and layer.mode == "nearest" and layer.scale_factor in (2, (2, 2))


def _doubled(layer: nn.Module, after: nn.Module) -> bool:
    return doubling(layer) and plain(after, 3)


def _in_turn(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Layers one after the other, upsampling and the convolution after it as one."""
    waiting = list(layers)
    while waiting:
        layer = waiting.pop(0)
        if waiting and _doubled(layer, waiting[0]):
            conv: Any = waiting.pop(0)
            x = F.conv_transpose2d(x, phases(conv.weight), conv.bias, stride=2, padding=1)
        else:
            x = layer(x)
    return x


def _wide(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve (B, C, H, W) by rows in 32 bits, where H is a multiple of 4; else as usual."""
    count, _, height, width = x.shape
    if x.dtype != torch.float32 or torch.is_autocast_enabled("cpu") or height % 4 or count * height * width < PLACES:
        return F.conv2d(x, conv.weight, conv.bias, padding=1)
    found: Tensor = _ByRows.apply(x, conv.weight)
    return found if conv.bias is None else found + conv.bias.view(-1, 1, 1)


class _ByRows(torch.autograd.Function):
    """3x3 convolution of (B, C, H, W) and (K, C, 3, 3) as six of 1x3."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return convolved(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        by_x = convolved(gradient, weight.transpose(0, 1).flip(2, 3)) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return by_x, None
        sums, parts = sums_of_rows(x), parts_of_rows(gradient)
        like = weight.new_empty(len(weight), weight.shape[1], 1, 3)
        one, none = (1, 1), (0, 0)
        found = [
            torch.ops.aten.convolution_backward(
                part, each, like, None, one, (0, 1), one, False, none, 1, (False, True, False)
            )[1]
            for part, each in zip(parts, sums, strict=True)
        ]
        return by_x, torch.einsum("nr,nkcs->kcrs", FILTERS.to(weight), torch.stack(found)[..., 0, :])


def convolved(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (B, C, H, W), H a multiple of 4, with (K, C, 3, 3), a row of zeros around: (B, K, H, W)."""
    filters = torch.einsum("nr,kcrs->nkcs", FILTERS.to(weight), weight)[:, :, :, None]
    return joined_rows([F.conv2d(a, b, padding=(0, 1)) for a, b in zip(sums_of_rows(x), filters, strict=True)])


def sums_of_rows(x: Tensor) -> Tensor:
    """Sums of rows (6, B, C, H / 4, W) of a map (B, C, H, W) that the six convolutions take, channels last."""
    height = x.shape[2]
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
    return v.permute(0, 1, 4, 2, 3)


def joined_rows(products: list[Tensor]) -> Tensor:
    """Rows of the result (B, K, H, W), of six products (B, K, H / 4, W), which are overwritten."""
    m0, m1, m2, m3, m4, m5 = (each.permute(0, 2, 3, 1) for each in products)
    count, quarter, width, channels = m0.shape
    out = m0.new_empty(count, quarter, 4, width, channels)
    p, q = m1 + m2, m1.sub_(m2)
    s, t = torch.add(m3, m4, out=m2), m3.sub_(m4)
    torch.add(m0.add_(p), s, out=out[:, :, 0])
    torch.add(q, t, alpha=2, out=out[:, :, 1])
    torch.add(p, s, alpha=4, out=out[:, :, 2])
    torch.add(m5.add_(q), t, alpha=8, out=out[:, :, 3])
    return out.view(count, 4 * quarter, width, channels).permute(0, 3, 1, 2)


def parts_of_rows(gradient: Tensor) -> Tensor:
    """Gradients (6, B, K, H / 4, W) of the products that `joined_rows` takes, from that of the result (B, K, H, W)."""
    rows = gradient.permute(0, 2, 3, 1)
    g0, g1, g2, g3 = (rows[:, i::4] for i in range(4))  # B, H / 4, W, K
    m = gradient.new_empty(6, *g0.shape)
    m[0], m[5] = g0, g3
    even, odd = g0 + g2, g1 + g3
    torch.add(even, odd, out=m[1])
    torch.sub(even, odd, out=m[2])
    even, odd = torch.add(g0, g2, alpha=4), torch.add(g1, g3, alpha=4).mul_(2)
    torch.add(even, odd, out=m[3])
    torch.sub(even, odd, out=m[4])
    return m.permute(0, 1, 4, 2, 3)


def spread(edges: Tensor, axis: int, size: int) -> Tensor:
    """Repeat the middle of three along an axis of (B, C, H, W), so that there are `size`; fewer are left."""
    if size <= 3:
        return edges
    first, middle, last = torch.split(edges, 1, axis)
    shape = [-1] * edges.ndim
    shape[axis] = size - 2
    return torch.cat([first, middle.expand(shape), last], axis).contiguous(memory_format=torch.channels_last)
