"""Curves of a training run as one SVG that stands alone: panels above each other over one axis of minutes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from tgim.reporting.plot import COLOURS as STYLES
from tgim.reporting.plot import Label, above, placed, ticks
from tgim.reporting.style import COLOURS, PLOT

WIDTH, HEIGHT, GAP = 640, 130, 34  # units of the picture; of a panel
LEFT, RIGHT, TOP, BOTTOM = 54, 150, 56, 42  # margins; names of curves stand in the right one
LIGHT = dict(re.findall(r"--(\w+): (#\w+)", COLOURS.partition("@media")[0]))  # colours of the page by name
SHEET = re.sub(r"var\(--(\w+)\)", lambda found: LIGHT[found[1]], PLOT)  # for programs that know no variables
SHEET += "svg { font: 12px system-ui, sans-serif; } svg .title { font-weight: 600; } svg .label { stroke: none; }"
SHEET += "svg .spread { stroke-width: 1; opacity: .5; }"
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Curves over one axis of values."""

    title: str  # the values and their unit
    curves: Mapping[str, Points]  # name -> (x, value), x rising
    levels: Mapping[str, float] = field(default_factory=dict)  # name -> value, drawn across
    spreads: Sequence[tuple[float, float, float]] = ()  # (x, low, high) of the first curve, drawn upright
    percent: bool = False  # values are shares
    log: bool = False  # a logarithmic axis; values at or below 0 are left out


def curves_svg(panels: Sequence[Panel], *, title: str, axis: str, log: bool = False) -> str:
    """The panels as SVG text, on a light ground; "" where no panel has a point.

    Args:
        panels: from top to bottom; of values of one kind each.
        title: of the whole.
        axis: what x is, and its unit.
        log: x is above 0, on a logarithmic axis.
    """
    shown = [panel for panel in panels if any(_drawn(panel, points) for points in panel.curves.values())]
    if not shown:
        return ""
    values = [x for panel in shown for points in panel.curves.values() for x, _ in points]
    across = _Across(min(values), max(values), log=True) if log else _Across(0.0, above(max(values)))
    height = TOP + len(shown) * (HEIGHT + GAP) - GAP + BOTTOM
    parts = [f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>']
    for i, panel in enumerate(shown):
        parts += _panel(panel, TOP + i * (HEIGHT + GAP), across)
    base = height - BOTTOM
    for tick in across.ticks():
        parts.append(f'<text class="faint mid" x="{across.at(tick)}" y="{base + 16}">{tick:g}</text>')
    parts.append(f'<text class="faint mid" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{height - 8}">{escape(axis)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n<style>{SHEET}</style>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="{LIGHT["card"]}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(panel: Panel, top: float, axis: _Across) -> list[str]:
    """A panel's frame, levels, curves and names, `top` units from the upper edge."""
    chosen = {name: _drawn(panel, points) for name, points in panel.curves.items()}
    values = [y for points in chosen.values() for _, y in points] + [y for y in panel.levels.values() if y > 0]
    values += [high for _, _, high in panel.spreads]
    low, high = 0.0, above(max(values))
    marks = [] if panel.log else ticks(high)
    if panel.log:
        first = math.floor(math.log10(min(values)))
        last = max(first + 1, math.ceil(math.log10(max(values))))
        low, high, marks = first, last, [10.0**power for power in range(first, last + 1, 1 + (last - first) // 5)]

    def at(x: float, y: float) -> tuple[float, float]:
        share = ((math.log10(y) if panel.log else y) - low) / (high - low)
        return axis.at(x), round(top + HEIGHT * (1 - share), 1)

    edge = WIDTH - RIGHT
    parts = [f'<text class="faint" x="{LEFT}" y="{top - 8}">{escape(panel.title)}</text>']
    for mark in marks:
        y = at(axis.low, mark)[1]
        words = f"{100 * mark:g}%" if panel.percent else f"{mark:g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{edge}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="faint end" x="{LEFT - 6}" y="{y + 4}">{words}</text>')
    names = []
    for name, level in panel.levels.items():
        y = at(axis.low, level)[1]
        parts.append(f'<line class="level" x1="{LEFT}" x2="{edge}" y1="{y}" y2="{y}"/>')
        names.append(Label(edge, y, name, "faint"))
    for x, bottom, up in panel.spreads:
        (across, y1), (_, y2) = at(x, bottom), at(x, up)
        parts.append(f'<polyline class="s1 spread" points="{across},{y1} {across},{y2}"/>')
    for i, (name, points) in enumerate(chosen.items()):
        if points:
            style, places = f"s{i % STYLES + 1}", [at(*point) for point in points]
            parts.append(f'<polyline class="{style}" points="{" ".join(f"{x},{y}" for x, y in places)}"/>')
            parts += [f'<circle class="{style}" cx="{x}" cy="{y}" r="2.4"/>' for x, y in places]
            names.append(Label(edge, places[-1][1], name, style))
    return parts + placed(names)


def _drawn(panel: Panel, points: Points) -> list[tuple[float, float]]:
    """The points that the panel's axis can show."""
    return [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not panel.log)]


@dataclass(frozen=True)
class _Across:
    """The axis of x, from `low` to `high`."""

    low: float
    high: float
    log: bool = False

    def at(self, x: float) -> float:
        """Units from the left edge."""
        low, high, value = (math.log10(each) if self.log else each for each in (self.low, self.high, x))
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def ticks(self) -> list[float]:
        """Round numbers within; of a logarithmic axis powers of ten."""
        if not self.log:
            return ticks(self.high)
        return [10.0**power for power in range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)]
