"""Generator: generates pictures from captions, as many of each as are wanted.

A picture varies in two ways, each alone or both together: by its noise, which decides what no caption says, and by a
sample of the conditioning augmentation, which varies the code of the caption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from tgim.checkpoints import checkpoint
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.errors import CheckpointError, UserError
from tgim.images.photo import Photo
from tgim.inference.fast import Fast, Precision
from tgim.models.base import Codes, Editing, Generating, sample_noise
from tgim.text.understand import used_caption
from tgim.text.vocabulary import Tokens, tokenize

Vary = Literal["noise", "caption", "both"]
Progress = Callable[[int, int], None]  # pictures that are done, of how many
BATCH = 8  # pictures that are generated together


class Generator:
    """Generator of pictures from captions.

    ::

        generate = Generator.from_pretrained("attngan.safetensors")
        first, *others = generate("a small red bird with black wings", n=4)  # PIL images
        pictures = generate.generate(["a red bird", "a blue bird"], n=8, vary="caption")  # (2, 8, 3, S, S)
    """

    def __init__(
        self, source: Checkpoint, *, device: str | torch.device = "cpu", precision: Precision = "fp32"
    ) -> None:
        """`precision` as of `tgim.inference.fast.Fast`, by which pictures are made; `model` stays as it is."""
        if not isinstance(source.model, Generating):
            what = (
                "edits pictures, take it for tgim edit"
                if isinstance(source.model, Editing)
                else "generates no pictures"
            )
            raise CheckpointError(
                f"{source.model.name} {what}; to generate from captions alone, give the file of a model that tgim list "
                "calls a generator"
            )
        self.device = torch.device(device)
        self.model: Generating = source.model.to(self.device).eval()
        self.fast = Fast(self.model, precision=precision)
        self.vocabulary, self.template, self.card = source.vocabulary, source.template, source.card

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, *, device: str = "cpu", precision: Precision = "fp32"
    ) -> Generator:
        """A generator from a checkpoint file; raises CheckpointError, or UserError as `tgim.inference.fast.Fast`."""
        return cls(checkpoint.load(name_or_path, device=device), device=device, precision=precision)

    def __call__(self, text: str, *, n: int = 1, seed: int = 0, vary: Vary = "noise") -> list[Image.Image]:
        """Generate `n` pictures of one caption or phrase, as PIL images; options as in `generate`."""
        return [Photo(picture).to_pil() for picture in self.generate([text], n=n, seed=seed, vary=vary)[0]]

    @torch.no_grad()
    def generate(
        self,
        texts: Sequence[str],
        *,
        n: int = 1,
        seed: int = 0,
        vary: Vary = "noise",
        progress: Progress | None = None,
    ) -> Tensor:
        """Generate `n` pictures of each caption.

        Picture i of every caption has the same noise, so that rows can be compared; more pictures of a seed begin with
        those of fewer.

        Args:
            texts: captions of the wanted pictures, or phrases such as ``"red head and breast"``; none are needed by a
                model of noise alone (`Generating.reads` is False), for which they count as one.
            n: pictures of each.
            seed: of noise and variation. Equal calls give equal pictures.
            vary: what differs between the pictures of a caption: ``"noise"`` (the caption is read at its mean),
                ``"caption"`` (its code is sampled anew, the noise is that of the first picture), or ``"both"``.
            progress: told after each batch how many pictures are done, of how many.

        Returns:
            (T, n, 3, S, S) in [-1, 1], on the CPU; S is the model's image size.

        Raises:
            TextError: a caption cannot be used.
            UserError: no caption, an option out of range, or the model has no conditioning augmentation.
        """
        if isinstance(texts, str):
            texts = [texts]
        if not texts and not self.model.reads:
            texts = [""]
        if not texts:
            raise UserError("there is no text; describe the wanted picture, e.g. 'a red bird with black wings'")
        self.check(n=n, seed=seed, vary=vary)
        captions = [self.caption(text) for text in texts]
        done: list[Tensor] = []
        model = self.fast()
        for caption in captions:
            for tokens, noise, variation in self._inputs(caption, n=n, seed=seed, vary=vary):
                done.append(model.generate(tokens, noise, variation=variation).float().clamp(-1, 1).cpu())
                if progress is not None:
                    progress(sum(map(len, done)), len(captions) * n)
        pictures = torch.cat(done)
        return pictures.view(len(captions), n, *pictures.shape[1:])

    @torch.no_grad()
    def attention(self, text: str, *, n: int = 1, seed: int = 0, vary: Vary = "noise") -> tuple[list[str], Tensor]:
        """Compute the attention to each word of a caption in the pictures that `generate` makes of it.

        Args:
            text: caption or phrase.
            n: pictures.
            seed: as in `generate`.
            vary: as in `generate`.

        Returns:
            The T words that were read, and their weights (n, T, h, w) at the last stage, 1 in all over T at each place.

        Raises:
            TextError: the caption cannot be used.
            UserError: an option out of range, or a model without attention to words.
        """
        model = self.attentive()
        self.check(n=n, seed=seed, vary=vary)
        caption = self.caption(text)
        batches = self._inputs(caption, n=n, seed=seed, vary=vary)
        stages = [model.attention_maps(tokens, noise, variation=variation) for tokens, noise, variation in batches]
        if not stages[0]:
            raise UserError(f"this {self.model.name} has one stage, which attends to no words; it takes two scales")
        return tokenize(caption), torch.cat([maps[-1] for maps in stages]).float().cpu()

    def attentive(self) -> Generating:
        """The model, if it attends to words; UserError when it does not."""
        if not self.model.attends_to_words:
            raise UserError(f"{self.model.name} reads captions as a whole and attends to no words; attngan does")
        return self.model

    def _inputs(self, caption: str, *, n: int, seed: int, vary: Vary) -> Iterator[tuple[Tokens, Tensor, Tensor | None]]:
        """Tokens, noise and variation of `n` pictures of a caption, a few at a time, on the model's device."""
        noise, variation = sample_noise(self.model, n, seed=seed)
        if vary == "caption":
            noise = noise[:1].expand(n, -1)
        tokens = self.vocabulary.encode([caption] * min(n, BATCH)).to(self.device)
        for start in range(0, n, BATCH):
            own = noise[start : start + BATCH].to(self.device)
            few = Tokens(tokens.ids[: len(own)], tokens.mask[: len(own)])
            yield few, own, None if vary == "noise" else variation[start : start + BATCH].to(self.device)

    def check(self, *, n: int, seed: int, vary: str) -> None:
        """Refuse options of `generate` that cannot be used; UserError."""
        if n < 1:
            raise UserError(f"n is {n}, expected how many pictures of each caption, 1 or more")
        if not 0 <= seed < 2**63:
            raise UserError(f"seed is {seed}, expected a whole number from 0 to 2**63 - 1")
        if vary not in get_args(Vary):
            raise UserError(f"vary is {vary!r}, expected one of {', '.join(get_args(Vary))}")
        if vary != "noise" and self.model.variation_size == 0:
            raise UserError(f"{self.model.name} has no conditioning augmentation, so it can vary by noise alone")

    @torch.no_grad()
    def condition(self, texts: Sequence[str]) -> Codes:
        """Encode captions, at the mean of the conditioning augmentation; each tensor starts with T."""
        return self.model.condition(self.vocabulary.encode([self.caption(text) for text in texts]).to(self.device))

    def caption(self, text: str) -> str:
        """The caption that is used for `text`, with warnings and errors as of `tgim.text.understand.used_caption`.

        A model of noise alone takes any text, which changes nothing.
        """
        if not self.model.reads:
            return text
        return used_caption(text, self.vocabulary, self.template)
