"""Networks of models as they are exported: one picture or one caption at a time, of fixed shapes, tensors in and out.

Captions are ids (1, T), padded with 0 to a length T that no caption exceeds. Operators that other runtimes lack are
written otherwise here: packed recurrent networks, and grids of three dimensions, whose slicing is no part of a graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tgim.inference.onnx_engine import MAPS
from tgim.models.base import Localising, Model
from tgim.models.editing.part_curves.editor import PartCurves
from tgim.models.editing.part_curves.head import feature_count
from tgim.models.editing.tagrid import TAGrid
from tgim.models.editing.tagrid_head import FITS, FeaturePyramid
from tgim.models.matching.dual_encoder import TextEncoder
from tgim.models.matching.frozen_interaction import FrozenInteraction
from tgim.models.matching.interaction import ImageFeatures, Interacting, Interaction
from tgim.models.matching.late_interaction import Member
from tgim.models.parsing.localiser import PartLocaliser
from tgim.nn.encoders import reverse_order, take_words
from tgim.text.vocabulary import PADDING, TextCode, Tokens

PART_LOOK = {"maps": "probability of each part, their sum 1", "present": "probability that a subject shows"}
BETWEEN = "for the other network"
GRID_LOOK = {
    "subject": "probability that a pixel is of the subject",
    **dict.fromkeys(("half", "quarter", "whole", "regions"), BETWEEN),
}
GRID_PLAN = {"grid": "what is added to a colour: coefficients by row of the 3x4 matrix, brightness, place down, across"}
CURVES = {"gate": "logits that parts change", "curves": "tones of each part: nine numbers in Lab units"}

SEEN = {"whole": "embedding of each member, unit length", "regions": "of each member, width and place"}
READ = {
    "sentence": "embedding of each member, unit length",
    "words": "of each member, word and width",
    "weights": "of each member and word, their sum 1",
}


class Traced(NamedTuple):
    """A network to be exported."""

    network: nn.Module
    inputs: dict[str, Tensor]  # by name: examples of the shapes that it takes
    outputs: dict[str, str]  # by name: meaning and shape


def traced(model: Model, *, length: int) -> tuple[dict[str, Any], dict[str, Traced]] | None:
    """The networks of a model; None where it cannot be exported.

    Args:
        model: of any kind.
        length: T, tokens of a caption.

    Returns:
        What a runtime has to know beside them (JSON values), and the networks by what they are for.
    """
    picture = {"pictures": torch.zeros(1, 3, model.image_size, model.image_size)}
    facts: dict[str, Any] = {"kind": model.name, "image_size": model.image_size}
    if isinstance(model, TAGrid):
        look = Traced(GridLook(model), picture, GRID_LOOK)
        seen = dict(zip(GRID_LOOK, look.network(picture["pictures"]), strict=True))
        asked = {**seen, "ids": torch.ones(1, length, dtype=torch.long), "strength": torch.ones(1)}
        del asked["subject"]
        return facts | {"length": length}, {"look": look, "plan": Traced(GridPlan(model), asked, GRID_PLAN)}
    if isinstance(model, PartCurves):
        sight, texts = model.localiser, torch.ones(1, length, dtype=torch.long)
        facts |= {"parts": list(sight.parts), "together": sight.together, "length": length}
        features = torch.zeros(1, len(sight.parts), feature_count(sight.config.backbone))
        told = {"features": features, "hidden": torch.zeros(1, len(sight.parts), dtype=torch.bool), "ids": texts}
        return facts, {
            "look": Traced(PartLook(model, sight, maps=True), picture, PART_LOOK | dict.fromkeys(MAPS, BETWEEN)),
            "answer": Traced(CurveAnswer(model), told, CURVES),
        }
    if isinstance(model, Interacting):
        facts |= {"members": len(model.members), "length": length}
        ids = {"ids": torch.ones(1, length, dtype=torch.long)}
        return facts, {
            "picture": Traced(SeenPicture(model), picture, SEEN),
            "caption": Traced(ReadCaption(model), ids, READ),
        }
    if isinstance(model, Localising):
        facts |= {"parts": list(model.parts), "together": model.together}
        return facts, {"look": Traced(PartLook(model, model), picture, PART_LOOK)}
    return None


class PartLook(nn.Module):
    """A localiser's `look`.

    Args:
        model: whose weights are named.
        localiser: the model itself, or one inside it.
        maps: give the backbone's maps of strides 4 to 32, too, of a `PartLocaliser`.
    """

    def __init__(self, model: Model, localiser: Localising, *, maps: bool = False) -> None:
        super().__init__()
        self.model, self.localiser, self.maps = model, localiser, maps

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """`look` at pictures."""
        if self.maps and isinstance(self.localiser, PartLocaliser):
            seen = self.localiser.backbone(pictures)
            return *self.localiser.look_by(seen), *seen
        return self.localiser.look(pictures)


class CurveAnswer(nn.Module):
    """Head of `PartCurves`: described parts and a caption in, gates and curves out."""

    def __init__(self, model: PartCurves) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Gates (P,) and curves (P, 9) for features (1, P, F), (1, P) parts not in view, and a caption."""
        head = self.model.head
        gate, curves = head(head.enter_parts(features), hidden, read_caption(head.text, ids))
        return gate[0], curves[0]


class GridLook(nn.Module):
    """Networks of `TAGrid` that look at a picture, caption aside: the subject, and features for `GridPlan`."""

    def __init__(self, model: TAGrid) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Probability (1, S, S) of the subject; features of half and a quarter of the size, the whole, and regions."""
        features, code = self.model.encoded(pictures)
        subject = torch.sigmoid(self.model.generator.subject(features))[:, 0]
        return subject, features.half, features.quarter, features.whole, code.regions


class GridPlan(nn.Module):
    """The grid of `TAGrid` for a caption."""

    def __init__(self, model: TAGrid) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, half: Tensor, quarter: Tensor, whole: Tensor, regions: Tensor, ids: Tensor, strength: Tensor
    ) -> Tensor:
        """Grid (12, bins, G, G), the head asked for `strength` (1,) times what the picture needs."""
        member, generator = self.model.reader, self.model.generator
        text = read_caption(member.text, ids)
        own, references = ImageFeatures(whole, regions), generator.references
        others = fits(member, ImageFeatures(references.whole, references.regions), text)
        need = ((others > fits(member, own, text)).float().mean(0, keepdim=True) / FITS).clamp(max=1)
        need = need if bool(references.whole.any()) else torch.ones_like(need)
        grid, _ = generator.head(FeaturePyramid(half, half, quarter, whole), text, strength * need)
        return grid[0]


class SeenPicture(nn.Module):
    """Features of a picture by the members of a matching model, one below the other."""

    def __init__(self, model: Interacting) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (M, D) and regions (M, K, R)."""
        if isinstance(self.model, FrozenInteraction):
            seen = self.model.encoded(self.model.backbone.see(pictures, pool=pooled))
        else:
            seen = self.model.features(pictures)
        return torch.cat([each.whole for each in seen]), torch.cat([each.regions for each in seen])


class ReadCaption(nn.Module):
    """Features of a caption by the members of a matching model, one below the other."""

    def __init__(self, model: Interacting) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Sentences (M, D), words (M, T, K) and their weights (M, T)."""
        members = [each for each in self.model.members if isinstance(each, Interaction)]
        read = [each.encode_words(read_caption(each.text, ids)) for each in members]
        return tuple(torch.cat(parts) for parts in zip(*read, strict=True))


def pooled(x: Tensor, places: int) -> Tensor:
    """`F.adaptive_avg_pool2d` of maps (B, C, n, n), whatever n, by two products with constants."""
    count = int(x.shape[-1])
    share = np.zeros((places, count), np.float32)  # in arrays, so that the graph has numbers instead of how they came
    for place in range(places):
        first, end = place * count // places, math.ceil((place + 1) * count / places)
        share[place, first:end] = 1 / (end - first)
    down, across = torch.from_numpy(share), torch.from_numpy(share.T.copy())
    return down @ x @ across


def fits(member: Member, images: ImageFeatures, code: TextCode) -> Tensor:
    """`Interaction.logits` (B,) of pictures with one caption."""
    text = member.encode_words(code)
    best = (text.words @ images.regions).max(-1).values  # B, T
    a, b = member.scales()
    logits: Tensor = a * (images.whole @ text.sentence[0]) + b * (best @ text.weights[0])
    return logits


def read_caption(encoder: TextEncoder, ids: Tensor) -> TextCode:
    """Code of one padded caption (1, T), as a text encoder gives it of packed ones."""
    mask = ids != PADDING
    if not isinstance(encoder.mix, nn.GRU):
        code: TextCode = encoder(Tokens(ids, mask))
        return code
    vectors, mirror = encoder.embed(ids), reverse_order(mask)
    onward = _states(encoder.mix, vectors, "")
    inward = take_words(_states(encoder.mix, take_words(vectors, mirror), "_reverse"), mirror)
    return encoder.summed(torch.cat([onward, inward], -1), mask)


def _states(rnn: nn.GRU, vectors: Tensor, direction: str) -> Tensor:
    """States (1, T, E) of one direction of a recurrent network."""
    known: Mapping[str, Tensor] = dict(rnn.named_parameters())
    weights = [known[f"{name}_l0{direction}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    begin = vectors.new_zeros(1, 1, rnn.hidden_size)
    states, _ = torch.gru(vectors, begin, weights, True, 1, 0.0, False, False, True)
    return states
