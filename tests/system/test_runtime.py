"""What `import tgim` sets before torch is loaded: import path, OpenMP's waiting, threads by quota."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

from support import ROOT
from tgim.system import runtime


def in_process(code: str, **options: object) -> str:
    """What a fresh interpreter prints, with none of the variables of OpenMP set unless given."""
    hidden = {*runtime.WAIT_POLICY, runtime.THREADS}
    environment = {k: v for k, v in os.environ.items() if k not in hidden} | {"PYTHONPATH": str(ROOT)}
    environment |= {k: str(v) for k, v in options.items()}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


SHOW = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k[:4] in ('OMP_', 'KMP_')}))"


@pytest.mark.slow
def test_threads_wait_asleep_unless_the_user_says_otherwise():
    assert json.loads(in_process(f"import tgim; {SHOW}")).items() >= runtime.WAIT_POLICY.items()
    own = json.loads(in_process(f"import tgim; {SHOW}", OMP_WAIT_POLICY="ACTIVE"))
    assert own["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "KMP_BLOCKTIME" not in own
    assert json.loads(in_process(f"import torch, tgim; {SHOW}")) == {}  # too late, so nothing is changed


FORK = """
import os, tgim, torch

def compute():
    return torch.ones(2_000_000).exp().sum().item()

torch.set_num_threads(2)
before = compute()
child = os.fork()
if child == 0:
    os._exit(0 if abs(compute() / before - 1) < 1e-3 and torch.get_num_threads() == 1 else 1)
print(os.waitpid(child, 0)[1], torch.get_num_threads())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_process_computes():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    options = {"env": environment, "stdout": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", FORK], **options) as run:
        try:
            assert run.communicate(timeout=60)[0].split() == [b"0", b"2"]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)  # also a child that hangs


@pytest.fixture
def cgroup(tmp_path):
    """Write files of a control group, and ask for its quota."""

    def ask(membership: str, files: dict[str, str]) -> float | None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "membership").write_text(membership)
        return runtime.cpu_quota(str(tmp_path), str(tmp_path / "membership"))

    return ask


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/", {"cpu.max": "max 100000\n"}, None),
        ("0::/", {}, None),
        ("0::/a/b", {"cpu.max": "max 100000", "a/cpu.max": "200000 100000", "a/b/cpu.max": "300000 100000"}, 2.0),
        ("0::/not/mounted/here", {"cpu.max": "50000 100000"}, 0.5),
        ("1:cpu,cpuacct:/box", {"cpu/box/cpu.cfs_quota_us": "250000", "cpu/box/cpu.cfs_period_us": "100000"}, 2.5),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("3:cpuset:/x\n2:memory:/y", {"cpu.max": "100000 100000"}, None),
    ],
)
def test_the_smallest_quota_around_a_process_counts(cgroup, membership, files, expected):
    assert cgroup(membership, files) == expected


@pytest.mark.parametrize(("quota", "cores", "threads"), [(1.5, 8, "1"), (0.3, 8, "1"), (4.0, 8, "4"), (None, 8, None)])
def test_a_quota_below_the_cores_sets_the_threads(monkeypatch, quota, cores, threads):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delenv(runtime.THREADS, raising=False)
    monkeypatch.setattr(runtime, "cpu_quota", lambda: quota)
    monkeypatch.setattr(runtime, "machine_cores", lambda: cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: cores, raising=False)
    runtime.prepare()
    assert os.environ.get(runtime.THREADS) == threads
    monkeypatch.setenv(runtime.THREADS, "3")
    runtime.prepare()
    assert os.environ[runtime.THREADS] == "3"


@pytest.mark.slow
def test_a_folder_of_the_packages_name_does_not_hide_it(tmp_path):
    (tmp_path / "tgim").mkdir()  # as a clone of the repository lies in the folder above it
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = "from tgim import Editor; print(Editor.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "Editor", done.stderr
