"""Subject mask at a photograph's edges from a coarse guess, in the manner of GrabCut and the guided filter.

A model of 64 px knows roughly where a bird is; the photograph knows where the bird ends. The guess is weighed against
the colours of this very photograph (colours that are common inside the guess and rare outside it belong to the subject:
the colour term of GrabCut, with histograms for its mixtures), then aligned with its edges by the guided filter (He, Sun
and Tang, TPAMI 2013; He and Sun, "Fast Guided Filter", 2015). The filter is written out here for one mask and three
colours: a library's solves the equations of each pixel one by one, and filters more than is needed. Soft boxes are
masks that people name.

Pictures are arrays of float32, channels first, in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from tgim.errors import ImageError
from tgim.images.boxes import parse_box
from tgim.images.resample import Floats, interpolated, resize, sampled

WORKING_SIZE = 256  # pixels, longer side, at which colours are weighed
LEVELS = 16  # of each colour channel of a histogram
TRUST = 0.6  # power of the colour evidence; 1 would take each pixel's colour for independent evidence
CERTAIN_OUT, CERTAIN_IN = 0.10, 0.40  # probabilities that become 0 and 1; the guess tends to miss parts
ROUNDS = 2  # of weighing colours by the mask, and the mask by colours
FEATHER = 0.15  # of the shorter side of a box: how far its edit fades in
BELL = np.array([6.0, 4.0, 1.0, 0.0], np.float32) / 16  # weights of levels of a histogram by their distance


def subject_mask(photo: Floats, probability: Floats) -> Floats:
    """A mask of the subject for the whole photograph.

    Args:
        photo: (3, H, W) in [-1, 1].
        probability: (S, S) in [0, 1], a coarse guess over the same field of view.

    Returns:
        (H, W) in [0, 1]; exactly 0 where the subject is unlikely.
    """
    height, width = photo.shape[-2:]
    shrink = min(1.0, WORKING_SIZE / max(height, width))
    size = max(1, round(height * shrink)), max(1, round(width * shrink))
    small = resize(photo, size)
    likely = weigh_colours(small, enlarged(probability, size))
    mask = ((likely - CERTAIN_OUT) / (CERTAIN_IN - CERTAIN_OUT)).clip(0, 1)
    window = 2 * (max(size) // 64) + 1
    if window > 1 and min(size) > window:
        mask = follow(small, guided_fit(small, mask, window=window, eps=3e-3))
    if shrink == 1:
        return cut(mask)
    coarser = max(1, min(height // size[0], width // size[1]))
    if coarser == 1 or min(size) < 8:
        return cut(interpolated(mask, (height, width)))
    rows, columns = every(height, coarser), every(width, coarser)
    known = sampled(mask, (rows + 0.5) * size[0] / height - 0.5, (columns + 0.5) * size[1] / width - 0.5)
    slopes = guided_fit(photo[:, rows][:, :, columns], known, window=5, eps=1e-3)
    return cut(follow(photo, interpolated(slopes, (height, width))))


def enlarged(x: Floats, size: tuple[int, int]) -> Floats:
    """Read maps (..., h, w) at the centres of a grid of `size`, bilinearly, without averaging where it is coarser."""
    rows, columns = ((np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(size, x.shape[-2:], strict=True))
    return sampled(x, rows, columns)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)); far from 0 it saturates without a warning."""
    result: Floats = 1 / (1 + np.exp(-np.clip(x, -80, 80)))
    return result


def logit(p: Floats) -> Floats:
    """Logarithm of the odds of probabilities."""
    result: Floats = np.log(p / (1 - p))
    return result


def weigh_colours(image: Floats, probability: Floats, *, trust: float = TRUST) -> Floats:
    """Probability of the subject given its prior at each pixel and the pixel's colour.

    Args:
        image: (3, H, W) in [-1, 1].
        probability: (H, W) in [0, 1].
        trust: power of the colour evidence; 1 would take each pixel's colour for independent evidence.

    Returns:
        (H, W) in (0, 1): prior odds times (share of the colour inside / share of the colour outside) ^ `trust`.
    """
    colour = binned(image)
    inside = probability.ravel()
    prior = logit(inside.clip(0.02, 0.98))
    for _ in range(ROUNDS):
        shares = log_shares(colour, np.stack([inside, 1 - inside]))
        inside = sigmoid(prior + trust * (shares[0] - shares[1])[colour])
    return inside.reshape(probability.shape)


def binned(image: Floats) -> npt.NDArray[np.int64]:
    """Number (H * W,) of each pixel's colour among `LEVELS` ** 3; image (3, H, W) in [-1, 1]."""
    levels = np.rint((image + 1) / 2 * (LEVELS - 1)).clip(0, LEVELS - 1).astype(np.int64).reshape(3, -1)
    return (levels[0] * LEVELS + levels[1]) * LEVELS + levels[2]


def log_shares(colour: npt.NDArray[np.int64], weights: Floats) -> Floats:
    """Logarithms of the smoothed shares of each colour: colours (N,) with K weights (K, N) -> (K, LEVELS^3)."""
    counts = np.stack([np.bincount(colour, each, LEVELS**3) for each in weights]).astype(np.float32)
    distance = np.arange(LEVELS)
    bell = BELL[np.abs(distance - distance[:, None]).clip(max=3)]
    counts = bell @ counts.reshape(-1, LEVELS, LEVELS**2)  # along red
    counts = bell @ counts.reshape(-1, LEVELS, LEVELS, LEVELS) @ bell  # along green and blue
    counts = counts.reshape(len(weights), -1)
    shares: Floats = np.log(counts / counts.sum(1, keepdims=True).clip(min=1e-9) + np.float32(1e-5))
    return shares


def moments(guide: Floats, mask: Floats) -> Floats:
    """Colours, mask and their products, (13, H, W), whose means over a window `slopes_of` takes.

    Args:
        guide: (3, H, W) in [-1, 1].
        mask: (H, W).
    """
    r, g, b = guide
    return np.stack([r, g, b, mask, r * r, r * g, r * b, g * g, g * b, b * b, mask * r, mask * g, mask * b])


def slopes_of(means: Iterable[Floats], *, eps: float) -> tuple[Floats, Floats, Floats]:
    """Slopes over red, green and blue, (H, W) each, of the least-squares fit of a mask as a function of colour.

    He, Sun and Tang, TPAMI 2013, for a guide of three colours; all pixels at once, by Cholesky's decomposition without
    roots (L D L^T).

    Args:
        means: 13 times (..., H, W), means of the `moments` around each pixel.
        eps: added to the variance of each colour; larger is smoother.
    """
    mr, mg, mb, m, rr, rg, rb, gg, gb, bb, pr, pg, pb = means
    rr, rg, rb = rr - mr * mr + eps, rg - mr * mg, rb - mr * mb
    gg, gb, bb = gg - mg * mg + eps, gb - mg * mb, bb - mb * mb + eps
    pr, pg, pb = pr - m * mr, pg - m * mg, pb - m * mb
    lg, lb = rg / rr, rb / rr
    dg = gg - lg * rg
    rest = gb - lg * rb
    lgb = rest / dg
    db = bb - lb * rb - lgb * rest
    pg = pg - lg * pr
    blue = (pb - lb * pr - lgb * pg) / db
    green = pg / dg - lgb * blue
    red = pr / rr - lg * green - lb * blue
    return red, green, blue


def guided_fit(guide: Floats, mask: Floats, *, window: int, eps: float) -> Floats:
    """The guided filter's coefficients: in each window the mask is fitted as slope times colour plus offset.

    Args:
        guide: (3, H, W) in [-1, 1].
        mask: (H, W) in [0, 1].
        window: pixels, odd, less than 2 H and 2 W; borders are reflected.
        eps: added to the variance of each colour; larger is smoother.

    Returns:
        (4, H, W): slopes of red, green and blue, and the offset, each the mean of the windows that hold the pixel.
    """
    means = window_mean(moments(guide, mask), window)
    red, green, blue = slopes_of(means, eps=eps)
    mr, mg, mb, m = means[:4]
    return window_mean(np.stack([red, green, blue, m - red * mr - green * mg - blue * mb]), window)


def window_mean(x: Floats, window: int) -> Floats:
    """Mean of (..., H, W) over `window` x `window` pixels, borders reflected; the same shape."""
    half = window // 2
    if not half:
        return x
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(half, half)] * 2, mode="reflect")
    for axis in (-2, -1):
        count = x.shape[axis] - window + 1
        total = _slice(x, axis, 0, count).copy()
        for first in range(1, window):
            total += _slice(x, axis, first, count)
        x = total
    x /= window**2
    return x


def _slice(x: Floats, axis: int, first: int, count: int) -> Floats:
    return x[..., first : first + count, :] if axis == -2 else x[..., first : first + count]


def follow(guide: Floats, slopes: Floats) -> Floats:
    """Slopes times colours plus offset, in [0, 1]: (3, H, W) and (4, H, W) -> (H, W)."""
    mask = slopes[3].copy()
    for slope, colour in zip(slopes[:3], guide, strict=True):
        mask += slope * colour
    return np.clip(mask, 0, 1, out=mask)


def every(length: int, step: int) -> npt.NDArray[np.int64]:
    """List the pixels of an axis that a copy `step` times smaller keeps; bilinear enlarging puts them back in place.

    >>> every(9, 3), every(8, 3)
    (array([0, 3, 6]), array([1, 5]))
    """
    count = length // step
    places = (2 * np.arange(count) + 1) * length + count * (1 - step)
    return (places // (2 * count)).clip(0, length - 1)


def cut(mask: Floats) -> Floats:
    """The mask with all below 1/50 set to 0, so that what is next to nothing leaves pixels bit-identical."""
    return np.where(mask < 0.02, np.float32(0), mask)


def soft_box(h: int, w: int, box: str | Sequence[int], *, feather: float) -> Floats:
    """Weight (h, w) in [0, 1] of a box: exactly 0 outside, 1 inside, raised cosine over `feather` pixels between.

    The ramp lies inside the box and is at most half as wide as the box. Sides that lie on the picture's border have no
    ramp: there is nothing to blend with.

    Raises:
        ImageError: the box is malformed or leaves the picture (see `parse_box`).

    >>> soft_box(1, 6, (1, 0, 4, 1), feather=0)
    array([[0., 1., 1., 1., 1., 0.]], dtype=float32)
    """
    x, y, box_w, box_h = parse_box(box, height=h, width=w)
    if not feather >= 0:
        raise ImageError(f"feather is {feather}, expected a width in pixels of 0 or more")
    return _ramp(h, y, box_h, feather)[:, None] * _ramp(w, x, box_w, feather)


def _ramp(size: int, start: int, length: int, feather: float) -> Floats:
    """Weights (size,) of `soft_box` along one axis."""
    weight, inside = np.zeros(size, np.float32), np.ones(length, np.float32)
    width = min(feather, length / 2)
    if width > 0:
        rise = 0.5 - 0.5 * np.cos(np.pi * ((np.arange(length) + 0.5) / width).clip(max=1))  # pixel centres
        if start > 0:
            inside *= rise
        if start + length < size:
            inside *= rise[::-1]
    weight[start : start + length] = inside.clip(0, 1)
    return weight
