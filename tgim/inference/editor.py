"""Editor: edits a picture by a caption of the wanted result, at the picture's own size."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import measure
from torch import Tensor

from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint, EmbeddedName
from tgim.errors import CheckpointError, SubjectError, UserError
from tgim.images.carry import Box, add_enlarged, parse_box
from tgim.images.photo import Photo, Source, open_to_edit
from tgim.images.resample import resize
from tgim.inference.inversion import Inverter
from tgim.inference.masking import blend, chosen_weight, extent
from tgim.models.base import Editing, Generating, Localising, Request
from tgim.models.editing.painting import Painter
from tgim.system.notices import notify
from tgim.text.understand import UnknownWordWarning, used_caption
from tgim.text.vocabulary import complete, tokenize

EDITING = ("editor", "generator", "parsing")  # roles of models that an Editor can be made of
Size = Literal["photo", "model"]
_Extent = tuple[float, float, float, float]  # left, top, right, bottom
CLOSE_UP = 0.9  # share of the frame above which a subject needs no closer look
SURE, MAYBE = 0.5, 0.25  # probabilities: a subject is where one pixel is sure, and goes on as long as they may be
LOOK = 0.2  # around what a first look found, of its longer side: where the second looks
ROOM = 0.12  # around a subject, of its longer side
LARGE, WORKING = 25_000_000, 12_000_000  # pixels: larger photographs are edited on a copy of so many
MINOR = 0.25  # smaller parts than this share of the largest do not count as subjects


def load(name_or_path: str | Path, *, device: str = "cpu") -> Checkpoint:
    """Load any tgim checkpoint, embedded (``"birds"``) or from a file; raises CheckpointError."""
    return checkpoint.load(name_or_path, device=device)


def list_models() -> tuple[EmbeddedName, ...]:
    """Names of the checkpoints that come with the package; each has `role`, `description` and `licence`, too."""
    return tuple(map(EmbeddedName, checkpoint.list_embedded()))


def open_editor(
    name_or_path: str | Path, *, device: str = "cpu", invert_steps: int | None = None, progress: bool = False
) -> Editor:
    """Open a checkpoint as an editor of photographs.

    Args:
        name_or_path: embedded ("birds"), or a file.
        device: "cpu" or "cuda".
        invert_steps: of the search for a photograph's noise; None for the model's own.
        progress: show a bar while it searches.

    Raises:
        UserError: it does not edit, or `invert_steps` are given and it does not search.
    """
    source = checkpoint.load(name_or_path, device=device)
    inverter = Inverter.of(source.model, steps=invert_steps, progress=progress)
    if inverter is None and invert_steps is not None:
        raise UserError(f"{name_or_path} ({source.name}) edits photographs without a search; leave out --invert-steps")
    return Editor(source if inverter is None else replace(source, model=inverter), device=device)


class Editor:
    """Edits pictures by a caption of the wanted result; several threads may use one editor.

    >>> edit = Editor.from_pretrained("birds")
    >>> from tgim.data.synthetic.pairs import sample_picture
    >>> edit(sample_picture("birds", size=(120, 180)), "a small blue bird with a white belly").size
    (180, 120)
    """

    def __init__(self, source: Checkpoint, *, device: str | torch.device = "cpu") -> None:
        model = source.model
        if isinstance(model, Generating):
            model = Inverter(model)
        elif isinstance(model, Localising):
            model = Painter(model)
            source = replace(source, vocabulary=model.vocabulary, template="{}")
        if not isinstance(model, Editing):
            editors = [name for name in list_models() if checkpoint.read_header(name)["role"] in EDITING]
            raise CheckpointError(f"{source.model.name} does not edit pictures; choose one of: {', '.join(editors)}")
        self.device = torch.device(device)
        self.model: Editing = model.to(self.device).eval()
        self.vocabulary, self.template, self.card = source.vocabulary, source.template, source.card
        searches = self.model.text_to_image is not None  # which is a change to the model while it lasts
        self._turn = threading.Lock() if searches else nullcontext()

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path = "birds", *, device: str = "cpu") -> Editor:
        """An editor from an embedded checkpoint's name or a checkpoint file; raises CheckpointError."""
        return cls(checkpoint.load(name_or_path, device=device), device=device)

    def __call__(
        self,
        image: Source,
        text: str,
        *,
        strength: float = 1.0,
        box: str | Box | None = None,
        focus: bool = True,
        size: Size = "photo",
        seed: int | None = None,
        mask: Source | None = None,
        part: str | None = None,
    ) -> Image.Image:
        """Edit one picture: a path, bytes, PIL image, array or `Photo`; other arguments as of `edit_photo`.

        Returns:
            A PIL image of the same size and 8 bits a channel, RGB, or RGBA where the input had an alpha. More of what
            belongs to the picture (16 bits, density) is kept by `edit_photo` and `tgim.images.photo.save_image`.

        Raises:
            ImageError: the picture cannot be read; else as `edit_photo`.
        """
        photo, own = open_to_edit(image), not isinstance(image, Photo)
        edited = self.edit_photo(
            photo, text, strength=strength, box=box, focus=focus, size=size, seed=seed, mask=mask, part=part, spare=own
        )
        return edited.to_pil()

    def edit_many(
        self,
        images: Iterable[Source],
        text: str,
        *,
        strength: float = 1.0,
        box: str | Box | None = None,
        focus: bool = True,
        size: Size = "photo",
        seed: int | None = None,
        mask: Source | None = None,
        part: str | None = None,
        progress: Callable[[int, int | None], object] | None = None,
    ) -> Iterator[Image.Image]:
        """Edit pictures of any sizes one after the other, lazily.

        Args:
            images: as `__call__` takes them.
            text: as of `edit_photo`, as are the other arguments.
            strength: see there.
            box: see there.
            focus: see there.
            size: see there.
            seed: see there.
            mask: see there; the same for all pictures.
            part: see there.
            progress: called after each picture with the number of those that are done and that of all; None where
                `images` has no length.

        Raises:
            UserError: as `__call__`.
        """
        total = len(images) if isinstance(images, Sized) else None
        for done, image in enumerate(images, 1):
            edited = self(
                image, text, strength=strength, box=box, focus=focus, size=size, seed=seed, mask=mask, part=part
            )
            if progress is not None:
                progress(done, total)
            yield edited

    @torch.no_grad()
    def edit_photo(
        self,
        photo: Photo,
        text: str,
        *,
        strength: float = 1.0,
        box: str | Box | None = None,
        focus: bool = True,
        size: Size = "photo",
        seed: int | None = None,
        mask: Source | None = None,
        part: str | None = None,
        spare: bool = False,
    ) -> Photo:
        """Edit one photograph; of one over `LARGE` pixels a copy of `WORKING` pixels, whose change is carried back.

        Args:
            photo: from `tgim.images.photo.open_image`.
            text: a caption of the wanted result, or a phrase such as ``"red head and breast"``.
            strength: 0 returns the photograph as it was, 1 the full edit.
            box: ``(x, y, width, height)`` in pixels: edit this region alone, with a soft edge inside it.
            focus: without a box, look closer at a subject that fills little of the photograph (`find_subject`).
            size: ``"photo"`` for the photograph's own size, ``"model"`` for the model's raw output.
            seed: of models with noise; without one they use its mean. Equal calls give equal pictures.
            mask: a picture of any size: white may change, black stays bit-identical, gray blends. Where the edit
                changes nothing there, another subject say, the model looks at what the mask covers.
            part: a part of the subject, "head" say, that alone may change; of a model that finds parts.
            spare: `photo` is not needed any more: a large one may be overwritten, which halves the memory.

        Returns:
            The edited photograph; format, alpha and colour profile are the photograph's.

        Raises:
            TextError: the caption cannot be used.
            ImageError: the box does not fit, or the mask cannot be read or is black.
            UserError: `strength` or `size` is out of range, a part is not known or not in view.
        """
        check_asked(strength=strength, size=size, masked=mask is not None or part is not None)
        request = self._request([self.caption(text)], strength, size, seed)
        whole = photo.pixels[None].to(self.device)
        region = self.region(photo, box=box, focus=focus, size=size)
        localiser = self.model.part_localiser
        weight = chosen_weight(photo, mask=mask, part=part, localiser=localiser, box=region, model=self.model.name)
        if weight is None:
            return photo.with_pixels(self._edit(whole, request, region, spare=spare))
        return photo.with_pixels(
            self._edit_within(whole, request, region, weight, again=box is None and mask is not None)
        )

    def _edit(self, whole: Tensor, request: Request, region: Box | None, *, spare: bool = False) -> Tensor:
        """Edit a photograph (1, 3, H, W), or a region of it."""
        with self._turn:
            if not request.raw and whole.shape[-2] * whole.shape[-1] > LARGE:
                return self._edit_large(whole, request, region, spare=spare)
            if region is None:
                return self.model.edit_photo(whole, request)
            return self.model.edit_box(whole, request, region)

    def _edit_within(
        self, whole: Tensor, request: Request, region: Box | None, weight: Tensor, *, again: bool
    ) -> Tensor:
        """Edit where `weight` (H, W) allows it; `again`, what the mask covers, where the edit changes nothing there."""
        try:
            edited = blend(whole, self._edit(whole, request, region), weight)
        except SubjectError:
            if not again:
                raise
            edited = whole
        if again and request.strength > 0 and torch.equal(edited, whole):
            edited = blend(whole, self._edit(whole, request, extent(weight)), weight)
        return edited

    def _edit_large(self, whole: Tensor, request: Request, region: Box | None, *, spare: bool) -> Tensor:
        """Edit a small copy of a photograph (1, 3, H, W), or of what is around a region, and add the change to it."""
        height, width = whole.shape[-2:]
        left, top, w, h = region or (0, 0, width, height)
        x0, y0 = max(0, left - w // 4), max(0, top - h // 4)
        x1, y1 = min(width, left + w + w // 4), min(height, top + h + h // 4)
        shown = whole[..., y0:y1, x0:x1]
        scale = min(1.0, (WORKING / ((x1 - x0) * (y1 - y0))) ** 0.5)
        small = resize(shown, (max(1, round((y1 - y0) * scale)), max(1, round((x1 - x0) * scale))))
        if region is None:
            change = self.model.edit_photo(small, request) - small
        else:
            box = tuple(max(0, round(value * scale)) for value in (left - x0, top - y0, w, h))
            box_w, box_h = max(1, min(box[2], small.shape[-1] - box[0])), max(1, min(box[3], small.shape[-2] - box[1]))
            change = self.model.edit_box(small, request, (box[0], box[1], box_w, box_h)) - small
        result = whole if spare else whole.clone()
        add_enlarged(result[..., y0:y1, x0:x1], change, within=(left - x0, top - y0, w, h))
        return result

    def region(
        self, photo: Photo, *, box: str | Box | None = None, focus: bool = True, size: Size = "photo"
    ) -> Box | None:
        """Find the region that `edit_photo` edits, ``(x, y, width, height)`` in pixels; None for the whole photograph.

        Raises:
            ImageError: the box does not fit.
        """
        if box is not None:
            return parse_box(box, height=photo.height, width=photo.width)
        return self.find_subject(photo) if focus and size == "photo" else None

    @torch.no_grad()
    def edit_batch(self, pictures: Tensor, texts: Sequence[str], *, strength: float = 1.0) -> Tensor:
        """Edit pictures of one size, each by its own text, without a closer look at subjects and without warnings.

        Args:
            pictures: (B, 3, H, W) in [-1, 1].
            texts: B captions or phrases. A picture whose text has no known word stays as it is.
            strength: 0 returns the pictures as they were, 1 the full edit.

        Returns:
            (B, 3, H, W) in [-1, 1], on the CPU; pictures of the model's own size are its raw output.

        Raises:
            UserError: another number of texts than of pictures, or `strength` is out of range.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or len(texts) != len(pictures):
            raise UserError(
                f"edit_batch takes pictures (B, 3, H, W) and B texts, got {tuple(pictures.shape)} and {len(texts)}"
            )
        if not 0 <= strength <= 1:
            raise UserError(f"strength is {strength}, expected 0 to 1; 1 is the full edit, 0 none")
        known = [i for i, text in enumerate(texts) if self.knows(text)]
        edited = pictures.to("cpu", copy=True)
        if known:
            size: Size = "model" if set(pictures.shape[-2:]) == {self.model.image_size} else "photo"
            captions = [complete(texts[i], self.template) for i in known]
            request = self._request(captions, strength, size, None, skip=True)
            with self._turn:
                edited[known] = self.model.edit_photo(pictures[known].to(self.device), request).to(edited)
        return edited

    def knows(self, text: str) -> bool:
        """Test whether the vocabulary has at least one word of `text`."""
        return any(word in self.vocabulary for word in tokenize(text))

    @torch.no_grad()
    def find_subject(self, photo: Photo) -> Box | None:
        """Find the subject, with some room around it: ``(x, y, width, height)`` in pixels.

        None when it fills most of the photograph, when there is none, or when the model cannot tell
        (`Editing.subject`). Several subjects of like size share one box. The model looks twice, at the photograph and
        at what it found there, each time at the mirrored picture, too.
        """
        whole, side = photo.pixels[None].to(self.device), self.model.image_size

        def look(frame: Box) -> _Extent | None:
            x, y, w, h = frame
            small = resize(whole[..., y : y + h, x : x + w], (side, side))
            probability = self.model.subject(torch.cat([small, small.flip(-1)]))
            if probability is None:
                return None
            straight, mirrored = probability[:, 0]
            return _extent(((straight + mirrored.flip(-1)) / 2).cpu().numpy(), frame)

        first = look((0, 0, photo.width, photo.height))
        if first is None:
            return None
        closer = _with_room(first, LOOK, photo)
        box = _with_room(look(closer) or first, ROOM, photo) if min(closer[2:]) > 0 else closer
        small = max(box[2] / photo.width, box[3] / photo.height) < CLOSE_UP and min(box[2:]) > 0
        return box if small else None

    def caption(self, text: str) -> str:
        """The caption that is used for `text`, with warnings and errors as of `used_caption`, and the model's own."""
        caption = used_caption(text, self.vocabulary, self.template)
        for note in self.model.remarks(caption):
            notify(note, UnknownWordWarning, stacklevel=3)
        return caption

    def _request(
        self, captions: Sequence[str], strength: float, size: Size, seed: int | None, *, skip: bool = False
    ) -> Request:
        tokens = self.vocabulary.encode(captions).to(self.device)
        return Request(tuple(captions), tokens, strength=strength, seed=seed, raw=size == "model", skip=skip)


def check_asked(*, strength: float, size: str, masked: bool) -> None:
    """Check options of an edit; UserError where they are out of range, or a mask or part is of no use."""
    if not 0 <= strength <= 1:
        raise UserError(f"strength is {strength}, expected 0 to 1; 1 is the full edit, 0 none")
    if size not in ("photo", "model"):
        raise UserError(f"size is {size!r}, expected 'photo' (the photograph's own) or 'model' (the raw output)")
    if size == "model" and masked:
        raise UserError("a mask or part needs size 'photo': the raw output has no pixels of the photograph to keep")


def _extent(probability: NDArray[np.float32], frame: Box) -> _Extent | None:
    """Left, top, right and bottom, in the photograph's pixels, of subjects by probabilities (S, S) over a frame."""
    labels = measure.label(probability > MAYBE)  # type: ignore[no-untyped-call]
    sure = np.bincount(labels[probability > SURE], minlength=labels.max() + 1)
    found = measure.regionprops(labels)  # type: ignore[no-untyped-call]
    boxes = [region.bbox for region in found if sure[region.label] >= max(MINOR * sure.max(), 4)]
    if not boxes:
        return None
    (x, y, w, h), side = frame, len(probability)
    top, left, bottom, right = np.array(boxes).T
    return x + left.min() * w / side, y + top.min() * h / side, x + right.max() * w / side, y + bottom.max() * h / side


def _with_room(extent: _Extent, room: float, photo: Photo) -> Box:
    """A box around `extent`, larger on each side by `room` of its longer side, inside the photograph."""
    left, top, right, bottom = extent
    more = room * max(right - left, bottom - top)
    x0, x1 = (round(min(max(v, 0), photo.width)) for v in (left - more, right + more))
    y0, y1 = (round(min(max(v, 0), photo.height)) for v in (top - more, bottom + more))
    return x0, y0, x1 - x0, y1 - y0
