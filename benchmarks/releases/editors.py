"""The networks of TAGAN, SISGAN and GAN-INT-CLS, as the releases have them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from releases.networks import (
    Residual,
    TwoHeads,
    block,
    convolution,
    doubled,
    grown,
    halved,
    image,
    leaky,
    rectifier,
    tiled,
)


class Reader(nn.Module):
    """TAGAN's text encoder: two GRU cells stepped through the words, (T, B, 300) to (T, B, E) and the masked mean."""

    def __init__(self, word: int, text: int) -> None:
        super().__init__()
        self.onward, self.inward, self.size = nn.GRUCell(word, text), nn.GRUCell(word, text), text

    def forward(self, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count, onward, inward, mask = len(vectors), [], [], []
        f = b = vectors.new_zeros(vectors.shape[1], self.size)
        for i in range(count):
            spoken = (count - 1 - i < lengths).float()[:, None]
            mask.append(spoken)
            f = self.onward(vectors[i], f)
            b = spoken * self.inward(vectors[-i - 1], b)
            onward.append(f)
            inward.append(b)
        mask = torch.stack(mask[::-1])
        words = (torch.stack(onward) + torch.stack(inward[::-1])) / 2 * mask
        return words, words.sum(0) / mask.sum(0), mask[..., 0]


class TaganG(nn.Module):
    """TAGAN's generator."""

    def __init__(self, *, width: int, word: int, text: int, condition: int, blocks: int) -> None:
        super().__init__()
        w = [width * m for m in (1, 2, 4, 8)]
        self.read, self.augment = Reader(word, text), TwoHeads(text, condition, bias=True)
        down = [halved(a, b, rectifier()) for a, b in pairwise(w)]
        self.encoder = nn.Sequential(convolution(3, w[0], bias=True), rectifier(), *down)
        join = block(w[3] + condition, w[3], rectifier())
        self.residual = nn.Sequential(join, *(Residual(w[3]) for _ in range(blocks)))
        self.decoder = nn.Sequential(*(doubled(a, b) for a, b in pairwise(w[::-1])), image(w[0], bias=True))

    def forward(self, picture: Tensor, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sample, mean, log_var = self.augment(self.read(vectors, lengths)[1])
        seen = self.encoder(picture)
        return self.decoder(seen + self.residual(tiled(seen, sample))), mean, log_var


class TaganD(nn.Module):
    """TAGAN's text-adaptive discriminator."""

    def __init__(self, *, side: int, width: int, word: int, text: int) -> None:
        super().__init__()
        w = [width * m for m in (1, 2, 4, 8, 8)]
        self.read = Reader(word, text)
        down = [halved(a, b, leaky()) for a, b in pairwise(w)]
        first = nn.Sequential(convolution(3, w[0], 4, stride=2, bias=True), leaky(), *down[:2])
        self.encoder = nn.ModuleList([first, *down[2:]])
        self.pool = nn.ModuleList(nn.Sequential(block(n, n, leaky()), nn.AdaptiveAvgPool2d(1)) for n in w[2:])
        self.filter = nn.ModuleList(nn.Linear(text, n + 1) for n in w[2:])
        self.weigh = nn.Sequential(nn.Linear(text, 3), nn.Softmax(-1))
        self.classify = nn.Conv2d(w[4], 1, min(4, side // 32))

    def forward(self, picture: Tensor, vectors: Tensor, lengths: Tensor, *, negative: bool = False) -> list[Tensor]:
        """Logits alone, probabilities with the captions, and (`negative`) with the neighbours'."""
        scales, x = [], picture
        for encode, pool in zip(self.encoder, self.pool, strict=True):
            x = encode(x)
            scales.append(pool(x)[..., 0])  # B, C, 1
        words, mean, mask = self.read(vectors, lengths)
        alpha = (words * mean).sum(-1).exp() * mask
        alpha = (alpha / alpha.sum(0)).T  # B, T
        beta, rolls = self.weigh(words), [0, 1] if negative else [0]
        sums: list[Tensor | float] = [0.0 for _ in rolls]
        for i, (seen, make) in enumerate(zip(scales, self.filter, strict=True)):
            made = make(words).permute(1, 0, 2)  # B, T, C + 1
            for k in rolls:
                roll, share = made.roll(k, 0), beta[..., i].T.roll(k, 0)
                answer = torch.bmm(roll[..., :-1], seen)[..., 0] + roll[..., -1]
                sums[k] = sums[k] + torch.sigmoid(answer) * share
        found = [(sums[k] + 1e-7).log().mul(alpha.roll(k, 0)).sum(1).exp() for k in rolls]
        return [self.classify(x).view(len(x)), *found]


class SisganG(nn.Module):
    """SISGAN's generator."""

    def __init__(self, *, width: int, text: int, condition: int, blocks: int) -> None:
        super().__init__()
        w = [width * m for m in (2, 4, 8)]
        self.augment = TwoHeads(text, condition, bias=False)
        down = [halved(a, b, rectifier()) for a, b in pairwise(w)]
        self.encoder = nn.Sequential(convolution(3, w[0], bias=True), rectifier(), *down)
        residual = [Residual(w[2], rectified=True) for _ in range(blocks)]
        self.residual = nn.Sequential(block(w[2] + condition, w[2]), *residual)
        self.decoder = nn.Sequential(*(doubled(a, b) for a, b in pairwise(w[::-1])), image(w[0], bias=True))

    def forward(self, picture: Tensor, sentence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sample, mean, log_var = self.augment(sentence)
        return self.decoder(self.residual(tiled(self.encoder(picture), sample))), mean, log_var


class Bottleneck(nn.Module):
    """Three convolutions through a quarter of the channels around a skip, activated after the sum."""

    def __init__(self, n: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        k, self.last = n // 4, activation()
        first = block(n, k, activation(), kernel=1)
        self.body = nn.Sequential(first, block(k, k, activation()), block(k, n))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.body(x))


class PairDiscriminator(nn.Module):
    """The discriminators of SISGAN (`bias`) and GAN-INT-CLS: logits (B,) of pictures of 64 px with sentences."""

    def __init__(self, *, width: int, text: int, condition: int, bias: bool) -> None:
        super().__init__()
        w = [width * m for m in (1, 2, 4, 8)]
        down = [halved(a, b, leaky()) for a, b in pairwise(w[:-1])]
        self.features = nn.Sequential(convolution(3, w[0], 4, stride=2, bias=bias), leaky(), *down, halved(w[2], w[3]))
        self.residual = Bottleneck(w[3], leaky)
        self.compress = nn.Sequential(nn.Linear(text, condition), leaky())
        self.classify = nn.Sequential(
            block(w[3] + condition, w[3], leaky(), kernel=1), nn.Conv2d(w[3], 1, 4, bias=bias)
        )

    def forward(self, picture: Tensor, sentence: Tensor) -> Tensor:
        return self.classify(tiled(self.residual(self.features(picture)), self.compress(sentence))).view(-1)


class GanIntClsG(nn.Module):
    """GAN-INT-CLS's generator for 64 px."""

    def __init__(self, *, width: int, text: int, condition: int, noise: int) -> None:
        super().__init__()
        w = [width * m for m in (8, 4, 2, 1)]
        self.compress = nn.Sequential(nn.Linear(text, condition), leaky())
        self.body = nn.Sequential(
            nn.ConvTranspose2d(noise + condition, w[0], 4, bias=False),
            nn.BatchNorm2d(w[0]),
            Bottleneck(w[0], rectifier),
            grown(w[0], w[1]),
            Bottleneck(w[1], rectifier),
            *(grown(a, b, rectifier()) for a, b in pairwise(w[1:])),
            nn.ConvTranspose2d(w[3], 3, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, sentence: Tensor, noise: Tensor) -> Tensor:
        return self.body(torch.cat([noise, self.compress(sentence)], 1)[:, :, None, None])
