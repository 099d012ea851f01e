"""The benchmark of folded networks compares like with like, and its table is the committed one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner

from support import ROOT

BENCHMARKS = ROOT / "benchmarks"
DRAWER = {"width": 4, "condition_size": 5, "noise_size": 6}
TINY = {
    "tagan": {"image_size": 32, "width": 4, "condition_size": 5, "word_size": 6, "text_size": 8},
    "sisgan": {"width": 4, "condition_size": 5, "word_size": 6, "text_size": 8},
    "attngan": {"image_size": 32, "scales": 2, **DRAWER},
    "stackgan1": {"image_size": 16, **DRAWER},
    "stackgan2": {"image_size": 32, "width": 4, "condition_size": 5, "first": {"image_size": 16, **DRAWER}},
    "stackgan_v2": {"base_size": 16, "branches": 2, **DRAWER},
    "gan_int_cls": DRAWER,
}


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import folded

    yield folded
    for name in ("folded", "steps", "releases", "releases.steps", "releases.networks", "releases.editors"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.parametrize("system", TINY)
def test_both_sides_make_as_many_pictures_and_ours_are_those_of_the_model(folded: ModuleType, system: str) -> None:
    ours, theirs, plain, model = folded.pair(system, batch=2, precision="fp32", sizes=TINY[system])
    assert ours().shape == theirs().shape == (2, 3, model.image_size, model.image_size)
    assert theirs().std() > 1e-3
    assert (ours() - plain()).abs().max() < 1e-4
    line = folded.measured(system, batch=2, pairs=3, sizes=TINY[system])
    assert line["interval"][0] <= line["ratio"] <= line["interval"][1]


@pytest.mark.parametrize(("n", "place"), [(5, 0), (6, 0), (7, 0), (9, 1), (15, 3), (20, 5)])
def test_intervals_hold_the_median_with_95_percent(folded: ModuleType, n: int, place: int) -> None:
    assert folded.order_statistic(n) == place  # as in tables of the sign test


def test_the_committed_lines_are_printed_and_in_the_lab_book(folded: ModuleType) -> None:
    lines = folded.read(folded.RESULTS)
    assert {(x["precision"], x["batch"]) for x in lines} == {("fp32", 1), ("fp32", 16), ("bf16", 1), ("bf16", 16)}
    printed = CliRunner().invoke(folded.main, []).output.strip()
    assert len(printed.splitlines()) == 2 + len(lines)
    assert printed in (BENCHMARKS / "lab.md").read_text(encoding="utf-8")
    assert all(x["largest_difference"] < 1e-4 for x in lines if x["precision"] == "fp32")


def test_a_new_line_takes_the_place_of_the_old_one(folded: ModuleType, tmp_path: Path) -> None:
    old = [{"system": "tagan", "batch": 1, "precision": each, "ratio": 1.0} for each in ("fp32", "bf16")]
    new = {"system": "tagan", "batch": 1, "precision": "fp32", "ratio": 2.0}
    assert folded.kept(old, new, tmp_path / "folded.jsonl") == [new, old[1]]
    assert folded.read(tmp_path / "folded.jsonl") == [new, old[1]]


def test_statistics_are_settled(folded: ModuleType) -> None:
    norm = torch.nn.BatchNorm1d(2)
    x = torch.randn(8, 2) * 3 + 5
    folded.settled(norm, lambda: norm(x))
    torch.testing.assert_close(norm.running_mean, x.mean(0))
    assert not norm.training
