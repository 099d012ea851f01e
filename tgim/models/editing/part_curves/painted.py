"""Painting by curves, in arrays: what `part_curves` does with the answers of its head, without torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tgim.errors import SubjectError
from tgim.images.boxes import Box
from tgim.images.matting import sigmoid
from tgim.images.resample import Floats
from tgim.models.editing.painting.brush import fine_radius, paint
from tgim.models.editing.painting.captions import ONE_COLOUR
from tgim.models.editing.painting.masks import BLOSSOM, CUT, NAMED, WHOLE, main_pieces, part_mask, with_centres
from tgim.models.editing.painting.palette import STEPS, Ramp
from tgim.models.editing.painting.region import Region
from tgim.models.editing.painting.rules import FEWEST, SMALLEST, subject_of
from tgim.models.editing.painting.rules import remarks_on as painters_remarks
from tgim.models.editing.part_curves.described import SHARPNESS
from tgim.models.parsing.part_maps import PartFinder, PartMaps
from tgim.text.lexicon.parts import FLOWER_PARTS, NO_PLUMAGE, SEVERAL

OPENS = (0.45, 0.6)  # probabilities of a change that become none and all of it
ALIKE = 10.0  # Lab units between the curves of parts that are painted as one
NOT_FOUND = "no {} is found in the picture; say where it is by --box x,y,width,height"


def remarks_on(caption: str, parts: Sequence[str]) -> tuple[str, ...]:
    """List what of a caption is not painted; TextError when it names no colour of any of the parts."""
    notes = painters_remarks(caption, parts)
    return tuple(note for note in notes if not note.endswith(ONE_COLOUR))  # dark tones take one, light ones another


def paint_curves(
    finder: PartFinder,
    photo: Floats,
    found: PartMaps,
    gate: Floats,
    curves: Floats,
    *,
    strength: float = 1.0,
    skip: bool = False,
    box: Box | None = None,
    spare: bool = False,
) -> Floats:
    """Paint the parts of a photograph by curves.

    Args:
        finder: that found them.
        photo: (3, H, W) in [-1, 1].
        found: the parts.
        gate: (P,) logits that a part changes.
        curves: (P, 9), see `tgim.models.editing.part_curves.curves`.
        strength: 0 leaves the photograph, 1 edits fully.
        skip: give back a photograph in which no part to change is in view as it is.
        box: x, y, width, height in pixels; others stay bit-identical.
        spare: `photo` may be overwritten.

    Returns:
        (3, H, W) in [-1, 1].

    Raises:
        SubjectError: no part to change is in view, unless `skip`.
    """
    low, high = OPENS
    amount = ((sigmoid(gate) - low) / (high - low)).clip(0, 1)
    amount[0] = 0
    wanted = amount.nonzero()[0].tolist()
    if not wanted:
        return photo if spare else photo.copy()
    region, groups = Region.about(found, photo), alike(curves, wanted)
    masks = region.enlarged(_masks(region, groups, finder.parts), box=box)
    least = max(FEWEST, SMALLEST * float(region.subject.sum()) / region.scale**2)
    visible = masks.reshape(len(masks), -1).sum(1) >= least
    if not visible.any() and not skip:
        names = " and ".join(finder.parts[i] for i in wanted)
        raise SubjectError(f"{names} of the {subject_of(finder)} cannot be seen in the picture; nothing is changed")
    opened = np.stack([amount[group].max() for group in groups])
    return paint(
        photo,
        masks * (visible * opened)[:, None, None],
        [as_ramp(curves[group].mean(0)) for group in groups],
        radius=fine_radius(max(found.subject[2:])),
        strength=strength,
        corner=(region.rows.start, region.columns.start),
        spare=spare,
    )


def _masks(region: Region, groups: Sequence[Sequence[int]], names: Sequence[str]) -> Floats:
    """Masks (N, h, w) in [0, 1] of groups of parts, their sum at most 1."""
    wanted = [i for group in groups for i in group]
    plumage = [i for i, name in enumerate(names) if i and name not in NO_PLUMAGE]
    whole = len(set(plumage) & set(wanted)) > len(plumage) / 2
    boost = BLOSSOM if set(names) & set(FLOWER_PARTS) else WHOLE if whole else NAMED
    maps = with_centres(region.maps, names)
    union = part_mask(maps, region.subject, wanted, boost=boost)
    shares = np.stack([maps[group].sum(0) ** SHARPNESS for group in groups])
    masks = union * shares / shares.sum(0).clip(min=1e-6)
    masks[masks < CUT] = 0
    single = [len(group) == 1 and names[group[0]] not in SEVERAL for group in groups]
    return np.stack([main_pieces(mask) if one else mask for mask, one in zip(masks, single, strict=True)])


def alike(curves: Floats, wanted: Sequence[int]) -> list[list[int]]:
    """Group the parts `wanted` of curves (P, 9) that take nearly the same tones, so that no seam shows between them."""
    groups: list[list[int]] = []
    for part in wanted:
        near = [group for group in groups if np.abs(curves[group].mean(0) - curves[part]).max() < ALIKE]
        near[0].append(part) if near else groups.append([part])
    return groups


def as_ramp(curve: Floats) -> Ramp:
    """The tones of a curve (9,) for the painter's brush."""
    low, usual, high = curve[:3].tolist()
    light = np.arange(STEPS, dtype=np.float32)
    first = ((light - low) / max(1.0, usual - low)).clip(0, 1)
    second = ((light - usual) / max(1.0, high - usual)).clip(0, 1)
    dark, middle, bright = curve[3:].reshape(3, 2, 1)
    ab = dark + first * (middle - dark)
    return Ramp((ab + second * (bright - ab)).astype(np.float32), low, usual, high)
