"""What tgim runs on: versions, threads, devices. Said in reports of faults, and asked to choose a device."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from tgim._version import __version__
from tgim.errors import UserError

PACKAGES = (
    "torch",
    "torchvision",
    "kornia",
    "pillow",
    "numpy",
    "safetensors",
    "pydantic",
    "accelerate",
    "scikit-image",
)
DEVICES = ("auto", "cpu", "cuda")
FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "asimd", "bf16", "sve")


def pick_device(name: str) -> str:
    """The device that `name` (one of `DEVICES`) stands for: "auto" is "cuda" where torch sees a GPU, else "cpu".

    Raises:
        UserError: unknown, or "cuda" where torch sees no GPU.
    """
    import torch

    if name not in DEVICES:
        raise UserError(f"device is {name!r}, expected one of {', '.join(DEVICES)}")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise UserError("device is cuda, but torch sees no GPU; use --device cpu, or install torch with CUDA")
    return "cuda" if found and name != "cpu" else "cpu"


def describe() -> dict[str, Any]:
    """Versions, threads and devices, as JSON values."""
    import torch

    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "tgim": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu": _cpu_name(),
        "cpu_features": _cpu_features(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "devices": ["cpu", *(f"cuda:{i} {gpu.name}, {gpu.total_memory >> 20} MiB" for i, gpu in enumerate(gpus))],
        "cuda": torch.version.cuda if gpus else None,
        "data": os.environ.get("TGIM_DATA"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_info() -> dict[str, str]:
    """The first processor of Linux's list; empty elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            pairs = (line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines() if ":" in line)
            return {key.strip(): value.strip() for key, value in pairs}
    except OSError:
        return {}


def _cpu_name() -> str:
    return _cpu_info().get("model name") or platform.processor() or platform.machine()


def _cpu_features() -> list[str]:
    info = _cpu_info()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return [feature for feature in FEATURES if feature in flags]
