"""Environment that tgim runs in: versions, threads and devices, and the choice of device and number format."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tgim._version import __version__
from tgim.errors import UserError
from tgim.system.runtime import THREADS, WAIT_POLICY, cpu_quota, machine_cores, usable_cores

PACKAGES = (
    "torch",
    "torchvision",
    "pillow",
    "numpy",
    "safetensors",
    "pydantic",
    "accelerate",
    "scikit-image",
)
GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")  # of NVIDIA, Windows' Linux, AMD
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
ISA_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # environment variables that take instructions from oneDNN
BF16_ISAS = ("DEFAULT", "ALL", "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX10_1_512", "AVX10_2")
FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "asimd", "bf16", "sve")


def pick_device(name: str) -> str:
    """Choose the device that `name` (one of `DEVICES`) stands for: "auto" is "cuda" where torch sees a GPU, else "cpu".

    Torch is not loaded where there can be no GPU, or where it is not installed.

    Raises:
        UserError: unknown, or "cuda" where torch sees no GPU.
    """
    if name not in DEVICES:
        raise UserError(f"device is {name!r}, expected one of {', '.join(DEVICES)}")
    if name == "cpu" or (name == "auto" and not _may_have_gpu()):
        return "cpu"
    try:
        import torch
    except ModuleNotFoundError:
        if name == "auto":
            return "cpu"
        raise
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise UserError("device is cuda, but torch sees no GPU; use --device cpu, or install torch with CUDA")
    return "cuda" if found and name != "cpu" else "cpu"


def _may_have_gpu() -> bool:
    """Tell whether this machine may have a GPU that torch can use; on Linux its driver's device files say so."""
    return platform.system() != "Linux" or any(map(os.path.exists, GPU_FILES))


@dataclass(frozen=True)
class Precision:
    """Number format of a training run, and the reason for it."""

    name: str  # "fp32" or "bf16"
    reason: str
    emulated: bool = False  # bf16 was asked for where the device has no instructions for it

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


def pick_precision(name: str, device: str) -> Precision:
    """Choose the number format that `name` (one of `PRECISIONS`) stands for on `device` ("cpu" or "cuda").

    "auto" is bf16 where the device computes with it natively, otherwise fp32: a processor without such instructions
    emulates bf16, about six times slower than fp32.

    Raises:
        UserError: `name` is unknown.
    """
    if name not in PRECISIONS:
        raise UserError(f"precision is {name!r}, expected one of {', '.join(PRECISIONS)}")
    native, reason = _bf16_on_gpu() if device == "cuda" else _bf16_on_cpu()
    if name == "auto":
        return Precision("bf16" if native else "fp32", reason)
    return Precision(name, f"as asked; {reason}", emulated=name == "bf16" and not native)


def _bf16_on_gpu() -> tuple[bool, str]:
    """Tell whether the GPU computes with bf16, and why."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    return major >= 8, f"GPU of compute capability {major}.{minor}, bf16 is native from 8.0"


def _bf16_on_cpu() -> tuple[bool, str]:
    """Tell whether oneDNN multiplies bf16 by instructions of this processor, and why."""
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False, "torch without oneDNN"
    limit = next((f"{key}={os.environ[key]}" for key in ISA_LIMITS if os.environ.get(key)), "")
    if limit and not limit.split("=")[1].upper().startswith(BF16_ISAS):
        return False, f"{limit} leaves no bf16 instructions"
    if not bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False, "processor without bf16 instructions"
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True, "processor with Arm's bf16 instructions"
    checks = {"AMX": "_is_amx_tile_supported", "avx512_bf16": "_is_avx512_bf16_supported"}
    found = [word for word, check in checks.items() if getattr(torch.cpu, check, lambda: False)()]
    if not found:
        return False, "processor without AMX and avx512_bf16"
    return True, f"processor with {' and '.join(found)}"


def describe() -> dict[str, Any]:
    """Describe versions, threads and devices, as JSON values; `tgim env` prints them."""
    import torch

    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "tgim": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu": cpu_name(),
        "cpu_features": cpu_features(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": machine_cores(),
        "usable_cores": usable_cores(),
        "cpu_quota": cpu_quota(),
        "threads": torch.get_num_threads(),
        "openmp": {name: os.environ[name] for name in (*WAIT_POLICY, THREADS) if name in os.environ},
        "precision": str(pick_precision("auto", "cuda" if gpus else "cpu")),
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


def cpu_name() -> str:
    """Name of the processor, such as "AMD EPYC 7763"; of its architecture where the system does not tell."""
    return _cpu_info().get("model name") or platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """Instructions of the processor, of those in `FEATURES`; empty where the system does not tell."""
    info = _cpu_info()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return [feature for feature in FEATURES if feature in flags]


def origin() -> dict[str, Any]:
    """Describe where a run takes place: tgim, its commit (None outside a checkout), torch, processor, cores, GPU."""
    import torch

    return {
        "tgim": __version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": cpu_name(),
        "cores": usable_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _commit() -> str | None:
    here = Path(__file__).parent
    git = ["git", "--no-optional-locks", "-C", str(here)]  # or describe would write the index
    try:
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", "__init__.py"], check=True, capture_output=True, timeout=10
        )
        found = subprocess.run(
            [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            check=True,
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.decode().strip() or None
