"""Subject mask at the photograph's edges, from the localiser's coarse mask and the colours around its outline.

The localiser's outline is right to a few cells. Pixels well inside and well outside are taken as known. The band
between is decided as in matting, by the sum of three scores: the localiser's probability; histograms of colours inside
and outside over the whole picture (`tgim.images.matting`); and a linear fit of the label on colour in a window of known
pixels (the local colour lines of Levin, Lischinski and Weiss, "A Closed-Form Solution to Natural Image Matting",
TPAMI 2008). The guided filter aligns the result with the photograph's edges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tgim.images.matting import binned, follow, guided_fit, log_shares, logit, moments, sigmoid, slopes_of
from tgim.images.pieces import widest
from tgim.images.resample import Floats, interpolated, resize

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
        label = inside / (inside + outside).clip(min=1e-3)
        nearby = local_fit(image, label, inside + outside + 1e-3, 4 * band + 1)
        odds = bonus + TRUST_GUESS * prior + TRUST_COLOUR * colour + TRUST_NEARBY * (nearby - 0.5).clip(-1, 1)
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


def local_fit(image: Floats, label: Floats, weight: Floats, window: int) -> Floats:
    """Predict each pixel's label by a weighted linear fit of `label` on colour in the window around it.

    Args:
        image: (3, H, W) in [-1, 1].
        label: (H, W).
        weight: (H, W), positive.
        window: pixels, odd.

    Returns:
        (H, W), about the range of the labels.
    """
    sums = box_mean(np.concatenate([weight[None], weight * moments(image, label)]), window)
    means = sums[1:] / sums[:1].clip(min=1e-6)
    red, green, blue = slopes_of(means, eps=RIDGE)
    r, g, b = image
    mr, mg, mb, m = means[:4]
    return m + red * (r - mr) + green * (g - mg) + blue * (b - mb)


def box_mean(x: Floats, window: int) -> Floats:
    """Mean of (..., H, W) over `window` x `window` pixels, borders repeated; as fast for wide windows as for small."""
    half = window // 2
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(half, half)] * 2, mode="edge")
    for axis in (-2, -1):
        first = np.zeros_like(x.take([0], axis), np.float64)
        total = np.concatenate([first, x.cumsum(axis, dtype=np.float64)], axis)
        ends, starts = np.arange(window, total.shape[axis]), np.arange(total.shape[axis] - window)
        x = total.take(ends, axis) - total.take(starts, axis)
    return (x / window**2).astype(np.float32)
