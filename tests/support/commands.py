"""Commands of `tgim`, in the tests' own process or in one of their own, and what every refused one has in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from support import ROOT
from tgim.cli.main import main


def tgim(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="tgim")


def environment() -> dict[str, str]:
    """The variables of a real process: those of now, this source tree, one thread."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def process(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
    """A real process."""
    command = [sys.executable, "-m", "tgim", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, **options)


def is_refused(result: Result) -> str:
    """One line on stderr that says what is wrong, and exit code 2; returns the line."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("tgim: error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr


def files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder and below: name -> content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
