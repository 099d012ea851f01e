"""Write the table of docs/results.md from `benchmarks/results/{birds,flowers}.jsonl`: python benchmarks/table.py"""

from __future__ import annotations

from pathlib import Path

from tgim.reporting import generation_tables, parts_tables, read_results, summary_tables

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks" / "results"
RESULTS = [FOLDER / f"{name}.jsonl" for name in ("birds", "flowers")]
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"


def table() -> str:
    """Markdown of all results: for each data set a table of editors, one of parts, one of text-to-image models."""
    lines = read_results(RESULTS)
    tables = (*summary_tables(lines), *parts_tables(lines, broken_down=False), *generation_tables(lines))
    return "\n".join(each.markdown() for each in tables)


def filled(readme: str, rows: str) -> str:
    """`readme` with the table between its markers replaced."""
    before, rest = readme.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}{rows}{END}{after}"


if __name__ == "__main__":
    path = ROOT / "docs" / "results.md"
    path.write_text(filled(path.read_text(encoding="utf-8"), table()), encoding="utf-8")
