"""HTML page of result lines, and of pictures where some are given, in one file that loads no other.

Everything that comes from a file (names, captions, hashes) is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from tgim._version import __version__
from tgim.evaluation.catalogue import CATALOGUE
from tgim.evaluation.records import Line
from tgim.reporting.composing import COMPOSE, compose_tables
from tgim.reporting.l2 import l2_tables
from tgim.reporting.parts import PARTS, parts_tables
from tgim.reporting.pictures import Example, Gallery
from tgim.reporting.plot import tradeoff_svg
from tgim.reporting.results import (
    Setting,
    entrant,
    grouped,
    interval,
    label,
    section,
    setting,
    written,
)
from tgim.reporting.style import SCRIPT, STYLE
from tgim.reporting.tables import (
    GENERATION,
    OWN,
    RETRIEVAL,
    TRADEOFF,
    Cell,
    Row,
    Table,
    generation_tables,
    ranking,
    retrieval_tables,
)
from tgim.reporting.tables import section_tables as any_tables

AREA = (
    "Trade-off area: the best R@1 that is reached without changing the picture by more than an RMSE of e, "
    "averaged over e from 0 to 0.25. Higher is better."
)
BASELINES = "Grey rows and points are no models: what doing nothing, something dumb or something perfect scores here."
BARS = (
    "A bar is the 95 % bootstrap interval over pictures, its mark the figure; bars of a column share one scale from 0."
)


def page(lines: Iterable[Line], *, gallery: Gallery | None = None, title: str = "How well pictures are edited") -> str:
    """The page as one string of HTML.

    Args:
        lines: of any protocols, data sets and contenders.
        gallery: pictures, from `tgim.reporting.gallery_of`; tables and plot alone without it.
        title: of the page.
    """
    lines = list(lines)
    settings = grouped(lines, setting)
    edits = [line for line in lines if line.protocol != GENERATION]
    links = [("ranking", "Ranking")] if edits else []
    links += [("pictures", "Pictures")] if gallery else []
    links += [("worst", "The worst"), ("best", "The best")] if gallery and not gallery.generated else []
    links += [("tables", "Tables"), ("origin", "Where the figures come from")]
    body = [
        f"<header><h1>{escape(title)}</h1>",
        f'<p class="faint">{"; ".join(dict.fromkeys(_where(where) for where in settings))}</p>',
        f"<nav>{''.join(f'<a href=#{to}>{name}</a>' for to, name in links)}</nav></header>",
        *(_rankings(settings) if edits else ()),
        *(_gallery(gallery) if gallery else ()),
        '<section id="tables"><h2>Tables</h2>',
        f'<p class="small faint">{BARS} Bold: the best of several models.</p>',
        *(_protocols(part) for part in settings.values()),
        "</section>",
        _origin(lines, gallery),
    ]
    return document(title, body)


def document(title: str, body: Iterable[str]) -> str:
    """Make a page that stands alone of a title, which is escaped, and pieces of HTML, which are not."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + f"\n<script>{SCRIPT}</script></body></html>\n"
    )


def _where(where: Setting) -> str:
    return escape(f"{where.data}, {where.split} split, seed {where.seed}")


def _rankings(settings: Mapping[Setting, list[Line]]) -> list[str]:
    return [
        '<section id="ranking"><h2>Ranking</h2>',
        f'<p class="small faint">{AREA} {BASELINES}</p>',
        *(_ranking(where, part, several=len(settings) > 1) for where, part in settings.items()),
        "</section>",
    ]


def _ranking(where: Setting, lines: list[Line], *, several: bool) -> str:
    """Bars of the trade-off area and the plot, for each part that may be compared."""
    parts = []
    curves = [line for line in lines if line.protocol == TRADEOFF]
    for place, part in grouped(curves, section).items():
        parts.append(f"<h3>{escape(str(where))}; {place.size} px; {escape(place.judge or 'no judge')}</h3>")
        ranks = ranking(part)
        everyone = [who for who, _ in ranks]
        end = max((line.high for _, line in ranks), default=0) or 1.0
        items, number = [], 0
        for who, line in ranks:
            number += who.kind == "model"
            name = f"{number}. {label(who, among=everyone)}" if who.kind == "model" else label(who)
            items.append(
                f'<li class="{escape(who.kind)}"><span class="name">{escape(name)}</span><span class="track">'
                f'<span class="fill" style="width:{_share(line.value, end)}"></span>'
                f'<span class="span" style="left:{_share(line.low, end)};width:{_share(line.high - line.low, end)}">'
                f'</span></span><span class="figure">{written("area", line.value)}'
                f'<span class="ci">{interval(line)}</span></span></li>'
            )
        parts.append(f'<ol class="rank">{"".join(items)}</ol>' if items else "")
        like = [line for line in lines if line.protocol == RETRIEVAL and section(line)[1:] == place[1:]]
        svg = tradeoff_svg(part, references=[line for line in like if line.kind == "reference"])
        if svg:
            read = CATALOGUE[TRADEOFF].reading
            parts.append(
                f'<div class="wide plot">{svg}</div><p class="small faint">{read} Dotted upright: where the area ends. '
                "A curve begins at the unedited photograph; its points are the strengths.</p>"
            )
    if not parts and not several:
        parts.append('<p class="faint">No line of tradeoff@1 is among the results.</p>')
    return "\n".join(parts)


def _protocols(lines: list[Line]) -> str:
    special: dict[str, Callable[..., list[Table]]] = {
        OWN: l2_tables, RETRIEVAL: retrieval_tables, GENERATION: generation_tables,
        PARTS: parts_tables, COMPOSE: compose_tables,
    }  # fmt: skip
    parts = []
    for protocol, part in grouped(lines, lambda line: line.protocol).items():
        make = special.get(protocol, any_tables)
        # the L2 table looks at the edit's rows, too
        tables = make(lines if protocol == OWN else part, intervals=False)
        for table in tables:
            notes = "".join(f'<p class="small faint">{escape(note)}</p>' for note in table.notes)
            read = escape(CATALOGUE[protocol].reading, quote=False) if protocol in CATALOGUE else ""
            parts.append(f"<h3>{escape(table.title)}</h3>")
            parts.append(f'<p class="small faint">{read}</p>{_table(table)}{notes}')
    return "\n".join(parts)


def _table(table: Table) -> str:
    ends = []
    for column in zip(*(row.cells for row in table.rows), strict=True):
        ends.append(max((cell.line.high for cell in column if cell.line is not None), default=0.0) or 1.0)
    heads = "".join(f"<th scope=col>{escape(name)}</th>" for name in (table.first, *table.columns))
    rows = "".join(_row(row, ends) for row in table.rows)
    return (
        f'<div class="wide"><table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(row: Row, ends: Sequence[float]) -> str:
    cells = "".join(_cell(cell, end) for cell, end in zip(row.cells, ends, strict=True))
    return f'<tr class="{escape(row.kind)}"><td>{escape(row.name)}</td>{cells}</tr>'


def _cell(cell: Cell, end: float) -> str:
    line = cell.line
    style = ' class="best"' if cell.best else ""
    if line is None:
        value = cell.text if cell.text.replace(".", "", 1).isdigit() else ""
        return f'<td{style} data-value="{value}">{escape(cell.text)}</td>'
    bar = ""
    if line.low < line.high:
        bar = (
            f'<span class="ci">{interval(line)}</span><span class="bar">'
            f'<i style="left:{_share(line.low, end)};width:{_share(line.high - line.low, end)}"></i>'
            f'<b style="left:{_share(line.value, end)}"></b></span>'
        )
    return f'<td{style} data-value="{line.value:.6g}">{escape(cell.text)}{bar}</td>'


def _share(value: float, end: float) -> str:
    return f"{100 * min(max(value / end, 0.0), 1.0):.1f}%"


def _gallery(gallery: Gallery) -> list[str]:
    columns = len(gallery.rows[0])
    style = f"--n:{columns};grid-template-columns:9rem repeat({columns},minmax(3.4rem,1fr))"
    cells = []
    for caption, row in zip(gallery.captions, gallery.rows, strict=True):
        cells.append(f"<p>{escape(caption)}</p>")
        cells += [f'<img src="{uri}" alt="{escape(caption, quote=True)}" loading="lazy">' for uri in row]
    about = (
        f"Pictures that <code>{escape(gallery.model)}</code> generated from captions; "
        "those of one column share their noise."
        if gallery.generated
        else f"Pictures of {escape(gallery.data)}, edited by <code>{escape(gallery.model)}</code> at full strength. "
        "They belong to their authors: this page is for your own disk."
    )
    order = (
        "Sorted by the rank of the target caption by the judge, then by the change under the "
        "picture's own caption (RMSE in [-1, 1]); photograph left, edit right."
    )
    sheet = [
        f'<section id="pictures"><h2>Pictures</h2><p class="small faint">{about}</p>',
        f'<div class="sheet" style="{style}">{"".join(cells)}</div></section>',
    ]
    if gallery.generated:
        return sheet
    return [
        *sheet,
        f'<section id="worst"><h2>The worst {len(gallery.worst)}</h2><p class="small faint">{order}</p>',
        f"{_cards(gallery.worst)}</section>",
        f'<section id="best"><h2>The best {len(gallery.best)}</h2><p class="small faint">{order}</p>',
        f"{_cards(gallery.best)}</section>",
    ]


def _cards(examples: Sequence[Example]) -> str:
    items = []
    for each in examples:
        items.append(
            f'<li><div class="pair"><img src="{each.source}" alt="photograph" loading="lazy">'
            f'<img src="{each.edited}" alt="edited" loading="lazy"></div><p>{escape(each.caption)}</p>'
            f'<p class="faint small">caption found at rank {each.rank} of {each.candidates}; '
            f"own-caption RMSE {each.rmse_own:.3f}</p></li>"
        )
    return f'<ul class="cards">{"".join(items)}</ul>'


def _origin(lines: Sequence[Line], gallery: Gallery | None) -> str:
    """Hashes, commits, machines: what a reader needs to argue with a figure."""

    def some(values: Iterable[object]) -> str:
        return ", ".join(escape(str(v)) for v in sorted({str(v) for v in values if v is not None})) or "unknown"

    settings = grouped(lines, setting)
    facts = [("checkpoint of " + escape(who.name), some([who.checkpoint])) for who in grouped(lines, entrant)
             if who.kind == "model"]  # fmt: skip
    contents = {(where.data, where.split, where.content): None for where in settings}
    facts += [(f"content of {escape(data)}, {escape(split)}", escape(content)) for data, split, content in contents]
    facts += [
        ("judge", some(line.judge for line in lines)),
        ("extractor", some(line.extractor for line in lines)),
        ("seed", some(line.seed for line in lines)),
        ("commit", some(line.commit for line in lines)),
        ("tgim", some(line.tgim for line in lines)),
        ("torch", some(line.torch for line in lines)),
        ("machine", some(line.machine for line in lines)),
        ("seconds", f"{sum(line.seconds for line in lines):,.0f} in all"),
        ("page", f"{len(lines)} lines of results, written by tgim {escape(__version__)}"),
    ]
    facts += [("pictures", escape(note)) for note in (gallery.notes if gallery else ())]
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    return f'<section id="origin"><h2>Where the figures come from</h2><dl>{rows}</dl></section>'
