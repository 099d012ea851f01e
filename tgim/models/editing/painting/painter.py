"""Painter: an editor that recolours, by rules, the parts that a caption names.

A part localiser finds the parts; it is the only learned piece. The photograph's light and texture stay
(`tgim.models.editing.painting.brush`), a part that already has its colour is left alone
(`tgim.models.editing.painting.already`), and pixels of parts that the caption does not name stay bit-identical.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tgim.errors import MissingPartWarning, SubjectError, TextError
from tgim.images.carry import Box
from tgim.images.matting import follow, guided_fit
from tgim.images.resample import resize
from tgim.models.base import Editing, Localising, Request
from tgim.models.editing.painting.already import to_change, true_already
from tgim.models.editing.painting.brush import fine_detail, painted
from tgim.models.editing.painting.captions import ColourTarget, parse_caption
from tgim.models.editing.painting.lab import to_lab, to_rgb
from tgim.models.editing.painting.masks import BLOSSOM, CENTRE, CUT, NAMED, WHOLE, main_pieces, outline_mask, part_mask
from tgim.models.editing.painting.outline import refined
from tgim.models.editing.painting.palette import ramp
from tgim.models.editing.painting.words import vocabulary_words
from tgim.models.parsing import PartMaps, find_parts
from tgim.text.lexicon.parts import FLOWER_PARTS, SEVERAL
from tgim.text.vocabulary import Tokens, Vocabulary

SMALLEST = 0.004  # of the subject's pixels: less of a part is not in view ...
FEWEST = 6  # ... and so are fewer pixels
DETAIL = 1 / 70  # of the subject's longer side: what is finer is texture
AROUND = 0.1  # of the subject's longer side: how much of its surroundings is looked at
MAYBE = 0.25  # probability of the subject from which on a cell is looked at, too
WORKING = 224  # pixels of the longer side of that region, at which masks are made
WINDOW, SMOOTHNESS = 5, 1e-3  # of the guided filter that enlarges them
BETWEEN = (("head", "breast", "throat"), ("breast", "head", "throat"))
CENTER = "center"  # of a blossom: small, and soon taken for its petals
EDGE = 0.02  # of a box's shorter side: how far an edit fades in inside it


class Painter(Editing):
    """Edits photographs by the parts that `localiser` finds in them."""

    name: ClassVar[str] = "painter"
    has_strength: ClassVar[bool] = True

    def __init__(self, localiser: Localising) -> None:
        super().__init__()
        self.localiser = localiser
        self.vocabulary = vocabulary_for(localiser)
        self.training = localiser.training

    @property
    def image_size(self) -> int:
        return self.localiser.image_size

    @property
    def part_localiser(self) -> Localising:
        """The model that finds the parts to paint."""
        return self.localiser

    @property
    def what(self) -> str:
        """Name of the subject for messages: "bird", "flower" or "subject"."""
        return subject_of(self.localiser)

    def remarks(self, caption: str) -> tuple[str, ...]:
        """List what of a caption is not painted, one line for each thing.

        Raises:
            TextError: the caption names no colour of a part that can be painted.
        """
        targets, notes = parse_caption(caption, self.localiser.parts)
        if not targets:
            parts = ", ".join(self.localiser.parts[1:])
            raise TextError(f"text {caption!r} says no colour of a part that can be painted ({parts}, or the whole)")
        return notes

    def edit(self, image: Tensor, text: Tokens, *, seed: int | None = None) -> Tensor:
        """Edit pictures (B, 3, S, S) in [-1, 1] by captions of `vocabulary`; `seed` changes nothing."""
        known = self.vocabulary.words
        captions = [" ".join(known[i - 2] for i in ids.tolist() if i > 1) for ids in text.ids]
        return self.edit_photo(image, Request(tuple(captions), text, skip=True))

    @torch.no_grad()
    def edit_photo(self, photo: Tensor, request: Request) -> Tensor:
        """Edit photographs (B, 3, H, W) in [-1, 1] at their own resolution.

        Raises:
            SubjectError: no subject is found, or none of the named parts is in view, unless the request says `skip`.
        """
        return self._edit(photo, request, None)

    @torch.no_grad()
    def edit_box(self, photo: Tensor, request: Request, box: Box) -> Tensor:
        """Edit the subject in `box`, whose presence is taken for granted; pixels outside stay bit-identical."""
        return self._edit(photo, request, box)

    def _edit(self, photo: Tensor, request: Request, box: Box | None) -> Tensor:
        if request.raw:
            scale = [self.image_size / side for side in (photo.shape[-1], photo.shape[-2])]
            photo = resize(photo, (self.image_size, self.image_size))
            box = None if box is None else _scaled(box, scale[0], scale[1], self.image_size)
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
        top, bottom, left, right = _bounds(found, photo)
        region = photo[:, :, top:bottom, left:right]
        scale = min(1.0, WORKING / max(bottom - top, right - left))
        small = resize(region, (max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))))
        maps = sampled(_moved(found, left, top, scale), small)
        subject = outline_mask(refined(small[0], 1 - maps[0]))
        coarse = target_masks(maps, subject, targets, self.localiser.parts)
        lab = to_lab(small[0])
        done = true_already(lab, coarse, maps, targets, self.localiser.parts)
        wanted = [i for i, each in enumerate(done) if not each]
        if not wanted:
            return photo.clone()
        targets = [targets[i] for i in wanted]
        coarse = coarse[wanted] * torch.stack([to_change(lab, target) for target in targets])
        masks = enlarged(coarse, small, region)
        if box is not None:
            masks = masks * _within(box, top, bottom, left, right).to(masks)
        least = max(FEWEST, SMALLEST * float(subject.sum()) / scale**2)
        visible = masks.flatten(1).sum(1) >= least
        missing = [target.word for target, there in zip(targets, visible.tolist(), strict=True) if not there]
        if not visible.any() and not request.skip:
            raise SubjectError(
                f"{' and '.join(missing)} of the {self.what} cannot be seen in the picture; nothing is changed"
            )
        for word in missing if not request.skip else ():
            warnings.warn(f"{word!r} cannot be seen in the picture and is left out", MissingPartWarning, stacklevel=2)
        result = photo.clone()
        result[0, :, top:bottom, left:right] = paint_targets(
            region[0], masks * visible[:, None, None], targets, strength=request.strength, longer=max(found.subject[2:])
        )
        return result


def paint_targets(
    region: Tensor, masks: Tensor, targets: Sequence[ColourTarget], *, strength: float, longer: float
) -> Tensor:
    """Paint all targets on a region of a photograph.

    Args:
        region: (3, H, W) in [-1, 1].
        masks: (N, H, W) in [0, 1] of the targets, their sum at most 1; pixels where all are 0 stay bit-identical.
        targets: N.
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
    for target, weight in zip(targets, weights, strict=True):
        own = weight > 0
        if own.any():
            new = painted(lab[:, own], weight[own], detail[own], ramp(target.colours[0]))
            change[:, own] += weight[own] * (to_rgb(new).clamp(-1, 1) - pixels[:, own])
    result[:, there] = pixels + strength * change
    return result


def target_masks(maps: Tensor, subject: Tensor, targets: Sequence[ColourTarget], parts: Sequence[str]) -> Tensor:
    """Masks (N, H, W) of targets in part maps (P, H, W); a whole subject leaves room for named parts."""
    rows = [[parts.index(part) for part in target.parts] for target in targets]
    if CENTER in parts:
        maps = maps.clone()
        maps[parts.index(CENTER)] *= CENTRE
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


def _bounds(found: PartMaps, photo: Tensor) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the subject and some of its surroundings, in a photograph (1, 3, H, W)."""
    x, y, w, h = found.subject
    around = round(AROUND * max(w, h)) + 2
    left, top, right, bottom = float(x), float(y), float(x + w), float(y + h)
    cells = found.maps[0] < 1 - MAYBE
    rows, columns = cells.any(1).nonzero()[:, 0], cells.any(0).nonzero()[:, 0]
    if len(rows):  # what may be of the subject, too: a tail that nobody was sure of
        frame_x, frame_y, across, down = found.frame
        across, down = across / cells.shape[1], down / cells.shape[0]
        left, right = min(left, frame_x + int(columns[0]) * across), max(right, frame_x + int(columns[-1] + 1) * across)
        top, bottom = min(top, frame_y + int(rows[0]) * down), max(bottom, frame_y + int(rows[-1] + 1) * down)
    height, width = photo.shape[-2:]
    first_row, last_row = max(0, round(top) - around), min(height, round(bottom) + around)
    return first_row, last_row, max(0, round(left) - around), min(width, round(right) + around)


def _moved(found: PartMaps, left: int, top: int, scale: float) -> PartMaps:
    """Part maps in the frame of a region of the photograph that begins at `left`, `top`, resized by `scale`."""
    x, y, w, h = found.frame
    return replace(found, frame=((x - left) * scale, (y - top) * scale, w * scale, h * scale))


def sampled(found: PartMaps, photo: Tensor) -> Tensor:
    """Sample part maps (P, H, W) over a small photograph (1, 3, H, W); outside their frame is background."""
    height, width = photo.shape[-2:]
    x, y, w, h = found.frame
    columns = (torch.arange(width) + 0.5 - x) / w * 2 - 1
    rows = (torch.arange(height) + 0.5 - y) / h * 2 - 1
    where = torch.stack([columns.expand(height, -1), rows[:, None].expand(-1, width)], -1)[None].to(photo)
    maps = F.grid_sample(found.maps[None].to(photo), where, padding_mode="border", align_corners=False)[0]
    inside = (where[0].abs() <= 1).all(-1)
    maps[1:] *= inside
    maps[0] = 1 - maps[1:].sum(0)
    return maps


def enlarged(masks: Tensor, small: Tensor, region: Tensor) -> Tensor:
    """Enlarge masks (N, h, w) of a small copy (1, 3, h, w) to the region (1, 3, H, W), aligned with its edges."""
    if small.shape == region.shape or min(small.shape[-2:]) < WINDOW:
        return F.interpolate(masks[None], region.shape[-2:], mode="bilinear", align_corners=False)[0]
    large = []
    for mask in masks:
        slopes = guided_fit(small, mask[None, None], window=WINDOW, eps=SMOOTHNESS)
        slopes = F.interpolate(slopes, region.shape[-2:], mode="bilinear", align_corners=False)
        large.append(follow(region, slopes)[0, 0])
    stack = torch.stack(large)
    stack = torch.where(stack < CUT, 0.0, stack)
    return stack / stack.sum(0).clamp(min=1)


def _within(box: Box, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Weights over a region of the photograph: 1 inside a box, 0 outside, a ramp of `EDGE` inside its border."""
    x, y, w, h = box
    fade = max(1.0, EDGE * min(w, h))
    rows, columns = torch.arange(top, bottom) + 0.5, torch.arange(left, right) + 0.5
    down = torch.minimum(rows - y, y + h - rows)
    across = torch.minimum(columns - x, x + w - columns)
    return torch.minimum(down[:, None], across[None]).div(fade).clamp(0, 1)


def _scaled(box: Box, across: float, down: float, size: int) -> Box:
    x, y = min(size - 1, int(box[0] * across)), min(size - 1, int(box[1] * down))
    return x, y, max(1, min(size - x, round(box[2] * across))), max(1, min(size - y, round(box[3] * down)))
