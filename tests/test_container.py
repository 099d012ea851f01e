"""The container's recipe, as far as it can be checked without building it."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess

import pytest

from support import ROOT
from tgim.cli.main import main

TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
IGNORED = [
    line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")
]


def words(instruction: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def is_sent(name: str) -> bool:
    """Whether `.dockerignore` lets a name of the root into the build; the last pattern that fits decides."""
    sent = True
    for pattern in IGNORED:
        if fnmatch.fnmatch(name, pattern.removeprefix("!")):
            sent = pattern.startswith("!")
    return sent


def test_what_is_copied_is_there_and_nothing_else_is_sent():
    sources = [name for line in words("COPY") if "--from=" not in line for name in line.split()[:-1]]
    assert {"tgim", "setup.cfg"} <= set(sources)
    for name in sources:
        assert (ROOT / name).exists()
        assert is_sent(name), name
    assert {path.name for path in ROOT.iterdir() if is_sent(path.name)} == set(sources)
    named = re.findall(
        r"^(?:license_files|long_description) = (?:file: )?(\S+)$", (ROOT / "setup.cfg").read_text(), re.M
    )
    assert set(named) <= set(sources)  # which the build of the package reads


def test_it_runs_tgim_as_a_user_without_rights():
    assert json.loads(words("ENTRYPOINT")[-1]) == ["tgim"]
    user = words("USER")[-1]
    assert user.isdigit()
    assert int(user) >= 1000
    assert f"--uid {user} " in TEXT
    assert LINES.index(f"USER {user}") > max(i for i, line in enumerate(LINES) if line.startswith(("RUN", "COPY")))


def test_its_bases_are_pinned_and_no_cache_stays():
    bases = [line.split()[0] for line in words("FROM")]
    assert len(set(bases)) == 1  # the environment of one is moved into the other
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])
    installs = [line for line in words("RUN") if "pip install" in line]
    assert installs
    assert all("--no-cache-dir" in line for line in installs)
    assert "TORCH_INDEX=https://download.pytorch.org/whl/cpu" in words("ARG")
    assert installs[-1] == 'pip install --no-cache-dir ".[serve]"'


def test_it_listens_where_the_server_does():
    port = next(option.default for option in main.commands["serve"].params if option.name == "port")
    assert words("EXPOSE") == [str(port)]
    assert f"http://127.0.0.1:{port}/health" in words("HEALTHCHECK")[0]


def test_hadolint_has_nothing_to_say():
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")  # the extra dev holds it, for Linux on x86-64
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
