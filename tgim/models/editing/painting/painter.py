"""Painter: an editor that recolours the parts that a caption names, by `tgim.models.editing.painting.rules`."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from tgim.images.boxes import Box
from tgim.images.photo import as_array
from tgim.models.base import Editing, Localising, Request
from tgim.models.editing.painting.region import scaled_box
from tgim.models.editing.painting.rules import paint_photo, remarks_on, subject_of, vocabulary_for
from tgim.nn.resize import resize
from tgim.text.vocabulary import Tokens


class PartEditing(Editing):
    """An editor of the parts that `localiser` finds; a subclass says in `_edit` how it changes them."""

    localiser: Localising

    @property
    def image_size(self) -> int:
        return self.localiser.image_size

    @property
    def part_localiser(self) -> Localising:
        """The model that finds the parts to change."""
        return self.localiser

    @property
    def what(self) -> str:
        """Name of the subject for messages: "bird", "flower" or "subject"."""
        return subject_of(self.localiser)

    @torch.no_grad()
    def edit_photo(self, photo: Tensor, request: Request) -> Tensor:
        """Edit photographs (B, 3, H, W) in [-1, 1] at their own resolution.

        Raises:
            SubjectError: no subject is found, or no part to change is in view, unless the request says `skip`.
        """
        return self._edit(*self._at_size(photo, request, None))

    @torch.no_grad()
    def edit_box(self, photo: Tensor, request: Request, box: Box) -> Tensor:
        """Edit the subject in `box`, whose presence is taken for granted; pixels outside stay bit-identical."""
        return self._edit(*self._at_size(photo, request, box))

    def _at_size(self, photo: Tensor, request: Request, box: Box | None) -> tuple[Tensor, Request, Box | None]:
        """Photographs and box at the resolution to edit at: the model's own where the request says `raw`."""
        if not request.raw:
            return photo, request, box
        side = self.image_size
        if box is not None:
            box = scaled_box(box, side / photo.shape[-1], side / photo.shape[-2], side)
        return resize(photo, (side, side)), request, box

    def _edit(self, photo: Tensor, request: Request, box: Box | None) -> Tensor:
        """Edit photographs (B, 3, H, W) at this resolution; `box` is in its pixels."""
        raise NotImplementedError  # abstract: every editor of parts says how it changes them


class Painter(PartEditing):
    """Edits photographs by the parts that `localiser` finds in them."""

    name: ClassVar[str] = "painter"

    def __init__(self, localiser: Localising) -> None:
        super().__init__()
        self.localiser = localiser
        self.vocabulary = vocabulary_for(localiser)
        self.training = localiser.training

    def remarks(self, caption: str) -> tuple[str, ...]:
        """List what of a caption is not painted, one line for each thing.

        Raises:
            TextError: the caption names no colour of a part that can be painted.
        """
        return remarks_on(caption, self.localiser.parts)

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edit pictures (B, 3, S, S) in [-1, 1] by captions of `vocabulary`; `seed` changes nothing."""
        known = self.vocabulary.words
        captions = [" ".join(known[i - 2] for i in ids.tolist() if i > 1) for ids in text.ids]
        return self.edit_photo(image, Request(tuple(captions), text, skip=True))

    def _edit(self, photo: Tensor, request: Request, box: Box | None) -> Tensor:
        edited = [
            paint_photo(self.localiser, each, caption, strength=request.strength, box=box, skip=request.skip)
            for each, caption in zip(as_array(photo), request.captions, strict=True)
        ]
        return torch.stack([torch.from_numpy(each) for each in edited]).to(photo.device)
