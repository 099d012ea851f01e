"""Settings of the process that must be made before torch and onnxruntime are loaded: import path, threads, telemetry.

This module is the first that `import tgim` runs. It needs nothing but what every interpreter has loaded already, so
that no file of the current folder can take the place of a module of the standard library.
"""

import os
import sys

WAIT_POLICY = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}  # GNU's OpenMP; Intel's and LLVM's, milliseconds
BLAS_WAITS = {"OPENBLAS_THREAD_TIMEOUT": "4"}  # numpy's: its threads ask for work 2**4 times before they sleep
TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}  # of onnxruntime from 1.29, and before 1.30
THREADS = "OMP_NUM_THREADS"
CGROUPS = "/sys/fs/cgroup"
MEMBERSHIP = "/proc/self/cgroup"


def prepare() -> None:
    """Set up this process for torch; nothing that the user has set is changed, and nothing once torch is loaded.

    From release 1.29 on onnxruntime tells its makers of each process that loads it, unless it is told not to: it is.

    OpenMP's threads wait for work by sleeping, not by spinning: a thread that spins takes its core from whoever else
    needs it, and beside one busy process an edit takes many times as long. Numpy's BLAS has threads of its own, which
    spin for some 30 ms. Where a container has fewer cores than the machine (`usable_cores`), OpenMP gets as many
    threads as that.
    """
    leave_current_folder()
    for name, value in {**TELEMETRY, **BLAS_WAITS}.items():
        os.environ.setdefault(name, value)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=compute_on_one_thread)
    if "torch" in sys.modules:
        return
    if not any(name in os.environ for name in WAIT_POLICY):
        os.environ.update(WAIT_POLICY)
    cores = usable_cores()
    if THREADS not in os.environ and cores < machine_cores():
        os.environ[THREADS] = str(cores)


def leave_current_folder() -> None:
    """Take the current folder from the import path where `python -m tgim` has put it there.

    Otherwise a file `random.py` or `queue.py` in a downloaded folder would be run by every command given in it.
    """
    words = sys.orig_argv[1:]
    ours = "-mtgim" in words or ("-m" in words and words[words.index("-m") + 1 :][:1] == ["tgim"])
    safe = getattr(sys.flags, "safe_path", False)  # from Python 3.11: it was never put there
    if ours and not safe and sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()]:
        del sys.path[0]


def compute_on_one_thread() -> None:
    """Let torch, where it is loaded, compute on one thread: in a forked process it would wait for OpenMP's for ever.

    The threads of the process that it was forked from are not there any more, and OpenMP does not know.
    """
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


def machine_cores() -> int:
    """Number of cores of the machine, at least 1."""
    return os.cpu_count() or 1


def usable_cores() -> int:
    """Number of cores that this process may keep busy, at least 1: by affinity, Python's own limit, and quota."""
    count = getattr(os, "process_cpu_count", None)  # from Python 3.13
    if count is not None:
        cores = count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = machine_cores()
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(root: str = CGROUPS, membership: str = MEMBERSHIP) -> float | None:
    """Cores that the control groups of this process may use on average, as a container's limit sets it; None for all.

    The smallest limit counts: `cpu.max` of version 2, `cpu.cfs_quota_us` over `cpu.cfs_period_us` of version 1.
    """
    found = []
    for folder, first in control_groups("cpu", root, membership):
        if first:
            limit = _ratio([read_small(f"{folder}/cpu.cfs_{name}_us").strip() for name in ("quota", "period")])
        else:
            limit = _ratio(read_small(f"{folder}/cpu.max").split())
        found += [limit] if limit else []
    return min(found, default=None)


def control_groups(controller: str, root: str = CGROUPS, membership: str = MEMBERSHIP) -> list[tuple[str, bool]]:
    """Folders of the control groups that this process is in, and of those around them; True for those of version 1.

    Within a container the own group may be mounted as the root; both are looked at.
    """
    found = []
    for line in read_small(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        mount = os.path.join(root, controller) if controllers else root
        parts = [part for part in path.split("/") if part and part != ".."]
        found += [(os.path.join(mount, *parts[:depth]), bool(controllers)) for depth in range(len(parts) + 1)]
    return found


def _ratio(values: list[str]) -> float | None:
    """Quota over period; None where either is missing, or there is no limit ("max", -1)."""
    if len(values) != 2 or not all(value.isdigit() and int(value) for value in values):
        return None
    return int(values[0]) / int(values[1])


def read_small(path: str) -> str:
    """The text of a small file; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
