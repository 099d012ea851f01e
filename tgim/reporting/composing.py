"""Tables of `compose@1`: how often the picture meant is found, of all triples and by kind of change."""

from __future__ import annotations

from collections.abc import Iterable

from tgim.evaluation import catalogue
from tgim.evaluation.catalogue import CHANCE
from tgim.evaluation.records import Line
from tgim.reporting.results import entrant, grouped, label, metric_label, pick, section, setting
from tgim.reporting.tables import NOTHING, Cell, Row, Table, figure

COMPOSE = catalogue.COMPOSE.name
DEPTH = "recall@10"  # by kind of change
NOTE = (
    "R@k: the picture meant is among the first k of all. Image only, text only and sum of embeddings are baselines on "
    "the embeddings of the model that they are named with."
)


def compose_tables(lines: Iterable[Line], *, intervals: bool = False) -> list[Table]:
    """For each set of pictures one table: recall of all triples, then R@10 of each kind; models below their baselines.

    Args:
        lines: of any protocols.
        intervals: write them behind the figures of all triples.
    """
    tables = []
    own = (line for line in lines if line.protocol == COMPOSE)
    for (where, what), part in grouped(own, lambda line: (setting(line), section(line))).items():
        found = list(dict.fromkeys(line.metric for line in part))
        metrics = [metric for metric in found if "/" not in metric]
        metrics += [metric for metric in found if metric.startswith(f"{DEPTH}/")]
        everyone = grouped(part, entrant)
        rows = []
        for who in sorted(everyone, key=lambda who: who.name != CHANCE):
            known = [pick(everyone[who], metric) for metric in metrics]
            cells = (Cell(NOTHING if line is None else _written(line, intervals), line) for line in known)
            rows.append(Row(label(who, among=everyone), who.kind, tuple(cells)))
        heads = [metric_label(metric) if "/" not in metric else metric.rpartition("/")[2] for metric in metrics]
        count = next((line.n for line in part if "/" not in line.metric), None)
        tables.append(Table(f"{where._replace(n=count)}: {what}", tuple(heads), tuple(rows), (NOTE,)))
    return tables


def _written(line: Line, intervals: bool) -> str:
    return figure(line, intervals and "/" not in line.metric)
