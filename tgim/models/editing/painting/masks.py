"""Masks from part maps: 1 inside a part, exactly 0 where it is unlikely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tgim.images.pieces import labelled
from tgim.images.resample import Floats

OUTLINE = (0.2, 0.6)  # probabilities of the subject that become 0 and 1
SHARE = (0.43, 0.57)  # shares of a part among its subject's parts that become 0 and 1
NAMED = 2.4  # how much likelier a part that a caption names is taken to be than the maps say ...
BLOSSOM = 1.0  # ... a petal or a centre, neither of which may take from the other ...
CENTRE = 4.0  # ... how much likelier a centre is taken to be than the maps say, whatever is named ...
WHOLE = 6.0  # ... and plumage where it names the whole: beaks and legs must be sure
SINGLE = 0.35  # of the largest piece of a mask: smaller pieces are left out where a part is one
CENTER = "center"
CUT = 0.02  # below, a mask is 0


def outline_mask(subject: Floats) -> Floats:
    """Threshold probabilities (H, W) of the subject softly, by `OUTLINE`: a mask in [0, 1]."""
    return _ramp(subject, *OUTLINE)


def part_mask(
    maps: Floats, subject: Floats, rows: Sequence[int], *, rivals: Sequence[int] = (), boost: float = NAMED
) -> Floats:
    """Mask (H, W) in [0, 1] of the parts `rows` of maps (P, H, W), the first of which is the background.

    Args:
        maps: probabilities of each pixel.
        subject: (H, W) in [0, 1].
        rows: of the parts that the caption names.
        rivals: of parts that it names in another colour, which are no less likely.
        boost: how much likelier they are than the maps say.
    """
    named = boost * maps[list(rows)].sum(0)
    others = maps[1:].sum(0) - maps[list(rows)].sum(0)
    if rivals:
        others = others + (boost - 1) * maps[list(rivals)].sum(0)
    mask = _ramp(named / (named + others).clip(min=1e-6), *SHARE) * subject
    return np.where(mask < CUT, np.float32(0), mask)


def with_centres(maps: Floats, parts: Sequence[str]) -> Floats:
    """Part maps (P, H, W) in which the centres of blossoms, small and soon taken for petals, are likelier."""
    if CENTER not in parts:
        return maps
    maps = maps.copy()
    maps[parts.index(CENTER)] *= CENTRE
    return maps


def _ramp(x: Floats, low: float, high: float) -> Floats:
    """Smooth step: 0 below `low`, 1 above `high`, cubic between."""
    x = ((x - low) / (high - low)).clip(0, 1)
    return x * x * (3 - 2 * x)


def main_pieces(mask: Floats) -> Floats:
    """Mask (H, W) without connected pieces of less than `SINGLE` times the largest."""
    pieces = labelled(mask > 0, corners=False)
    sizes = np.bincount(pieces.ravel(), mask.ravel())
    sizes[0] = 0
    return np.where((sizes >= SINGLE * sizes.max())[pieces], mask, np.float32(0))
