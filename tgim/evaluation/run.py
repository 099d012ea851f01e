"""Measure models by protocols: one call, one results file, resumable."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from tgim.data.config import DataConfig
from tgim.errors import UserError, nearest
from tgim.evaluation.baselines import baselines as trivial
from tgim.evaluation.bench import Bench, Progress, Protocol
from tgim.evaluation.contenders import Contender, Drawing, ModelContender
from tgim.evaluation.protocols import PROTOCOLS
from tgim.evaluation.records import Kind, Line, Measured, Results

log = logging.getLogger(__name__)
BAR = "{desc}: {n_fmt} of {total_fmt} {bar} {elapsed}<{remaining}"


@contextmanager
def counting(*, show: bool | None = None) -> Iterator[Progress]:
    """A bar for the `progress` of `evaluate`, which says what is counted; unless told, on a terminal alone."""
    disable = None if show is None else not show
    with tqdm(desc="data", disable=disable, leave=False, dynamic_ncols=True, bar_format=BAR) as bar:
        shown = ("", 0)

        def progress(what: str, done: int, total: int) -> None:
            nonlocal shown
            if shown != (what, total) or done < bar.n:
                shown = what, total
                bar.set_description_str(what, refresh=False)
                bar.reset(total=total)
            bar.update(done - bar.n)

        yield progress


def evaluate(
    models: Sequence[str | Path],
    *,
    data: DataConfig,
    protocols: Sequence[str] | Literal["all"] = "all",
    judge: str | None = None,
    seed: int = 0,
    out: Path | None = None,
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
        models: names or paths of checkpoints of editors and text-to-image models; none measures the baselines alone.
        data: the data set and its split; give the test split, which no model has seen.
        protocols: names in `PROTOCOLS`, or "all" that can be measured with what is given, on so many pictures:
            text-to-image models by those of drawn pictures, editors by the others. Named, protocols of edits measure
            text-to-image models, too, which search for the noise of each picture (`tgim.inference.inversion`) and are
            slow.
        judge: name or path of a matching model that none of the models was trained against.
        seed: of the task and of the bootstrap.
        out: file to which each figure is appended as soon as it is known. Figures that it holds already are not
            measured again, so a run that was killed goes on where it was.
        baselines: measure the trivial editors too, where edits are measured.
        limit: measure on this many pictures, a seeded choice.
        size: pixels, side of the pictures that are edited and compared. By default that of the models, which must then
            share it, or without models that of the judge. Protocols of photographs at their own size do without.
        cache: folder of decoded pictures, edits and embeddings; `tgim.data.cache.cache_folder()` unless given.
        extractor: of features, for `realism@1`: an Inception file, or a matching model; the judge unless given.
        photos: folder of whole photographs of the data set's pictures, by their names, which `parts@1` edits; without
            it, the pictures of the data set.
        device: where models edit, "cpu" or "cuda"; the judge looks on the CPU.
        progress: called with (what, done, total).

    Returns:
        The lines that were asked for, those from the file among them.

    Raises:
        UserError: a protocol is unknown or lacks what it needs, a model does not do what is measured, or sizes differ.
        DataError: the data set will not do.
    """
    extractor = extractor if extractor is not None else judge
    wanted = chosen(protocols, judge=judge, extractor=extractor)
    contenders = [ModelContender.open(source, device=device) for source in models]
    named = protocols != "all"
    fields = {protocol.name: entrants(protocol, contenders, named=named) for protocol in wanted}
    sized = not all(protocol.own_size for protocol in wanted)
    side = size if size is not None else common_size(contenders) if sized else None
    bench = Bench(
        data,
        size=side or data.image_size,
        seed=seed,
        judge=judge,
        extractor=extractor,
        limit=limit,
        photos=photos,
        cache=cache,
        progress=progress,
    )
    beside = trivial(bench) if baselines else []
    results = Results(out)
    lines: list[Line] = []
    for protocol in wanted:
        field = fields[protocol.name]
        enough = len(bench) >= protocol.fewest and (field or not (contenders or protocol.draws))
        if named or (enough and protocol.possible(bench)):
            lines += _measure(bench, protocol, [*field, *([] if protocol.draws else beside)], results)
    return lines


def entrants(protocol: Protocol, models: Sequence[ModelContender], *, named: bool) -> list[Contender]:
    """The models that a protocol measures; UserError when it was `named` for one that does not draw, and needs it.

    Unless it was named, text-to-image models are measured by what they draw, and all others by their edits.
    """
    if not protocol.draws:
        return [model for model in models if named or not model.only_draws]
    for model in models:
        if named and not isinstance(model, Drawing):
            raise UserError(
                f"{model.name} edits pictures and draws none from captions alone; {protocol.name} is for text-to-image "
                "models and style encoders: leave out the protocol, or the model"
            )
    return [model for model in models if isinstance(model, Drawing) and (named or model.only_draws)]


def chosen(protocols: Sequence[str] | Literal["all"], *, judge: str | None, extractor: str | None) -> list[Protocol]:
    """The protocols of these names; UserError for an unknown one, and for one that lacks what it needs."""
    if protocols == "all":
        return [p for p in PROTOCOLS.values() if not _lacks(p, judge=judge, extractor=extractor)]
    found = []
    for name in protocols:
        if name not in PROTOCOLS:
            hint = nearest(name, PROTOCOLS)
            raise UserError(f"no protocol {name!r}{hint}; there are: {', '.join(PROTOCOLS)}")
        if lack := _lacks(PROTOCOLS[name], judge=judge, extractor=extractor):
            raise UserError(f"{name} needs {lack}")
        found.append(PROTOCOLS[name])
    return found


def _lacks(protocol: Protocol, *, judge: str | None, extractor: str | None) -> str:
    """What is missing for a protocol, or an empty string."""
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


def _measure(bench: Bench, protocol: Protocol, contenders: Sequence[Contender], results: Results) -> Iterator[Line]:
    """The lines of one protocol: its references, then each contender; what is in the file already comes from it."""
    blank: dict[str, Any] = {
        **bench.facts(),
        "protocol": protocol.name,
        "judge": bench.judge_label if protocol.needs_judge else None,
        "extractor": protocol.extractor_label(bench),
        **protocol.facts(bench),
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
            options={**figure.options, **bench.limited()},
            value=value,
            low=low,
            high=high,
            seconds=round(time.monotonic() - start, 3),
        )

    nothing = Measured("", interval=(0.0, 0.0, 0.0))
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
