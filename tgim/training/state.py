"""State from which a training run is resumed exactly: weights, averages, moments of the optimisers, and the step.

Random numbers are not stored: every step is seeded by the recipe's seed and its number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from tgim.checkpoints import checkpoint
from tgim.errors import CheckpointError
from tgim.models.base import Model

FORMAT = 1
KEY = "tgim_state"
RUNNING = ("running_mean", "running_var")  # statistics that are averaged like weights; other buffers are copied


class Averages:
    """Exponential moving averages of some networks of a model, their buffers included.

    Running statistics are averaged like weights; counters and the vectors of power iterations are copied.
    Early on the decay is lower, (1 + step) / (10 + step), so that the first weights count little in a short run.
    """

    def __init__(self, model: Model, *, decay: float) -> None:
        self.decay = decay
        self.tensors: dict[str, Tensor] = {}
        self._live: dict[str, Tensor] = {}
        for network in model.averaged if decay else ():
            for name, value in getattr(model, network).state_dict(prefix=f"{network}.").items():
                self._live[name] = value
                self.tensors[name] = value.clone()
        smooth = {name for name, _ in model.named_parameters()}
        smooth |= {name for name in self._live if name.rsplit(".", 1)[-1] in RUNNING}
        self._smooth = [name for name in self._live if name in smooth and self._live[name].is_floating_point()]
        self._copied = sorted(self._live.keys() - set(self._smooth))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after step `step` (1, 2, ...) to the averages."""
        if self._smooth:
            average = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))  # type: ignore[no-untyped-call]
            average([self.tensors[n] for n in self._smooth], [self._live[n] for n in self._smooth], step)
        for name in self._copied:
            self.tensors[name].copy_(self._live[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the model its averaged weights within the block, and afterwards those that it had before."""
        before = {name: value.clone() for name, value in self._live.items()}
        self._set(self.tensors)
        try:
            yield
        finally:
            self._set(before)

    @torch.no_grad()
    def _set(self, tensors: Mapping[str, Tensor]) -> None:
        for name, value in self._live.items():
            value.copy_(tensors[name])


def save(
    path: Path, model: Model, *, averages: Averages, optimizers: Mapping[str, Optimizer], notes: Mapping[str, Any]
) -> Path:
    """Write the state of a run; `notes` (JSON values) hold the step, the recipe and so on."""
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average/{name}": value for name, value in averages.tensors.items()}
    for network, optimizer in optimizers.items():
        for name, parameter in _trained(model, network):
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{network}/{name}/{key}"] = value
    return checkpoint.write(path, tensors, {KEY: {"format": FORMAT, **notes}})


def read_notes(path: Path) -> dict[str, Any]:
    """Read the notes of a state file.

    Raises:
        CheckpointError: it is missing, truncated, or no state file.
    """
    _, metadata = checkpoint.read_metadata(path)
    try:
        notes: dict[str, Any] = json.loads(metadata[KEY])
        newer = notes["format"] > FORMAT
        if not newer and not {"step", "seconds", "given", "recipe", "config", "vocabulary"} <= notes.keys():
            raise KeyError(KEY)
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(
            f"{path} is not the state of a training run; expected one written by tgim train"
        ) from None
    if newer:
        raise CheckpointError(f"{path} was written by a newer tgim; upgrade tgim to go on with this run")
    return notes


def restore(path: Path, model: Model, *, averages: Averages, optimizers: Mapping[str, Optimizer]) -> None:
    """Read what `save` wrote into a model, its averages and optimisers, in place.

    Raises:
        CheckpointError: the tensors do not fit the model.
    """
    tensors = checkpoint.read_tensors(path)
    checkpoint.fill(model, _below("model/", tensors), path=path)
    averaged = _below("average/", tensors)
    if averaged.keys() != averages.tensors.keys():
        raise CheckpointError(f"{path} has averages of other tensors than the model; it does not fit its own recipe")
    for name, value in averages.tensors.items():
        value.copy_(averaged[name])
    for network, optimizer in optimizers.items():
        for name, parameter in _trained(model, network):
            own = _below(f"optimizer/{network}/{name}/", tensors)
            if own:
                optimizer.state[parameter] = {key: _like(value, parameter) for key, value in own.items()}


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """Put a moment into the device and memory layout of its parameter, a step counter where optimisers keep it."""
    if value.shape != parameter.shape:
        return value.to(parameter.device) if parameter.is_cuda else value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _trained(model: Model, network: str) -> Iterable[tuple[str, nn.Parameter]]:
    found: nn.Module = getattr(model, network)
    return [(name, p) for name, p in found.named_parameters() if p.requires_grad]
