"""Converted at their real sizes, the authors' generators and discriminators compute what the releases compute.

Weights by the golden data's rule under the names of its lists, saved as the authors saved them, converted, loaded.
TAGAN has recorded outputs of its own, see `test_tagan`; losses are held in the test of each system.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from golden import attngan_release as attngan
from golden import release
from golden import stackgan_release as stackgan
from tgim.checkpoints import checkpoint
from tgim.conversion.convert import convert
from tgim.models.base import Model

MODES = pytest.mark.parametrize("batch", [False, True], ids=["eval", "train"])
pytestmark = pytest.mark.golden


def converted(folder: Path, system: str, prefix: str = "", **parts: str) -> tuple[Model, dict[str, dict]]:
    """Our model and the authors' weights; `parts` are files' names -> keys of the system's list."""
    listed = "stackgan" if system in ("stackgan1", "stackgan2") else system
    said = json.loads((Path(os.environ["TGIM_GOLDEN"]) / f"{listed}.json").read_text())
    states = {name: release.weights(said[key]) for name, key in parts.items()}
    for name, state in states.items():
        torch.save({prefix + key: value for key, value in state.items()}, folder / f"{name}.pth")
    options = {"discriminator": folder / "netD0.pth"}
    if "text" in states:
        words = folder / "words.txt"
        words.write_text("\n".join(["<end>", *(f"w{i}" for i in range(1, 500))]), encoding="utf-8")
        options |= {"text_encoder": folder / "text.pth", "words": words}
    return checkpoint.load(convert(system, folder / "netG.pth", folder / "ours.safetensors", **options)).model, states


def agree(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4


def drawn(*sizes: tuple[int, ...]) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(4)
    return [torch.randn(size, generator=source) for size in sizes]


@MODES
@pytest.mark.parametrize("stage", [1, 2])
@torch.no_grad()
def test_stackgan(tmp_path, stage, batch):
    parts = {"netG": f"stage{stage}.generator", "netD0": f"stage{stage}.discriminator"}
    model, states = converted(tmp_path, f"stackgan{stage}", **parts)
    model.train(batch)
    sentence, noise = drawn((3, 1024), (3, 100))
    expected, mean, log_var = (stackgan.run_stage1 if stage == 1 else stackgan.run_stage2)(
        states["netG"], sentence, noise, batch
    )
    first = (sentence, noise) if stage == 1 else (model.first(sentence, noise)[0], sentence)
    image, condition = model.generator(*first)
    for pair in ((image, expected), (condition.mean, mean), (condition.log_var, log_var)):
        agree(*pair)
    discriminator = model.discriminator
    joint, alone = stackgan.run_judge(states["netD0"], expected, mean, batch)
    agree(discriminator.match(discriminator.encode(expected), mean), joint)
    assert (alone is None) == (stage == 1)
    if alone is not None:
        agree(discriminator.alone(discriminator.encode(expected)), alone)


@MODES
@torch.no_grad()
def test_stackgan_v2(tmp_path, batch):
    parts = {"netG": "generator", **{f"netD{i}": f"discriminator{i}" for i in range(3)}}
    model, states = converted(tmp_path, "stackgan_v2", "module.", **parts)
    model.train(batch)
    sentence, noise = drawn((3, 1024), (3, 100))
    expected, mean, log_var = stackgan.run_tree(states["netG"], sentence, noise, batch)
    images, condition = model.generator(sentence, noise)
    for pair in (*zip(images, expected, strict=True), (condition.mean, mean), (condition.log_var, log_var)):
        agree(*pair)
    for i, discriminator in enumerate(model.discriminator):
        joint, alone = stackgan.run_tree_judge(states[f"netD{i}"], expected[i], mean, batch)
        agree(discriminator.match(discriminator.encode(expected[i]), mean), joint)
        agree(discriminator.alone(discriminator.encode(expected[i])), alone)


@MODES
@torch.no_grad()
def test_attngan(tmp_path, batch):
    parts = {"netG": "generator", "text": "text_encoder", **{f"netD{i}": f"discriminator{i}" for i in range(3)}}
    model, states = converted(tmp_path, "attngan", **parts)
    model.train(batch)
    words, sentence, noise = drawn((3, 7, 256), (3, 256), (3, 100))
    lengths = [7, 4, 5]
    present = (torch.arange(7)[None] < torch.tensor(lengths)[:, None]).float()
    images, maps, mean, log_var = attngan.generator(states["netG"], sentence, words, lengths, noise, batch)
    condition = model.generator.augment(sentence)
    found = model.generate_scales((condition.sample, words, present), noise)
    ours = (*found.images, *found.maps, condition.mean, condition.log_var)
    for pair in zip(ours, (*images, *maps, mean, log_var), strict=True):
        agree(*pair)
    for i, discriminator in enumerate(model.discriminator):
        seen = discriminator.encode(images[i])
        answers = (
            discriminator.alone(seen),
            discriminator.match(seen, sentence),
            discriminator.match(seen[:-1], sentence[1:]),
        )
        for pair in zip(answers, attngan.judge(states[f"netD{i}"], images[i], sentence, batch), strict=True):
            agree(*pair)
