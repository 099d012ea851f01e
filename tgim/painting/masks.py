"""From part maps to masks that a brush can follow: firm inside, exactly 0 where the part is unlikely."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

OUTLINE = (0.2, 0.6)  # probabilities of the subject that become 0 and 1
SHARE = (0.38, 0.62)  # shares of a part among its subject's parts that become 0 and 1
NAMED = 1.8  # how much likelier a part that a caption names is taken to be than the maps say
CUT = 0.02  # below, a mask is 0


def firm(subject: Tensor) -> Tensor:
    """Probabilities (H, W) of the subject as its mask in [0, 1]."""
    return _ramp(subject, *OUTLINE)


def part_mask(maps: Tensor, subject: Tensor, rows: Sequence[int], *, rivals: Sequence[int] = ()) -> Tensor:
    """The mask (H, W) in [0, 1] of the parts `rows` of maps (P, H, W), the first of which is the background.

    Args:
        maps: probabilities of each pixel.
        subject: (H, W) in [0, 1].
        rows: of the parts that the caption names.
        rivals: of parts that it names in another colour, which are no less likely.
    """
    named = NAMED * maps[list(rows)].sum(0)
    others = maps[1:].sum(0) - maps[list(rows)].sum(0)
    if rivals:
        others = others + (NAMED - 1) * maps[list(rivals)].sum(0)
    mask = _ramp(named / (named + others).clamp(min=1e-6), *SHARE) * subject
    return torch.where(mask < CUT, 0.0, mask)


def _ramp(x: Tensor, low: float, high: float) -> Tensor:
    """0 below `low`, 1 above `high`, smooth between."""
    x = ((x - low) / (high - low)).clamp(0, 1)
    return x * x * (3 - 2 * x)
