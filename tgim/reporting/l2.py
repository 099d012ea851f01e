"""The L2 table of the papers: reconstruction under the own caption, what was published of it, and in which order.

Nam, Kim and Kim, "Text-adaptive generative adversarial networks", NeurIPS 2018, table 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tgim.evaluation.baselines import BASELINES
from tgim.evaluation.records import Line
from tgim.reporting.results import interval, metric_label, pick, setting
from tgim.reporting.tables import NOTHING, OWN, READINGS, Cell, Row, Table, section_tables

ANOTHER = next(each.name for each in BASELINES if each.replaces)  # baseline: another photograph
SOURCE = "Nam et al., NeurIPS 2018"
PUBLISHED = {  # from SOURCE; norm, range and subset are not stated there
    "cub": {"SISGAN": 0.30, "AttnGAN": 0.25, "TAGAN": 0.11},
    "oxford102": {"SISGAN": 0.29, "AttnGAN": 0.32, "TAGAN": 0.11},
}
ROUNDING = 0.005  # of the published figures


def l2_tables(
    lines: Iterable[Line], *, intervals: bool = True, hours: Mapping[str, float] | None = None
) -> list[Table]:
    """The L2 table of the papers: own caption, four readings of L2, and beside them what was published.

    A reading is excluded when a published figure is worse than an unrelated photograph is in it. A note says whether
    the published order of the systems comes out.

    Args:
        lines: of results.
        intervals: write them beside the figures.
        hours: of one core that training took, by the contender's name; a column of the table where there are any.
    """
    lines, hours = list(lines), hours or {}
    tables = []
    for table in section_tables((line for line in lines if line.protocol == OWN), intervals=intervals):
        some = next(cell.line for row in table.rows for cell in row.cells if cell.line is not None)
        published = PUBLISHED.get(some.data, {})
        nothing = tuple(Cell(NOTHING) for _ in table.columns)
        theirs = [
            Row(f"{name} ({SOURCE})", "published", (Cell(f"{value:.2f}"), *nothing))
            for name, value in published.items()
        ]
        own = [replace(row, cells=(Cell(NOTHING), *row.cells)) for row in table.rows]
        like = [line for line in lines if setting(line) == setting(some) and line.size == some.size]
        columns, rows = ("published, norm unstated", *table.columns), (*theirs, *own)
        if any(row.name in hours for row in rows):
            columns = (*columns, "core-hours")
            told = (Cell(f"{hours[row.name]:.1f}" if row.name in hours else NOTHING) for row in rows)
            rows = tuple(replace(row, cells=(*row.cells, cell)) for row, cell in zip(rows, told, strict=True))
        notes = (*excluded(like, published), *order_found(like, published, hours)) if published else ()
        tables.append(replace(table, columns=columns, rows=rows, notes=notes))
    return tables


def excluded(lines: Iterable[Line], published: Mapping[str, float]) -> list[str]:
    """Say of each reading of the published figures whether an unrelated photograph excludes it, a sentence each."""
    lines = list(lines)
    worst = max(published, key=lambda name: published[name])
    figures = {metric: pick(lines, metric, protocol=OWN, model=ANOTHER) for metric in READINGS}
    known = {metric: line for metric, line in figures.items() if line is not None}
    opening = f"The published figures are those of {SOURCE}; norm, range and subset are not stated there."
    if not known:
        return [f"{opening} Without a row of an unrelated photograph no reading of them can be excluded."]
    out = {m for m, line in known.items() if published[worst] - ROUNDING > max(line.high, line.value)}
    sentences = [opening]
    for metric, line in known.items():
        unrelated = f"an unrelated photograph scores {line.value:.3f} in {metric_label(metric)}"
        if metric in out:
            claim = f"{worst}'s {published[worst]:.2f} cannot be that"
            sentences.append(f"Excluded: {metric_label(metric)}; {unrelated}, so {claim}: any other picture is closer.")
        else:
            sentences.append(f"Not excluded: {metric_label(metric)}; {unrelated}.")
    return sentences


def order_found(lines: Iterable[Line], published: Mapping[str, float], hours: Mapping[str, float]) -> list[str]:
    """Say whether the published order of systems comes out, in one sentence; none where a system was not measured.

    Of several models of a system that stands which was trained longest, and of equal ones that with the least error.

    Args:
        lines: of one setting.
        published: error by system; a contender is of a system whose name its own holds.
        hours: of training, by the contender's name.
    """
    lines = [line for line in lines if line.protocol == OWN and line.metric == READINGS[0] and line.kind == "model"]
    chosen: dict[str, Line] = {}
    for system in published:
        measured = [line for line in lines if system.lower() in line.model.lower()]
        if not measured:
            return []
        chosen[system] = min(measured, key=lambda line: (-hours.get(line.model, 0.0), line.value))
    theirs = sorted(published, key=lambda system: published[system])
    ours = sorted(chosen, key=lambda system: chosen[system].value)
    apart = all(chosen[one].high < chosen[two].low for one, two in itertools.pairwise(ours))
    figures = [f"{name} {chosen[name].value:.3f} ({interval(chosen[name])}, {chosen[name].model})" for name in ours]
    verdict = "comes out" if ours == theirs else "does not come out"
    sure = "the intervals are apart" if apart else "some of the intervals overlap"
    return [
        f"The published order, {' < '.join(theirs)}, {verdict}: {' < '.join(figures)} in "
        f"{metric_label(READINGS[0])}; {sure}. Size, width and training differ from what was published."
    ]
