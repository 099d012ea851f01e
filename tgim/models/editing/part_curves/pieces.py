"""Pieces of `part_curves` in torch: the backbone's maps, word vectors to begin with, known words, weighted means."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tgim.images.photo import as_array
from tgim.images.resample import Floats
from tgim.models.matching.dual_encoder import TextEncoder
from tgim.models.parsing.localiser import PartLocaliser
from tgim.nn.parallel import ratio
from tgim.text.vocabulary import UNKNOWN, Tokens


@torch.no_grad()
def seen(localiser: PartLocaliser, picture: Floats) -> tuple[list[Floats], Floats]:
    """Look at a picture (3, S, S): the backbone's maps (C, h, w), and the probabilities (P, s, s) of parts."""
    device = next(localiser.parameters()).device
    maps = localiser.backbone(torch.from_numpy(np.ascontiguousarray(picture))[None].to(device))
    return [as_array(each[0]) for each in maps], as_array(localiser.probabilities(maps)[0])


def begin_with(own: TextEncoder, other: TextEncoder) -> None:
    """Copy the weights of another text encoder that fit, and of its word vectors as many as it has."""
    weights = own.state_dict()
    for name, value in other.state_dict().items():
        if weights[name].shape == value.shape:
            weights[name].copy_(value)
        elif name == "embed.weight" and weights[name].shape[1] == value.shape[1]:
            weights[name][: len(value)].copy_(value)


def known(text: Tokens, words: int) -> Tokens:
    """Captions with ids of `words` or more replaced by the unknown word's."""
    return Tokens(torch.where(text.ids < words, text.ids, UNKNOWN), text.mask)


def in_view(hidden: Tensor) -> Tensor:
    """1 (B, P) for parts that are in view, 0 for the others and for the whole subject, which comes first."""
    seen = (~hidden).float()
    seen[:, 0] = 0
    return seen


def weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Mean of `x` by weights of its shape; 0 where all are 0."""
    return ratio((x * weight).sum(), weight.sum(), least=1e-6)
