"""Write README's results table from `benchmarks/results/edits.jsonl`: python benchmarks/table.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "edits.jsonl"
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"
NAMES = {"real": "photograph, its own caption", "unedited": "photograph, target caption"}


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown rows, one for each line of results."""
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


def filled(readme: str, lines: list[dict[str, Any]]) -> str:
    """`readme` with the table between its markers replaced."""
    before, rest = readme.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}{table(lines)}{END}{after}"


def read() -> list[dict[str, Any]]:
    """All lines of the results."""
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8"), read()), encoding="utf-8")
