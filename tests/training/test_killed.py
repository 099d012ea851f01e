"""Runs that are killed anywhere go on with the very numbers of a run that was not; clocks and lost files stop none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support import killed
from support.toy_runs import a_recipe, losses, same_tensors
from tgim.training import run as train
from tgim.training.loop import MODEL, STATE, Trainer
from tgim.training.runlog import RunLog, read_log


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked from one process")
def test_five_systems_killed_at_twenty_events_go_on_bit_for_bit(data: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, killed.__file__, str(data), str(tmp_path / "out"), "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(killed.SYSTEMS) * killed.KILLS == 20
    for row in rows:
        assert row["killed"] == -9, row
        assert row["same"], row
        assert row["log"], row
        assert row["files"], row


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(10**9, 0, -(10**5)))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    train.fit(a_recipe(data, clip=1.0), out=tmp_path / "run", progress=False)
    lines = read_log(tmp_path / "run" / "log.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert all(line["seconds"] >= 0 and line["images_per_second"] > 0 for line in lines)
    spent = [line["cpu_seconds"] for line in lines]
    assert spent == sorted(spent)
    assert spent[-1] > 0
    assert same_tensors(tmp_path / "run" / STATE, whole / STATE)
    assert same_tensors(tmp_path / "run" / MODEL, whole / MODEL)


@pytest.mark.slow
def test_a_picture_that_disappears_meanwhile_is_told_of_when_the_run_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    import shutil

    root, step = tmp_path / "data", Trainer.train_step
    shutil.copytree(data, root)

    def train_step(self: Trainer, batch: Any) -> None:
        if self.step == 3:
            (root / "images" / "5.png").unlink(missing_ok=True)
        step(self, batch)

    monkeypatch.setattr(Trainer, "train_step", train_step)
    train.fit(a_recipe(root, steps=6), out=tmp_path / "run", progress=False)  # all pictures are decoded by then
    assert list(losses(tmp_path / "run")) == list(range(1, 7))
    caplog.clear()
    train.fit(a_recipe(root, steps=9), out=tmp_path / "run", resume=True, progress=False)
    assert list(losses(tmp_path / "run")) == list(range(1, 10))
    assert any("had 12 pictures and goes on with 11" in message for message in caplog.messages)


def test_a_log_cut_anywhere_is_read_and_mended(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    text = "".join(json.dumps({"step": n, "losses": {"net": {"keep": 0.1 * n}}}) + "\n" for n in range(1, 4)).encode()
    for end in range(len(text) + 1):
        file.write_bytes(text[:end])
        found = [line["step"] for line in read_log(file)]
        assert found == list(range(1, len(found) + 1))
        assert len(found) - text[:end].count(b"\n") in (0, 1)
    for end in range(len(text) // 2, len(text) + 1, 7):
        file.write_bytes(text[:end])
        log = RunLog(tmp_path, step=1)
        log.write({"step": 2, "losses": {"net": {"keep": 0.7}}})
        log.close()
        assert [line["losses"]["net"]["keep"] for line in map(json.loads, file.read_text().split("\n")[:-1])] == [
            0.1,
            0.7,
        ]
