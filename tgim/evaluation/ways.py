"""Ways to invert photographs, each a contender of `inversion@1`: an encoder, a search, both, or random noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tgim.errors import UserError
from tgim.evaluation.contenders import ModelContender, generator_in, quantised
from tgim.evaluation.records import Kind, Options
from tgim.images.photo import Photo
from tgim.inference.inversion import Inverter
from tgim.models.base import Codes, sample_noise
from tgim.nn.resize import resize
from tgim.text.vocabulary import complete

STEPS = 100  # of a search, at most: those of the release of Zhu et al.


class Way:
    """A way to invert photographs into the generator of a model; a contender of its own.

    Args:
        model: a text-to-image model, or one with an encoder.
        suffix: of the name in the tables, "+search".
        inverter: finds the noise; None for random noise.
    """

    kind: Kind = "model"
    replaces = False
    has_strength = False

    def __init__(self, model: ModelContender, suffix: str, inverter: Inverter | None) -> None:
        generator = generator_in(model.editor)
        if generator is None:
            raise UserError(f"{model.name} has no text-to-image model to invert into; leave it out")
        self.name, self.checkpoint = model.name + suffix, model.checkpoint
        self.editor, self.generator, self.inverter = model.editor, generator, inverter

    @property
    def options(self) -> Options:
        """Steps of the search, where there is one."""
        return {"steps": self.inverter.most_steps} if self.inverter is not None and self.inverter.most_steps else {}

    def noise(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], *, seed: int = 0) -> Tensor:
        """Find the noise (B, Z) of pictures under their own captions.

        Args:
            pictures: (B, 3, S, S) in [-1, 1] of any size.
            captions: B captions of them.
            rows: B numbers; of those and the seed alone depends what is random.
            seed: of random noise.
        """
        if self.inverter is None:
            return sample_noise(self.generator, max(rows) + 1, seed=seed)[0][list(rows)]
        side = self.generator.image_size
        shown = resize(pictures, (side, side)).to(self.editor.device)
        return self.inverter.invert(shown, self.condition(captions)).noise.float().cpu()

    @torch.no_grad()
    def pictures(self, noise: Tensor, captions: Sequence[str]) -> Tensor:
        """Generate pictures (B, 3, S, S) of noise (B, Z) and captions, on the 256 levels."""
        made = self.generator.generate_from(self.condition(captions), noise.to(self.editor.device))
        return quantised(made.float().clamp(-1, 1).cpu())

    @torch.no_grad()
    def condition(self, captions: Sequence[str]) -> Codes:
        """Encode captions, or phrases, for the generator."""
        texts = [complete(caption, self.editor.template) for caption in captions]
        return self.generator.condition(self.editor.vocabulary.encode(texts).to(self.editor.device))

    def edit(self, pictures: Tensor, captions: Sequence[str], rows: Sequence[int], strength: float) -> Tensor:
        """Edit as one who knows no own captions: the noise is found under `captions`; see `Contender.edit`."""
        return self.pictures(self.noise(pictures, captions, rows), captions)

    def edit_photo(self, photo: Photo, text: str) -> Photo:
        """The full edit of one photograph, by the model itself."""
        return self.editor.edit_photo(photo, text)


def ways(model: Any) -> Sequence[Way]:
    """Contenders of a model: its ways to invert.

    Raises:
        UserError: it has none.
    """
    own: Inverter | None = Inverter.of(model.editor.model)
    if own is None:
        raise UserError(
            f"{model.name} edits photographs without inverting them; inversion@1 is for text-to-image models and "
            "their encoders: leave out the protocol, or the model"
        )
    if own.encoder is None:
        bare = own.generator
        return Way(model, "+random", None), Way(model, "+search", Inverter.of(bare, steps=STEPS))
    alone, search = (Inverter.of(model.editor.model, steps=steps) for steps in (0, STEPS))
    return Way(model, "", alone), Way(model, "+search", search)
