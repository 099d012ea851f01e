"""Tables of result lines: references, baselines and models under each other, as Markdown and as plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tgim.evaluation import catalogue
from tgim.evaluation.catalogue import CEILING
from tgim.evaluation.records import Line
from tgim.reporting.results import (
    KINDS,
    NAMES,
    OWN_COUNTS,
    Entrant,
    among,
    entrant,
    grouped,
    interval,
    label,
    metric_label,
    pick,
    section,
    setting,
    written,
)

OWN, EDIT, RETRIEVAL, TRADEOFF, TRUTH, GENERATION = (
    entry.name
    for entry in (
        catalogue.L2_OWN_CAPTION, catalogue.L2_EDIT, catalogue.RETRIEVAL, catalogue.TRADEOFF, catalogue.TRUTH,
        catalogue.GENERATION,
    )
)  # fmt: skip
COLUMNS, PART_COLUMNS = 5, 7  # of a table at most; parts stand without their intervals
READINGS = ("rmse", "rmse_unit", "mse", "mse_unit")  # of what the papers call L2
ORDER = (*READINGS, "recall@1", "recall@5", "recall@10", "mrr")  # of columns; others follow as they come
NOTHING = "–"
STARRED = "* the best of the models"
GENERATION_NOTE = (
    "Pictures generated from captions alone. Diversity: how much the pictures of one caption differ by their noise, "
    "1 - cosine to the judge and RMSE in [-1, 1]; noise differs, too, so read it beside KID."
)


@dataclass(frozen=True)
class Cell:
    """Text of a table's cell; `line` where it is a measured figure."""

    text: str
    line: Line | None = None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A contender's cells; `kind` as in `Line`, or "published"."""

    name: str
    kind: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Rows under named columns (the first column, the rows' names, is not among them)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    first: str = "contender"

    def markdown(self) -> str:
        """The table as Markdown, the best of several models in bold."""
        rows = [(_plain(self.first), *map(_plain, self.columns)), ("---", *("--:" for _ in self.columns))]
        for row in self.rows:
            cells = (f"**{_plain(cell.text)}**" if cell.best else _plain(cell.text) for cell in row.cells)
            rows.append((f"`{row.name}`" if row.kind == "model" else _plain(row.name), *cells))
        lines = ["| " + " | ".join(cells) + " |" for cells in rows]
        return (
            "\n".join([f"**{_plain(self.title)}**", "", *lines, *(f"\n{_plain(note)}" for note in self.notes)]) + "\n"
        )

    def text(self) -> str:
        """The table as plain text in columns, the best of several models with a star."""
        rows = [(self.first, *self.columns)]
        rows += [(row.name, *(cell.text + "*" * cell.best for cell in row.cells)) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])
            for cells in rows
        ]
        rule = "-" * len(lines[0])
        starred = [STARRED] if any(cell.best for row in self.rows for cell in row.cells) else []
        return "\n".join([self.title, rule, lines[0], rule, *lines[1:], rule, *starred, *self.notes]) + "\n"


def section_tables(lines: Iterable[Line], *, intervals: bool = True) -> list[Table]:
    """A table for each protocol and for all that differs between figures which cannot be compared."""
    groups = grouped(lines, lambda line: (setting(line), section(line), "/" in line.metric))
    tables = []
    for (where, what, parts), part in groups.items():
        part = [line for line in part if line.metric != "area"] or part
        metrics = list(dict.fromkeys(line.metric for line in part))
        metrics.sort(key=lambda metric: ORDER.index(metric) if metric in ORDER else len(ORDER))
        alone = len(metrics) == COLUMNS + 1  # a last column that would stand alone stays with the others
        columns = PART_COLUMNS if parts else COLUMNS + alone
        for first in range(0, len(metrics), columns):
            chosen = metrics[first : first + columns]
            some = [line for line in part if line.metric in chosen]
            tables.append(_measured(some, f"{where}: {what}", intervals and not parts))
    return tables


def retrieval_tables(lines: Iterable[Line], *, intervals: bool = True) -> list[Table]:
    """`retrieval@1` with ceiling, floor and chance, and what R@1 is of that of real photographs."""
    tables = []
    for table in section_tables((line for line in lines if line.protocol == RETRIEVAL), intervals=intervals):
        at = next((i for i, name in enumerate(table.columns) if name == metric_label("recall@1")), None)
        figures = {row.name: row.cells[at].line for row in table.rows} if at is not None else {}
        real = figures.get(NAMES[CEILING])
        count = among(line for line in figures.values() if line is not None)
        note = f"R@k: the target caption is among the first k of {count}; the others are of other classes."
        if real is not None and real.value > 0:
            rows = tuple(replace(row, cells=(*row.cells, Cell(_ratio(figures[row.name], real)))) for row in table.rows)
            table = replace(table, columns=(*table.columns, "R@1 / real"), rows=rows)
            note += " R@1 / real: how much of what the judge finds for a photograph and its own caption."
        tables.append(replace(table, notes=(note,)))
    return tables


def summary_tables(lines: Iterable[Line]) -> list[Table]:
    """Make for each data set one table for a README: retrieval, preservation, trade-off and truth in one row."""
    lines = list(lines)
    truth = [line for line in lines if line.protocol == TRUTH]
    tables = []
    shown = (RETRIEVAL, OWN, EDIT, TRADEOFF)
    for where, part in grouped((line for line in lines if line.protocol in shown), setting).items():
        names = {line.checkpoint for line in part if line.kind == "model"}
        contents = {line.content for line in truth if line.kind == "model" and line.checkpoint in names}
        known = [line for line in truth if line.content in contents]
        real = pick(part, "recall@1", protocol=RETRIEVAL, model=CEILING)
        everyone = grouped(part, entrant)
        rows = [
            Row(label(who, among=everyone), who.kind, _summary(who, part, known, real))
            for who in sorted(everyone, key=lambda who: place_of(who, part))
        ]
        judges = sorted({line.judge for line in part if line.judge})
        sizes = sorted({line.size for line in part})
        by = f"; judge {', '.join(judges)}" if judges else ""
        title = f"{where}; {' and '.join(map(str, sizes))} px{by}"
        columns = (
            f"R@1 of {among(part)} (of real)",
            "RMSE, own caption",
            "RMSE, target caption",
            "trade-off area",
            "parts true",
        )
        tables.append(Table(title, columns, tuple(rows)))
    return tables


def _summary(who: Entrant, part: list[Line], truth: list[Line], real: Line | None) -> tuple[Cell, ...]:
    found = pick(part, "recall@1", protocol=RETRIEVAL, model=who)
    share = f" ({_ratio(found, real)})" if found is not None and real is not None and real.value > 0 else ""
    figures = (
        pick(part, "rmse", protocol=OWN, model=who),
        pick(part, "rmse", protocol=EDIT, model=who),
        pick(part, "area", protocol=TRADEOFF, model=who),
        pick(truth, "part_accuracy", protocol=TRUTH, model=who),
    )
    return (
        Cell(written("recall@1", found.value) + share if found is not None else NOTHING, found),
        *(Cell(NOTHING if line is None else written(line.metric, line.value), line) for line in figures),
    )


def generation_tables(lines: Iterable[Line], *, intervals: bool = False) -> list[Table]:
    """Make for each data set one table of text-to-image models: fit to the caption, realism, diversity."""
    tables = []
    metrics = ("recall@1", "recall@10", "kid", "diversity", "diversity_rmse")
    own = (line for line in lines if line.protocol == GENERATION)
    for (where, what), part in grouped(own, lambda line: (setting(line), section(line))).items():
        real = pick(part, "recall@1", model=CEILING)
        everyone = grouped(part, entrant)
        rows = []
        for who in sorted(everyone, key=lambda who: place_of(who, part)):
            found = [pick(part, metric, model=who) for metric in metrics]
            cells = [Cell(NOTHING if line is None else figure(line, intervals), line) for line in found]
            if real is not None and real.value > 0:
                cells.insert(1, Cell(_ratio(found[0], real)))
            rows.append(Row(label(who, among=everyone), who.kind, tuple(cells)))
        heads = [f"R@1 of {among(part)}", *(metric_label(metric) for metric in metrics[1:])]
        if real is not None and real.value > 0:
            heads.insert(1, "of real")
        count = next((line.n for line in part if line.metric == "recall@1"), None)
        by = f"; KID by {what.extractor}" if what.extractor != what.judge else ""
        title = f"{where._replace(n=count)}; {what.size} px; judge {what.judge}{by}"
        tables.append(Table(title, tuple(heads), tuple(rows), (GENERATION_NOTE,)))
    return tables


def figure(line: Line, intervals: bool) -> str:
    """A figure, with its interval if that is wanted and there is one."""
    text = written(line.metric, line.value)
    return f"{text} ({interval(line)})" if intervals and line.low < line.high else text


def ranking(lines: Iterable[Line]) -> list[tuple[Entrant, Line]]:
    """The contenders of one setting by their trade-off area, the largest first."""
    found = {entrant(line): line for line in lines if line.protocol == TRADEOFF and line.metric == "area"}
    return sorted(found.items(), key=lambda pair: (-pair[1].value, pair[0].name))


def _measured(lines: Sequence[Line], title: str, intervals: bool) -> Table:
    """Make a table: a row for each contender and strength, a column for each metric."""
    metrics = sorted(dict.fromkeys(line.metric for line in lines), key=lambda m: ORDER.index(m) if m in ORDER else 99)
    everyone = grouped(lines, entrant)
    best = best_of(lines)
    rows = []
    for who in sorted(everyone, key=lambda who: place_of(who, lines)):
        strengths = grouped(everyone[who], lambda line: line.strength)
        for strength in sorted(strengths, key=lambda s: 1.0 if s is None else s):
            name = label(who, among=everyone)
            if strength is not None and (len(strengths) > 1 or strength != 1):
                name += f", strength {strength:g}"
            cells = []
            for metric in metrics:
                line = next((line for line in strengths[strength] if line.metric == metric), None)
                text = NOTHING if line is None else figure(line, intervals)
                cells.append(Cell(text, line, best=line is not None and line is best.get(metric)))
            rows.append(Row(name, who.kind, tuple(cells)))
    heads = [metric_label(metric, extractor=lines[0].extractor) for metric in metrics]
    if lines[0].protocol in OWN_COUNTS:
        counts = [next(line.n for line in lines if line.metric == metric) for metric in metrics]
        heads = [f"{head.rpartition('/')[2]}, n {count}" for head, count in zip(heads, counts, strict=True)]
    return Table(title, tuple(heads), tuple(rows))


def best_of(lines: Sequence[Line]) -> dict[str, Line]:
    """The best line of each metric among models, where there are several: a baseline is no winner."""
    best = {}
    for metric, part in grouped((line for line in lines if line.kind == "model"), lambda line: line.metric).items():
        if len(part) > 1:
            best[metric] = max(part, key=lambda line: line.value if line.higher_is_better else -line.value)
    return best


def place_of(who: Entrant, lines: Sequence[Line], *, by: str = "area") -> tuple[int, int, float, str]:
    """Sorts references first, then baselines, then models, the best of the metric `by` or the first one first."""
    order = {name: i for i, name in enumerate(NAMES)}
    own = [line for line in lines if entrant(line) == who]
    area = pick(own, by) or pick(own, "recall@1") or own[0]
    good = area.value if area.higher_is_better else -area.value
    rank = order.get(who.name, len(order)) if who.kind != "model" else len(order)
    return (KINDS.index(who.kind), rank, -good, who.name)


def _ratio(line: Line | None, real: Line) -> str:
    return NOTHING if line is None else f"{line.value / real.value:.2f}"


def _plain(text: str) -> str:
    """Text that a Markdown cell holds as it is."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
