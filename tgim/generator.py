"""Generator: what people hold of a model that draws. Captions go in, pictures come out, as many of each as are wanted.

A picture varies in two ways, each alone or both together: by its noise, which decides what no caption says, and by a
draw from the conditioning augmentation, which decides how the caption is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from PIL import Image
from torch import Tensor

from tgim import checkpoint
from tgim.checkpoint import Checkpoint
from tgim.editor import used_caption
from tgim.errors import CheckpointError, UserError
from tgim.images import Photo
from tgim.model import Codes, Editing, Generating

Vary = Literal["noise", "caption", "both"]
Progress = Callable[[int, int], None]  # pictures that are done, of how many
BATCH = 8  # pictures that are drawn together


class Generator:
    """Draws pictures of captions.

    ```python
    draw = Generator.from_pretrained("attngan.safetensors")
    first, *others = draw("a small red bird with black wings", n=4)  # PIL images
    pictures = draw.generate(["a red bird", "a blue bird"], n=8, vary="caption")  # (2, 8, 3, S, S)
    ```
    """

    def __init__(self, source: Checkpoint, *, device: str | torch.device = "cpu") -> None:
        if not isinstance(source.model, Generating):
            what = "edits pictures, take it for tgim edit" if isinstance(source.model, Editing) else "draws no pictures"
            raise CheckpointError(
                f"{source.model.name} {what}; to draw from captions alone, give the file of a model that tgim list "
                "calls a generator"
            )
        self.device = torch.device(device)
        self.model: Generating = source.model.to(self.device).eval()
        self.vocabulary, self.template, self.card = source.vocabulary, source.template, source.card

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, *, device: str = "cpu") -> Generator:
        """A generator from a checkpoint file; raises CheckpointError."""
        return cls(checkpoint.load(name_or_path, device=device), device=device)

    def __call__(self, text: str, *, n: int = 1, seed: int = 0, vary: Vary = "noise") -> list[Image.Image]:
        """Draw `n` pictures of one caption or phrase, as PIL images; options as in `generate`."""
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
        """Draw `n` pictures of each caption.

        Picture i of every caption is drawn from the same noise, so that rows can be compared; more pictures of the same
        seed begin with those of fewer.

        Args:
            texts: captions of the wanted pictures, or phrases such as ``"red head and breast"``.
            n: pictures of each.
            seed: of all that is drawn at random. Equal calls give equal pictures.
            vary: what differs between the pictures of a caption: ``"noise"`` (the caption is read at its mean),
                ``"caption"`` (its reading is drawn anew, the noise is that of the first picture), or ``"both"``.
            progress: told after each batch how many pictures are done, of how many.

        Returns:
            (T, n, 3, S, S) in [-1, 1], on the CPU; S is the model's image size.

        Raises:
            TextError: a caption cannot be used.
            UserError: no caption, an option out of range, or the model has no conditioning augmentation to draw from.
        """
        if isinstance(texts, str):
            texts = [texts]
        if not texts:
            raise UserError("there is no text; describe the wanted picture, e.g. 'a red bird with black wings'")
        self.check(n=n, seed=seed, vary=vary)
        captions = [self.caption(text) for text in texts]
        noise, variation = draws(self.model, n, seed=seed)
        if vary == "caption":
            noise = noise[:1].expand(n, -1)
        drawn: list[Tensor] = []
        for caption in captions:
            for start in range(0, n, BATCH):
                rows = slice(start, min(start + BATCH, n))
                own_noise = noise[rows].to(self.device)
                tokens = self.vocabulary.encode([caption] * len(own_noise)).to(self.device)
                own = None if vary == "noise" else variation[rows].to(self.device)
                drawn.append(self.model.generate(tokens, own_noise, variation=own).float().clamp(-1, 1).cpu())
                if progress is not None:
                    progress(sum(map(len, drawn)), len(captions) * n)
        pictures = torch.cat(drawn)
        return pictures.view(len(captions), n, *pictures.shape[1:])

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
        """What the model makes of captions, at the mean of the conditioning augmentation; each tensor starts with T."""
        return self.model.condition(self.vocabulary.encode([self.caption(text) for text in texts]).to(self.device))

    def caption(self, text: str) -> str:
        """The caption that is used for `text`, with warnings and errors as of `tgim.editor.used_caption`."""
        return used_caption(text, self.vocabulary, self.template)


def draws(model: Generating, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Noise (count, Z) and variation (count, V) of a seed, standard normal, drawn on the CPU.

    Row i is the same whatever `count` is; the global random numbers are left alone.
    """
    source = torch.Generator().manual_seed(seed)
    sizes = (model.noise_size, model.variation_size)
    rows = [[torch.randn(size, generator=source) for size in sizes] for _ in range(count)]
    noise, variation = (torch.stack(kind) for kind in zip(*rows, strict=True))
    return noise, variation
