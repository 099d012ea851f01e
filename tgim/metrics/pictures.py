"""Pictures against pictures: (N, 3, H, W) in [-1, 1] in, a tensor (N,) out, one value for each picture."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.errors import UserError
from tgim.metrics.checks import check_finite, check_pair

Range = Literal["signed", "unit"]


def mse(x: Tensor, y: Tensor, *, range: Range = "signed") -> Tensor:
    """Mean squared difference over channels and pixels; lower is better, 0 for equal pictures.

    Args:
        x: (N, 3, H, W) in [-1, 1].
        y: of the same shape.
        range: "signed" compares the values in [-1, 1] (0 to 4), "unit" in [0, 1] (0 to 1, a quarter of it). Papers
            differ: say which. The "L2 error" of the text-guided editing papers is not said to be either.

    >>> black, white = torch.full((1, 3, 2, 2), -1.0), torch.ones(1, 3, 2, 2)
    >>> mse(black, white), mse(black, white, range="unit")
    (tensor([4.]), tensor([1.]))
    """
    check_pair(x, y)
    if range not in ("signed", "unit"):
        raise UserError(f"range is {range!r}, expected 'signed' for [-1, 1] or 'unit' for [0, 1]")
    return (x.float() - y.float()).square().mean((1, 2, 3)) / (4 if range == "unit" else 1)


def rmse(x: Tensor, y: Tensor, *, range: Range = "signed") -> Tensor:
    """Root of `mse`, picture by picture (0 to 2, or 0 to 1 for "unit"); lower is better, 0 for equal pictures.

    >>> rmse(torch.full((1, 3, 2, 2), -1.0), torch.ones(1, 3, 2, 2))
    tensor([2.])
    """
    return mse(x, y, range=range).sqrt()


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal to noise in dB, 10 log10(peak^2 / mse), the same in either range; 0 to infinity, higher is better.

    Equal pictures give infinity, and so does the mean over pictures as soon as one is left unchanged.

    >>> psnr(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.2))  # a tenth of the range
    tensor([20.])
    """
    return -10 * mse(x, y, range="unit").log10()


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity, mean over channels and windows; -1 to 1, higher is better, 1 for equal pictures.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: a Gaussian window of
    standard deviation 1.5, 11 pixels wide, K1 = 0.01, K2 = 0.03; windows that leave the picture are not used. Equals
    `skimage.metrics.structural_similarity` with ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``.

    >>> ssim(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    tensor([1.])
    """
    check_pair(x, y, least=11)
    x, y = x.float(), y.float()
    place = torch.arange(-5, 6, dtype=torch.float32, device=x.device)
    weight = (-0.5 * (place / 1.5).square()).exp()
    weight = (weight / weight.sum()).expand(3, 1, 1, 11)

    def smooth(z: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(z, weight, groups=3), weight.mT, groups=3)  # N, 3, H - 10, W - 10

    mean_x, mean_y = smooth(x), smooth(y)
    var_x, var_y = smooth(x * x) - mean_x * mean_x, smooth(y * y) - mean_y * mean_y
    covariance = smooth(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # the values' range is 2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2)
    return (above / below).mean((1, 2, 3))


def preservation(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Root of the mean squared difference in [-1, 1] outside `mask`; 0 to 2, lower is better, 0 is untouched.

    Args:
        x: (N, 3, H, W) in [-1, 1].
        y: of the same shape.
        mask: (N, 1, H, W) in [0, 1] or bool: 1 where the picture may change. Values between weigh the pixels.

    Raises:
        UserError: also for a mask that covers all of a picture, which leaves nothing to preserve.

    >>> before, after = torch.zeros(1, 3, 1, 2), torch.tensor([0.5, 1.0]).expand(1, 3, 1, 2)
    >>> preservation(before, after, torch.tensor([[[[0.0, 1.0]]]]))  # the right pixel may change
    tensor([0.5000])
    """
    check_pair(x, y)
    expected = (x.shape[0], 1, *x.shape[2:])
    if tuple(mask.shape) != expected:
        raise UserError(f"mask has shape {tuple(mask.shape)}, expected {expected}: one channel, as large as x")
    mask = mask.to(x.device, torch.float32)
    check_finite("mask", mask)
    if mask.numel() and (float(mask.min()) < 0 or float(mask.max()) > 1):
        raise UserError(f"mask holds values from {float(mask.min()):g} to {float(mask.max()):g}, expected [0, 1]")
    kept = 1 - mask
    area = kept.sum((1, 2, 3))
    if not bool((area > 0).all()):
        which = int((area <= 0).nonzero()[0])
        raise UserError(f"mask {which} covers its whole picture; there is nothing to preserve, leave the picture out")
    error = (kept * (x.float() - y.float()).square().mean(1, keepdim=True)).sum((1, 2, 3))
    return (error / area).sqrt()


def manipulative_precision(source: Tensor, edited: Tensor, similarity: Tensor) -> Tensor:
    """(1 - mean absolute pixel difference in [0, 1]) x similarity; -1 to 1 for a cosine, higher is better.

    Li et al., "ManiGAN: Text-guided image manipulation", CVPR 2020, sec. 4: one figure for preserving and for obeying.
    It is comparable only between figures of one matching model.

    Args:
        source: (N, 3, H, W) in [-1, 1].
        edited: of the same shape.
        similarity: (N,) of edited picture and target caption by a matching model, usually a cosine.

    >>> source, edited = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    >>> manipulative_precision(source, edited, torch.tensor([0.8]))  # a quarter of the range away
    tensor([0.6000])
    """
    check_pair(source, edited)
    if tuple(similarity.shape) != (len(source),):
        raise UserError(f"similarity has shape {tuple(similarity.shape)}, expected ({len(source)},): one a picture")
    check_finite("similarity", similarity)
    difference = (source.float() - edited.float()).abs().mean((1, 2, 3)) / 2
    return (1 - difference) * similarity.float().to(difference.device)
