"""A results file that was cut anywhere is mended, and no figure stands in it twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.results_toy import line
from tgim.evaluation.records import Results, read_lines

LINES = [line("retrieval@1", "birds", "recall@1", value, seed=number) for number, value in enumerate((0.25, 0.5))]
TEXT = b"".join(each.model_dump_json().encode() + b"\n" for each in LINES)


@pytest.mark.parametrize("every", [pytest.param(97, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)])
def test_a_second_evaluation_goes_on_without_doubling(every: int, tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    for end in range(0, len(TEXT) + 1, every):
        file.write_bytes(TEXT[:end])
        whole = read_lines(file)
        assert whole == LINES[: len(whole)]
        results = Results(file)
        for each in LINES:
            results.add(each)
        assert file.read_bytes() == TEXT


def test_a_lost_line_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "results.jsonl"
    file.write_bytes(TEXT[:-1])
    Results(file)
    assert not caplog.messages
    file.write_bytes(TEXT[:-20])
    Results(file)
    assert "was cut off" in caplog.messages[0]
