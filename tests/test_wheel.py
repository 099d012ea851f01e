"""The wheel holds the package whole and nothing else, and works in an environment that has not seen the source."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import ROOT

pytestmark = pytest.mark.slow
pip = pytest.importorskip("pip")
SOURCES = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "benchmarks", "recipes", "tests", "tgim")
NOT_SOURCE = ("__pycache__", "*.egg-info", ".*_cache", "build")


def call(*command: str | Path, folder: Path) -> str:
    """What a process prints that knows nothing of the source tree."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the source tree, and nothing that lies there gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns(*NOT_SOURCE))
        else:
            shutil.copy(ROOT / name, source)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    call(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", out, source, folder=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a new environment that has the wheel, and the packages of this one but for tgim."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    commands = home / ("Scripts" if os.name == "nt" else "bin")
    options = ("--no-deps", "--no-index", "--disable-pip-version-check")
    call(sys.executable, "-m", "pip", "--python", commands / "python", "install", *options, wheel, folder=home)
    packages = call(commands / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=home)
    ours = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    # a path file that a path file leads to is not read: the source tree of an editable installation stays out
    (Path(packages.strip()) / "packages_of_the_tests.pth").write_text("\n".join(ours) + "\n")
    return commands


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")]
    found = {name for name in names if ".dist-info/" not in name}
    present = (path.relative_to(ROOT) for path in (ROOT / "tgim").rglob("*") if path.is_file())
    assert found == {path.as_posix() for path in present if "__pycache__" not in path.parts}
    assert {name.rpartition(".")[2] for name in found} == {
        "py", "typed", "safetensors", "graph", "json", "html", "css", "js",
    }  # fmt: skip


def test_a_picture_is_edited_from_an_installed_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import tgim; print(tgim.__file__)"
    home = Path(call(installed / "python", "-c", code, folder=tmp_path).strip())
    assert home.is_relative_to(installed.parent)
    call(installed / "tgim", "sample", "bird.jpg", folder=tmp_path)
    options = ("--image", "bird.jpg", "--text", "red head and breast", "--out", "edited.png", "--json")
    told = json.loads(call(installed / "tgim", "edit", *options, folder=tmp_path))
    assert told["model"] == "birds"
    before, after = (np.asarray(Image.open(tmp_path / name), float) for name in ("bird.jpg", "edited.png"))
    assert before.shape == after.shape
    assert np.abs(after - before).mean() > 1
    listed = json.loads(call(installed / "tgim", "list", "--json", folder=tmp_path))
    assert {"birds", "flowers", "judge-birds"} <= set(listed["models"])
    assert json.loads(call(installed / "tgim", "doctor", "--full", "--json", folder=tmp_path))["works"]
