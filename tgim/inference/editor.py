"""Editor: edits a picture by a caption of the wanted result, at the picture's own size."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint, EmbeddedName
from tgim.errors import SubjectError, UserError
from tgim.images.boxes import Box, parse_box
from tgim.images.photo import Photo, Source, open_to_edit
from tgim.images.resample import Floats, add_enlarged, resize
from tgim.inference.engines import Asked, Engine, Engines, check_engine
from tgim.inference.masking import blend, chosen_weight, extent
from tgim.inference.subject import find_subject
from tgim.system.notices import notify
from tgim.text.understand import UnknownWordWarning, used_caption
from tgim.text.vocabulary import Vocabulary, complete

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tgim.inference.fast import Precision
    from tgim.inference.torch_engine import TorchEngine
    from tgim.models.base import Editing

EDITING = ("editor", "generator", "parsing")  # roles of models that an Editor can be made of
Size = Literal["photo", "model"]
LARGE, WORKING = 25_000_000, 12_000_000  # pixels: larger photographs are edited on a copy of so many


def load(name_or_path: str | Path, *, device: str = "cpu") -> Checkpoint:
    """Load any tgim checkpoint, embedded (``"birds"``) or from a file; raises CheckpointError."""
    return checkpoint.load(name_or_path, device=device)


def list_models() -> tuple[EmbeddedName, ...]:
    """Names of the checkpoints that come with the package; each has `role`, `description` and `licence`, too."""
    return tuple(map(EmbeddedName, checkpoint.list_embedded()))


def open_editor(
    name_or_path: str | Path,
    *,
    device: str = "cpu",
    invert_steps: int | None = None,
    progress: bool = False,
    engine: Engines = "auto",
    precision: Precision = "fp32",
) -> Editor:
    """Open a checkpoint as an editor of photographs.

    Args:
        name_or_path: embedded ("birds"), or a file.
        device: "cpu" or "cuda".
        invert_steps: of the search for a photograph's noise; None for the model's own.
        progress: show a bar while it searches.
        engine: "onnx" runs embedded models that have a graph, on the CPU and without torch; "torch" runs all; "auto"
            takes the first where it can. Their edits differ by one level of 255 at the most, in few pixels.
        precision: "bf16" takes about 0.6 of the time of editors that repaint, on a processor that computes with it, and
            rounds: about a quarter of the values of an edit move by a level of 255, very few by two.

    Raises:
        UserError: it does not edit, `invert_steps` are given and it does not search, or the engine cannot run it, or
            not in that precision.
    """
    light = _without_torch(name_or_path, device, engine, precision) if invert_steps is None else None
    if light is not None:
        return Editor(light)
    from tgim.inference.inversion import Inverter

    source = checkpoint.load(name_or_path, device=device)
    inverter = Inverter.of(source.model, steps=invert_steps, progress=progress)
    if inverter is None and invert_steps is not None:
        raise UserError(f"{name_or_path} ({source.name}) edits photographs without a search; leave out --invert-steps")
    return Editor(in_torch(source if inverter is None else replace(source, model=inverter), device, precision))


class Editor:
    """Edits pictures by a caption of the wanted result; several threads may use one editor.

    >>> edit = Editor.from_pretrained("birds")
    >>> from tgim.data.synthetic.pairs import sample_picture
    >>> edit(sample_picture("birds", size=(120, 180)), "a small yellow bird with a white belly").size
    (180, 120)
    """

    def __init__(self, source: Checkpoint | Engine, *, device: str | torch.device = "cpu") -> None:
        self.engine = in_torch(source, device) if isinstance(source, Checkpoint) else source
        self._turn = threading.Lock() if self.engine.takes_turns else nullcontext()
        self._loading = threading.Lock()
        self._torch: TorchEngine | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """Words that the model reads."""
        return self.engine.vocabulary

    @property
    def template(self) -> str:
        """Sentence that completes a phrase."""
        return self.engine.template

    @property
    def card(self) -> Mapping[str, Any]:
        """Description of the checkpoint, by itself."""
        return self.engine.card

    @property
    def device(self) -> str:
        """Device on which edits are computed, "cpu" or "cuda"."""
        return self.engine.device

    @property
    def model(self) -> Editing:
        """The model in torch, which is loaded now where another engine runs it."""
        return self._in_torch().model

    def _in_torch(self) -> TorchEngine:
        from tgim.inference.torch_engine import TorchEngine

        with self._loading:
            if self._torch is None:
                own = self.engine
                self._torch = own if isinstance(own, TorchEngine) else TorchEngine(checkpoint.load(own.source))
            return self._torch

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "birds",
        *,
        device: str = "cpu",
        engine: Engines = "auto",
        precision: Precision = "fp32",
    ) -> Editor:
        """An editor from an embedded checkpoint's name or a checkpoint file; arguments and errors as `open_editor`."""
        light = _without_torch(name_or_path, device, engine, precision)
        return cls(light or in_torch(checkpoint.load(name_or_path, device=device), device, precision))

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
            belongs to the picture (16 bits, density) is kept by `edit_photo` and `tgim.images.photo.save_image`. Pillow
            saves JPEG at quality 75 unless told: ``save("out.jpg", quality=95, subsampling="4:4:4")`` is what
            `tgim edit` writes.

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
            spare: `photo` is not needed any more and may be overwritten, which spares memory.

        Returns:
            The edited photograph; format, alpha and colour profile are the photograph's.

        Raises:
            TextError: the caption cannot be used.
            ImageError: the box does not fit, or the mask cannot be read or is black.
            UserError: `strength` or `size` is out of range, a part is not known or not in view.
        """
        check_asked(strength=strength, size=size, masked=mask is not None or part is not None)
        asked = Asked(self.caption(text), strength, seed, size == "model")
        region = self.region(photo, box=box, focus=focus, size=size)
        weight = chosen_weight(
            photo, mask=mask, part=part, finder=self.engine.finder, box=region, model=self.engine.name
        )
        if weight is None:
            return photo.with_pixels(self._edit(photo.pixels, asked, region, spare=spare))
        again = box is None and mask is not None
        return photo.with_pixels(self._edit_within(photo.pixels, asked, region, weight, again=again))

    def _edit(self, whole: Floats, asked: Asked, region: Box | None, *, spare: bool = False) -> Floats:
        """Edit a photograph (3, H, W), or a region of it."""
        with self._turn:
            if not asked.raw and whole.shape[-2] * whole.shape[-1] > LARGE:
                return self._edit_large(whole, asked, region, spare=spare)
            asked = replace(asked, spare=spare)
            if region is None:
                return self.engine.edit_photo(whole, asked)
            return self.engine.edit_box(whole, asked, region)

    def _edit_within(self, whole: Floats, asked: Asked, region: Box | None, weight: Floats, *, again: bool) -> Floats:
        """Edit where `weight` (H, W) allows it; `again`, what the mask covers, where the edit changes nothing there."""
        try:
            edited = blend(whole, self._edit(whole, asked, region), weight)
        except SubjectError:
            if not again:
                raise
            edited = whole
        if again and asked.strength > 0 and np.array_equal(edited, whole):
            edited = blend(whole, self._edit(whole, asked, extent(weight)), weight)
        return edited

    def _edit_large(self, whole: Floats, asked: Asked, region: Box | None, *, spare: bool) -> Floats:
        """Edit a small copy of a photograph (3, H, W), or of what is around a region, and add the change to it."""
        height, width = whole.shape[-2:]
        left, top, w, h = region or (0, 0, width, height)
        x0, y0 = max(0, left - w // 4), max(0, top - h // 4)
        x1, y1 = min(width, left + w + w // 4), min(height, top + h + h // 4)
        scale = min(1.0, (WORKING / ((x1 - x0) * (y1 - y0))) ** 0.5)
        size = max(1, round((y1 - y0) * scale)), max(1, round((x1 - x0) * scale))
        small = resize(whole[:, y0:y1, x0:x1], size)
        if region is None:
            change = self.engine.edit_photo(small, asked) - small
        else:
            box = tuple(max(0, round(value * scale)) for value in (left - x0, top - y0, w, h))
            box_w, box_h = max(1, min(box[2], small.shape[-1] - box[0])), max(1, min(box[3], small.shape[-2] - box[1]))
            change = self.engine.edit_box(small, asked, (box[0], box[1], box_w, box_h)) - small
        result = whole if spare else whole.copy()
        add_enlarged(result[:, y0:y1, x0:x1], change, within=(left - x0, top - y0, w, h))
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
        model = self.model
        known = [i for i, text in enumerate(texts) if self.knows(text)]
        edited = pictures.to("cpu", copy=True)
        if known:
            raw = set(pictures.shape[-2:]) == {model.image_size}
            asked = [Asked(complete(texts[i], self.template), strength, None, raw) for i in known]
            with self._turn:
                edited[known] = self._in_torch().edit_batch(pictures[known], asked).to(edited)
        return edited

    def knows(self, text: str) -> bool:
        """Test whether the model reads anything of `text`: a word, or a character."""
        return self.vocabulary.knows(text)

    def find_subject(self, photo: Photo) -> Box | None:
        """Find the subject, with some room around it: ``(x, y, width, height)`` in pixels.

        None when it fills most of the photograph, when there is none, or when the model cannot tell
        (`Editing.subject`). Several subjects of like size share one box. The model looks twice, at the photograph and
        at what it found there, each time at the mirrored picture, too.
        """
        return find_subject(photo, self.engine)

    def caption(self, text: str) -> str:
        """The caption that is used for `text`, with warnings and errors as of `used_caption`, and the model's own."""
        caption = used_caption(text, self.vocabulary, self.template)
        for note in self.engine.remarks(caption):
            notify(note, UnknownWordWarning, stacklevel=3)
        return caption


def _without_torch(name_or_path: str | Path, device: str, engine: Engines, precision: str) -> Engine | None:
    """Open an embedded model by onnxruntime, where that is asked for or can be done; None otherwise."""
    check_engine(engine)
    if engine == "torch" or precision != "fp32":
        return None
    from tgim.inference.onnx_engine import EDITING as KINDS
    from tgim.inference.onnx_engine import has_graph, open_engine

    found = engine == "onnx" or (str(device) == "cpu" and has_graph(name_or_path, KINDS))
    return open_engine(name_or_path) if found else None


def in_torch(source: Checkpoint, device: str | torch.device, precision: Precision = "fp32") -> Engine:
    """The engine of any checkpoint that edits; errors as `tgim.inference.torch_engine.TorchEngine`."""
    from tgim.inference.torch_engine import TorchEngine

    return TorchEngine(source, device=device, precision=precision)


def check_asked(*, strength: float, size: str, masked: bool) -> None:
    """Check options of an edit; UserError where they are out of range, or a mask or part is of no use."""
    if not 0 <= strength <= 1:
        raise UserError(f"strength is {strength}, expected 0 to 1; 1 is the full edit, 0 none")
    if size not in ("photo", "model"):
        raise UserError(f"size is {size!r}, expected 'photo' (the photograph's own) or 'model' (the raw output)")
    if size == "model" and masked:
        raise UserError("a mask or part needs size 'photo': the raw output has no pixels of the photograph to keep")
