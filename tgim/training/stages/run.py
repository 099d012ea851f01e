"""A run of stages: each stage is trained in a folder of its own, then the report is written."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from tgim.checkpoints import checkpoint
from tgim.data import open_dataset
from tgim.data.doing import doing
from tgim.data.readable import only_readable
from tgim.data.synthetic.pool import synthetic_count
from tgim.evaluation import Line, counting, evaluate
from tgim.evaluation.task import choose_task, in_order
from tgim.nn.parallel import Ranks
from tgim.reporting import gallery_of, page, summary_tables
from tgim.system.files import replacing, write_file
from tgim.training import parallel
from tgim.training import run as training
from tgim.training.loop import MODEL, STATE, Interrupted, TrainingError
from tgim.training.recipe import Recipe
from tgim.training.stages.plan import REPORT, Report, Stages, is_stage

RECIPE = "recipe.yaml"
Tell = Callable[[str], None]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """Results of a run of stages: the editor, and the report's figures and page where there is one."""

    model: Path
    lines: tuple[Line, ...] = ()
    page: Path | None = None

    def summary(self) -> str:
        """The report in short, as Markdown; empty without one."""
        return "\n".join(table.markdown() for table in summary_tables(self.lines)).strip()


def fit(
    stages: Stages, *, out: str | Path, resume: bool = False, progress: bool = True, tell: Tell | None = None
) -> Outcome:
    """Train stage after stage, each in a folder of its own in `out`, and write the report.

    `out` gets `<stage>/` as `tgim.training.run.fit` writes it, `model.safetensors` (a copy of the editor, as soon as
    that is trained), `recipe.yaml`, and `report/` with `results.jsonl`, `report.html` and `summary.md`.

    Args:
        stages: from `load` or `parse`.
        out: folder, new or empty unless `resume`.
        resume: go on where the run in `out` was: finished stages are passed over, figures not measured again.
        progress: show bars on stderr.
        tell: called with a line at the start of each stage.

    Raises:
        TrainingError: `out` is not empty, a stage has another recipe than its run, or a loss is not finite.
        Interrupted: stopped by a signal after saving.
        UserError: data or models that the recipe names cannot be used; the report's pictures are checked first.
    """
    out = Path(os.path.expanduser(out))
    ranks = parallel.join(next(iter(stages.trainings.values())).train.device)
    with training.folder_of_run(out) if ranks.rank == 0 else contextlib.nullcontext():
        say = tell if tell is not None and ranks.rank == 0 else (lambda line: None)
        return _fit(stages, out, resume=resume, progress=progress and ranks.rank == 0, say=say, ranks=ranks)


def _fit(stages: Stages, out: Path, *, resume: bool, progress: bool, say: Tell, ranks: Ranks) -> Outcome:
    with checkpoint.naming(stages.files(out)):
        done = parallel.agreed(ranks, lambda: _begin(stages, out, resume=resume, progress=progress))
        for number, (name, recipe) in enumerate(stages.trainings.items(), 1):
            folder = out / name
            passed = ", done before" if name in done else ""
            say(f"stage {number} of {stages.count}: {name}, {_length(recipe)}{passed}")
            if name not in done:
                begun = parallel.agreed(ranks, partial(_filled, folder))
                training.fit(recipe, out=folder, resume=begun, progress=progress)
            if name == stages.editor and ranks.rank == 0:
                _copy(folder / MODEL, out / MODEL)
        if stages.report is None or ranks.rank:
            return Outcome(out / MODEL)
        say(f"stage {stages.count} of {stages.count}: {REPORT}")
        try:
            return _report(stages, stages.report, out, progress=progress)
        except KeyboardInterrupt:
            raise Interrupted("stopped in the report; go on with the same command and --resume") from None


def _begin(stages: Stages, out: Path, *, resume: bool, progress: bool) -> set[str]:
    """Check the folder and the report's pictures, and write the recipe; returns the stages that are done."""
    _check_folder(out, resume)
    done = _finished(stages, out)
    report_pictures(stages, progress=progress)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / RECIPE).exists():
        text = yaml.safe_dump(dict(stages.values), sort_keys=False, default_flow_style=None, width=110)
        write_file(out / RECIPE, text)
    return done


def _length(recipe: Recipe) -> str:
    train = recipe.train
    return f"{train.steps:,} steps" if train.steps is not None else f"{train.epochs:g} epochs"


def _filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _check_folder(out: Path, resume: bool) -> None:
    filled = _filled(out)
    if filled and not resume:
        raise TrainingError(f"{out} is not empty; go on with its run by --resume, or name another folder")
    if filled and not (out / RECIPE).exists():
        raise TrainingError(f"{out} holds no run of stages; name the folder of one, or a new one")
    if (out / STATE).exists():
        raise TrainingError(f"{out} holds the run of a single model; name another folder")
    if resume and not filled:
        logger.warning("%s holds no run yet; starting one", out)


def _finished(stages: Stages, out: Path) -> set[str]:
    """The stages that are done; TrainingError when one was begun by another recipe, or on a model that goes on."""
    done: set[str] = set()
    for name, recipe in stages.trainings.items():
        begun = (out / name / STATE).exists()
        if begun and (open_ones := sorted(stages.needs(name) - done)):
            raise TrainingError(
                f"{out / name} was trained on {open_ones[0]}, which has steps to go; remove it, to train it anew"
            )
        if begun and training.finished(recipe, out=out / name):
            done.add(name)
    return done


def _copy(source: Path, target: Path) -> None:
    """Copy `source` to `target`, whole or not at all."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


# Reporting


def report_pictures(stages: Stages, *, cache: Path | None = None, progress: bool = False) -> int:
    """Count the readable pictures that the report edits, 0 without a report.

    Args:
        stages: of the run.
        cache: where it is kept which pictures can be read, the usual place unless given.
        progress: show a bar while they are looked at.

    Raises:
        DataError: there are too few, or the data set is not there.
    """
    if stages.report is None:
        return 0
    data, limit = stages.report_data(), stages.report.limit
    if data.name == "synthetic":
        count = synthetic_count(data.synthetic.pool, data.split)
    else:
        with doing("looking at the report's pictures", bar=progress) as tell:
            found = in_order(only_readable(open_dataset(data), cache=cache, progress=tell))
        task = choose_task(found, split=data.split, seed=stages.report.seed, limit=2)
        count = len(task.captions)
    return min(count, limit or count)


def _report(stages: Stages, report: Report, out: Path, *, progress: bool) -> Outcome:
    """Measure the editor, and write figures, page and summary."""
    folder, model = out / REPORT, out / MODEL
    folder.mkdir(exist_ok=True)
    side = int(checkpoint.read_header(model)["preprocessing"]["image_size"])
    data = stages.report_data().model_copy(update={"image_size": report.size or side})
    judge = str(checkpoint.resolve(report.judge)) if report.judge and is_stage(report.judge) else report.judge
    with counting(show=progress) as count:
        lines = evaluate(
            [model],
            data=data,
            protocols=report.protocols,
            judge=judge,
            seed=report.seed,
            out=folder / "results.jsonl",
            baselines=report.baselines,
            limit=report.limit,
            size=report.size,
            progress=count,
        )
    gallery = None
    if judge is not None and data.name != "synthetic":  # synthetic pictures are no files to show
        gallery = gallery_of(
            str(model), data=data, lines=lines, judge=judge, captions=report.captions, limit=report.limit
        )
    outcome = Outcome(model, tuple(lines), folder / "report.html")
    write_file(folder / "report.html", page(lines, gallery=gallery, title=report.title))
    write_file(folder / "summary.md", outcome.summary() + "\n")
    return outcome
