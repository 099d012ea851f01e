"""Tables of `parts@1`: where edits act, of all asks, and of single parts and colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tgim.evaluation import catalogue
from tgim.evaluation.part_scores import COLOURS as PALETTE
from tgim.evaluation.records import Line
from tgim.reporting.results import entrant, grouped, label, metric_label, pick, setting
from tgim.reporting.tables import NOTHING, Cell, Row, Table, best_of, figure, place_of

PARTS = catalogue.PARTS.name
COLUMNS = ("hit", "half_way", "spilt", "others_change", "outside", "background_change", "texture")  # if measured
BROKEN_DOWN = ("hit", "spilt")  # by part and by colour
NOTE = (
    "Hit: points of the named part that are nearest to the named colour of eleven. Half way: points that covered half "
    "of the way to it. Spilt: other parts, but for those beside the named one, that change by more than 10 (CIELAB); "
    "others' change is their mean. Outside: mean change beyond the subject's box; background change: at points on it "
    "(CIELAB). Texture: what is left of it where the edit acted, 0 to 1."
)


def parts_tables(lines: Iterable[Line], *, intervals: bool = False, broken_down: bool = True) -> list[Table]:
    """Make for each set of photographs a table of all asks and, `broken_down`, of each part and colour."""
    tables = []
    own = (line for line in lines if line.protocol == PARTS)
    for (where, _), part in grouped(own, lambda line: (setting(line), line.options.get("limit"))).items():
        title = str(where._replace(n=next((line.n for line in part if line.metric == "hit"), None)))
        metrics = [metric for metric in COLUMNS if any(line.metric == metric for line in part)]
        heads = [metric_label(metric) for metric in metrics]
        tables.append(_table(part, f"{title}: {PARTS}, own size", metrics, heads, intervals, (NOTE,)))
        for metric in BROKEN_DOWN if broken_down else ():
            some = [line for line in part if line.metric.startswith(f"{metric}/")]
            of_colours = [line for line in some if _value(line.metric) in PALETTE]
            of_parts = [line for line in some if line not in of_colours]
            tables += [
                _alone(values, f"{where}: {PARTS}, {metric} by {kind}")
                for kind, values in (("part", of_parts), ("colour", of_colours))
                if values
            ]
    return tables


def _alone(lines: Sequence[Line], title: str) -> Table:
    """Make the table of one metric for single parts or colours, with the number of pictures of each."""
    counts = {line.metric: line.n for line in lines}
    heads = [f"{_value(metric)}, n {count}" for metric, count in counts.items()]
    return _table(lines, title, list(counts), heads, False, ())


def _value(metric: str) -> str:
    """The part or colour that a metric is of."""
    return metric.rpartition("/")[2]


def _table(
    lines: Sequence[Line],
    title: str,
    metrics: Sequence[str],
    heads: Sequence[str],
    intervals: bool,
    notes: tuple[str, ...],
) -> Table:
    everyone, best = grouped(lines, entrant), best_of(lines)
    rows = []
    for who in sorted(everyone, key=lambda who: place_of(who, lines, by="hit")):
        cells = []
        for metric in metrics:
            line = pick(everyone[who], metric)
            text = NOTHING if line is None else figure(line, intervals)
            cells.append(Cell(text, line, best=line is not None and line is best.get(metric)))
        rows.append(Row(label(who, among=everyone), who.kind, tuple(cells)))
    return Table(title, tuple(heads), tuple(rows), notes)
