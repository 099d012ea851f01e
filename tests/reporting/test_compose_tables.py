"""Laws of the tables of models that match or find, on the published lines."""

from __future__ import annotations

import pytest

from support import ROOT
from tgim.reporting import compose_tables, page, read_results, section_tables
from tgim.reporting.results import written

RESULTS = ROOT / "benchmarks" / "results"


def test_a_model_stands_below_its_baselines_and_chance_comes_first():
    lines = read_results([RESULTS / "compose.jsonl"])
    tables = compose_tables(lines)
    assert [table.title.split(",")[0] for table in tables] == ["cub", "drawn birds", "oxford102"]
    photographs, drawn, _ = tables
    assert photographs.columns == ("R@1", "R@5", "R@10", "R@50", "same class", "other class")
    assert drawn.columns[4:] == ("colour", "size", "add", "remove")
    rows = [row.name for row in photographs.rows]
    assert rows[:2] == ["chance", "compose_tirg_birds: image only"]
    assert rows.index("compose_tirg_birds") == rows.index("compose_tirg_birds: sum of embeddings") + 1
    for table, data in zip(tables, ("cub", "drawn birds", "oxford102"), strict=True):
        for row in table.rows:
            for cell in row.cells:
                if cell.line is not None:
                    assert (cell.line.model, cell.line.data) == (row.name, data)
                    assert cell.text == written(cell.line.metric, cell.line.value)


def test_recall_both_ways_stands_in_one_table_of_each_data_set():
    tables = section_tables(read_results([RESULTS / "matching.jsonl"]))
    assert [table.title.split(",")[0] for table in tables] == ["cub", "oxford102"]
    assert {len(table.columns) for table in tables} == {6}


@pytest.mark.parametrize(("name", "read"), [("matching", "Chance is 1, 5 and 10 %"), ("compose", "without composing")])
def test_the_page_says_how_to_read_them(name, read):
    text = page(read_results([RESULTS / f"{name}.jsonl"]))
    assert read in text
