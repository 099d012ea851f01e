"""Comparison of result lines: which may stand side by side, names of contenders and metrics, number formats."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from tgim.errors import UserError
from tgim.evaluation.baselines import BASELINES
from tgim.evaluation.catalogue import CATALOGUE, CEILING, CHANCE, FLOOR
from tgim.evaluation.records import Line, read_lines

KeyT = TypeVar("KeyT")

OWN_COUNTS = frozenset(entry.name for entry in CATALOGUE.values() if entry.own_counts)
KINDS = ("reference", "baseline", "model")  # in the order of a table
NAMES = {  # of reference rows and baselines, in the order of a table
    CEILING: "real photograph",
    FLOOR: "unedited photograph",
    CHANCE: "chance",
    "true": "true edit",
    "true_drawn": "true edit (synthetic)",
    "one_colour": "one colour for all",
    "real_jpeg75": "real photograph, JPEG 75",
    **{each.name: each.label for each in BASELINES},
}
METRICS = {
    "rmse": "RMSE [-1, 1]",
    "rmse_unit": "RMSE [0, 1]",
    "mse": "MSE [-1, 1]",
    "mse_unit": "MSE [0, 1]",
    "recall@1": "R@1",
    "recall@5": "R@5",
    "recall@10": "R@10",
    "recall@50": "R@50",
    "mrr": "MRR",
    **{f"{way} recall@{k}": f"{way} R@{k}" for way in ("image to text", "text to image") for k in (1, 5, 10)},
    "area": "trade-off area",
    "mp": "manipulative precision",
    "directional": "directional similarity",
    "part_accuracy": "parts true",
    "fid": "FID",
    "frechet": "Fréchet distance",
    "stage_distance": "stage distance",
    "kid": "KID",
    "diversity": "diversity, judge",
    "diversity_rmse": "diversity, RMSE",
    "inception_score": "IS",
    "feature_distance": "feature distance, Lite2",
    "off_normal": "noise off normal",
    "half_way": "half way",
    "others_change": "others' change",
    "near_change": "neighbours' change",
    "outside": "outside, of 255",
}
SHARES = ("recall", "accuracy", "spilt")  # metrics that are written as percentages, and those that are called ...
SHARE = ("hit", "half_way")
FINE = ("outside", "background_change")  # written with two digits behind the point
COARSE = ("fid", "frechet", "inception_score", "named_change", "others_change", "near_change")  # and with one


class Setting(NamedTuple):
    """Key of rows: figures of two protocols stand in one row only where all of it is equal."""

    data: str
    split: str
    content: str
    n: int | None  # None where the figures of a row are of different counts: columns say it
    seed: int

    def __str__(self) -> str:
        count = f"n {self.n:,}, " if self.n is not None else ""
        return f"{self.data}, {self.split} split, {count}seed {self.seed}"


class Section(NamedTuple):
    """Key of tables: beside the setting, figures of one protocol stand in one table only where it is equal."""

    protocol: str
    size: int
    judge: str | None
    extractor: str | None

    def __str__(self) -> str:
        ruler = self.judge or self.extractor
        return f"{self.protocol}, {f'{self.size} px' if self.size else 'own size'}" + (f", {ruler}" if ruler else "")


class Entrant(NamedTuple):
    """Contender of a comparison: two checkpoints of one name are two."""

    name: str
    kind: str
    checkpoint: str | None


def read_results(paths: Sequence[str | os.PathLike[str]]) -> list[Line]:
    """The lines of results files; one that was measured again takes the place of the earlier one.

    Raises:
        UserError: a file cannot be read, has a line that is no figure, or there is no line at all.
    """
    lines = [line for path in paths for line in read_lines(Path(path))]
    if not lines:
        raise UserError(f"{', '.join(map(str, paths)) or 'no file'}: no line of results; run tgim eval first")
    return list({line.key: line for line in lines}.values())


def setting(line: Line) -> Setting:
    """Data, split, content, n and seed of a line."""
    return Setting(line.data, line.split, line.content, None if line.protocol in OWN_COUNTS else line.n, line.seed)


def section(line: Line) -> Section:
    """Protocol, size, judge and extractor of a line."""
    return Section(line.protocol, line.size, line.judge, line.extractor)


def entrant(line: Line) -> Entrant:
    """The contender of a line."""
    return Entrant(line.model, line.kind, line.checkpoint)


def grouped(lines: Iterable[Line], by: Callable[[Line], KeyT]) -> dict[KeyT, list[Line]]:
    """Group lines by a key, in the order in which each first appears."""
    groups: dict[KeyT, list[Line]] = {}
    for line in lines:
        groups.setdefault(by(line), []).append(line)
    return groups


def pick(
    lines: Iterable[Line],
    metric: str,
    *,
    protocol: str | None = None,
    model: str | Entrant | None = None,
    strength: float | None = None,
) -> Line | None:
    """The first line with that metric, protocol and contender; without `strength`, the one at full strength.

    >>> pick([], "rmse") is None
    True
    """
    found = [
        line
        for line in lines
        if line.metric == metric
        and (protocol is None or line.protocol == protocol)
        and (model is None or model in (line.model, entrant(line)))
        and (strength is None or line.strength == strength)
    ]
    return max(found, key=lambda line: 1.0 if line.strength is None else line.strength, default=None)


def label(who: Entrant, *, among: Iterable[Entrant] = ()) -> str:
    """The contender's name for people; with the start of its checkpoint's hash where `among` has a namesake."""
    name = NAMES.get(who.name, who.name) if who.kind != "model" else who.name
    twins = {other for other in among if other.name == who.name}
    return f"{name} ({(who.checkpoint or 'none')[:6]})" if len(twins) > 1 else name


def metric_label(metric: str, *, extractor: str | None = None) -> str:
    """The metric's name for people: a Fréchet distance is an FID by the features of Inception alone.

    >>> [metric_label("fid", extractor=by) for by in ("inception-fid/weights.pth:0123", "judge-birds:4567")]
    ['FID', 'Fréchet distance']
    """
    if metric == "fid" and extractor is not None and not extractor.startswith("inception-"):
        metric = "frechet"
    return METRICS.get(metric, metric.replace("_", " "))


def written(metric: str, value: float, *, sign: bool = True) -> str:
    """A figure with the digits that its metric deserves.

    >>> written("recall@1", 0.1234), written("rmse", 0.1234), written("recall@1", 0.5, sign=False)
    ('12.3%', '0.123', '50.0')
    """
    if any(share in metric for share in SHARES) or metric.partition("/")[0] in SHARE:
        return f"{100 * value:.1f}" + ("%" if sign else "")
    if metric in COARSE:
        return f"{value:.1f}"
    if metric in FINE:
        return f"{value:.2f}"
    return f"{value:.4f}" if metric in ("kid", "mse", "mse_unit") else f"{value:.3f}"


def among(lines: Iterable[Line]) -> str:
    """Candidates among which a caption is looked for in `lines`: "100", or "8 to 100" where they differ.

    Lines that do not say so are left out; without any the number is the protocol's own, 100.
    """
    found = sorted({int(line.options["candidates"]) for line in lines if "candidates" in line.options}) or [100]
    return f"{found[0]} to {found[-1]}" if len(found) > 1 else str(found[0])


def interval(line: Line) -> str:
    """The line's 95 % interval, written like its figure.

    The percent sign is left to the figure that it stands beside.
    """
    low, high = (written(line.metric, edge, sign=False) for edge in (line.low, line.high))
    return f"{low} to {high}"
