"""State dicts that other programs wrote, PyTorch's files or safetensors: the one place that unpickles.

Nothing but tensors and plain containers comes out of a pickle (`weights_only`); code in it is not run.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tgim.checkpoints.tensorfile import SUFFIX, read_tensors
from tgim.errors import CheckpointError


def read_torch(path: str | os.PathLike[str], *, expected: str) -> Any:
    """Read what `torch.save` wrote, on the CPU: tensors, numbers, strings, lists and dicts of them.

    Args:
        path: of the file.
        expected: what the file should be and where it can be had; the end of errors.

    Raises:
        CheckpointError: missing, unreadable, or holding code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise CheckpointError(f"{path} cannot be read ({error.strerror}); {expected}") from None
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch state dict: it is truncated, foreign, or a whole pickled model "
            f"(then save model.state_dict() with torch.save); {expected}"
        ) from None


def read_state_dict(path: str | os.PathLike[str], *, expected: str) -> dict[str, Tensor]:
    """Read the named tensors in a ``.safetensors`` file, or in one as `torch.save` writes it, on the CPU.

    Args:
        path: of the file; "~" is the home folder.
        expected: what the file should be and where it can be had; the end of errors.

    Raises:
        CheckpointError: missing, unreadable, or not named tensors alone.
    """
    file = Path(os.path.expanduser(path))
    if not file.is_file():
        raise CheckpointError(f"{file} is not there; {expected}")
    if file.suffix == SUFFIX:
        try:
            return read_tensors(file)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {expected}") from None
    found = read_torch(file, expected=expected)
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{file} holds no state dict; {expected}")
    return {str(name): value for name, value in found.items()}
