"""Subject mask at the photograph's edges, from the localiser's coarse mask and the colours around its outline.

The localiser's outline is right to a few cells. Pixels well inside and well outside are taken as known. The band
between is decided as in matting, by the sum of three scores: the localiser's probability; histograms of colours inside
and outside over the whole picture (`tgim.images.matting`); and a linear fit of the label on colour in a window of known
pixels (the local colour lines of Levin, Lischinski and Weiss, "A Closed-Form Solution to Natural Image Matting",
TPAMI 2008). The guided filter aligns the result with the photograph's edges.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.images.matting import LEVELS, follow, guided_fit, log_shares, moments, slopes_of
from tgim.images.resample import resize

SIZE = 160  # pixels of the longer side at which the outline is decided
SURE, MAYBE = 0.85, 0.15  # guesses above which a pixel may be inside for sure, and below which it is outside
BAND = 0.04  # of the longer side: how far inside the guess it takes to be sure
TRUST_GUESS, TRUST_COLOUR, TRUST_NEARBY = 0.6, 0.5, 4.0  # weights of the three kinds of evidence
SHARPNESS = 2.0  # times their sum
BIAS = -0.5  # the guess tends to be too wide ...
COLOURLESS, PLAIN = -2.5, 0.03  # ... more without colours to go by: varying less than the second, in [-1, 1] units
SURE_GUESS, BONUS = (0.6, 0.85), 2.0  # ... but counts for more where it is as sure as the second
DEEP, AGAINST = 3, -1.0  # times `BAND`: what lies so deep tells which colours cannot be inside for sure
ROUNDS = 2  # the second is sure of what the first found
RIDGE = 1e-2  # of the local fit, in squared [-1, 1] units


def refined(photo: Tensor, guess: Tensor) -> Tensor:
    """Refine a coarse subject mask to the photograph's edges; returns (H, W) in [0, 1].

    Args:
        photo: (3, H, W) in [-1, 1]: the subject and some of what is around it.
        guess: (H, W) probability of the subject.
    """
    height, width = guess.shape
    scale = min(1.0, SIZE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    if min(size) < 12:
        return guess
    image = resize(photo[None], size)
    small = F.interpolate(guess[None, None], size, mode="bilinear", antialias=True, align_corners=False)
    band = max(2, round(BAND * max(size)))
    inside, outside = _sure(small, band)
    if not (inside > 0.5).any() or not (outside > 0.5).any():
        return guess
    prior = torch.logit(box_mean(small, 2 * (band // 2) + 1).clamp(0.03, 0.97)) + BIAS
    prior = prior + COLOURLESS * (1 - _variety(image) / PLAIN).clamp(min=0)
    bonus = BONUS * ((small - SURE_GUESS[0]) / (SURE_GUESS[1] - SURE_GUESS[0])).clamp(0, 1)
    deep = 1 - _widest(1 - (small > SURE).float(), DEEP * band)
    typical = _colour_evidence(image, deep + 0.1 * inside + 0.01 * small, outside + 1e-4)
    inside, mask = inside * (typical > AGAINST), small
    for _ in range(ROUNDS):
        colour = _colour_evidence(image, inside + 0.02 * mask, outside + 1e-4).clamp(-4, 4)
        label = inside / (inside + outside).clamp(min=1e-3)
        nearby = local_fit(image, label, inside + outside + 1e-3, 4 * band + 1)
        logit = bonus + TRUST_GUESS * prior + TRUST_COLOUR * colour + TRUST_NEARBY * (nearby - 0.5).clamp(-1, 1)
        mask = torch.sigmoid(SHARPNESS * logit) * (small > MAYBE / 3)
        inside, outside = inside * (mask > 0.5), torch.maximum(outside, (mask < 0.1).float())
    slopes = guided_fit(image, mask, window=5, eps=2e-3)
    return follow(photo[None], F.interpolate(slopes, (height, width), mode="bilinear", align_corners=False))[0, 0]


def _sure(guess: Tensor, band: int) -> tuple[Tensor, Tensor]:
    """Weights (1, 1, H, W) of pixels that are inside and outside for sure; thin parts are inside, less surely."""
    likely = (guess > SURE).float()
    core = 1 - _widest(1 - likely, band)
    thin = likely * (1 - _widest(core, 2 * band))
    return torch.maximum(core, 0.3 * thin), 1 - _widest((guess > MAYBE).float(), 1)


def _variety(image: Tensor) -> Tensor:
    """Standard deviation of red minus green and of green minus blue over a picture (1, 3, H, W), the larger of both."""
    return (image[0, :2] - image[0, 1:]).flatten(1).std(1).amax()


def _widest(x: Tensor, radius: int) -> Tensor:
    """Dilate: the greatest value within `radius` pixels (a square)."""
    x = F.max_pool2d(x, (2 * radius + 1, 1), 1, (radius, 0))
    return F.max_pool2d(x, (1, 2 * radius + 1), 1, (0, radius))


def _colour_evidence(image: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Logarithm of how much commoner each pixel's colour is inside than outside, (1, 1, H, W)."""
    red, green, blue = ((image[0] + 1) / 2 * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long().flatten(1)
    colour = (red * LEVELS + green) * LEVELS + blue
    shares = log_shares(colour, torch.stack([inside.flatten(), outside.flatten()]))
    return (shares[0] - shares[1])[colour].view(inside.shape)


def local_fit(image: Tensor, label: Tensor, weight: Tensor, window: int) -> Tensor:
    """Predict each pixel's label by a weighted linear fit of `label` on colour in the window around it.

    Args:
        image: (1, 3, H, W) in [-1, 1].
        label: (1, 1, H, W).
        weight: (1, 1, H, W), positive.
        window: pixels, odd.

    Returns:
        (1, 1, H, W), about the range of the labels.
    """
    sums = box_mean(torch.cat([weight, weight * moments(image, label)], 1), window)
    means = sums[:, 1:] / sums[:, :1].clamp(min=1e-6)
    red, green, blue = slopes_of(means, eps=RIDGE)
    r, g, b = image.chunk(3, 1)
    mr, mg, mb, m = means[:, :4].chunk(4, 1)
    return m + red * (r - mr) + green * (g - mg) + blue * (b - mb)


def box_mean(x: Tensor, window: int) -> Tensor:
    """Mean of (B, C, H, W) over `window` x `window` pixels, borders repeated; as fast for wide windows as for small."""
    x = F.pad(x, (window // 2,) * 4, mode="replicate")
    for dim in (2, 3):
        total = F.pad(x.cumsum(dim, dtype=torch.float64), (1, 0) if dim == 3 else (0, 0, 1, 0))
        count = total.shape[dim] - window
        x = (total.narrow(dim, window, count) - total.narrow(dim, 0, count)).to(x.dtype)
    return x / window**2
