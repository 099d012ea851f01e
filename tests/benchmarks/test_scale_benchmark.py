"""The document on scale shows what was measured, and the script measures what it says."""

from __future__ import annotations

import io
import itertools
import re
import sys

import pytest
from PIL import Image

from support import ROOT
from support.scripts import script

DOCUMENT = ROOT / "docs" / "scale.md"


@pytest.fixture
def scale(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield script("scale")
    sys.modules.pop("scale_runs", None)


def test_the_document_shows_the_committed_results(scale):
    document, tables = DOCUMENT.read_text(encoding="utf-8"), scale.tables(scale.read())
    assert scale.filled(document, tables) == document
    assert set(re.findall(r"<!-- (\w+) -->", document)) == set(tables)


def test_every_model_and_size_was_measured_with_its_parts(scale):
    lines = [line for line in scale.read() if line["what"] == "rate"]
    assert {(line["model"], line["size"]) for line in lines} == set(itertools.product(scale.MODELS, scale.SIZES))
    for line in lines:
        parts = line["decode_s"] + line["edit_s"] + line["encode_s"]
        assert line["lowest_s"] <= line["total_s"] <= line["highest_s"]
        assert parts == pytest.approx(line["total_s"], rel=0.1)  # medians of parts, and of sums


def test_costs_are_rates_times_pictures(scale):
    rate = {
        **{"what": "rate", "model": "birds", "size": "1 MP", "width": 1000, "height": 1000, "n": 3},
        **{"decode_s": 0.1, "edit_s": 3.4, "encode_s": 0.1, "total_s": 3.6, "lowest_s": 3.5, "highest_s": 3.7},
    }
    others = [line for line in scale.read() if line["what"] != "rate"]
    for line in others:
        if line["what"] == "start":
            line["cpu_s"] = 4.0
        if line["what"] == "bytes per pixel":
            line |= {"in": 0.5, "out": 0.25}
    found = scale.tables([rate, *others])
    rows = found["costs"].splitlines()[2:]
    assert rows[0] == "| `birds`, 1 MP, 10^4 | 10 | 10 h | 9.5 min | 7.6 s | 5 GB | 2.5 GB |"
    assert rows[2].startswith("| `birds`, 1 MP, 10^9 | 1,000,000 | 110 years |")
    assert found["drive"].splitlines()[2] == "| `birds`, 1 MP | 210 kB/s | 13 MB/s | 2.1 GB/s |"


def test_a_new_line_takes_the_place_of_the_old_one(scale, tmp_path):
    old = [{"what": "rate", "model": "birds", "size": "64 px", "n": 1}, {"what": "listing", "n": 1}]
    new = {"what": "rate", "model": "birds", "size": "64 px", "n": 2}
    assert scale.kept(old, new, tmp_path / "scale.jsonl") == [old[1], new]
    assert scale.read(tmp_path / "scale.jsonl") == [old[1], new]


@pytest.mark.slow
def test_pictures_have_the_size_that_is_asked_for_and_differ(scale):
    from scale_runs import pictures

    two = list(itertools.islice(pictures(80, 60), 2))
    assert two[0] != two[1]
    assert [Image.open(io.BytesIO(each)).size for each in two] == [(80, 60)] * 2


def test_links_of_the_document_lead_to_files():
    found = re.findall(r"\]\(([^)#:]+)\)", DOCUMENT.read_text(encoding="utf-8"))
    assert found
    assert all((DOCUMENT.parent / each).is_file() for each in found)
