"""Measure models by protocols: one call, one results file, resumable."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tgim.checkpoints import checkpoint
from tgim.checkpoints.registry import Role
from tgim.data.config import DataConfig
from tgim.environment import origin
from tgim.errors import UserError
from tgim.evaluation.baselines import baselines as trivial
from tgim.evaluation.bench import Bench
from tgim.evaluation.catalogue import CATALOGUE, entries
from tgim.evaluation.composing import Composer
from tgim.evaluation.contenders import ModelContender, shown_name
from tgim.evaluation.features import LITE
from tgim.evaluation.matcher import Matcher
from tgim.evaluation.pictures import Progress
from tgim.evaluation.protocol import Protocol, load
from tgim.evaluation.records import Kind, Line, Measured, Results
from tgim.system.say import bar

log = logging.getLogger(__name__)
EDITING: tuple[Role, ...] = ("editor", "generator")  # models that make pictures: measured together, at one size
DOES: dict[Role, str] = {
    "editor": "edits pictures",
    "generator": "generates pictures",
    "matching": "matches pictures with captions",
    "retrieval": "finds pictures by a picture and a text",
}
LACKS: dict[Role, str] = {
    "editor": "does not edit",
    "generator": "generates none from captions alone",
    "matching": "does not match captions",
    "retrieval": "finds none by a picture and a text",
}
PLURAL: dict[Role, str] = {
    "editor": "editors",
    "generator": "text-to-image models and style encoders",
    "matching": "matching models",
    "retrieval": "composing and matching models",
}
BAR = "{desc}: {n_fmt} of {total_fmt} {bar} {elapsed}<{remaining}, {rate_fmt}"


@contextmanager
def counting(*, show: bool | None = None) -> Iterator[Progress]:
    """Show the `progress` of `evaluate`, with the name of what is counted, unless `show` is False."""
    with bar(desc="data", unit="", show=show, leave=False, bar_format=BAR) as shown:
        counted = ("", 0)

        def progress(what: str, done: int, total: int) -> None:
            nonlocal counted
            if counted != (what, total) or done < shown.n:
                counted = what, total
                shown.set_description_str(what, refresh=False)
                shown.reset(total=total)
            shown.update(done - shown.n)

        yield progress


def evaluate(
    models: Sequence[str | Path],
    *,
    data: DataConfig,
    protocols: Sequence[str] | Literal["all"] = "all",
    judge: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    baselines: bool = True,
    limit: int | None = None,
    size: int | None = None,
    cache: Path | None = None,
    extractor: str | None = None,
    photos: Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Line]:
    """Measure models, trivial baselines and reference rows by each protocol.

    Args:
        models: names or paths of checkpoints; none measures the baselines of editing alone.
        data: the data set and its split; give the test split, which no model has seen.
        protocols: names in `catalogue.CATALOGUE`, versions may be left out, or "all" that can be measured with what
            is given, on so many pictures: each model by those of its own role. Named, protocols of edits measure
            text-to-image models, too, which search for the noise of each picture (`tgim.inference.inversion`) and are
            slow; `inversion@1` is measured only if it is named; and `compose@1` measures matching models.
        judge: name or path of a matching model that none of the models was trained against.
        seed: of the task and of the bootstrap.
        out: file to which each figure is appended as soon as it is known. Figures that it holds already are not
            measured again, so a run that was killed goes on where it was.
        baselines: measure the trivial editors, too, where edits are measured.
        limit: measure on this many pictures, a seeded choice.
        size: pixels, side of the pictures that are edited and compared. By default that of the models, which must then
            share it, or without models that of the data. Protocols of photographs at their own size do without, and
            models that make no pictures take them at their own size.
        cache: folder of decoded pictures, edits and embeddings; `tgim.data.cache.cache_folder()` unless given.
        extractor: of features, for `realism@1` and `generation@1`: "efficientnet-lite0", an Inception file, or a
            matching model. Unless given the judge, and for `realism@1` efficientnet-lite0 beside it.
        photos: folder of whole photographs of the data set's pictures, by their names, which `parts@1` edits; without
            it, the pictures of the data set.
        device: where models edit, "cpu" or "cuda"; the judge runs on the CPU.
        progress: called with (what, done, total).

    Returns:
        The lines that were asked for, those from the file among them.

    Raises:
        UserError: a protocol is unknown or lacks what it needs, a model does not do what is measured, or sizes differ.
        DataError: the data set cannot be measured on.
    """
    extractors = [extractor] if extractor is not None else [*([judge] if judge is not None else []), LITE]
    named = protocols != "all"
    wanted = chosen(protocols, judge=judge, extractor=extractors[0])
    opened = [open_model(source, device=device) for source in models]
    measured = {protocol.name: entrants(protocol, opened, named=named) for protocol in wanted}
    options: dict[str, Any] = {"seed": seed, "limit": limit, "cache": cache, "progress": progress}
    benches: dict[int, Bench] = {}
    plan: list[tuple[Protocol, Bench, Sequence[Any]]] = []
    if editing := [protocol for protocol in wanted if protocol.role in EDITING]:
        sized = size is None and not all(protocol.own_size for protocol in editing)
        side = common_size([model for model in opened if isinstance(model, ModelContender)]) if sized else size
        ruler = Matcher.open(judge) if judge is not None else None
        side = side or data.image_size
        bench = Bench(data, size=side, judge=ruler, extractor=extractors[0], photos=photos, **options)
        beside = trivial(bench) if baselines else []
        for protocol in editing:
            if not (named or (len(bench) >= protocol.fewest and protocol.possible(bench))):
                continue
            field = [each for model in measured[protocol.name] for each in protocol.contenders(model)]
            if named or field or (protocol.role == "editor" and not opened):
                several = extractors if protocol.needs_extractor and not protocol.needs_judge else extractors[:1]
                for one in several:
                    plan.append((protocol, bench.by(one), [*field, *(beside if protocol.role == "editor" else ())]))
    for protocol in wanted:
        for model in measured[protocol.name] if protocol.role not in EDITING else ():
            bench = benches.setdefault(model.side, Bench(data, size=model.side, **options))
            plan.append((protocol, bench, protocol.contenders(model)))
    facts = [protocol.facts(bench) for protocol, bench, _ in plan]  # before the file: bad data leave none
    results = Results(None if out is None else Path(out))
    lines: list[Line] = []
    for (protocol, bench, contenders), described in zip(plan, facts, strict=True):
        lines += _measure(bench, protocol, contenders, results, described)
    return list({line.key: line for line in lines}.values())


def open_model(source: str | Path, *, device: str = "cpu") -> ModelContender | Matcher | Composer:
    """Load a model by name or path in the role in which it is measured; editors go to `device`.

    Raises:
        CheckpointError: there is none, or it is of a kind that no protocol measures.
    """
    loaded = checkpoint.load(source)
    kinds: dict[str, type[Matcher] | type[Composer]] = {"matching": Matcher, "retrieval": Composer}
    if kind := kinds.get(loaded.model.role):
        return kind(loaded, name=shown_name(source), fingerprint=checkpoint.fingerprint(source))
    return ModelContender.open(source, device=device, loaded=loaded)


def entrants(protocol: Protocol, models: Sequence[Any], *, named: bool) -> list[Any]:
    """Choose the models that a protocol measures: those of its role, and, if it was `named`, all that can be.

    Raises:
        UserError: it was named, and a model cannot be measured by it.
    """
    if not named:
        return [model for model in models if model.roles[0] == protocol.role]
    for model in models:
        if protocol.role not in model.roles:
            raise UserError(
                f"{model.name} {DOES[model.roles[0]]} and {LACKS[protocol.role]}; {protocol.name} is for "
                f"{PLURAL[protocol.role]}: leave out the protocol, or the model"
            )
    return list(models)


def chosen(protocols: Sequence[str] | Literal["all"], *, judge: str | None, extractor: str | None) -> list[Protocol]:
    """Import the protocols of these names; UserError for an unknown one, and for one that lacks what it needs."""
    if protocols == "all":
        loaded = [load(entry) for entry in CATALOGUE.values()]
        return [p for p in loaded if not _lacks(p, judge=judge, extractor=extractor)]
    found = [load(entry) for entry in entries(protocols)]
    for protocol in found:
        if lack := _lacks(protocol, judge=judge, extractor=extractor):
            raise UserError(f"{protocol.name} needs {lack}")
    return found


def _lacks(protocol: Protocol, *, judge: str | None, extractor: str | None) -> str:
    """Name what a protocol lacks, or return an empty string."""
    if protocol.needs_judge and judge is None:
        return "a judge: name a matching model that the editors were not trained against, such as judge-birds"
    if protocol.needs_extractor and extractor is None:
        return "an extractor of features: name one that tgim.evaluation.features knows"
    return ""


def common_size(contenders: Sequence[Any]) -> int | None:
    """The side that all models work at, None without models; UserError when they differ."""
    sizes = {contender.name: int(contender.editor.model.image_size) for contender in contenders}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{name} {side}" for name, side in sizes.items())
        raise UserError(f"models work at different sizes ({shown}); give the size to compare at, or measure them apart")
    return next(iter(sizes.values()), None)


def _measure(
    bench: Bench, protocol: Protocol, contenders: Sequence[Any], results: Results, facts: dict[str, Any]
) -> Iterator[Line]:
    """The lines of one protocol: its references, then each contender; what is in the file already comes from it."""
    place = origin()
    blank: dict[str, Any] = {
        "protocol": protocol.name,
        "split": bench.data.split,
        "seed": bench.seed,
        "commit": place["commit"],
        "tgim": place["tgim"],
        "torch": place["torch"],
        "machine": f"{place['gpu'] or place['processor']}, {place['cores']} cores",
        "judge": bench.judge_label if protocol.needs_judge else None,
        "extractor": protocol.extractor_label(bench),
        **{key: value for key, value in facts.items() if key != "options"},
    }

    def line(name: str, kind: Kind, checkpoint: str | None, figure: Measured, start: float) -> Line:
        value, low, high = figure.figures(seed=bench.seed)
        count = len(figure.values) if figure.values is not None else figure.n
        return Line(
            **blank,
            model=name,
            kind=kind,
            checkpoint=checkpoint,
            n=len(bench) if count is None else count,
            strength=figure.strength,
            metric=figure.metric,
            higher_is_better=figure.higher_is_better,
            options={**figure.options, **facts["options"]},
            value=value,
            low=low,
            high=high,
            seconds=round(time.monotonic() - start, 3),
        )

    nothing = Measured("", interval=(0.0, 0.0, 0.0), n=0)
    start = time.monotonic()
    known = [line(name, "reference", None, nothing, start) for name in protocol.reference_names]
    if known and all(results.complete(like, protocol.metrics) for like in known):
        yield from (found for like in known for found in results.of(like))
    else:
        for name, figure in protocol.references(bench):
            yield results.add(line(name, "reference", None, figure, start))
    for contender in contenders:
        identity = contender.name, contender.kind, contender.checkpoint
        start = time.monotonic()
        like = line(*identity, nothing, start)
        if results.complete(like, protocol.metrics):
            yield from results.of(like)
            continue
        log.info("%s: %s", protocol.name, contender.name)
        for figure in protocol.measure(bench, contender):
            yield results.add(line(*identity, figure, start))
