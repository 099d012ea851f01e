"""Directions in the noise of a generator: a walk z + alpha w along one changes one thing in the pictures.

A direction belongs to the weights that it was learned on; for others it is refused. Its file is a small safetensors
file: one vector, and what it is as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tgim.checkpoints.tensorfile import read_metadata, read_tensors, write
from tgim.errors import CheckpointError, UserError
from tgim.models.base import Codes, Generating

KEY = "tgim_direction"  # of the metadata
VECTOR = "vector"  # name of the one tensor
TEXTS = ("kind", "of", "generator")  # fields that are text


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction in the noise of one generator.

    The vector is not scaled to any norm: its length is that of one step, alpha = 1.
    """

    vector: Tensor  # (Z,) float32, on the CPU
    kind: str  # the method: "operation", "assessor", "boundary"
    of: str  # the thing that it changes: "zoom", or a caption, or an attribute
    generator: str  # `identity` of the generator
    facts: dict[str, Any] = field(default_factory=dict)  # how it was learned, and its figures; JSON values

    def save(self, path: str | Path) -> Path:
        """Write the direction as a safetensors file, whole or not at all. Equal directions give equal bytes.

        Raises:
            CheckpointError: it cannot be written.
        """
        told = {name: value for name, value in vars(self).items() if name != VECTOR}
        return write(path, {VECTOR: self.vector.float()}, {KEY: told})

    def random_like(self, seed: int) -> Direction:
        """Sample a direction of the same length, uniformly over the sphere: the control for this one.

        Args:
            seed: equal seeds give equal directions.
        """
        sampled = torch.randn(self.vector.shape, generator=torch.Generator().manual_seed(seed))
        vector = sampled * (self.vector.norm() / sampled.norm())
        return replace(self, vector=vector, of=f"random, as long as {self.of}", facts={"random": seed})


def load_direction(path: str | Path, generator: Generating | None = None) -> Direction:
    """Read a direction that `Direction.save` wrote.

    Args:
        path: of the file.
        generator: that is to be steered; by default the direction of any generator is read.

    Raises:
        CheckpointError: no such file, or one that holds no direction.
        UserError: the direction was learned for another generator.
    """
    path = Path(path)
    what = "expected a file that tgim steer --save-direction wrote"
    if not path.exists():
        raise CheckpointError(f"{path} is not there; {what}")
    try:
        _, metadata = read_metadata(path)
        tensors = read_tensors(path)
        told = json.loads(metadata[KEY])
    except CheckpointError as error:
        raise CheckpointError(f"{str(error).partition(';')[0]}; {what}") from None
    except (KeyError, ValueError, RecursionError):
        raise CheckpointError(f"{path} is a safetensors file, but no direction; {what}") from None
    vector = tensors.get(VECTOR)
    sound = isinstance(told, dict) and all(isinstance(told.get(name), str) for name in TEXTS)
    if not sound or not isinstance(told.get("facts"), dict) or vector is None or vector.ndim != 1:
        raise CheckpointError(f"{path} holds a broken direction; {what}")
    if not vector.is_floating_point() or not bool(vector.isfinite().all()):
        raise CheckpointError(f"{path} holds a direction that is not finite; {what}")
    kind, of, name = (told[key] for key in TEXTS)
    found = Direction(vector.float(), kind, of, name, told["facts"])
    if generator is not None:
        check_generator(found, generator)
    return found


def check_generator(direction: Direction, generator: Generating) -> None:
    """Refuse a direction that was learned for another generator, or for other weights; UserError."""
    own = identity(generator)
    if direction.generator != own or len(direction.vector) != generator.noise_size:
        raise UserError(
            f"the direction {direction.of!r} was learned for {direction.generator}, and this generator is {own}; "
            "take the generator that it was learned for, or learn it anew: tgim steer --save-direction"
        )


def identity(generator: Generating) -> str:
    """Name of a generator and a fingerprint of its weights, such as ``"attngan:0123456789abcdef"``.

    Discriminators do not count: the generator inside an encoder's checkpoint has none.
    """
    unused = tuple(network for network in generator.networks if network.startswith("discriminator"))
    return f"{generator.name}:{fingerprint(generator, without=unused)}"


def fingerprint(model: nn.Module, *, without: Sequence[str] = ()) -> str:
    """Hash, 16 hex digits, of the tensors of a model's state and their names, wherever the model lies.

    Args:
        model: any.
        without: attributes of the model whose tensors do not count.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if name.partition(".")[0] in without:
            continue
        exact = value.detach().float() if value.is_floating_point() else value.detach()
        digest.update(f"{name} {tuple(value.shape)}\0".encode())
        digest.update(exact.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def steered(
    generator: Generating, condition: Codes, noise: Tensor, direction: Direction, alphas: Sequence[float] | Tensor
) -> Tensor:
    """Generate pictures of noise + alpha * vector.

    Rows of one alpha are generated together, as `Generating.generate_from` does with the same rows: alpha 0 gives the
    generator's own pictures bit for bit. No gradient is kept.

    Args:
        generator: that the direction was learned for.
        condition: of B captions, from `Generating.condition`; one caption is taken for every row of noise.
        noise: (B, Z); one row is taken for every caption.
        direction: to walk along.
        alphas: A places on the way, in steps; any real numbers.

    Returns:
        (B * A, 3, S, S) in [-1, 1]: the first row at all alphas, then the second, and so on.

    Raises:
        UserError: another generator, no alpha, or rows that do not fit each other.
    """
    check_generator(direction, generator)
    places = [float(alpha) for alpha in alphas]
    rows = max(len(noise), *(len(code) for code in condition))
    if not places or noise.ndim != 2 or {len(noise), *(len(code) for code in condition)} - {1, rows}:
        raise UserError(
            f"steering got noise {tuple(noise.shape)}, {len(condition[0])} captions and {len(places)} alphas; expected "
            "noise (B, Z), 1 or B captions, and 1 or more alphas"
        )
    noise = noise.expand(rows, -1)
    condition = tuple(code.expand(rows, *code.shape[1:]) for code in condition)
    return walk(generator, condition, noise, direction.vector, places).flatten(0, 1)


@torch.no_grad()
def walk(generator: Generating, condition: Codes, noise: Tensor, vector: Tensor, alphas: Sequence[float]) -> Tensor:
    """Generate (B, A, 3, S, S) of B rows at A alphas along any vector (Z,), without a check."""
    step = vector.to(noise)
    return torch.stack([generator.generate_from(condition, noise + alpha * step).float() for alpha in alphas], 1)
