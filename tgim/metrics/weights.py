"""Weights of the frozen networks that figures are measured with: read from a local file, never downloaded."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tgim.checkpoints import checkpoint
from tgim.errors import UserError


def read_weights(path: str | os.PathLike[str], *, what: str, source: str) -> dict[str, Tensor]:
    """The tensors of a state dict, ``.pth`` (nothing in it is executed) or ``.safetensors``, on the CPU.

    Args:
        path: of the file.
        what: the file holds, for the error.
        source: where it can be had, for the error.

    Raises:
        UserError: no such file, or no state dict in it.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"{file} is not there; expected {what}: get {source} and give its path")
    if file.suffix == checkpoint.SUFFIX:
        return checkpoint.read_tensors(file)
    try:
        found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n", 1)[0][:100]
        raise UserError(f"{file} cannot be read ({reason}); expected {what}: {source}") from None
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"{file} holds no state dict; expected {what}: {source}")
    return {str(name): value for name, value in found.items()}


def file_digest(path: str | os.PathLike[str]) -> str:
    """The first 16 hex digits of the SHA-256 of a file's bytes: what a label says of it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]
