"""A world where the right edit is known: grey noise with a coloured square in its middle, captioned by the colour."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from tgim.data.synthetic.scenes import shade
from tgim.evaluation.baselines import Baseline
from tgim.evaluation.contenders import quantised
from tgim.models.base import Config, Matching
from tgim.text.vocabulary import Vocabulary, tokenize

WORDS = ("red", "orange", "yellow", "green", "blue", "purple")
COLOURS = 2 * torch.tensor([shade(word) for word in WORDS]) - 1  # 6, 3
VOCABULARY = Vocabulary(("a", "this", "is", "bird", *WORDS))
SIDE, SQUARE = 32, slice(12, 20)


def build(root, *, each=4, captions=2):
    """A `folder` data set with `each` pictures of each colour, which is their class."""
    source = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    records = []
    for word, colour in zip(WORDS, COLOURS.numpy(), strict=True):
        for i in range(each):
            pixels = np.repeat(source.uniform(-0.8, 0.8, (SIDE, SIDE, 1)), 3, 2)
            pixels[SQUARE, SQUARE] = colour
            name = f"{word}{i}.png"
            Image.fromarray(((pixels + 1) * 127.5).round().astype(np.uint8)).save(root / "images" / name)
            said = [f"a {word} bird", f"this is a {word} bird"][:captions]
            records.append({"file_name": name, "captions": said, "class": word})
    (root / "metadata.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return root


def hue(colours):
    """Directions (B, 3) of colours without their brightness; no direction for grey."""
    return F.normalize(colours - colours.mean(1, keepdim=True), dim=1)


class EyesConfig(Config):
    """Nothing to choose but whether it sees at all."""

    blind: bool = False


class Untrained(Matching):
    """A judge that knows what it knows by its code; a file holds a weight that nobody uses."""

    networks: ClassVar[tuple[str, ...]] = ("weight",)
    image_size = SIDE

    def __init__(self, config, *, vocabulary_size):
        super().__init__()
        self.config, self.weight = config, torch.nn.Linear(1, 1)


class Eyes(Untrained):
    """Judges the middle of a picture by its hue."""

    name: ClassVar[str] = "eyes"
    Config: ClassVar[type[Config]] = EyesConfig

    def embed_images(self, image):
        seen = hue(image[..., SQUARE, SQUARE].mean((2, 3)))
        return 0 * seen if self.config.blind else seen

    def embed_captions(self, text):
        first = VOCABULARY.ids(WORDS[0])[0]
        return hue(COLOURS)[(text.ids - first).clamp(min=0).amax(1)]


class Honest(Baseline):
    """Paints the square in the caption's colour and leaves the rest alone."""

    name = "honest"

    def edit(self, pictures, captions, rows, strength):
        edited = pictures.clone()
        for picture, caption in zip(edited, captions, strict=True):
            word = next(word for word in tokenize(caption) if word in WORDS)
            picture[:, SQUARE, SQUARE] = COLOURS[WORDS.index(word)][:, None, None]
        return quantised(edited)
