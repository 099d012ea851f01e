"""Painting by rules: recolours the parts that a caption names, and nothing else; without torch.

A part finder says where the parts are; it is the only learned piece. The photograph's light and texture stay
(`tgim.models.editing.painting.brush`), a part that already has its colour is left alone
(`tgim.models.editing.painting.already`), and pixels of parts that the caption does not name stay bit-identical.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tgim.errors import FittingAlreadyWarning, MissingPartWarning, SubjectError, TextError
from tgim.images.boxes import Box
from tgim.images.resample import Floats
from tgim.models.editing.painting.already import to_change, true_already
from tgim.models.editing.painting.brush import fine_radius, paint
from tgim.models.editing.painting.captions import ColourTarget, parse_caption
from tgim.models.editing.painting.lab import to_lab
from tgim.models.editing.painting.masks import BLOSSOM, NAMED, WHOLE, main_pieces, part_mask, with_centres
from tgim.models.editing.painting.palette import ramp
from tgim.models.editing.painting.region import Region
from tgim.models.editing.painting.words import vocabulary_words
from tgim.models.parsing.part_maps import PartFinder, PartMaps, find_parts
from tgim.system.notices import notify
from tgim.text.lexicon.parts import FLOWER_PARTS, SEVERAL
from tgim.text.vocabulary import Vocabulary

SMALLEST = 0.004  # of the subject's pixels: less of a part is not in view ...
FEWEST = 6  # ... and so are fewer pixels
BETWEEN = (("head", "breast", "throat"), ("breast", "head", "throat"))


def paint_photo(
    finder: PartFinder,
    photo: Floats,
    caption: str,
    *,
    strength: float = 1.0,
    box: Box | None = None,
    skip: bool = False,
    spare: bool = False,
) -> Floats:
    """Paint the parts that a caption names in the colours that it names.

    Args:
        finder: of the parts.
        photo: (3, H, W) in [-1, 1].
        caption: of the wanted result.
        strength: 0 leaves the photograph, 1 edits fully.
        box: x, y, width, height in pixels: edit the subject there, whose presence is taken for granted; pixels outside
            stay bit-identical.
        skip: give back a photograph without a subject, or with nothing to paint, as it is.
        spare: `photo` may be overwritten.

    Returns:
        (3, H, W) in [-1, 1].

    Raises:
        SubjectError: no subject is found, or no part to change is in view, unless `skip`.
    """
    targets = parse_caption(caption, finder.parts).targets
    found = find_parts(finder, photo, box=box) if targets and strength > 0 else None
    if found is None:
        if skip or not targets or strength == 0:
            return photo if spare else photo.copy()
        what = subject_of(finder)
        raise SubjectError(f"no {what} is found in the picture; say where it is by --box x,y,width,height")
    return _paint(finder, photo, targets, found, strength=strength, box=box, skip=skip, spare=spare)


def _paint(
    finder: PartFinder, photo: Floats, targets: Sequence[ColourTarget], found: PartMaps, *, strength: float,
    box: Box | None, skip: bool, spare: bool,
) -> Floats:  # fmt: skip
    region = Region.about(found, photo)
    coarse = target_masks(region.maps, region.subject, targets, finder.parts)
    lab = to_lab(region.small)
    done = true_already(lab, coarse, region.maps, targets, finder.parts)
    wanted = [i for i, each in enumerate(done) if not each]
    if not wanted:
        if not skip:
            hint = "; name one part alone to have it painted" if len(targets) > 1 else ""
            message = f"the picture is taken to show that already, so nothing is changed{hint}"
            notify(message, FittingAlreadyWarning, stacklevel=2)
        return photo if spare else photo.copy()
    targets = [targets[i] for i in wanted]
    coarse = coarse[wanted] * to_change(lab, targets)
    masks = region.enlarged(coarse, box=box)
    least = max(FEWEST, SMALLEST * float(region.subject.sum()) / region.scale**2)
    visible = masks.reshape(len(masks), -1).sum(1) >= least
    missing = [target.word for target, there in zip(targets, visible.tolist(), strict=True) if not there]
    if not visible.any() and not skip:
        what = f"{' and '.join(missing)} of the {subject_of(finder)}"
        raise SubjectError(f"{what} cannot be seen in the picture; nothing is changed")
    for word in missing if not skip else ():
        notify(f"{word!r} cannot be seen in the picture and is left out", MissingPartWarning, stacklevel=2)
    return paint(
        photo,
        masks if visible.all() else masks * visible[:, None, None],
        [ramp(target.colours[0]) for target in targets],
        radius=fine_radius(max(found.subject[2:])),
        strength=strength,
        corner=(region.rows.start, region.columns.start),
        spare=spare,
    )


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


def target_masks(maps: Floats, subject: Floats, targets: Sequence[ColourTarget], parts: Sequence[str]) -> Floats:
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
    room = 1 - sum(named_masks, 0 * subject).clip(max=1)
    masks = [mask * room if target.whole else mask for mask, target in zip(masks, targets, strict=True)]
    stack = np.stack(masks)
    return stack / stack.sum(0).clip(min=1)


def vocabulary_for(finder: PartFinder) -> Vocabulary:
    """Vocabulary of the words that a painter reads; the subject's own noun stands before the other kind's."""
    words = vocabulary_words()
    first = subject_of(finder)
    return Vocabulary(sorted(words, key=lambda word: word != first))


def subject_of(finder: PartFinder) -> str:
    """Name the subject by the names of its parts: "bird", "flower" or "subject"."""
    if "petals" in finder.parts:
        return "flower"
    return "bird" if {"wings", "beak"} & set(finder.parts) else "subject"
