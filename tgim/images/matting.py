"""Subject mask at a photograph's edges from a coarse guess, in the manner of GrabCut and the guided filter.

A model of 64 px knows roughly where a bird is; the photograph knows where the bird ends. The guess is weighed against
the colours of this very photograph (colours that are common inside the guess and rare outside it belong to the subject:
the colour term of GrabCut, with histograms for its mixtures), then aligned with its edges by the guided filter (He, Sun
and Tang, TPAMI 2013; He and Sun, "Fast Guided Filter", 2015). The filter is written out here for one mask and three
colours: a library's solves the equations of each pixel one by one, and filters more than is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.images.resample import resize

WORKING_SIZE = 256  # pixels, longer side, at which colours are weighed
LEVELS = 16  # of each colour channel of a histogram
TRUST = 0.6  # power of the colour evidence; 1 would take each pixel's colour for independent evidence
CERTAIN_OUT, CERTAIN_IN = 0.10, 0.40  # probabilities that become 0 and 1; the guess tends to miss parts
ROUNDS = 2  # of weighing colours by the mask, and the mask by colours


@torch.no_grad()
def subject_mask(photo: Tensor, probability: Tensor) -> Tensor:
    """A mask of the subject for the whole photograph.

    Args:
        photo: (1, 3, H, W) in [-1, 1].
        probability: (1, 1, S, S) in [0, 1], a coarse guess over the same field of view.

    Returns:
        (1, 1, H, W) in [0, 1]; exactly 0 where the subject is unlikely.
    """
    height, width = photo.shape[-2:]
    shrink = min(1.0, WORKING_SIZE / max(height, width))
    size = max(1, round(height * shrink)), max(1, round(width * shrink))
    small = resize(photo, size)
    guess = F.interpolate(probability, size, mode="bilinear", align_corners=False)
    likely = weigh_colours(small, guess)
    mask = ((likely - CERTAIN_OUT) / (CERTAIN_IN - CERTAIN_OUT)).clamp(0, 1)
    window = 2 * (max(size) // 64) + 1
    if window > 1 and min(size) > window:
        slopes = guided_fit(small, mask, window=window, eps=3e-3)
        mask = follow(small, slopes)
    if shrink == 1:
        return cut(mask)
    coarser = max(1, min(height // size[0], width // size[1]))
    if coarser == 1 or min(size) < 8:
        return cut(F.interpolate(mask, (height, width), mode="bilinear", align_corners=False))
    rows, columns = (every(length, coarser).to(photo.device) for length in (height, width))
    known = enlarged(enlarged(mask, 2, rows, height), 3, columns, width)
    slopes = guided_fit(photo[:, :, rows][..., columns], known, window=5, eps=1e-3)
    return cut(follow(photo, F.interpolate(slopes, (height, width), mode="bilinear", align_corners=False)))


def weigh_colours(image: Tensor, probability: Tensor, *, trust: float = TRUST) -> Tensor:
    """Probability of the subject given its prior at each pixel and the pixel's colour.

    Args:
        image: (1, 3, H, W) in [-1, 1].
        probability: (1, 1, H, W) in [0, 1].
        trust: power of the colour evidence; 1 would take each pixel's colour for independent evidence.

    Returns:
        (1, 1, H, W) in (0, 1): prior odds times (share of the colour inside / share of the colour outside) ^ `trust`.
    """
    red, green, blue = ((image[0] + 1) / 2 * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long().flatten(1)
    colour = (red * LEVELS + green) * LEVELS + blue  # HW
    prior = torch.logit(probability.flatten().clamp(0.02, 0.98))
    inside = probability.flatten()
    for _ in range(ROUNDS):
        shares = log_shares(colour, torch.stack([inside, 1 - inside]))
        inside = torch.sigmoid(prior + trust * (shares[0] - shares[1])[colour])
    return inside.view_as(probability)


def log_shares(colour: Tensor, weights: Tensor) -> Tensor:
    """Logarithms of the smoothed shares of each colour: colours (N,) with K weights (K, N) -> (K, LEVELS^3)."""
    kinds = len(weights)
    counts = weights.new_zeros(kinds, LEVELS**3).scatter_add_(1, colour.expand(kinds, -1), weights)
    distance = torch.arange(LEVELS, device=weights.device)
    bell = weights.new_tensor([6.0, 4.0, 1.0, 0.0])[(distance - distance[:, None]).abs().clamp(max=3)] / 16
    counts = bell @ counts.view(kinds, LEVELS, LEVELS**2)  # along red
    counts = bell @ counts.view(kinds, LEVELS, LEVELS, LEVELS) @ bell  # along green and blue
    counts = counts.flatten(1)
    return (counts / counts.sum(1, keepdim=True).clamp(min=1e-9) + 1e-5).log()


def moments(guide: Tensor, mask: Tensor) -> Tensor:
    """Colours, mask and their products, (1, 13, H, W), whose means over a window `slopes_of` takes.

    Args:
        guide: (1, 3, H, W) in [-1, 1].
        mask: (1, 1, H, W).
    """
    r, g, b = guide.chunk(3, 1)
    return torch.cat([guide, mask, r * guide, g * g, g * b, b * b, mask * guide], 1)


def slopes_of(means: Tensor, *, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes over red, green and blue, (1, 1, H, W) each, of the least-squares fit of a mask as a function of colour.

    He, Sun and Tang, TPAMI 2013, for a guide of three colours; all pixels at once, by Cholesky's decomposition without
    roots (L D L^T).

    Args:
        means: (1, 13, H, W), means of the `moments` around each pixel.
        eps: added to the variance of each colour; larger is smoother.
    """
    mr, mg, mb, m, rr, rg, rb, gg, gb, bb, pr, pg, pb = means.chunk(13, 1)
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


def guided_fit(guide: Tensor, mask: Tensor, *, window: int, eps: float) -> Tensor:
    """The guided filter's coefficients: in each window the mask is fitted as slope times colour plus offset.

    Args:
        guide: (1, 3, H, W) in [-1, 1].
        mask: (1, 1, H, W) in [0, 1].
        window: pixels, odd, less than 2 H and 2 W; borders are reflected.
        eps: added to the variance of each colour; larger is smoother.

    Returns:
        (1, 4, H, W): slopes of red, green and blue, and the offset, each the mean of the windows that hold the pixel.
    """
    means = window_mean(moments(guide, mask), window)
    red, green, blue = slopes_of(means, eps=eps)
    mr, mg, mb, m = means[:, :4].chunk(4, 1)
    return window_mean(torch.cat([red, green, blue, m - red * mr - green * mg - blue * mb], 1), window)


def window_mean(x: Tensor, window: int) -> Tensor:
    """Mean of (B, C, H, W) over `window` x `window` pixels, borders reflected; the same shape."""
    x = F.pad(x, (window // 2,) * 4, mode="reflect")
    for dim in (2, 3):
        count = x.shape[dim] - window + 1
        total = x.narrow(dim, 0, count).clone()
        for first in range(1, window):
            total += x.narrow(dim, first, count)
        x = total
    return x / window**2


def follow(guide: Tensor, slopes: Tensor) -> Tensor:
    """Slopes times colours plus offset, in [0, 1]: (1, 3, H, W) and (1, 4, H, W) -> (1, 1, H, W)."""
    mask = slopes[:, 3:].clone()
    for i in range(3):
        mask.addcmul_(slopes[:, i : i + 1], guide[:, i : i + 1])
    return mask.clamp_(0, 1)


def every(length: int, step: int) -> Tensor:
    """List the pixels of an axis that a copy `step` times smaller keeps; bilinear enlarging puts them back in place.

    >>> every(9, 3), every(8, 3)
    (tensor([0, 3, 6]), tensor([1, 5]))
    """
    count = length // step
    places = (2 * torch.arange(count) + 1) * length + count * (1 - step)
    return places.div(2 * count, rounding_mode="floor").clamp(0, length - 1)


def enlarged(x: Tensor, dim: int, places: Tensor, length: int) -> Tensor:
    """Enlarge axis `dim` bilinearly to `length` pixels, and compute it at `places` alone."""
    last = x.shape[dim] - 1
    where = ((places.to(x.dtype) + 0.5) * (last + 1) / length - 0.5).clamp(min=0)
    first = where.floor().long()
    shape = [1] * x.ndim
    shape[dim] = len(places)
    after = (first + 1).clamp(max=last)
    return torch.lerp(x.index_select(dim, first), x.index_select(dim, after), (where - first).view(shape))


def cut(mask: Tensor) -> Tensor:
    """The mask with all below 1/50 set to 0, so that what is next to nothing leaves pixels bit-identical."""
    return torch.where(mask < 0.02, 0.0, mask)
