"""PyTorch files of the authors' releases: read without unpickling code, held against a table of names, copied over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tgim.checkpoints.state_dict import read_torch
from tgim.conversion.names import Names
from tgim.errors import CheckpointError
from tgim.models.base import Model

State = dict[str, Tensor]

SHARED = ("state_dict", "model", "model_state_dict", "params")
NESTS = {  # where a file of several things keeps a network
    "generator": ("generator", "G", "netG", *SHARED),
    "discriminator": ("discriminator", "D", "netD", *SHARED),
    "text encoder": ("text_encoder", "txt_encoder", *SHARED),
    "image encoder": ("image_encoder", "img_encoder", *SHARED),
}
MARKS = {  # a tensor that only this file has -> what the file is
    "GAP_1.0.weight": "a TAGAN discriminator",
    "residual_branch.0.weight": "a SISGAN discriminator",
    "txt_encoder_f.weight_ih": "a TAGAN generator",
    "encoder.30.weight": "a SISGAN generator with VGG encoder, which is not supported",
    "encoder.24.weight": "a SISGAN generator with VGG encoder, which is not supported",
    "decoder.8.weight": "a SISGAN generator",
    "txt_encoder.weight_ih_l0": "a visual-semantic embedding",
    "STAGE1_G.fc.0.weight": "a StackGAN stage-II generator",
    "fc.0.weight": "a StackGAN stage-I generator",
    "get_uncond_logits.outlogits.0.weight": "a StackGAN stage-II discriminator",
    "get_cond_logits.outlogits.0.weight": "a StackGAN stage-I discriminator",
    "h_net2.jointConv.0.weight": "a StackGAN-v2 generator",
    "jointConv.0.weight": "a StackGAN-v2 discriminator",
    "img_net.img.0.weight": "an AttnDCGAN generator, which is not supported",
    "h_net2.att.conv_context.weight": "an AttnGAN generator",
    "COND_DNET.jointConv.0.weight": "an AttnGAN discriminator",
    "rnn.weight_hh_l0_reverse": "an AttnGAN text encoder",
    "emb_cnn_code.weight": "an AttnGAN image encoder",
}


def read_state(path: str | Path, part: str = "generator") -> State:
    """The state dict of `part` (a key of `NESTS`) in a PyTorch file, on the CPU, "module." stripped.

    Nothing but tensors is unpickled.

    Raises:
        CheckpointError: missing, unreadable, holding code, or without tensors.
    """
    found = read_torch(path, expected="give the authors' .pth file")
    while isinstance(found, Mapping) and not any(isinstance(value, Tensor) for value in found.values()):
        inner = next((found[key] for key in NESTS[part] if key in found), None)
        if not isinstance(inner, Mapping):
            held = listed(map(str, found)) if found else "nothing"
            raise CheckpointError(f"{path} has no {part} under {', '.join(NESTS[part])}; it holds {held}")
        found = inner
    if not isinstance(found, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(found).__name__}, expected a state dict of named tensors; "
            "averaged weights (avg_param_G) are a list without names; save the network that they were loaded into"
        )
    return {str(key).removeprefix("module."): value for key, value in found.items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class ReleaseFile:
    """File of a release, and the tensors that it fills."""

    what: str  # e.g. "TAGAN generator"
    path: str | Path
    names: Names  # of the tensors of ours that it fills, and of its own
    state: State
    use: str = "generation"  # what the system's generator is for
    advice: str = "check --system"  # where shapes are wrong
    more: bool = False  # whether the file may hold other things, too

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Hold the file against its names and the shapes of our tensors.

        Raises:
            CheckpointError: says what is missing, what is surplus, what has another shape, and what the file looks
                like instead.
        """
        needed = {theirs for sources in self.names.values() for theirs in sources}
        missing = {name for name in needed - self.state.keys() if not name.endswith("num_batches_tracked")}
        surplus = set() if self.more else self.state.keys() - needed
        wrong = []
        for ours, sources in self.names.items():
            expected = shapes[ours] and (shapes[ours][0] // len(sources), *shapes[ours][1:])
            for theirs in sources:
                if theirs in self.state and (found := tuple(self.state[theirs].shape)) != expected:
                    wrong.append(f"{theirs} is {found}, not {expected}")
        faults = [f"lacks {listed(sorted(missing))}"] * bool(missing)
        faults += [f"has surplus {listed(sorted(surplus))}"] * bool(surplus)
        faults += [f"has other shapes: {listed(sorted(wrong))}"] * bool(wrong)
        if faults:
            text = ", ".join(faults[:-1]) + " and " * bool(faults[1:]) + faults[-1]
            advice = f"; {self.advice}" if wrong else ""
            raise CheckpointError(f"{self.path} is no {self.what}: it {text}{self._hint()}{advice}")

    def fill(self, model: Model) -> None:
        """Copy the file's tensors into `model`; `check` comes first."""
        own = model.state_dict()
        for ours, sources in self.names.items():
            if all(theirs in self.state for theirs in sources):  # torch 0.3 wrote no num_batches_tracked
                values = [self.state[theirs] for theirs in sources]
                with torch.no_grad():
                    own[ours].copy_(torch.cat(values) if len(values) > 1 else values[0])

    def _hint(self) -> str:
        looks = next((is_what for mark, is_what in MARKS.items() if mark in self.state), None)
        if looks is None or self.what in looks:
            return ""
        wants = f", and {self.use} needs the generator" if "discriminator" in looks and "generator" in self.what else ""
        return f"; this looks like {looks}{wants}"


def load_part(model: Model, names: Names, state: State, *, path: str | Path, what: str) -> None:
    """Check and fill one part of a model that is there already."""
    part = ReleaseFile(what, path, names, state)
    part.check({name: tuple(value.shape) for name, value in model.state_dict().items()})
    part.fill(model)


def shapes_of(build: Callable[[], Model]) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of what `build` makes, without the cost of making it."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build().state_dict().items()}


def count(state: State, prefix: str) -> int:
    """Count the layers of a row in a file: the numbers that follow `prefix` in its names, gaps among them.

    >>> count(dict.fromkeys(["up1.weight", "up3.weight", "up3.bias", "other.7.bias"]), "up")
    3
    >>> count(dict.fromkeys(["block.0.weight", "block.1.weight"]), "block.")
    2
    """
    numbers = re.findall(rf"^{re.escape(prefix)}(\d+)\.", "\n".join(state), flags=re.MULTILINE)
    first = 0 if prefix.endswith(".") else 1  # a list counts from 0, names of layers from 1
    return max(map(int, numbers), default=first - 1) + 1 - first


def listed(names: Iterable[str]) -> str:
    """The first three of `names`, and how many more.

    >>> listed(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
