"""Subject mask at the photograph's edges, from the localiser's coarse mask and the colours around its outline.

The localiser's outline is right to a few cells. Pixels well inside and well outside are taken as known. The band
between is decided as in matting, by the sum of three scores: the localiser's probability; histograms of colours inside
and outside over the whole picture (`tgim.images.matting`); and how much likelier a pixel's colour is under a normal
distribution of the known pixels inside, within a window around it, than under one of those outside (Chuang, Curless,
Salesin and Szeliski, "A Bayesian Approach to Digital Matting", CVPR 2001, with one normal distribution for either
side). A plain background has a narrow distribution, so that its pixels are known by it. The guided filter aligns the
result with the photograph's edges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tgim.images.matting import binned, follow, guided_fit, log_shares, logit, sigmoid
from tgim.images.pieces import widest
from tgim.images.resample import Floats, interpolated, resize
from tgim.system import threads

SIZE = 160  # pixels of the longer side at which the outline is decided
SURE, MAYBE = 0.85, 0.15  # guesses above which a pixel may be inside for sure, and below which it is outside
BAND = 0.04  # of the longer side: how far inside the guess it takes to be sure
TRUST_GUESS, TRUST_COLOUR = 0.6, 0.5  # weights of the evidence of the guess and of colours anywhere
SHARPNESS = 2.0  # times their sum
BIAS = -0.5  # the guess tends to be too wide ...
COLOURLESS, PLAIN = -2.5, 0.03  # ... more without colours to go by: varying less than the second, in [-1, 1] units
SURE_GUESS, BONUS = (0.6, 0.85), 2.0  # ... but counts for more where it is as sure as the second
DEEP, AGAINST = 3, -1.0  # times `BAND`: what lies so deep tells which colours cannot be inside for sure
ROUNDS = 2  # the second is sure of what the first found
NOISE = 0.03, 0.02  # standard deviation of any colour inside and outside, in [-1, 1] units, besides its own variation
MOST = 6.0  # logarithm of a ratio of likelihoods, either way
FEW = 0.02  # share of known pixels of either side in a window, below which their colours say less
SHARE = 2.0  # weight of the share of known pixels that are inside


def refined(photo: Floats, guess: Floats) -> Floats:
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
    image, small = resize(photo, size), interpolated(guess, size)
    band = max(2, round(BAND * max(size)))
    inside, outside = _sure(small, band)
    if not (inside > 0.5).any() or not (outside > 0.5).any():
        return guess
    prior = logit(box_mean(small, 2 * (band // 2) + 1).clip(0.03, 0.97)) + BIAS
    prior = prior + COLOURLESS * max(0.0, 1 - _variety(image) / PLAIN)
    bonus = BONUS * ((small - SURE_GUESS[0]) / (SURE_GUESS[1] - SURE_GUESS[0])).clip(0, 1)
    deep = 1 - widest(1 - _where(small > SURE), DEEP * band)
    typical = _colour_evidence(image, deep + 0.1 * inside + 0.01 * small, outside + 1e-4)
    inside, mask = inside * (typical > AGAINST), small
    for _ in range(ROUNDS):
        colour = _colour_evidence(image, inside + 0.02 * mask, outside + 1e-4).clip(-4, 4)
        nearby = nearby_evidence(image, inside, outside, 4 * band + 1)
        odds = bonus + TRUST_GUESS * prior + TRUST_COLOUR * colour + nearby
        mask = sigmoid(SHARPNESS * odds) * (small > MAYBE / 3)
        inside, outside = inside * (mask > 0.5), np.maximum(outside, _where(mask < 0.1))
    slopes = guided_fit(image, mask, window=5, eps=2e-3)
    return follow(photo, interpolated(slopes, (height, width)))


def _where(x: npt.NDArray[np.bool_]) -> Floats:
    """1 where it is true, else 0."""
    return x.astype(np.float32)


def _sure(guess: Floats, band: int) -> tuple[Floats, Floats]:
    """Weights (H, W) of pixels that are inside and outside for sure; thin parts are inside, less surely."""
    likely = _where(guess > SURE)
    core = 1 - widest(1 - likely, band)
    thin = likely * (1 - widest(core, 2 * band))
    return np.maximum(core, 0.3 * thin), 1 - widest(_where(guess > MAYBE), 1)


def _variety(image: Floats) -> float:
    """Standard deviation of red minus green and of green minus blue over a picture (3, H, W), the larger of both."""
    return float((image[:2] - image[1:]).reshape(2, -1).std(1, ddof=1).max())


def _colour_evidence(image: Floats, inside: Floats, outside: Floats) -> Floats:
    """Logarithm of how much commoner each pixel's colour is inside than outside, (H, W)."""
    colour = binned(image)
    shares = log_shares(colour, np.stack([inside.ravel(), outside.ravel()]))
    return (shares[0] - shares[1])[colour].reshape(inside.shape)


def nearby_evidence(image: Floats, inside: Floats, outside: Floats, window: int) -> Floats:
    """Evidence for the inside from the colours of known pixels in the window around each pixel, (H, W).

    Logarithm of the ratio of two likelihoods, at most `MOST` either way, plus `SHARE` times the share of known pixels
    that are inside, less a half.

    Args:
        image: (3, H, W) in [-1, 1].
        inside: (H, W) in [0, 1], weights of pixels known to be inside.
        outside: the same of pixels outside.
        window: pixels, odd.
    """

    def under(side: tuple[Floats, float]) -> tuple[Floats, Floats]:
        return log_likelihood(image, side[0], window, noise=side[1])

    sides = [(inside + 1e-4 * outside, NOISE[0]), (outside + 1e-4 * inside, NOISE[1])]
    (within, near), (beyond, far) = threads.shared(under, sides)
    told = (np.minimum(near, far) / FEW).clip(0, 1)
    evidence: Floats = ((within - beyond) * told).clip(-MOST, MOST) + SHARE * (near / (near + far) - 0.5)
    return evidence


def log_likelihood(image: Floats, weight: Floats, window: int, *, noise: float) -> tuple[Floats, Floats]:
    """Logarithm of each pixel's density under the normal distribution of the colours around it, less a constant.

    Args:
        image: (3, H, W) in [-1, 1].
        weight: (H, W), at least 0, of the pixels whose colours count.
        window: pixels, odd.
        noise: standard deviation, in [-1, 1] units, that any colour has besides.

    Returns:
        (H, W), and the mean weight in the window, (H, W).
    """
    red, green, blue = image.astype(np.float64)  # variances are small differences
    squares = (red * red, red * green, red * blue, green * green, green * blue, blue * blue)
    sums = box_mean(np.stack([np.ones_like(red), red, green, blue, *squares]) * weight, window)
    known = sums[0].clip(min=1e-6)
    mr, mg, mb, rr, rg, rb, gg, gb, bb = sums[1:] / known
    least = noise * noise
    rr, gg, bb = ((own - mean * mean).clip(min=0) + least for own, mean in ((rr, mr), (gg, mg), (bb, mb)))
    rg, rb, gb = rg - mr * mg, rb - mr * mb, gb - mg * mb
    lg, lb = rg / rr, rb / rr  # covariance = L D L^T
    dg = (gg - lg * rg).clip(min=least)
    rest = gb - lg * rb
    lgb = rest / dg
    db = (bb - lb * rb - lgb * rest).clip(min=least)
    x = red - mr
    y = green - mg - lg * x
    z = blue - mb - lb * x - lgb * y
    density = -(x * x / rr + y * y / dg + z * z / db + np.log(rr * dg * db)) / 2
    return density.astype(np.float32), known.astype(np.float32)


def box_mean(x: Floats, window: int) -> Floats:
    """Mean of (..., H, W) over `window` x `window` pixels, borders repeated; as fast for wide windows as for small."""
    half, kind = window // 2, x.dtype
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(half, half)] * 2, mode="edge")
    down = x.cumsum(-2, dtype=np.float64)
    total = down[..., window - 1 :, :].copy()
    total[..., 1:, :] -= down[..., :-window, :]
    across = total.cumsum(-1)
    total = across[..., window - 1 :].copy()
    total[..., 1:] -= across[..., :-window]
    return (total / window**2).astype(kind)
