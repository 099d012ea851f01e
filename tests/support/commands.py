"""Commands of `tgim`, in the tests' own process or in one of their own, and what every refused one has in common."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from click.testing import CliRunner, Result

from support import ROOT
from tgim.cli.main import main
from tgim.inference.manifest import NAME


def tgim(*args: object, given: bytes | None = None) -> Result:
    """Run the command in this process; `given` comes through its standard input."""
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="tgim", input=given)


def environment() -> dict[str, str]:
    """The variables of a real process: those of now, this source tree, one thread."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def process(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
    """A real process."""
    command = [sys.executable, "-m", "tgim", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, **options)


def interrupted(*args: object, once: Path) -> subprocess.CompletedProcess[str]:
    """A real process that gets a ctrl-C once a file has content."""
    command = [sys.executable, "-m", "tgim", *map(str, args)]
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores ctrl-C
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env=environment(), preexec_fn=listening) as run:
        deadline = time.monotonic() + 300
        while not (once.exists() and once.stat().st_size) and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        stdout, stderr = run.communicate(timeout=300)
    return subprocess.CompletedProcess(command, run.returncode, stdout, stderr)


def is_refused(result: Result) -> str:
    """One line on stderr that says what is wrong, and exit code 2; returns the line."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("tgim: error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr


def files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder and below, manifests of edits aside: name -> content."""
    found = {path for path in folder.rglob("*") if path.is_file() and path.name != NAME}
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
