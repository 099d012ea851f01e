"""The style encoder: it finds the noise of drawn pictures, goes with any generator, and carries it along."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.testing import assert_close

from support.small import SYSTEMS, VOCABULARY, batch_of, model_of, train
from tgim.checkpoints import checkpoint, registry
from tgim.data.batch import Batch
from tgim.errors import CheckpointError
from tgim.inference.editor import Editor
from tgim.models.base import Codes, Config, Generating, Terms
from tgim.models.editing.style_encoder import StyleEncoder
from tgim.text.vocabulary import Tokens

GENERATORS = [name for name, system in SYSTEMS.items() if issubclass(system, Generating)]


class DrawerConfig(Config):
    image_size: int = 32


class Drawer(Generating):
    """A generator of one linear layer: noise, variation and words, side by side."""

    name: ClassVar[str] = "drawer"
    Config: ClassVar[type[Config]] = DrawerConfig
    networks: ClassVar[tuple[str, ...]] = ("generator", "discriminator")

    def __init__(self, config: DrawerConfig, *, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(vocabulary_size, 4)
        self.generator = nn.Linear(3 + 2 + 4, 3 * config.image_size**2)
        self.discriminator = nn.Linear(1, 1)

    noise_size, variation_size = 3, 2

    def condition(self, text: Tokens, *, variation: Tensor | None = None) -> Codes:
        said = (self.words(text.ids) * text.mask[..., None]).sum(1)
        return said, said.new_zeros(len(said), 2) if variation is None else variation

    def generate_from(self, condition: Codes, noise: Tensor) -> Tensor:
        pixels = torch.tanh(self.generator(torch.cat([noise, *condition], 1)))
        return pixels.view(-1, 3, self.config.image_size, self.config.image_size)

    def steps(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        raise AssertionError("trained")  # no test here trains it


@pytest.fixture
def drawer(monkeypatch) -> StyleEncoder:
    """A style encoder of the linear generator, untrained."""
    monkeypatch.setitem(registry.SYSTEMS, "drawer", Drawer)
    torch.manual_seed(0)
    return StyleEncoder(StyleEncoder.Config(system="drawer", width=8), vocabulary_size=len(VOCABULARY)).train()


def build(path, **options) -> StyleEncoder:
    config = StyleEncoder.Config(generator=str(path), width=4, **options)
    vocabulary = StyleEncoder.vocabulary_for(config)
    assert vocabulary.words == VOCABULARY.words
    torch.manual_seed(0)
    model = StyleEncoder(config, vocabulary_size=len(vocabulary))
    model.load_parts()
    return model.train()


@pytest.mark.slow
def test_noise_is_learned_from_drawn_pictures(drawer):
    text = batch_of(count=4).text
    batch = Batch(torch.zeros(32, 3, 32, 32), text[torch.arange(32) % 4], torch.arange(32))
    optimizer, losses = torch.optim.Adam(drawer.encoder.parameters(), 2e-3), []
    torch.manual_seed(1)
    for _ in range(60):
        [(network, terms)] = drawer.steps(batch)
        assert network == "encoder"
        optimizer.zero_grad()
        terms["noise"].backward()
        optimizer.step()
        losses.append(terms["noise"].item())
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5]), losses  # knowing nothing is an error of 1
    assert sum(losses[-5:]) < 0.4 * 5


def test_the_loss_is_the_mean_squared_error_of_the_noise(drawer, monkeypatch):
    seen = []
    generate = drawer.generator.generate

    def spy(text, noise, *, variation=None):
        seen.append((text, noise, variation))
        return generate(text, noise, variation=variation)

    monkeypatch.setattr(drawer.generator, "generate", spy)
    batch = batch_of()
    [(_, terms)] = drawer.steps(batch)
    [(text, noise, variation)] = seen
    assert torch.equal(text.ids, batch.text.ids)
    assert (noise.shape, variation.shape) == ((4, 3), (4, 2))
    found = drawer.encoder(generate(text, noise, variation=variation))
    assert_close(terms["noise"], ((found - noise) ** 2).sum() / 12)


@torch.no_grad()
def test_an_edit_draws_the_new_caption_from_the_noise_of_the_picture(drawer, monkeypatch):
    text, noise = batch_of().text, torch.randn(4, 3)
    drawn = drawer.generator.generate(text, noise)
    drawer.eval()
    assert_close(drawer.edit(drawn, text), drawer.generator.generate(text, drawer.encoder(drawn)))
    monkeypatch.setattr(drawer.encoder, "forward", lambda _: noise)  # one that has nothing left to learn
    assert torch.equal(drawer.edit(drawn, text), drawn)
    assert torch.equal(drawer.edit(drawn, text.roll()), drawer.generator.generate(text.roll(), noise))


@torch.no_grad()
def test_a_seed_draws_the_variation(drawer):
    drawer.eval()
    batch = batch_of()
    plain, one, again, two = (drawer.edit(batch.image, batch.text, seed=seed) for seed in (None, 1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
    assert not torch.equal(one, plain)


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_any_generator_is_taken_stays_as_it_is_and_travels(name, tmp_path):
    source = model_of(name).eval()
    file = checkpoint.save(tmp_path / "generator.safetensors", source, vocabulary=VOCABULARY)
    model, batch = build(file), batch_of(source.image_size)
    assert model.image_size == source.image_size
    own = {f"generator.{key}": value.clone() for key, value in source.state_dict().items()}
    train(model, batch, steps=2)
    state = model.state_dict()
    assert state.keys() & own.keys()
    for key in state.keys() - {key for key in state if key.startswith("encoder.")}:
        assert torch.equal(state[key], own[key]), key
    assert not any(module.training for module in model.generator.modules())
    assert not any(key.startswith("generator.discriminator") for key in state)

    saved = checkpoint.save(tmp_path / "style.safetensors", model.eval(), vocabulary=VOCABULARY)
    file.unlink()
    loaded = checkpoint.load(saved).model
    with torch.no_grad():
        edited = loaded.edit(batch.image, batch.text)
        noise = model.encoder(batch.image)
        assert edited.shape == batch.image.shape
        assert_close(edited, source.generate(batch.text, noise))
    assert loaded.config == model.config


@pytest.mark.slow
def test_people_edit_with_it(tmp_path):
    file = checkpoint.save(tmp_path / "g.safetensors", model_of("gan_int_cls").eval(), vocabulary=VOCABULARY)
    style = checkpoint.save(tmp_path / "style.safetensors", build(file).eval(), vocabulary=VOCABULARY)
    assert Editor.from_pretrained(style)(Image.new("RGB", (50, 40), "gray"), "a small blue bird").size == (50, 40)


def test_what_draws_nothing_is_refused():
    for system in ("nonsense", "vse"):
        with pytest.raises(CheckpointError, match=system):
            StyleEncoder(StyleEncoder.Config(system=system), vocabulary_size=9)


@pytest.mark.slow
@pytest.mark.parametrize("side", [32, 64, 128])
def test_any_size(side):
    model = model_of("style_encoder", sizes={"image_size": side, "width": 2, "noise_size": 5, "word_size": 3})
    [(_, terms)] = model.steps(batch_of(side, 2))
    assert terms["noise"].isfinite()
    assert model.encoder(torch.zeros(2, 3, side, side)).shape == (2, 5)
