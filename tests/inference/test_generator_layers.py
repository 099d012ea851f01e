"""Laws of layers: every generator has them at each resolution, reading changes nothing, rewriting what follows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from support.lights import squares
from support.small import CASES, model_of, noise_for
from support.small import VOCABULARY as WORDS
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.errors import UserError
from tgim.inference.generator import Generator
from tgim.inference.steer import layers as steer
from tgim.models.base import Generating

GENERATORS = [name for name, system in CASES.items() if issubclass(system, Generating)]
KNOWN = {  # name, units and side of each layer
    "gan_int_cls": [("generator.paint.2", 32, 4), ("generator.paint.4", 16, 8), ("generator.paint.5", 8, 16)],
    "stackgan1": [("generator.paint.0", 16, 4), ("generator.paint.1", 8, 8), ("generator.paint.2", 4, 16)],
    "stackgan_v2, one branch": [
        ("generator.start.0", 32, 4), ("generator.start.1", 16, 8), ("generator.start.2", 8, 16),
    ],
    "attngan": [
        ("generator.first.0", 16, 4), ("generator.first.1", 8, 8), ("generator.first.2", 4, 16),
        ("generator.refine.0.residual.0", 8, 16), ("generator.refine.0.up", 4, 32),
    ],
}  # fmt: skip


def drawn(name, n=3):
    generator = Generator(Checkpoint(model_of(name).eval(), WORDS, "{}"))
    texts = ["a small blue bird", "white belly"] if generator.model.reads else []
    return generator.model, steer.draw_inputs(generator, texts, n=n, seed=1)


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_has_layers_in_the_order_of_execution(name):
    model, inputs = drawn(name)
    found = steer.find_layers(model, inputs)
    assert len(found) >= 3
    assert len({layer.name for layer in found}) == len(found)
    assert {2**k for k in range(2, 10) if 4 <= 2**k <= model.image_size // 2} <= {layer.height for layer in found}
    told = []
    hooks = [
        model.get_submodule(layer.name).register_forward_hook(lambda *_, name=layer.name: told.append(name))
        for layer in found
    ]
    model.generate_from(inputs.condition, inputs.noise)
    for hook in hooks:
        hook.remove()
    assert told == [layer.name for layer in found]
    if name in KNOWN:
        assert [(layer.name, layer.channels, layer.height) for layer in found] == KNOWN[name]
        assert all(layer.height == layer.width for layer in found)


@pytest.mark.parametrize("name", GENERATORS)
@torch.no_grad()
def test_maps_are_read_and_rewritten_wherever_they_lie(name):
    model, inputs = drawn(name)
    found = steer.find_layers(model, inputs)
    plain = model.generate_from(inputs.condition, inputs.noise)
    for rows, pictures, maps in steer.maps_of(model, inputs, found):
        assert rows == slice(0, 3)
        assert torch.equal(pictures, plain)
        for layer in found:
            assert maps[layer.name].shape == (3, layer.channels, layer.height, layer.width)
    assert torch.equal(steer.pictures_of(model, inputs), plain)
    for layer in found:
        kept = {layer.name: lambda maps, rows: maps}
        assert torch.equal(steer.pictures_of(model, inputs, kept), plain)
        off = steer.pictures_of(model, inputs, {layer.name: steer.switch(range(layer.channels))})
        assert not torch.equal(off, plain), layer
    assert not any(module._forward_hooks for module in model.modules())


@torch.no_grad()
def test_switches_set_units_and_places_alone():
    maps = torch.randn(4, 5, 2, 2)
    where = torch.zeros(6, 2, 2, dtype=torch.bool)
    where[2:, 0, 1] = True
    rows = slice(1, 5)
    on = steer.switch([3, 0], torch.tensor([7.0, 9.0]), where=where)(maps, rows)
    expected = maps.clone()
    expected[1:, 3, 0, 1], expected[1:, 0, 0, 1] = 7, 9
    assert torch.equal(on, expected)
    off = steer.switch([1])(maps, rows)
    assert torch.equal(off[:, 1], torch.zeros(4, 2, 2))
    assert torch.equal(off[:, [0, 2, 3, 4]], maps[:, [0, 2, 3, 4]])
    moved = steer.shift(torch.arange(5.0))(maps, rows)
    assert torch.allclose(moved - maps, torch.arange(5.0)[:, None, None].expand(4, 5, 2, 2), atol=1e-6)


def test_inputs_are_the_captions_in_turn_and_begin_alike():
    model, more = drawn("attngan", n=5)
    _, few = drawn("attngan", n=2)
    assert torch.equal(more.noise[:2], few.noise)
    assert torch.allclose(more.condition[0][:2], few.condition[0], atol=1e-6)
    assert torch.equal(more.condition[1][0], more.condition[1][2])  # words of one caption
    assert not torch.equal(more.condition[1][0], more.condition[1][1])
    assert not torch.equal(more.condition[0][0], more.condition[0][2])  # its code varies
    assert not torch.equal(more.noise, noise_for(model, 5))


def test_a_block_is_taken_and_neither_its_inside_nor_what_only_holds_it():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = nn.Sequential(nn.Sequential(nn.Conv2d(4, 2, 1)), nn.Conv2d(2, 4, 1))

        def forward(self, x):
            return x + self.inside(x)

    generator = squares()
    generator.model.units = nn.Sequential(generator.model.units, nn.Sequential(Block(), Block()))
    inputs = steer.draw_inputs(generator, [], n=2, seed=0)
    assert [layer.name for layer in steer.find_layers(generator.model, inputs)] == ["units.1.1"]


def test_what_cannot_be_used_is_one_line():
    generator = squares()
    inputs = steer.draw_inputs(generator, [], n=2, seed=0)
    found = steer.find_layers(generator.model, inputs)
    assert steer.pick_layers(found, []) == found == steer.pick_layers(found, ["units"])
    with pytest.raises(UserError, match=r"layer 'unit' is unknown; .*units"):
        steer.pick_layers(found, ["unit"])
    generator.model.units = nn.Sequential(nn.Flatten(), nn.Linear(8, 48), nn.Unflatten(1, (3, 4, 4)))
    generator.model.paint = nn.Identity()
    with pytest.raises(UserError, match="no layers that give maps"):
        steer.find_layers(generator.model, inputs)
    reading = Generator(Checkpoint(model_of("attngan").eval(), WORDS, "{}"))
    with pytest.raises(UserError, match="there is no caption"):
        steer.draw_inputs(reading, [], n=2, seed=0)
