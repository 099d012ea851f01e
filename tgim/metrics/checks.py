"""Input checks of the metrics: one line says what came, what was expected, what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tgim.errors import UserError

Floats = npt.NDArray[np.float64]
Numbers = Tensor | npt.NDArray[Any]  # what comes in as scores, labels or features


def check_pictures(name: str, x: Tensor, *, least: int = 1) -> None:
    """Refuse what is not (N, 3, H, W) floats in [-1, 1] with sides of at least `least` pixels.

    >>> check_pictures("x", torch.zeros(2, 3, 8, 8))
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise UserError(f"{name} is {kind}, expected a float tensor in [-1, 1]; see tgim.images.photo.from_uint8")
    if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < least:
        raise UserError(
            f"{name} has shape {tuple(x.shape)}, expected (N, 3, H, W) with sides of at least {least} pixels"
        )
    check_finite(name, x)
    if x.numel() and float(x.abs().max()) > 1.001:
        low, high = float(x.min()), float(x.max())
        raise UserError(f"{name} holds values from {low:g} to {high:g}, expected [-1, 1]; scale or clamp it first")


def check_pair(x: Tensor, y: Tensor, *, least: int = 1) -> None:
    """Refuse pictures that cannot be compared one by one."""
    check_pictures("x", x, least=least)
    check_pictures("y", y, least=least)
    if x.shape != y.shape:
        raise UserError(f"x is {tuple(x.shape)} and y is {tuple(y.shape)}, expected equal shapes; resize one of them")


def check_finite(name: str, x: Tensor) -> None:
    """Refuse NaN and infinity."""
    if not bool(torch.isfinite(x).all()):
        raise UserError(f"{name} holds NaN or infinity, expected finite numbers; mend what made it")


def array(name: str, x: Numbers, *, shape: str) -> npt.NDArray[Any]:
    """`x` as a finite numpy array with as many dimensions as `shape`, which is "(N, K)" or the like, names.

    >>> array("scores", torch.ones(1, 2), shape="(N, K)")
    array([[1., 1.]], dtype=float32)
    """
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        found = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    else:
        found = np.asarray(x)
    if found.dtype.kind not in "fiub":
        raise UserError(f"{name} is an array of {found.dtype}, expected numbers of shape {shape}")
    if found.ndim != shape.count(",") + (",)" not in shape):
        raise UserError(f"{name} has shape {found.shape}, expected {shape}")
    if not np.isfinite(found).all():
        raise UserError(f"{name} holds NaN or infinity, expected finite numbers; mend what made it")
    return found
