"""The trade-off as one SVG: how much an edit changes a picture against how well the result fits its caption.

Colours come from the page's style sheet, so that it follows light and dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from tgim.evaluation.catalogue import CEILING, CHANCE, FLOOR
from tgim.evaluation.records import Line
from tgim.reporting.results import Entrant, among, entrant, grouped, label, pick, written

WIDTH, HEIGHT = 560, 400
LEFT, RIGHT, TOP, BOTTOM = 46, 116, 14, 42  # margins; labels of curves stand in the right one
APART = 15  # between two labels
REACH = 0.25  # RMSE up to which the area is taken
COLOURS = 6  # that the style sheet names


class Label(NamedTuple):
    """Words beside a point, and the class that colours them."""

    x: float
    y: float
    text: str
    style: str


def tradeoff_svg(lines: Sequence[Line], *, references: Sequence[Line] = ()) -> str:
    """The curves of `tradeoff@1` lines that may be compared; `references` are R@1 lines of ceiling, floor and chance.

    Models are curves through their strengths, beginning at the unedited photograph; baselines are points.
    """
    curves = _curves(lines)
    if not curves:
        return ""
    levels = {name: pick(references, "recall@1", model=name) for name in (CEILING, FLOOR, CHANCE)}
    floor = levels[FLOOR]
    everyone = list(curves)
    widest = max([REACH, *(rmse.value for points in curves.values() for rmse, _ in points)])
    highest = max([line.value for line in levels.values() if line] + [r.high for p in curves.values() for _, r in p])
    right, top = above(widest), above(highest)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            round(LEFT + x / right * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM), 1),
        )

    parts, spots, labels = [_axes(at, right, top, among(lines))], [], []
    for name, line in levels.items():
        if line is not None:
            (x, y), edge = at(0, line.value), WIDTH - RIGHT
            parts.append(f'<line class="level" x1="{x}" x2="{edge}" y1="{y}" y2="{y}"/>')
            words = {CEILING: "real photograph", FLOOR: "unedited", CHANCE: "chance"}[name]
            labels.append(Label(edge, y, words, "faint"))
    colour = 0
    for who, points in curves.items():
        if who.kind == "model":
            colour += 1
            places = [at(rmse.value, recall.value) for rmse, recall in points]
            start = [at(0, floor.value)] if floor is not None else []
            path = " ".join(f"{x},{y}" for x, y in start + places)
            style = f"s{(colour - 1) % COLOURS + 1}"
            parts.append(f'<polyline class="{style}" points="{path}"/>')
            spots += [_spot(place, style, who, point) for place, point in zip(places, points, strict=True)]
            labels.append(Label(*places[-1], label(who, among=everyone), style))
        else:
            x, y = at(points[-1][0].value, points[-1][1].value)
            spots.append(_spot((x, y), "base", who, points[-1]))
            if x > LEFT:  # who changes nothing stands on the line that says "unedited"
                labels.append(Label(x - 4, y - 9, label(who), "faint"))
    parts += [*placed(labels), *spots]
    words = "Share of edits whose target caption is found first, against the change of the picture"
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">'
        + "\n".join(parts)
        + "</svg>"
    )


def _curves(lines: Sequence[Line]) -> dict[Entrant, list[tuple[Line, Line]]]:
    """Collect for each contender its pairs of RMSE and R@1, the weakest edit first."""
    curves = {}
    for who, own in grouped(lines, entrant).items():
        pairs = []
        for strength, part in sorted(grouped(own, lambda line: line.strength or 0.0).items()):
            rmse, recall = (pick(part, metric, strength=strength) for metric in ("rmse", "recall@1"))
            if rmse is not None and recall is not None:
                pairs.append((rmse, recall))
        if pairs and who.kind != "reference":
            curves[who] = pairs
    return curves


def above(value: float) -> float:
    """A little more than `value`, so that nothing lies on the frame.

    >>> round(above(0.25), 3)
    0.265
    """
    return 1.06 * value if value > 0 else 1.0


def ticks(end: float) -> list[float]:
    """Four to eight round numbers from 0 to `end`, which is below 3500.

    >>> ticks(0.26)
    [0.0, 0.05, 0.1, 0.15, 0.2, 0.25]
    """
    step = next(
        s
        for s in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 500)
        if end / s < 7
    )
    return [round(i * step, 4) for i in range(int(end / step) + 1)]


def _axes(at: Callable[[float, float], tuple[float, float]], right: float, top: float, candidates: str) -> str:
    parts = []
    for tick in ticks(top):
        x, y = at(0, tick)
        parts.append(f'<line class="grid" x1="{x}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="faint end" x="{x - 6}" y="{y + 4}">{100 * tick:g}%</text>')
    for tick in ticks(right):
        x, y = at(tick, 0)
        parts.append(f'<text class="faint mid" x="{x}" y="{y + 16}">{tick:g}</text>')
    x, y = at(REACH, 0)
    parts.append(f'<line class="level" x1="{x}" x2="{x}" y1="{TOP}" y2="{y}"/>')
    parts.append(
        f'<text class="faint mid" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">RMSE, target caption</text>'
    )
    parts.append(f'<text class="faint" x="{LEFT + 6}" y="{TOP + 10}">R@1 of {candidates}</text>')
    return "\n".join(parts)


def _spot(spot: tuple[float, float], style: str, who: Entrant, point: tuple[Line, Line]) -> str:
    rmse, recall = point
    text = (
        f"{who.name}, strength {rmse.strength or 1:g}: RMSE {rmse.value:.3f}, R@1 {written('recall@1', recall.value)}"
    )
    return f'<circle class="{style}" cx="{spot[0]}" cy="{spot[1]}" r="4"><title>{escape(text)}</title></circle>'


def placed(labels: Sequence[Label]) -> list[str]:
    """Labels right of their points, moved up or down until none of those near it is covered."""
    done: list[Label] = []
    for each in sorted(labels, key=lambda one: -one.y):
        y = each.y
        near = sorted((p.y for p in done if _overlap(p, each)), reverse=True)
        for other in near:
            if abs(other - y) < APART:
                y = other - APART
        done.append(each._replace(y=y))
    return [
        f'<text class="{p.style} label" x="{p.x + 8}" y="{round(p.y + 4, 1)}">{escape(p.text)}</text>' for p in done
    ]


def _overlap(one: Label, other: Label) -> bool:
    """Test whether two labels would share columns, at about 6.5 units a letter."""
    first, second = sorted((one, other), key=lambda each: each.x)
    return first.x + 6.5 * len(first.text) + 10 > second.x
