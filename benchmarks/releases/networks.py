"""The networks of the authors' releases as plain torch modules, written as they are there, to be timed.

Layer for layer after the releases (names and shapes: their checkpoints), from torch's own layers, activations in place
as there; nothing of `tgim` is used, so that a slow block of ours would show. Side of a picture S, width W, text E.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PADDING = {1: 0, 3: 1, 4: 1}  # by kernel


class Gate(nn.Module):
    """The releases' gated linear unit."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        return x[:, :half] * torch.sigmoid(x[:, half:])


def leaky() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)


def rectifier() -> nn.Module:
    return nn.ReLU(inplace=True)


def convolution(a: int, b: int, kernel: int = 3, *, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(a, b, kernel, stride, PADDING[kernel], bias=bias)


def block(a: int, b: int, *last: nn.Module, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, normalisation and activation."""
    return nn.Sequential(convolution(a, b, kernel, stride=stride), nn.BatchNorm2d(b), *last)


def halved(a: int, b: int, *last: nn.Module) -> nn.Sequential:
    return block(a, b, *last, kernel=4, stride=2)


def doubled(a: int, b: int, *, gated: bool = False) -> nn.Sequential:
    last, wide = (Gate(), 2 * b) if gated else (rectifier(), b)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), *block(a, wide, last))


def grown(a: int, b: int, *last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), *last)


def image(a: int, *, bias: bool = False) -> nn.Sequential:
    return nn.Sequential(convolution(a, 3, bias=bias), nn.Tanh())


def tiled(x: Tensor, vector: Tensor) -> Tensor:
    """A map and a vector repeated over its places."""
    return torch.cat([x, vector[:, :, None, None].repeat(1, 1, *x.shape[2:])], 1)


class Augment(nn.Module):
    """Conditioning augmentation by one layer: sample, mean, log variance."""

    def __init__(self, text: int, size: int, *, gated: bool) -> None:
        super().__init__()
        self.fc, self.act = nn.Linear(text, (4 if gated else 2) * size), Gate() if gated else nn.ReLU()

    def forward(self, sentence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_var = self.act(self.fc(sentence)).chunk(2, 1)
        return mean + torch.randn_like(mean) * log_var.mul(0.5).exp_(), mean, log_var


class TwoHeads(nn.Module):
    """The same by a layer each for mean and log deviation, as SISGAN and TAGAN have it."""

    def __init__(self, text: int, size: int, *, bias: bool) -> None:
        super().__init__()
        self.mean, self.log = (nn.Sequential(nn.Linear(text, size, bias=bias), leaky()) for _ in range(2))

    def forward(self, sentence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log = self.mean(sentence), self.log(sentence)
        return mean + torch.randn_like(mean) * log.exp(), mean, 2 * log


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip."""

    def __init__(self, n: int, *, gated: bool = False, rectified: bool = False) -> None:
        super().__init__()
        first = block(n, 2 * n, Gate()) if gated else block(n, n, rectifier())
        self.body, self.rectified = nn.Sequential(first, block(n, n)), rectified

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.body(x)
        return F.relu(x) if self.rectified else x


class Start(nn.Module):
    """A vector to a 4x4 map, doubled until it has `side` places a side."""

    def __init__(self, inputs: int, last: int, side: int, *, gated: bool) -> None:
        super().__init__()
        widths = [last * 2**i for i in range(side.bit_length() - 3, -1, -1)]
        size = 16 * widths[0] * (2 if gated else 1)
        act = Gate() if gated else rectifier()
        self.fc = nn.Sequential(nn.Linear(inputs, size, bias=False), nn.BatchNorm1d(size), act)
        self.up = nn.Sequential(*(doubled(a, b, gated=gated) for a, b in pairwise(widths)))

    def forward(self, vector: Tensor) -> Tensor:
        return self.up(self.fc(vector).view(len(vector), -1, 4, 4))


class Stage1(nn.Module):
    """StackGAN's first generator."""

    def __init__(self, *, side: int, width: int, text: int, condition: int, noise: int) -> None:
        super().__init__()
        self.augment = Augment(text, condition, gated=False)
        self.body = nn.Sequential(Start(condition + noise, width // 2, side, gated=False), image(width // 2))

    def forward(self, sentence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sample, mean, log_var = self.augment(sentence)
        return self.body(torch.cat([noise, sample], 1)), mean, log_var


class Stage2(nn.Module):
    """StackGAN's second generator, over a frozen first one."""

    def __init__(self, first: Stage1, *, doublings: int, width: int, text: int, condition: int, blocks: int) -> None:
        super().__init__()
        w, deep = width, 4 * width
        self.first, self.augment = first.requires_grad_(False), Augment(text, condition, gated=False)
        down = [halved(a, 2 * a, rectifier()) for a in (w, 2 * w)]
        self.encoder = nn.Sequential(convolution(3, w), rectifier(), *down)
        self.join = block(deep + condition, deep, rectifier())
        widths = [deep // 2**i for i in range(doublings + 1)]
        self.decoder = nn.Sequential(
            *(Residual(deep, rectified=True) for _ in range(blocks)),
            *(doubled(a, b) for a, b in pairwise(widths)),
            image(widths[-1]),
        )

    def forward(self, sentence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.encoder(self.first(sentence, noise)[0].detach())
        sample, mean, log_var = self.augment(sentence)
        return self.decoder(self.join(tiled(seen, sample))), mean, log_var


class Discriminator(nn.Module):
    """Features of pictures, and the heads with and without a condition: StackGAN, StackGAN-v2, AttnGAN."""

    def __init__(self, *, side: int, width: int, condition: int, alone: bool) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(side.bit_length() - 3)]
        narrowing = [w for w in widths[::-1] if w >= 8 * width] or widths[-1:]
        deep = narrowing[-1]
        self.features = nn.Sequential(
            convolution(3, width, 4, stride=2),
            leaky(),
            *(halved(a, b, leaky()) for a, b in pairwise(widths)),
            *(block(a, b, leaky()) for a, b in pairwise(narrowing)),
        )
        self.joint = nn.Sequential(block(deep + condition, deep, leaky()), nn.Conv2d(deep, 1, 4, 4), nn.Sigmoid())
        self.single = nn.Sequential(nn.Conv2d(deep, 1, 4, 4), nn.Sigmoid()) if alone else None

    def match(self, seen: Tensor, condition: Tensor) -> Tensor:
        return self.joint(tiled(seen, condition)).view(-1)

    def alone(self, seen: Tensor) -> Tensor:
        return self.single(seen).view(-1)


class Attention(nn.Module):
    """AttnGAN's attention of a map (B, C, H, W) to words (B, E, T); `padding` (B, T) is True where there is no word.

    The release's repeats the mask in another order where captions differ in length; the work is the same.
    """

    def __init__(self, channels: int, text: int) -> None:
        super().__init__()
        self.project = convolution(text, channels, 1)

    def forward(self, x: Tensor, words: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        b, _, h, w = x.shape
        target = x.view(b, -1, h * w).transpose(1, 2).contiguous()
        source = self.project(words.unsqueeze(3)).squeeze(3)
        scores = torch.bmm(target, source).view(b * h * w, -1)
        scores.data.masked_fill_(padding.repeat_interleave(h * w, 0), -float("inf"))
        weights = torch.softmax(scores, 1).view(b, h * w, -1).transpose(1, 2).contiguous()
        return torch.bmm(source, weights).view(b, -1, h, w), weights.view(b, -1, h, w)


class Tree(nn.Module):
    """The generators of StackGAN-v2 (the condition joins each branch) and of AttnGAN (words do, by attention)."""

    def __init__(
        self,
        *,
        side: int,
        scales: int,
        width: int,
        text: int,
        condition: int,
        noise: int,
        blocks: int,
        attends: bool,
    ) -> None:
        super().__init__()
        self.augment = Augment(text, condition, gated=True)
        self.first = Start(condition + noise, width, side, gated=True)
        widths = [width if attends else width // 2**i for i in range(scales)]
        more = widths[:-1]
        inner = 2 * width if attends else 0  # AttnGAN's branches keep context and map side by side
        self.attend = nn.ModuleList(Attention(width, text) for _ in more if attends)
        self.join = nn.ModuleList(block(w + condition, 2 * w, Gate()) for w in more if not attends)
        self.refine = nn.ModuleList(
            nn.Sequential(
                *(Residual(inner or w, gated=True) for _ in range(blocks)),
                doubled(inner or w, width if attends else w // 2, gated=True),
            )
            for w in more
        )
        self.paint = nn.ModuleList(image(w) for w in widths)

    def forward(
        self, sentence: Tensor, noise: Tensor, words: Tensor | None = None, padding: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        sample, mean, log_var = self.augment(sentence)
        x = self.first(torch.cat([sample, noise], 1))
        images = [self.paint[0](x)]
        for i, refine in enumerate(self.refine):
            if self.attend:
                x = refine(torch.cat([x, self.attend[i](x, words, padding)[0]], 1))
            else:
                x = refine(self.join[i](tiled(x, sample)))
            images.append(self.paint[i + 1](x))
        return images, mean, log_var
