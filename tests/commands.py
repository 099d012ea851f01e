"""Commands of `tgim`, run inside the tests' own process, and what every refused one has in common."""

from __future__ import annotations

from click.testing import CliRunner, Result

from tgim.cli.main import main


def tgim(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="tgim")


def is_refused(result: Result) -> str:
    """One line on stderr that says what is wrong, and exit code 2; returns the line."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("tgim: error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr
