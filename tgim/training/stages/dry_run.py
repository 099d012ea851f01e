"""Estimate of a run of stages: a dry run of each, in order."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tgim.checkpoints import checkpoint
from tgim.system.say import duration
from tgim.training.dry_run import DryRun
from tgim.training.dry_run import dry_run as dry_run_of
from tgim.training.stages.plan import REPORT, Stages
from tgim.training.stages.run import report_pictures


@dataclass(frozen=True)
class StagesDryRun:
    """Estimate of a run of stages; as text, a page for each stage and the time of all."""

    runs: Mapping[str, DryRun]
    pictures: int  # of the report; 0 without one

    @property
    def seconds(self) -> float:
        """Seconds of all trainings, without the report."""
        return sum(run.seconds for run in self.runs.values())

    def __str__(self) -> str:
        count = len(self.runs) + bool(self.pictures)
        pages = [f"# stage {i} of {count}: {name}\n{run}" for i, (name, run) in enumerate(self.runs.items(), 1)]
        if self.pictures:
            pages.append(f"# stage {count} of {count}: {REPORT}\ndata        {self.pictures:,} pictures")
        pages.append(f"total time  {duration(self.seconds)} of training")
        return "\n\n".join(pages)


def dry_run(stages: Stages, *, progress: bool = False) -> StagesDryRun:
    """Estimate what `fit` would need, from a few steps of each stage; nothing is left on the disk.

    Args:
        stages: of the run.
        progress: show it on stderr.

    Raises:
        UserError: as `fit`.
    """
    with tempfile.TemporaryDirectory(prefix="tgim-") as folder, checkpoint.naming(stages.files(Path(folder))):
        pictures = report_pictures(stages, cache=Path(folder) / "cache", progress=progress)
        runs = {
            name: dry_run_of(recipe, keep=Path(folder) / name, progress=progress)
            for name, recipe in stages.trainings.items()
        }
    return StagesDryRun(runs, pictures)
