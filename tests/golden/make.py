"""Record what TAGAN and SISGAN compute at tiny widths, for machines without the golden data of the releases.

Run `cd tests; python -m golden.make` after agreement with the releases was shown (pytest -m golden); it rewrites
tagan_small.safetensors and sisgan_small.safetensors. Weights follow from the authors' names, see release.py.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from golden import release
from tgim.conversion.editors import config_of, discriminator_names, generator_names, untrained
from tgim.conversion.files import load_part
from tgim.conversion.plan import seeded
from tgim.data.batch import Batch
from tgim.models.editing.sisgan import SISGAN
from tgim.models.editing.tagan import TAGAN
from tgim.text.vocabulary import pad

FOLDER = Path(__file__).parent
WORDS = 12
SIZES = {
    "tagan": {"image_size": 32, "width": 4, "word_size": 6, "text_size": 8, "condition_size": 5},
    "sisgan": {"image_size": 32, "width": 4, "word_size": 6, "text_size": 6, "condition_size": 5},
}


def small_shapes(system: str) -> dict[str, release.Shapes]:
    return release.tagan(4, 6, 8, 5, edge=1) if system == "tagan" else release.sisgan(4, 6, 5, edge=2)


def small_model(system: str, shapes: dict[str, release.Shapes] | None = None, **options: object) -> TAGAN | SISGAN:
    """A model with the weights of the rule, word vectors included; noise zero."""
    config = config_of(system, {**SIZES[system], "noise": 0.0, "word_vectors": "given.vec", **options})
    model = seeded(lambda: untrained(config, WORDS))
    shapes = shapes or small_shapes(system)
    for part, names in (("generator", generator_names(config)), ("discriminator", discriminator_names(config))):
        load_part(model, names, release.weights(shapes[part]), path="rule", what=f"{system} {part}")
    model.fill_words(release.weights({"words.weight": [WORDS, 6]})["words.weight"] * 2)
    if system == "sisgan":
        own = {f"text.{k}": list(v.shape) for k, v in model.text.state_dict().items() if "table" not in k}
        values = release.weights(own)
        for name, value in model.text.state_dict().items():
            if "table" not in name:
                value.copy_(values[f"text.{name}"])
    return model


def small_batch() -> Batch:
    image = torch.sin(torch.linspace(0, 60, 4 * 3 * 32 * 32)).reshape(4, 3, 32, 32)
    text = pad([[2, 3, 4], [5, 6, 7, 8, 9], [10, 11], [3, 9, 2, 5]])
    return Batch(image=image, text=text, labels=torch.arange(4))


def record(system: str) -> dict[str, Tensor]:
    """Edits in both modes, every loss of one step, the gradient norm of every network."""
    found: dict[str, Tensor] = {}
    batch = small_batch()
    for mode in ("eval", "train"):
        model = small_model(system).train(mode == "train")
        with torch.no_grad():
            found[f"{mode}.edit"] = model.edit(batch.image, batch.text)[:, :, ::2, ::2].contiguous()
    model = small_model(system).train()
    for network, terms in model.steps(batch):
        model.zero_grad()
        sum(terms.values()).backward()
        grads = [p.grad for p in getattr(model, network).parameters() if p.grad is not None]
        found[f"norm.{network}"] = torch.stack([g.double().square().sum() for g in grads]).sum().sqrt().float()
        found |= {f"loss.{network}.{name}": value.detach().float() for name, value in terms.items()}
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in SIZES:
        save_file(record(name), FOLDER / f"{name}_small.safetensors")
