"""Many edits in one process: memory stays flat, and the last is the first."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.scripts import run, script


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("model", ["tagrid", "tagan"])
def test_five_hundred_edits_hold_no_more_than_fifty(model: str, request: pytest.FixtureRequest) -> None:
    file: Path = request.getfixturevalue(f"{model}_file")
    row = json.loads(run(script("speed").main, "--soak", 500, "--model", file).stdout)
    assert row["same_bytes"]
    assert row["edits"] == 500
    assert row["megabytes_after_all"] - row["megabytes_after_a_tenth"] < 8
