"""Curves of a run are of its own checkpoints, in their order, each measured once."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from support.scripts import run, script
from tgim.errors import UserError

CURVES = script("curves")
REAL = {"real": 0.5, "unedited": 0.01}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run of 30 steps with checkpoints after 10, 20 and, in its own folder, 30."""
    steps = {"all": 30}
    headers = {"20": (10, None), "30": (20, 1860), "model": (30, 2400)}
    out, history = tmp_path / "tagan_toy", tmp_path / "history"
    out.mkdir()
    history.mkdir()
    for name in headers:
        (out if name == "model" else history).joinpath(f"{name}.safetensors").write_text(name)

    def header(file):
        step, spent = headers[file.stem]
        told = {"steps": step, "of": steps["all"], "seconds": 7} | ({"cpu_seconds": spent} if spent else {})
        return {"history": told, "data": {"name": "cub"}, "preprocessing": {"image_size": 64}}

    log = [{"step": s, "losses": {"generator": {"fake": s / 10}, "text": {}}} for s in range(1, 41)]
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log) + '{"step": 41, "los')
    monkeypatch.setattr(CURVES.checkpoint, "read_header", header)
    monkeypatch.setattr(CURVES.checkpoint, "fingerprint", lambda file: file.stem)
    return out, history, steps


@pytest.fixture
def measured(monkeypatch):
    """The checkpoints that were measured; figures are those of a toy."""
    asked = []

    def figures(bench, editor):
        asked.append(editor)
        value = 0.1 * len(asked)
        return {f"{name}{end}": value for name in ("rmse", "recall@1") for end in ("", " low", " high")}

    class Bench(SimpleNamespace):
        judge_label = "judge:0123"

        def __len__(self):
            return self.limit

    monkeypatch.setattr(CURVES, "Bench", lambda data, **options: Bench(data=data, **options))
    monkeypatch.setattr(CURVES, "figures", figures)
    monkeypatch.setattr(CURVES, "levels", lambda bench: REAL)
    monkeypatch.setattr(CURVES.ModelContender, "open", lambda file: file.stem)
    return asked


def test_minutes_are_the_checkpoints_own_or_those_of_its_name(folder):
    out, history, steps = folder
    assert [(minutes, step) for minutes, step, _ in CURVES.kept(out, history)] == [(20, 10), (31, 20), (40, 30)]
    steps["all"] = 40  # the run goes on, and its model is none of those that were kept
    assert [step for _, step, _ in CURVES.kept(out, history)] == [10, 20]


def test_losses_are_means_since_the_checkpoint_before(folder, measured, tmp_path):
    out, history, _ = folder
    results = tmp_path / "curves.jsonl"
    answer = run(CURVES.main, out, "--history", history, "--results", results, "--limit", 50)
    assert answer.exit_code == 0, answer.output
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [line["losses"] for line in lines] == [{"generator.fake": x} for x in (0.55, 1.55, 2.55)]
    assert [(line["system"], line["data"], line["split"], line["n"]) for line in lines] == [
        ("tagan_toy", "cub", "val", 50)
    ] * 3
    assert all(line.items() >= REAL.items() for line in lines)
    again = run(CURVES.main, out, "--history", history, "--results", results, "--limit", 50)
    assert (again.exit_code, measured) == (0, ["20", "30", "model"])  # nothing is measured twice
    run(CURVES.main, out, "--history", history, "--results", results, "--limit", 60)
    assert len(measured) == 6
    drawn = run(CURVES.main, "--plot", "--results", results, "--out", tmp_path / "curves")
    assert drawn.exit_code == 0, drawn.output
    svg = (tmp_path / "curves" / "tagan_toy.svg").read_text()
    assert "losses of generator" in svg
    assert "real photographs" in svg


def test_what_is_missing_is_said(folder, tmp_path):
    out, history, _ = folder
    with pytest.raises(UserError, match=r"expected .*10.safetensors"):
        CURVES.kept(tmp_path, tmp_path)
    (history / "20.safetensors").rename(history / "first.safetensors")
    headers = CURVES.checkpoint.read_header
    CURVES.checkpoint.read_header = lambda file: headers(history / "20.safetensors" if file.stem == "first" else file)
    try:
        with pytest.raises(UserError, match="not named by minutes of CPU"):
            CURVES.kept(out, history)
    finally:
        CURVES.checkpoint.read_header = headers
    assert run(CURVES.main).exit_code == 2
