"""True pairs on real photographs: a picture, its caption with one attribute altered, and the picture painted so.

No data set shows the same bird in two colours. A painter makes such pairs from captioned photographs: an editor can be
trained on them as on synthetic pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tgim.data.alterations import Alterations
from tgim.models.base import Request
from tgim.models.editing.painting.captions import parse_caption
from tgim.models.editing.painting.painter import Painter
from tgim.text.vocabulary import Vocabulary

LEAST = 0.02  # root mean square of a change, in [-1, 1], over the picture: less is no pair


@dataclass(frozen=True, eq=False)
class PaintedPair:
    """A photograph and the same photograph painted by an altered caption."""

    photo: Tensor  # (3, H, W) in [-1, 1]
    caption: str  # its own
    target: Tensor  # (3, H, W) in [-1, 1], the photograph painted
    target_caption: str
    change: Tensor  # (H, W) bool, where the two differ


@torch.no_grad()
def painted_pairs(
    painter: Painter, pictures: Iterable[tuple[Tensor, str]], vocabulary: Vocabulary, *, seed: int = 0
) -> Iterator[PaintedPair]:
    """Yield pairs of captioned photographs; those that cannot be painted are left out.

    Args:
        painter: paints the altered attribute alone.
        pictures: photographs (3, H, W) in [-1, 1], each with its own caption.
        vocabulary: whose colours are put into captions.
        seed: of what is altered.
    """
    alter = Alterations(vocabulary)
    source = np.random.default_rng(seed)
    for photo, caption in pictures:
        ids = np.array([vocabulary.ids(caption)])
        altered = [vocabulary.words[i - 2] for i in alter(ids, source)[0] if i > 1]
        phrase = changed_part(painter, caption, " ".join(altered))
        if not phrase:
            continue
        request = Request((phrase,), painter.vocabulary.encode([phrase]), skip=True)
        target = painter.edit_photo(photo[None], request)[0]
        if float((target - photo).square().mean().sqrt()) < LEAST:
            continue
        yield PaintedPair(photo, caption, target, " ".join(altered), (target != photo).any(0))


def changed_part(painter: Painter, caption: str, altered: str) -> str:
    """Phrase of the targets of an altered caption that the own one lacks; empty when nothing can be painted."""
    before = {target.parts: target for target in parse_caption(caption, painter.localiser.parts).targets}
    after = parse_caption(altered, painter.localiser.parts).targets
    new = [
        target for target in after if target.parts not in before or before[target.parts].colours[0] != target.colours[0]
    ]
    return " and ".join(f"{str(target.colours[0]).replace('-', 'ish ')} {target.word}" for target in new)
