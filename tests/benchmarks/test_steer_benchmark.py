"""What `benchmarks/steer.py` writes and shows."""

from __future__ import annotations

import json

from support.linear_generator import light, linear_generator
from support.scripts import run, script
from tgim import steer

BENCH = script("steer")


def test_a_line_has_figure_and_control_and_the_table_shows_both(tmp_path, monkeypatch):
    generator, operation = linear_generator(), steer.operation

    def learned(generator, name, *, seed):
        return operation(generator, name, texts=["light"], steps=3, seed=seed, judge=light())

    monkeypatch.setattr(BENCH.steer, "operation", learned)
    monkeypatch.setattr(BENCH, "Generator", type("Opened", (), {"from_pretrained": staticmethod(lambda _: generator)}))
    results = tmp_path / "steer.jsonl"
    args = ("brightness", "--run", "--results", results, "--sheets", tmp_path / "sheets")
    for _ in range(2):  # a line is replaced
        answer = run(BENCH.main, *args)
    (line,) = map(json.loads, results.read_text().splitlines())
    assert line["low"] <= line["slope"] <= line["high"]
    assert line["random_low"] <= line["random"] <= line["random_high"]
    assert (line["n"], line["seed"], line["by"], line["captions"]) == (64, 0, "pixels", ["light"])
    assert f"| brightness | pixels | {line['slope']:.2f} (" in answer.output
    assert (tmp_path / "sheets" / "brightness.png").exists()
