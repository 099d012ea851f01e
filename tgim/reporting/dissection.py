"""HTML page of a generator's dissection and boundaries, in one file that loads no other; nothing is computed here.

Names and captions are escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import islice
from typing import NamedTuple

from tgim._version import __version__
from tgim.inference.steer.boundaries import NOISE, REACH, Boundaries
from tgim.inference.steer.intervals import Figure
from tgim.inference.steer.units import Dissection
from tgim.reporting.page import document
from tgim.reporting.pictures import within_budget

UNITS = (
    "For each part, the unit of a layer whose map fits it best, chosen with its threshold on one half of the pictures "
    "and measured on the other: intersection over union (0 to 1) with its 95 % interval over pictures, and below it "
    "the same with masks of other pictures, mean and largest of {others} pairings. Parts have their usual places, so "
    "that a map that knows nothing of its picture overlaps, too: what counts is the distance from that. Bold: the "
    "interval lies above all of them."
)
EFFECTS = (
    "Change of the part's area, in per cent of the picture, by the {k} units of a layer that fit it best, beyond the "
    "change by as many random units of the layer ({draws} draws), with its 95 % interval over {n} pictures. Off: 0 "
    "everywhere; a part of these units gets smaller. On: their 99 % quantile in a square of a quarter of the map's "
    "side at a random place; it gets larger. Bold: as expected, and the interval leaves out 0; of cells where nothing "
    "happens one in forty would be bold by chance."
)
BOUNDARIES = (
    "Of {n} pictures scored for an attribute, the {ends} highest and the {ends} lowest are told apart by a linear "
    "boundary; accuracy on {out} held-out ones with its 95 % interval, and of boundaries fitted to shuffled labels "
    "(mean, largest of {shuffles}). Change: of the score, in standard deviations over the pictures, by a move of "
    "{reach:g} standard deviations along the normal in that place alone, mean of {moved} other pictures with its "
    "interval; and least and largest along {draws} random directions of the same length. Bold: the interval lies "
    "beyond these."
)


class _Cell(NamedTuple):
    text: str
    value: float | None = None  # to sort by
    below: str = ""
    best: bool = False


def dissection_page(
    found: Dissection | None = None, lines: Boundaries | None = None, *, title: str = "What a generator's layers hold"
) -> str:
    """Make the page as one string of HTML.

    Args:
        found: units of a generator, and what they do; none to show boundaries alone.
        lines: boundaries in the same generator, if there are any.
        title: of the page.
    """
    some = found or lines
    name = some.generator if some is not None else ""
    parts = [("seen", "What the localiser sees"), ("units", "Units"), ("pictures", "Pictures"), ("effects", "Switches")]
    links = (parts if found else []) + ([("boundaries", "Boundaries")] if lines else [])
    links.append(("origin", "Where the figures come from"))
    body = [
        f"<header><h1>{escape(title)}</h1>",
        f'<p class="faint"><code>{escape(name)}</code></p>',
        f"<nav>{''.join(f'<a href=#{to}>{text}</a>' for to, text in links)}</nav></header>",
        *(_seen(found) if found else ()),
        *(_units(found) if found else ()),
        *(_pictures(found) if found else ()),
        *(_effects(found) if found else ()),
        *(_boundaries(lines) if lines else ()),
        *_origin(found, lines),
    ]
    return document(title, body)


def _seen(found: Dissection) -> Iterator[str]:
    share = found.seen
    yield '<section id="seen"><h2>What the localiser sees</h2>'
    yield (
        f"<p>The localiser <code>{escape(found.localiser)}</code> learned from photographs. It sees a subject in "
        f"<b>{100 * share.value:.0f} %</b> ({100 * share.low:.0f} to {100 * share.high:.0f} %) of {found.n} generated "
        "pictures; what it does not see, no figure below can tell of.</p>"
    )
    rows = [
        [_Cell(part), _Cell(f"{100 * found.shows[part]:.0f}", found.shows[part]), _Cell(f"{area:.2f}", area)]
        for part, area in found.areas.items()
    ]
    yield _table(("part", "shown in, % of pictures", "area, % of the picture"), rows)
    if found.rare:
        yield f'<p class="small faint">Left out, too seldom seen: {escape(", ".join(found.rare))}.</p>'
    yield "</section>"


def _layers(found: Dissection) -> list[str]:
    return [f"{_short(layer.name)}, {layer.channels} of {layer.height}x{layer.width}" for layer in found.layers]


def _short(name: str) -> str:
    """A layer's name without that of the network.

    >>> _short("generator.first.2")
    'first.2'
    """
    return name.split(".", 1)[-1]


def _units(found: Dissection) -> Iterator[str]:
    yield '<section id="units"><h2>Units</h2>'
    yield f'<p class="small faint">{UNITS.format(others=found.pairings)}</p>'
    rows = []
    for part in found.areas:
        cells = [_Cell(part)]
        for layer in found.layers:
            unit = next(each for each in found.units if (each.part, each.layer) == (part, layer.name))
            cells.append(
                _Cell(
                    f"{unit.iou.value:.3f}",
                    unit.iou.value,
                    f"{unit.iou.low:.3f}–{unit.iou.high:.3f}; unit {unit.unit}<br>other {unit.other.value:.3f}, "
                    f"{unit.other.high:.3f}",
                    unit.iou.low > unit.other.high,
                )
            )
        rows.append(cells)
    yield _table(("part", *_layers(found)), rows)
    yield "</section>"


def _pictures(found: Dissection) -> Iterator[str]:
    yield '<section id="pictures"><h2>Pictures</h2>'
    yield (
        '<p class="small faint">The first pictures, of those that were measured, in which the localiser sees the part; '
        "light where the part is, or where the unit that fits it best is above its threshold; then the same pictures "
        "with units switched.</p>"
    )
    uris = iter(within_budget([picture for sheet in found.sheets for _, row in sheet.rows for picture in row]))
    for sheet in found.sheets:
        unit = sheet.unit
        yield (
            f"<h3>{escape(sheet.part)}: unit {unit.unit} of {escape(_short(unit.layer))}, IoU {unit.iou.value:.3f} "
            f"(other pictures {unit.other.value:.3f})</h3>"
        )
        columns = len(sheet.rows[0][1])
        cells = []
        for title, row in sheet.rows:
            cells.append(f"<p>{escape(title)}</p>")
            alt = escape(f"{sheet.part}: {title}", quote=True)
            cells += [f'<img src="{uri}" alt="{alt}" loading="lazy">' for uri in islice(uris, len(row))]
        style = f"--n:{columns};grid-template-columns:9rem repeat({columns},minmax(3.4rem,6rem))"
        yield f'<div class="sheet" style="{style}">{"".join(cells)}</div>'
        numbers = ", ".join(map(str, sheet.units))
        yield f'<p class="small faint">Switched: units {numbers}.</p>'
    yield "</section>"


def _effects(found: Dissection) -> Iterator[str]:
    most = max((len(effect.units) for effect in found.effects), default=1)
    few = min((len(effect.units) for effect in found.effects), default=1)
    count = f"{most}" if few == most else f"{few} to {most}"
    yield '<section id="effects"><h2>Switches</h2>'
    note = EFFECTS.format(k=count, draws=found.draws, n=found.switched_n)
    yield f'<p class="small faint">{note}</p>'
    for name, sign in (("off", -1), ("on", 1)):
        rows = []
        for part in found.areas:
            cells = [_Cell(part)]
            for layer in found.layers:
                effect = next(each for each in found.effects if (each.part, each.layer) == (part, layer.name))
                beyond = effect.off_beyond if sign < 0 else effect.on_beyond
                sure = beyond.high < 0 if sign < 0 else beyond.low > 0
                cells.append(_Cell(f"{beyond.value:+.2f}", beyond.value, _span(beyond), sure))
            rows.append(cells)
        yield f"<h3>Units {name}, beyond random units</h3>"
        yield _table(("part", *_layers(found)), rows)
    heads = (
        "part, layer", "units", "area", "off", "off, random", "rest of the subject", "on", "on, random",
    )  # fmt: skip
    rows = [
        [
            _Cell(f"{effect.part}, {_short(effect.layer)}"),
            _Cell(f"{len(effect.units)}", len(effect.units)),
            _Cell(f"{effect.area:.2f}", effect.area),
            *(
                _Cell(f"{each.value:+.2f}", each.value, _span(each))
                for each in (effect.off, effect.off_random, effect.off_rest, effect.on, effect.on_random)
            ),
        ]
        for effect in found.effects
    ]
    yield f"<details><summary>Each change by itself</summary>{_table(heads, rows)}</details></section>"


def _span(figure: Figure) -> str:
    return f"{figure.low:+.2f} to {figure.high:+.2f}"


def _boundaries(lines: Boundaries) -> Iterator[str]:
    yield '<section id="boundaries"><h2>Boundaries</h2>'
    note = BOUNDARIES.format(
        n=lines.n, ends=lines.ends, out=lines.held_out, shuffles=lines.shuffles, reach=REACH, moved=lines.moved_n,
        draws=lines.draws,
    )  # fmt: skip
    yield f'<p class="small faint">{note}</p>'
    heads = ["attribute", *(place if place == NOISE else _short(place) for place in lines.places)]
    accuracies, changes = [], []
    for attribute in lines.attributes:
        accuracy, change = [_Cell(attribute)], [_Cell(attribute)]
        for place in lines.places:
            own = lines.of(attribute, place)
            accuracy.append(
                _Cell(
                    f"{100 * own.accuracy.value:.0f} %",
                    own.accuracy.value,
                    f"{100 * own.accuracy.low:.0f}–{100 * own.accuracy.high:.0f}<br>shuffled "
                    f"{100 * own.shuffled.value:.0f}, {100 * own.shuffled.high:.0f}",
                    own.accuracy.low > own.shuffled.high,
                )
            )
            change.append(
                _Cell(
                    f"{own.change.value:+.2f}",
                    own.change.value,
                    f"{_span(own.change)}<br>random {_span(own.random)}",
                    own.change.low > own.random.high,
                )
            )
        accuracies.append(accuracy)
        changes.append(change)
    yield f"<h3>Accuracy</h3>{_table(heads, accuracies)}<h3>Change of the score</h3>{_table(heads, changes)}</section>"


def _origin(found: Dissection | None, lines: Boundaries | None) -> Iterator[str]:
    facts = [("tgim", __version__)]
    if found:
        facts += [
            ("units", f"{found.n} pictures, half of them for thresholds; seed {found.seed}; {found.seconds:.0f} s"),
            ("captions of the units", "; ".join(found.texts) or "none"),
            ("method of the units", "Bau et al., GAN Dissection, ICLR 2019, eq. 2 to 4"),
        ]
    if lines:
        facts += [
            ("boundaries", f"{lines.n + lines.moved_n} pictures; seed {lines.seed}; {lines.seconds:.0f} s"),
            ("captions of the boundaries", "; ".join(lines.texts) or "none"),
            ("score", lines.judge),
            ("method of the boundaries", "Yang, Shen and Zhou, Semantic hierarchy, IJCV 2020"),
        ]
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts)
    yield f'<section id="origin"><h2>Where the figures come from</h2><dl>{items}</dl></section>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[_Cell]]) -> str:
    top = "".join(f"<th scope=col>{escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="wide"><table class="sortable"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: _Cell) -> str:
    """A cell of a table; what stands below its text is HTML already."""
    style = ' class="best"' if cell.best else ""
    value = "" if cell.value is None else f' data-value="{cell.value:.6g}"'
    below = f'<span class="ci">{cell.below}</span>' if cell.below else ""
    return f"<td{style}{value}>{escape(cell.text)}{below}</td>"
