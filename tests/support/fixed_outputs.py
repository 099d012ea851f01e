"""What the embedded models make of synthetic pictures, and a record of it.

`cd tests; python -m support.fixed_outputs` records anew. Do so only where outputs are meant to change.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RECORD = Path(__file__).with_name("fixed_outputs.npz")
CAPTIONS = {
    "birds": ("this bird is white with a red head and black wings", "a yellow belly"),
    "flowers": ("this flower has purple petals", "a white flower with a yellow center"),
}
EDITORS = {
    **dict.fromkeys(("birds", "birds-1", "birds-2"), "birds"),
    **dict.fromkeys(("flowers", "flowers-1"), "flowers"),
}
GENERATOR, JUDGE = "attngan-birds", "judge-birds"
SIDES = (216, 288)  # pixels, height and width of the pictures that are edited
SHARE = 6  # a pixel of a thumbnail is the mean of a square of so many pixels


def sample(kind: str, *, seed: int = 0) -> NDArray[np.uint8]:
    """A synthetic picture (H, W, 3)."""
    from tgim.data.synthetic.pairs import sample_picture

    return sample_picture(kind, seed=seed, size=SIDES)


def edits(name: str) -> NDArray[np.uint8]:
    """Thumbnails (n, h, w, 3) of a picture edited by each caption."""
    from tgim import Editor

    edit, kind = Editor.from_pretrained(name), EDITORS[name]
    return np.stack([thumbnail(edit(sample(kind), text)) for text in CAPTIONS[kind]])


def generated() -> NDArray[np.uint8]:
    """Thumbnails (n, h, w, 3) of generated pictures, two of each caption."""
    from tgim import Generator

    generate = Generator.from_pretrained(GENERATOR)
    return np.stack([thumbnail(picture, 4) for text in CAPTIONS["birds"] for picture in generate(text, n=2, seed=1)])


def scores() -> NDArray[np.float32]:
    """Scores (pictures, captions) of three pictures against both captions."""
    from tgim.inference.ranking import rank

    return rank([sample("birds", seed=seed) for seed in range(3)], CAPTIONS["birds"], model=JUDGE).scores


def thumbnail(picture: Image.Image, share: int = SHARE) -> NDArray[np.uint8]:
    """A picture reduced by `share`."""
    return np.asarray(picture.convert("RGB").resize([side // share for side in picture.size], Image.Resampling.BOX))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    found = {name: edits(name) for name in EDITORS} | {GENERATOR: generated(), JUDGE: scores()}
    np.savez_compressed(RECORD, **found)
