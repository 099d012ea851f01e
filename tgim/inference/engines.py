"""Engines of an editor: what computes an edit, behind one interface of arrays.

`TorchEngine` (`tgim.inference.torch_engine`) runs any model that edits. `PaintingEngine` paints by rules with any part
finder, and loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from tgim.errors import UserError
from tgim.images.boxes import Box
from tgim.images.resample import Floats, resize
from tgim.models.parsing.part_maps import PartFinder
from tgim.text.vocabulary import Vocabulary

Engines = Literal["auto", "onnx", "torch"]
ENGINES = get_args(Engines)


def check_engine(name: str) -> None:
    """Check the name of an engine; UserError where there is none of that name."""
    if name not in ENGINES:
        raise UserError(f"engine is {name!r}, expected one of {', '.join(ENGINES)}")


@dataclass(frozen=True)
class Asked:
    """An edit that is asked for."""

    caption: str  # as the vocabulary takes it
    strength: float = 1.0  # 0 leaves the photograph, 1 edits fully
    seed: int | None = None  # of models with noise
    raw: bool = False  # the model's own output at its own resolution
    spare: bool = False  # the photograph may be overwritten


class Engine(Protocol):
    """Interface of an engine. Photographs are arrays (3, H, W) of float32 in [-1, 1]."""

    device: str
    source: str  # name or file of the checkpoint; empty where it is none
    vocabulary: Vocabulary
    template: str  # that completes a phrase
    takes_turns: bool  # an edit changes the model while it lasts

    @property
    def name(self) -> str:
        """Name of the system, for messages."""

    @property
    def card(self) -> Mapping[str, Any]:
        """Description of the checkpoint, by itself."""

    @property
    def image_size(self) -> int:
        """S, side of the pictures that the model works on."""

    @property
    def finder(self) -> PartFinder | None:
        """The model that finds parts, where there is one."""

    def remarks(self, caption: str) -> tuple[str, ...]:
        """List what of a caption is left out or changed, one line for each thing."""

    def subject(self, pictures: Floats) -> Floats | None:
        """Probabilities (B, S, S) of the subject in pictures (B, 3, S, S); None where the model cannot tell."""

    def edit_photo(self, photo: Floats, asked: Asked) -> Floats:
        """Edit a photograph."""

    def edit_box(self, photo: Floats, asked: Asked, box: Box) -> Floats:
        """Edit a region of a photograph; pixels outside stay bit-identical."""


class PaintingEngine:
    """Painting by rules (`tgim.models.editing.painting.rules`), with a part finder of any kind."""

    name = "painter"
    takes_turns = False
    template = "{}"

    def __init__(self, finder: PartFinder, *, card: Mapping[str, Any], source: str = "", device: str = "cpu") -> None:
        from tgim.models.editing.painting.rules import vocabulary_for

        self._finder, self.card, self.source, self.device = finder, card, source, device
        self.vocabulary = vocabulary_for(finder)

    @property
    def image_size(self) -> int:
        return self._finder.image_size

    @property
    def finder(self) -> PartFinder:
        return self._finder

    def remarks(self, caption: str) -> tuple[str, ...]:
        """List what of a caption is not painted; TextError where it names no colour of a part."""
        from tgim.models.editing.painting.rules import remarks_on

        return remarks_on(caption, self._finder.parts)

    def subject(self, pictures: Floats) -> None:
        """None: the rules look closer by themselves."""
        return

    def edit_photo(self, photo: Floats, asked: Asked) -> Floats:
        """Paint a photograph; SubjectError where there is nothing to paint."""
        return self._at_size(photo, asked, None)

    def edit_box(self, photo: Floats, asked: Asked, box: Box) -> Floats:
        """Paint the subject in a box."""
        return self._at_size(photo, asked, box)

    def _at_size(self, photo: Floats, asked: Asked, box: Box | None) -> Floats:
        from tgim.models.editing.painting.region import scaled_box

        if asked.raw:
            side = self.image_size
            if box is not None:
                box = scaled_box(box, side / photo.shape[-1], side / photo.shape[-2], side)
            photo = resize(photo, (side, side))
        return self._painted(photo, asked, box)

    def _painted(self, photo: Floats, asked: Asked, box: Box | None) -> Floats:
        from tgim.models.editing.painting.rules import paint_photo

        return paint_photo(self._finder, photo, asked.caption, strength=asked.strength, box=box, spare=asked.spare)
