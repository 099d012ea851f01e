"""Painter: an editor that recolours, by rules, the parts that a caption names.

A part localiser finds the parts; it is the only learned piece. The photograph's light and texture stay
(`tgim.models.editing.painting.brush`), a part that already has its colour is left alone
(`tgim.models.editing.painting.already`), and pixels of parts that the caption does not name stay bit-identical.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from tgim.errors import MissingPartWarning, SubjectError, TextError
from tgim.images.carry import Box
from tgim.images.resample import resize
from tgim.models.base import Editing, Localising, Request
from tgim.models.editing.painting.already import to_change, true_already
from tgim.models.editing.painting.brush import fine_detail, painted
from tgim.models.editing.painting.captions import ColourTarget, parse_caption
from tgim.models.editing.painting.lab import to_lab, to_rgb
from tgim.models.editing.painting.masks import BLOSSOM, NAMED, WHOLE, main_pieces, part_mask, with_centres
from tgim.models.editing.painting.palette import Ramp, ramp
from tgim.models.editing.painting.region import Region, scaled_box
from tgim.models.editing.painting.words import vocabulary_words
from tgim.models.parsing import PartMaps, find_parts
from tgim.system.notices import notify
from tgim.text.lexicon.parts import FLOWER_PARTS, SEVERAL
from tgim.text.vocabulary import Tokens, Vocabulary

SMALLEST = 0.004  # of the subject's pixels: less of a part is not in view ...
FEWEST = 6  # ... and so are fewer pixels
DETAIL = 1 / 70  # of the subject's longer side: what is finer is texture
BETWEEN = (("head", "breast", "throat"), ("breast", "head", "throat"))


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
        edited = [self._one(photo[i : i + 1], caption, request, box) for i, caption in enumerate(request.captions)]
        return torch.cat(edited)

    def _one(self, photo: Tensor, caption: str, request: Request, box: Box | None) -> Tensor:
        targets = parse_caption(caption, self.localiser.parts).targets
        found = find_parts(self.localiser, photo, box=box) if targets and request.strength > 0 else None
        if found is None:
            if request.skip or not targets or request.strength == 0:
                return photo.clone()
            raise SubjectError(f"no {self.what} is found in the picture; say where it is by --box x,y,width,height")
        return self._paint(photo, targets, found, request, box)

    def _paint(
        self, photo: Tensor, targets: Sequence[ColourTarget], found: PartMaps, request: Request, box: Box | None
    ) -> Tensor:
        region = Region.about(found, photo)
        coarse = target_masks(region.maps, region.subject, targets, self.localiser.parts)
        lab = to_lab(region.small[0])
        done = true_already(lab, coarse, region.maps, targets, self.localiser.parts)
        wanted = [i for i, each in enumerate(done) if not each]
        if not wanted:
            return photo.clone()
        targets = [targets[i] for i in wanted]
        coarse = coarse[wanted] * torch.stack([to_change(lab, target) for target in targets])
        masks = region.enlarged(coarse, box=box)
        least = max(FEWEST, SMALLEST * float(region.subject.sum()) / region.scale**2)
        visible = masks.flatten(1).sum(1) >= least
        missing = [target.word for target, there in zip(targets, visible.tolist(), strict=True) if not there]
        if not visible.any() and not request.skip:
            raise SubjectError(
                f"{' and '.join(missing)} of the {self.what} cannot be seen in the picture; nothing is changed"
            )
        for word in missing if not request.skip else ():
            notify(f"{word!r} cannot be seen in the picture and is left out", MissingPartWarning, stacklevel=2)
        result = photo.clone()
        ramps = [ramp(target.colours[0]) for target in targets]
        result[0, :, region.rows, region.columns] = paint_parts(
            region.pixels[0],
            masks * visible[:, None, None],
            ramps,
            strength=request.strength,
            longer=max(found.subject[2:]),
        )
        return result


def paint_parts(region: Tensor, masks: Tensor, ramps: Sequence[Ramp], *, strength: float, longer: float) -> Tensor:
    """Paint parts of a region of a photograph.

    Args:
        region: (3, H, W) in [-1, 1].
        masks: (N, H, W) in [0, 1] of the parts, their sum at most 1; pixels where all are 0 stay bit-identical.
        ramps: N, the tones of each.
        strength: 0 to 1.
        longer: pixels of the subject's longer side.

    Returns:
        (3, H, W) in [-1, 1].
    """
    union = masks.sum(0)
    there = union > 0
    result = region.clone()
    if not there.any():
        return result
    pixels, weights = region[:, there], masks[:, there]
    lab = to_lab(pixels)
    light = torch.zeros_like(union)
    light[there] = lab[0]
    detail = fine_detail(light, union, max(1, round(DETAIL * longer)))[there]
    change = torch.zeros_like(pixels)
    for wanted, weight in zip(ramps, weights, strict=True):
        own = weight > 0
        if own.any():
            new = painted(lab[:, own], weight[own], detail[own], wanted)
            change[:, own] += weight[own] * (to_rgb(new).clamp(-1, 1) - pixels[:, own])
    result[:, there] = pixels + strength * change
    return result


def remarks_on(caption: str, parts: Sequence[str]) -> tuple[str, ...]:
    """List what of a caption is not painted where `parts` can be, the first of which is the background.

    Raises:
        TextError: the caption names no colour of any of them.
    """
    targets, notes = parse_caption(caption, parts)
    if not targets:
        names = ", ".join(parts[1:])
        raise TextError(f"text {caption!r} says no colour of a part that can be painted ({names}, or the whole)")
    return notes


def target_masks(maps: Tensor, subject: Tensor, targets: Sequence[ColourTarget], parts: Sequence[str]) -> Tensor:
    """Masks (N, H, W) of targets in part maps (P, H, W); a whole subject leaves room for named parts."""
    rows = [[parts.index(part) for part in target.parts] for target in targets]
    maps = with_centres(maps, parts)
    for own, target in zip(rows, targets, strict=True):  # "a red head and breast": the throat between them, too
        for near, far, between in BETWEEN:
            same = [each for each in targets if each.colours[0] == target.colours[0] and far in each.parts]
            if (
                near in target.parts
                and same
                and not any(between in each.parts for each in targets)
                and between in parts
            ):
                own.append(parts.index(between))
    named = [i for each, target in zip(rows, targets, strict=True) if not target.whole for i in each]
    masks = []
    for own, target in zip(rows, targets, strict=True):
        if target.whole:
            masks.append(part_mask(maps, subject, own, boost=WHOLE))
            continue
        boost = BLOSSOM if set(target.parts) & set(FLOWER_PARTS) else NAMED
        mask = part_mask(maps, subject, own, rivals=[i for i in named if i not in own], boost=boost)
        masks.append(mask if set(target.parts) & SEVERAL else main_pieces(mask))
    named_masks = (mask for mask, target in zip(masks, targets, strict=True) if not target.whole)
    room = 1 - sum(named_masks, 0 * subject).clamp(max=1)
    masks = [mask * room if target.whole else mask for mask, target in zip(masks, targets, strict=True)]
    stack = torch.stack(masks)
    return stack / stack.sum(0).clamp(min=1)


def vocabulary_for(localiser: Localising) -> Vocabulary:
    """Vocabulary of the words that a painter reads; the subject's own noun stands before the other kind's."""
    words = vocabulary_words()
    first = subject_of(localiser)
    return Vocabulary(sorted(words, key=lambda word: word != first))


def subject_of(localiser: Localising) -> str:
    """Name the subject by the names of its parts: "bird", "flower" or "subject"."""
    if "petals" in localiser.parts:
        return "flower"
    return "bird" if {"wings", "beak"} & set(localiser.parts) else "subject"
