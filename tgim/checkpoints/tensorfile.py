"""Safetensors files of checkpoints: written whole or not at all, and checked when they are read.

Headers are read without torch, so that listing and describing checkpoints is quick; nothing here unpickles.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tgim.errors import CheckpointError
from tgim.system.files import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SUFFIX = ".safetensors"
MAX_HEADER = 100_000_000  # bytes, the limit of the safetensors format itself
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}  # bytes


def write(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Path:
    """Write tensors and one JSON object in `metadata` to `path`, by renaming a finished file.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save, save_file

    path = Path(path)
    own = {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }  # no shared memory
    strings = {key: json.dumps(value, sort_keys=True, separators=(",", ":")) for key, value in metadata.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, sync=True) as temporary:
            if _is_text(temporary):
                save_file(own, str(temporary), metadata=strings)
            else:
                temporary.write_bytes(save(own, metadata=strings))
    except (OSError, SafetensorError) as error:  # the latter for a full disk, too
        why = getattr(error, "strerror", None) or str(error).rpartition("I/O error: ")[2].partition(" (os")[0]
        raise CheckpointError(f"{path} cannot be written ({why}); make room, or name another folder") from None
    return path


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file, on the CPU; CheckpointError when it is broken."""
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        return load_file(path) if _is_text(path) else load(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); get the file again") from None


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all tensors of a safetensors file as arrays of 32 bits, without torch; CheckpointError when it is broken."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return {name: value.astype(np.float32) for name, value in load(path.read_bytes()).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); get the file again") from None


def _is_text(path: Path) -> bool:
    """Tell whether a path is text: safetensors itself opens no other."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_metadata(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Read names, types and shapes of the tensors of a safetensors file, and its metadata; no tensor is read.

    Raises:
        CheckpointError: missing, empty, truncated, of another format, or inconsistent in itself.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            # the first bytes alone could be those of a length, of 640 or 19,280 bytes for instance
            if start[:4] == b"PK\x03\x04" or (length > MAX_HEADER and start[:2] in (b"\x80\x02", b"\x80\x04")):
                raise CheckpointError(
                    f"{path} is a pickled PyTorch file, which is not loaded; convert it: tgim convert"
                )
            if size < 8 or length > MAX_HEADER or length < 2:
                what = "empty" if size == 0 else "not a safetensors file"
                raise CheckpointError(f"{path} is {what}; expected a checkpoint written by tgim train")
            if 8 + length > size:
                raise CheckpointError(f"{path} is truncated or not a safetensors file; get the file again")
            text = file.read(length)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not there; give the path of a checkpoint or an embedded name") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); make it readable") from None
    try:
        header = json.loads(text)
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        tensors, end = {}, 0
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            shape = [int(n) for n in entry["shape"]]
            if last - first != math.prod(shape) * SIZES[entry["dtype"]] or min([first, *shape]) < 0:
                raise ValueError(name)
            tensors[name] = {"dtype": str(entry["dtype"]), "shape": shape}
            end = max(end, last)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise CheckpointError(
            f"{path} is not a safetensors file; expected a checkpoint written by tgim train"
        ) from None
    if 8 + length + end != size:
        raise CheckpointError(f"{path} has {size} bytes, expected {8 + length + end}; it is truncated, get it again")
    return tensors, metadata
