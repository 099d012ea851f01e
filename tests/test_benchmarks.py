"""What the documents say is what was measured."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_shows_the_committed_results():
    table = script("table")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert table.filled(readme, table.read()) == readme


@pytest.mark.parametrize("name", ["birds", "flowers"])
def test_the_card_shows_the_committed_results(name):
    from tgim.card import model_card

    figures = model_card(name)["card"]["figures"]
    measured = [line for line in script("table").read() if line.get("model") == name]
    assert measured
    for line in measured:
        assert script("embed").describe(line) in figures


def test_a_measured_line_can_be_argued_with():
    for line in script("table").read():
        assert line.keys() >= {"protocol", "data", "split", "n", "seed", "judge", "commit", "torch", "machine"}
