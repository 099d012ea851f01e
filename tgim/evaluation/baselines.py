"""Trivial editors, which stand in every table beside the models: a useful editor does better than each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.data.synthetic.scenes import COLOURS, shade
from tgim.evaluation.bench import Bench
from tgim.evaluation.contenders import Contender, quantised
from tgim.evaluation.records import Kind
from tgim.images.photo import Photo
from tgim.text.lexicon.colours import CAPTION_COLOURS as COLOUR_WORDS
from tgim.text.lexicon.synthetic import NEAREST
from tgim.text.vocabulary import tokenize

BLUR = 16  # times smaller, and up again
NAMED = 2  # colour words of a caption that are taken: later ones speak of details
# Colour differences Cb and Cr of ITU-R BT.601, of (R, G, B) in [-1, 1]; and back.
CHROMA = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
UNCHROMA = ((0.0, 1.402), (-0.344136, -0.714136), (1.772, 0.0))


class Baseline(ABC):
    """A contender without a checkpoint. It makes full edits; the bench blends them where the strength is below 1."""

    name: str
    label: ClassVar[str]  # for people
    kind: Kind = "baseline"
    checkpoint: str | None = None
    has_strength = False
    replaces: ClassVar[bool] = False

    @abstractmethod
    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        """Full edits (B, 3, S, S) in [-1, 1] of `pictures` of that shape by B captions; `strength` is not used."""

    def edit_photo(self, photo: Photo, text: str) -> Photo:
        """The full edit of one photograph at its own size; not for `Unrelated`, which has the bench's size."""
        return photo.with_pixels(self.edit(photo.tensor[None], [text], [0], 1.0))


class Identity(Baseline):
    """The unchanged picture: everything is preserved, and nothing that the caption asks for is done."""

    name = "identity"
    label = "identity"

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        return pictures


class MeanColour(Baseline):
    """The mean colour of the picture at every pixel."""

    name = "mean_colour"
    label = "mean colour"

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        return quantised(pictures.mean((2, 3), keepdim=True).expand_as(pictures))


class Blur(Baseline):
    """The picture shrunk sixteen times (area average) and enlarged again (bilinear)."""

    name = f"blur{BLUR}"
    label = f"{BLUR}x blur"

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        height, width = pictures.shape[-2:]
        small = F.adaptive_avg_pool2d(pictures, (max(1, height // BLUR), max(1, width // BLUR)))
        return quantised(F.interpolate(small, (height, width), mode="bilinear", align_corners=False))


@dataclass(frozen=True)
class Unrelated(Baseline):
    """Another photograph instead of an edit: the one that the target caption was written for.

    It fits that caption and preserves nothing. The picture's own caption gives the same other photograph.
    """

    bench: Bench
    name: str = "unrelated"
    label: ClassVar[str] = "unrelated photograph"
    replaces: ClassVar[bool] = True

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        return self.bench.images(self.bench.targets[np.asarray(rows)])


class ColourShift(Baseline):
    """Tint of the whole picture: its mean chroma (Cb, Cr) becomes that of the caption's first two colour words.

    Every pixel is shifted alike, and its brightness stays; a caption without a colour word changes nothing.
    """

    name = "colour_shift"
    label = "colour shift"

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        edited = pictures.clone()
        to_chroma, from_chroma = torch.tensor(CHROMA), torch.tensor(UNCHROMA)
        for i, caption in enumerate(captions):
            colours = [colour_of(word) for word in tokenize(caption) if word in COLOUR_WORDS][:NAMED]
            if colours:
                wanted = to_chroma @ (2 * torch.tensor(colours).mean(0) - 1)  # 2
                shift = from_chroma @ (wanted - to_chroma @ pictures[i].mean((1, 2)))  # 3
                edited[i] = (pictures[i] + shift[:, None, None]).clamp(-1, 1)
        return quantised(edited)


def colour_of(word: str) -> tuple[float, float, float]:
    """Typical sRGB in [0, 1] of one of `tgim.text.phrases.COLOURS`.

    >>> [round(c, 1) for c in colour_of("scarlet")]
    [0.7, 0.1, 0.1]
    """
    return shade(word if word in COLOURS else NEAREST[word])


BASELINES: tuple[type[Baseline], ...] = (Identity, MeanColour, Blur, Unrelated, ColourShift)  # as tables have them


def baselines(bench: Bench) -> list[Contender]:
    """Make all trivial baselines of a bench, in the order of the tables."""
    return [Unrelated(bench) if each is Unrelated else each() for each in BASELINES]
