"""Engines in torch: of any model that edits, and of any that matches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.errors import CheckpointError
from tgim.images.boxes import Box
from tgim.images.photo import as_array
from tgim.images.resample import Floats
from tgim.inference.embeddings import made_by
from tgim.inference.engines import Asked
from tgim.inference.fast import Fast, Precision
from tgim.inference.inversion import Inverter
from tgim.models.base import Codes, Editing, Generating, Localising, Matching, Request
from tgim.models.editing.painting.painter import Painter

EDITING = ("editor", "generator", "parsing")  # roles of models that an Editor can be made of


class TorchEngine:
    """A model that edits, a generator by a search for noise, or a part localiser by the painter's rules.

    Repainting editors make pictures by their folded equal, see `tgim.inference.fast`; `model` stays as it is.

    Raises:
        CheckpointError: it is none of these.
        UserError: as `tgim.inference.fast.Fast`.
    """

    def __init__(
        self, source: Checkpoint, *, device: str | torch.device = "cpu", precision: Precision = "fp32"
    ) -> None:
        model = source.model
        if isinstance(model, Generating):
            model = Inverter(model)
        elif isinstance(model, Localising):
            model = Painter(model)
            source = replace(source, vocabulary=model.vocabulary, template="{}")
        if not isinstance(model, Editing):
            known = [name for name in checkpoint.list_embedded() if checkpoint.read_header(name)["role"] in EDITING]
            raise CheckpointError(f"{source.model.name} does not edit pictures; choose one of: {', '.join(known)}")
        self.device, self.source = str(torch.device(device)), ""
        self.model: Editing = model.to(self.device).eval()
        self.fast = Fast(self.model, precision=precision)
        self.vocabulary, self.template, self.card = source.vocabulary, source.template, source.card
        self.takes_turns = model.text_to_image is not None

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def image_size(self) -> int:
        return self.model.image_size

    @property
    def finder(self) -> Localising | None:
        return self.model.part_localiser

    def remarks(self, caption: str) -> tuple[str, ...]:
        """List what of a caption the model leaves out or changes."""
        return self.model.remarks(caption)

    @torch.no_grad()
    def subject(self, pictures: Floats) -> Floats | None:
        """Probabilities (B, S, S) of the subject in pictures (B, 3, S, S)."""
        found = self.model.subject(self._tensor(pictures))
        return None if found is None else as_array(found[:, 0])

    @torch.no_grad()
    def edit_photo(self, photo: Floats, asked: Asked) -> Floats:
        """Edit a photograph (3, H, W)."""
        return as_array(self.fast().edit_photo(self._tensor(photo[None]), self._request([asked]))[0])

    @torch.no_grad()
    def edit_box(self, photo: Floats, asked: Asked, box: Box) -> Floats:
        """Edit a region of a photograph (3, H, W)."""
        return as_array(self.fast().edit_box(self._tensor(photo[None]), self._request([asked]), box)[0])

    @torch.no_grad()
    def edit_batch(self, pictures: Tensor, asked: Sequence[Asked]) -> Tensor:
        """Edit pictures (B, 3, H, W), each as asked; options are those of the first. Those without a subject stay."""
        request = replace(self._request(asked), skip=True)
        return self.fast().edit_photo(pictures.to(self.device), request)

    def _request(self, asked: Sequence[Asked]) -> Request:
        captions, first = tuple(each.caption for each in asked), asked[0]
        tokens = self.vocabulary.encode(captions).to(self.device)
        return Request(captions, tokens, strength=first.strength, seed=first.seed, raw=first.raw)

    def _tensor(self, pixels: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)


class TorchMatcher:
    """A matching model; see `tgim.inference.ranking.Matcher`.

    Raises:
        CheckpointError: it does not match.
    """

    def __init__(self, source: Checkpoint, *, device: str | torch.device = "cpu") -> None:
        if not isinstance(source.model, Matching):
            raise CheckpointError(f"{source.model.name} does not match pictures with captions")
        self.device, self.model = torch.device(device), source.model.to(torch.device(device)).eval()
        self.vocabulary, self.template = source.vocabulary, source.template
        self._shapes: list[torch.Size] = []  # of the codes of a picture

    @property
    def image_size(self) -> int:
        return self.model.image_size

    @torch.inference_mode()
    def read_captions(self, captions: Sequence[str]) -> Codes:
        """Read captions, as the vocabulary takes them."""
        return self.model.read_captions(self.vocabulary.encode(captions).to(self.device))

    @property
    def made_by(self) -> str:
        """The engine that computes, as far as the bits of a result depend on it."""
        device = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        return made_by("torch", torch.__version__, device, threads=torch.get_num_threads())

    @torch.inference_mode()
    def see(self, pictures: Floats) -> Floats:
        """Look at pictures (B, 3, S, S) in [-1, 1], each alone: the numbers of all codes, (B, L)."""
        shown = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device)
        return np.stack([self._see(each[None]) for each in shown])

    @torch.inference_mode()
    def scores(self, seen: Floats, captions: Codes) -> Floats:
        """Scores (B, N) of pictures that were seen, (B, L)."""
        parts = torch.split(torch.from_numpy(seen).to(self.device), [math.prod(shape) for shape in self._shapes], dim=1)
        codes = tuple(part.reshape(len(seen), *shape) for part, shape in zip(parts, self._shapes, strict=True))
        return as_array(self.model.scores(codes, captions).float())

    def _see(self, picture: Tensor) -> Floats:
        """Numbers (L,) of a picture (1, 3, S, S)."""
        codes = self.model.read_images(picture)
        self._shapes = [code.shape[1:] for code in codes]
        return as_array(torch.cat([code.float().flatten() for code in codes]))
