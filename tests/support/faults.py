"""Faults of the disk: in a block, one of the calls that write below some folders fails, once, as on a full disk."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from safetensors import SafetensorError

CALLS = ("open", "mkdir", "replace", "rename", "chmod", "fsync", "posix_fallocate")  # of os


class Faults:
    """Counts calls that write below `folders`; number `fail_at` (from 0) fails, and if `lasting` all after it."""

    def __init__(self, folders: Sequence[Path], *, fail_at: int | None, number: int, lasting: bool) -> None:
        self.folders = tuple(str(folder.resolve()) for folder in folders)
        self.fail_at, self.number, self.lasting = fail_at, number, lasting
        self.calls: list[str] = []

    def below(self, path: Any) -> bool:
        """Tell whether a path, or an open file, is below the folders."""
        if isinstance(path, int):
            path = f"/proc/self/fd/{path}"
        return os.path.realpath(os.fsdecode(path)).startswith(self.folders)

    def count(self, call: str, path: Any = None) -> None:
        """Count a call, and fail where it is its turn."""
        self.calls.append(f"{call} {path}")
        since = len(self.calls) - 1 - self.fail_at if self.fail_at is not None else -1
        if since == 0 or (since > 0 and self.lasting):
            raise OSError(self.number, os.strerror(self.number), path if isinstance(path, str) else None)


@contextmanager
def faults(
    folders: Sequence[Path], *, fail_at: int | None = None, number: int = errno.ENOSPC, lasting: bool = False
) -> Iterator[Faults]:
    """Count the calls that write below `folders` within the block, and let one fail, or all from it on."""
    found = Faults(folders, fail_at=fail_at, number=number, lasting=lasting)
    real_open, real_os, real_save = io.open, {name: getattr(os, name) for name in CALLS}, safetensors.torch.save_file

    class File(io.FileIO):
        def write(self, data: Any) -> int:
            found.count("write", str(self.name))
            return super().write(data)

    def opened(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
        writes = set(mode) & set("wax+")
        if not writes or not found.below(file):
            return real_open(file, mode, buffering, *args, **options)
        found.count("open", str(file))
        raw = File(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        whole = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        if "b" in mode:
            return whole
        encoding = options.get("encoding") or "utf-8"
        return io.TextIOWrapper(whole, encoding, line_buffering=buffering == 1, newline=options.get("newline"))

    def counted(name: str) -> Any:
        def call(path: Any, *args: Any, **options: Any) -> Any:
            reads = name == "open" and not (args and args[0] & (os.O_WRONLY | os.O_RDWR))
            there = name == "mkdir" and os.path.exists(path)  # which is no fault for those who only want it there
            if not reads and not there and found.below(path):
                found.count(f"os.{name}", path)
            return real_os[name](path, *args, **options)

        return call

    def save(tensors: Any, path: str, metadata: Any = None) -> None:
        try:
            found.count("save_file", path)
        except OSError as error:
            Path(path).write_bytes(b"half")
            text = f"Error while serializing: I/O error: {error.strerror} (os error {error.errno})"
            raise SafetensorError(text) from None
        real_save(tensors, path, metadata=metadata)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        patch.setattr(safetensors.torch, "save_file", save)
        for name in real_os:
            patch.setattr(os, name, counted(name))
        yield found
