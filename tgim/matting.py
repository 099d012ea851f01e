"""From a coarse guess at where the subject is to a mask that ends where the photograph has its edges.

A model of 64 px knows roughly where a bird is; the photograph knows where the bird ends. The guess is weighed against
the colours of this very photograph (colours that are common inside the guess and rare outside it belong to the subject:
the colour term of GrabCut, with histograms for its mixtures), then drawn to its edges by the guided filter.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.carry import resize

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
    from kornia.filters import guided_blur  # here: kornia costs start-up time that most commands need not pay

    height, width = photo.shape[-2:]
    shrink = min(1.0, WORKING_SIZE / max(height, width))
    size = max(1, round(height * shrink)), max(1, round(width * shrink))
    small = resize(photo, size)
    guess = F.interpolate(probability, size, mode="bilinear", align_corners=False)
    likely = weigh_colours(small, guess)
    firm = ((likely - CERTAIN_OUT) / (CERTAIN_IN - CERTAIN_OUT)).clamp(0, 1)
    window = 2 * (max(size) // 64) + 1
    if window > 1 and min(size) > window:
        firm = guided_blur(small, firm, kernel_size=window, eps=3e-3).clamp(0, 1)
    if shrink == 1:
        return cut(firm)
    coarser = max(1, min(height // size[0], width // size[1]))
    plain = F.interpolate(firm, (height, width), mode="bilinear", align_corners=False)
    if coarser == 1 or min(size) < 8:
        return cut(plain)
    return cut(guided_blur(photo, plain, kernel_size=4 * coarser + 1, eps=1e-3, subsample=coarser).clamp(0, 1))


def weigh_colours(image: Tensor, probability: Tensor) -> Tensor:
    """Probability of the subject given its prior at each pixel and the pixel's colour.

    Args:
        image: (1, 3, H, W) in [-1, 1].
        probability: (1, 1, H, W) in [0, 1].

    Returns:
        (1, 1, H, W) in (0, 1): prior odds times (share of the colour inside / share of the colour outside) ^ `TRUST`.
    """
    red, green, blue = ((image[0] + 1) / 2 * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long().flatten(1)
    colour = (red * LEVELS + green) * LEVELS + blue  # HW
    prior = torch.logit(probability.flatten().clamp(0.02, 0.98))
    inside = probability.flatten()
    for _ in range(ROUNDS):
        evidence = log_share(colour, inside) - log_share(colour, 1 - inside)
        inside = torch.sigmoid(prior + TRUST * evidence[colour])
    return inside.view_as(probability)


def log_share(colour: Tensor, weight: Tensor) -> Tensor:
    """Logarithm of the smoothed share of each colour: colours (N,) with weights (N,) -> (LEVELS^3,)."""
    counts = weight.new_zeros(LEVELS**3).scatter_add_(0, colour, weight).view(1, 1, LEVELS, LEVELS, LEVELS)
    bell = weight.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    for axis in range(3):
        shape, padding = [1, 1, 1, 1, 1], [0, 0, 0]
        shape[2 + axis], padding[axis] = 5, 2
        counts = F.conv3d(counts, bell.view(shape), padding=padding)
    return (counts.flatten() / counts.sum().clamp(min=1e-9) + 1e-5).log()


def cut(mask: Tensor) -> Tensor:
    """The mask with all below 1/50 set to 0, so that what is next to nothing leaves pixels bit-identical."""
    return torch.where(mask < 0.02, 0.0, mask)
