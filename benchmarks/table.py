"""Write README's results table from `benchmarks/results/{birds,flowers}.jsonl`: python benchmarks/table.py

Until these lines are measured the table is that of `edits.jsonl`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tgim.reporting import read_results, summary_tables

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks" / "results"
RESULTS = [FOLDER / f"{name}.jsonl" for name in ("birds", "flowers")]
EDITS = FOLDER / "edits.jsonl"
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"
NAMES = {"real": "photograph, its own caption", "unedited": "photograph, target caption"}


def table() -> str:
    """Markdown of all results: one table for each data set."""
    found = measured()
    return "\n".join(each.markdown() for each in summary_tables(read_results(found))) if found else edits_table(read())


def measured() -> list[Path]:
    """The results files that are there."""
    return [path for path in RESULTS if path.is_file()]


def edits_table(lines: list[dict[str, Any]]) -> str:
    """Markdown rows, one for each line of `edits.jsonl`."""
    rows = [
        "| data | query | judge's R@1 of 100 | RMSE, target caption | RMSE, own caption |",
        "|---|---|---|---|---|",
    ]
    for line in lines:
        name = NAMES.get(line["row"]) or f"edited by `{line['model']}`, strength {line['strength']:g}"
        rmse = [f"{line[key]:.3f}" if key in line else "0" for key in ("rmse_target", "rmse_own")]
        data = f"{line['data']}, {line['split']} classes, n {line['n']}"
        rows.append(f"| {data} | {name} | {line['recall@1']:.1%} | {' | '.join(rmse)} |")
    return "\n".join(rows) + "\n"


def filled(readme: str, rows: str) -> str:
    """`readme` with the table between its markers replaced."""
    before, rest = readme.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}{rows}{END}{after}"


def read() -> list[dict[str, Any]]:
    """All lines of `edits.jsonl`."""
    return [json.loads(line) for line in EDITS.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8"), table()), encoding="utf-8")
