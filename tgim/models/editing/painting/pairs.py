"""True pairs on real photographs: a picture, its caption with one attribute altered, and the picture painted so.

No data set shows the same bird in two colours. A painter makes such pairs from captioned photographs: an editor can be
trained on them as it is on drawn pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tgim.data.alterations import Alterations
from tgim.models.base import Request
from tgim.models.editing.painting.painter import Painter
from tgim.models.editing.painting.reading import read
from tgim.text.vocabulary import Vocabulary

LEAST = 0.02  # root mean square of a change, in [-1, 1], over the picture: less is no pair


@dataclass(frozen=True, eq=False)
class PaintedPair:
    """A photograph and what an altered caption makes of it."""

    photo: Tensor  # (3, H, W) in [-1, 1]
    caption: str  # its own
    target: Tensor  # (3, H, W) in [-1, 1], the photograph painted
    target_caption: str
    change: Tensor  # (H, W) bool, where the two differ


@torch.no_grad()
def painted_pairs(
    painter: Painter, pictures: Iterable[tuple[Tensor, str]], vocabulary: Vocabulary, *, seed: int = 0
) -> Iterator[PaintedPair]:
    """Pairs of captioned photographs; those that cannot be painted are passed over.

    Args:
        painter: paints; it paints the altered attribute alone.
        pictures: photographs (3, H, W) in [-1, 1], each with its own caption.
        vocabulary: whose colours are put into captions.
        seed: of what is altered.
    """
    alter = Alterations(vocabulary)
    source = np.random.default_rng(seed)
    for photo, caption in pictures:
        ids = np.array([vocabulary.ids(caption)])
        altered = [vocabulary.words[i - 2] for i in alter(ids, source)[0] if i > 1]
        wish = changed_part(painter, caption, " ".join(altered))
        if not wish:
            continue
        request = Request((wish,), painter.vocabulary.encode([wish]), skip=True)
        target = painter.edit_photo(photo[None], request)[0]
        if float((target - photo).square().mean().sqrt()) < LEAST:
            continue
        yield PaintedPair(photo, caption, target, " ".join(altered), (target != photo).any(0))


def changed_part(painter: Painter, caption: str, altered: str) -> str:
    """What an altered caption asks for that the own one does not, as a phrase; empty when nothing can be painted."""
    before = {wish.parts: wish for wish in read(caption, painter.localiser.parts).wishes}
    after = read(altered, painter.localiser.parts).wishes
    new = [wish for wish in after if wish.parts not in before or before[wish.parts].colours[0] != wish.colours[0]]
    return " and ".join(f"{str(wish.colours[0]).replace('-', 'ish ')} {wish.word}" for wish in new)
