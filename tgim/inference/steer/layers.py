"""Layers of a generator: maps (B, C, h, w) that are read, or rewritten, on the way to its picture.

They are found by running the model once and looking at what its modules give. A layer is a block, a module made of
others, that gives a map; a container that only passes on what its last block gives is none. Of blocks in a row that
give maps of one shape the last is taken, so that there is a layer for each resolution and width. Pictures, maps of
three channels, are left out. A model without blocks has the modules themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tgim.errors import UserError, nearest
from tgim.inference.generator import Generator
from tgim.models.base import Codes, Generating, Localising, sample_noise
from tgim.nn.resize import resize

BATCH = 16  # pictures that are generated, and looked at, together
PICTURE = 3  # channels of what is no map any more
Rewrite = Callable[[Tensor, slice], Tensor]  # maps (B, C, h, w) of so many rows of the inputs -> maps of that shape


@dataclass(frozen=True)
class Layer:
    """Shape and place of the maps that a block gives."""

    name: str  # path of the module in the model
    channels: int  # C, its units
    height: int  # h
    width: int  # w

    def __str__(self) -> str:
        return f"{self.name} ({self.channels} units, {self.height}x{self.width})"


@dataclass(frozen=True, eq=False)
class Inputs:
    """N inputs of a generator: what `condition` gave, each tensor starting with N, and noise (N, Z)."""

    condition: Codes
    noise: Tensor

    def __len__(self) -> int:
        return len(self.noise)

    def rows(self, rows: slice | Tensor) -> Inputs:
        """Keep some rows."""
        return Inputs(tuple(code[rows] for code in self.condition), self.noise[rows])

    def batches(self) -> Iterator[tuple[slice, Inputs]]:
        """Yield a few rows at a time, and which they are."""
        for first in range(0, len(self), BATCH):
            rows = slice(first, min(first + BATCH, len(self)))
            yield rows, self.rows(rows)


@dataclass(frozen=True)
class _Call:
    """Output of a module in a forward pass."""

    name: str
    output: Tensor
    block: bool  # made of other modules

    def within(self, other: _Call) -> bool:
        return self.name.startswith(f"{other.name}.")


@torch.no_grad()
def draw_inputs(generator: Generator, texts: Sequence[str], *, n: int, seed: int) -> Inputs:
    """Draw `n` inputs by a seed: captions in turn, noise, and where the model has it, variation of the caption's code.

    Input i is the same whatever `n` is.

    Raises:
        TextError: a caption cannot be used.
        UserError: no caption for a model that reads, or `n` or `seed` out of range.
    """
    model = generator.model
    if not texts and model.reads:
        raise UserError("there is no caption to generate from; give one or more, e.g. 'a red bird'")
    generator.check(n=n, seed=seed, vary="noise")
    captions = [generator.caption(text) for text in texts] or [""]
    tokens = generator.vocabulary.encode(captions).to(generator.device)
    noise, variation = (each.to(generator.device) for each in sample_noise(model, n, seed=seed))
    rows = torch.arange(n, device=noise.device) % len(captions)
    some = variation if model.variation_size else None
    return Inputs(model.condition(tokens._replace(ids=tokens.ids[rows], mask=tokens.mask[rows]), variation=some), noise)


@torch.no_grad()
def find_layers(model: Generating, inputs: Inputs) -> tuple[Layer, ...]:
    """List the layers of `model` in the order in which they run, by generating one picture.

    Raises:
        UserError: none of its modules gives a map.
    """
    calls: list[_Call] = []

    def note(name: str, module: nn.Module) -> Callable[..., None]:
        block = next(module.children(), None) is not None
        return lambda _, __, output: calls.append(_Call(name, output, block)) if _is_map(output, rows=1) else None

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name:
                hooks.callback(module.register_forward_hook(note(name, module)).remove)
        one = inputs.rows(slice(1))
        model.generate_from(one.condition, one.noise)
    found = tuple(Layer(call.name, *call.output.shape[1:]) for call in _stages(calls))
    if not found:
        raise UserError(
            f"{model.name or type(model).__name__} has no layers that give maps, so there is nothing to see"
        )
    return found


def _is_map(output: object, *, rows: int) -> bool:
    if not isinstance(output, Tensor) or output.ndim != 4:
        return False
    return len(output) == rows and output.shape[1] != PICTURE and min(output.shape[2:]) > 1


def _stages(calls: Sequence[_Call]) -> list[_Call]:
    """Choose the layers among the calls of one forward pass, as the module's docstring says."""
    times = Counter(call.name for call in calls)
    once = [call for call in calls if times[call.name] == 1]
    blocks = [call for call in once if call.block] or once
    passing = {
        outer.name for outer in blocks if any(inner.within(outer) and inner.output is outer.output for inner in blocks)
    }
    own = [call for call in blocks if call.name not in passing]
    outermost = [call for call in own if not any(call.within(other) for other in own)]
    return [
        call
        for i, call in enumerate(outermost)
        if i + 1 == len(outermost) or outermost[i + 1].output.shape != call.output.shape
    ]


def pick_layers(layers: Sequence[Layer], names: Sequence[str]) -> tuple[Layer, ...]:
    """Keep the layers of these names, all where there are none; UserError for a name that is none of theirs."""
    known = {layer.name: layer for layer in layers}
    for name in names:
        if name not in known:
            raise UserError(f"layer {name!r} is unknown{nearest(name, list(known))} (there are: {', '.join(known)})")
    return tuple(layer for layer in layers if not names or layer.name in names)


@contextmanager
def reading(model: Generating, layers: Sequence[Layer]) -> Iterator[dict[str, Tensor]]:
    """Give a dict that after each forward pass has the maps (B, C, h, w) of `layers` by name, copied."""
    maps: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda _, __, output: maps.__setitem__(name, output.detach().float().clone())

    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(model.get_submodule(layer.name).register_forward_hook(keep(layer.name)).remove)
        yield maps


@contextmanager
def rewriting(model: Generating, rewrites: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Replace the maps of layers, by name, in each forward pass; what follows them sees the new ones."""

    def replace(rewrite: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
        return lambda _, __, output: rewrite(output).to(output.dtype)

    with ExitStack() as hooks:
        for name, rewrite in rewrites.items():
            hooks.callback(model.get_submodule(name).register_forward_hook(replace(rewrite)).remove)
        yield


@torch.no_grad()
def maps_of(
    model: Generating, inputs: Inputs, layers: Sequence[Layer]
) -> Iterator[tuple[slice, Tensor, dict[str, Tensor]]]:
    """Generate a few pictures at a time; yields their rows, pictures (B, 3, S, S) in [-1, 1], and maps by layer."""
    for rows, some in inputs.batches():
        with reading(model, layers) as maps:
            pictures = model.generate_from(some.condition, some.noise).float().clamp(-1, 1)
        yield rows, pictures, maps


@torch.no_grad()
def pictures_of(model: Generating, inputs: Inputs, rewrites: Mapping[str, Rewrite] | None = None) -> Tensor:
    """Generate pictures (N, 3, S, S) in [-1, 1], with the maps of some layers, by name, rewritten."""
    done = []
    for rows, some in inputs.batches():
        with rewriting(model, {name: _of_rows(rewrite, rows) for name, rewrite in (rewrites or {}).items()}):
            done.append(model.generate_from(some.condition, some.noise).float().clamp(-1, 1))
    return torch.cat(done)


def _of_rows(rewrite: Rewrite, rows: slice) -> Callable[[Tensor], Tensor]:
    return lambda maps: rewrite(maps, rows)


def switch(units: Sequence[int], values: Tensor | None = None, *, where: Tensor | None = None) -> Rewrite:
    """Make a rewrite that switches units off, or on.

    Args:
        units: channels.
        values: (U,) that they are set to; 0 unless given.
        where: (N, h, w) bool, the places of each of the N inputs; everywhere unless given.
    """
    chosen = torch.as_tensor(list(units), dtype=torch.long)

    def rewrite(maps: Tensor, rows: slice) -> Tensor:
        index = chosen.to(maps.device)
        new = torch.zeros_like(maps[:, index])
        if values is not None:
            new = new + values.to(maps)[:, None, None]
        if where is not None:
            new = torch.where(where[rows, None].to(maps.device), new, maps[:, index])
        result = maps.clone()
        result[:, index] = new
        return result

    return rewrite


def shift(direction: Tensor) -> Rewrite:
    """Make a rewrite that adds `direction` (C,) at every place."""
    return lambda maps, _: maps + direction.to(maps)[:, None, None]


@torch.no_grad()
def look_at(localiser: Localising, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Find the parts in pictures (N, 3, S, S) in [-1, 1] of any size, at the localiser's own.

    Returns:
        (N, s, s) uint8, the most probable part of each cell, 0 the background; and (N,) how sure the localiser is that
        there is a subject, 0 to 1, as `tgim.models.parsing.find_parts` scores its last look.
    """
    from tgim.models.parsing.part_maps import SPREAD_OUT, SURE

    labels, scores = [], []
    side = localiser.image_size
    for few in torch.split(pictures, BATCH):
        large = resize(few, (side, side)).contiguous(memory_format=torch.channels_last)
        maps, present = localiser.look(large)
        inside = 1 - maps[:, 0].flatten(1)
        sure = inside > SURE
        mean = (inside * sure).sum(1) / sure.sum(1).clamp(min=1)
        labels.append(maps.argmax(1).to(torch.uint8))
        scores.append(mean * present / (present + SPREAD_OUT))
    return torch.cat(labels), torch.cat(scores)
