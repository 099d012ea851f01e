"""Several trainings and a report by one recipe: `plan` reads it, `run` carries it out, `dry_run` says what it needs."""

from __future__ import annotations

from tgim.training.stages.dry_run import StagesDryRun, dry_run
from tgim.training.stages.plan import Report, Stages, load, parse
from tgim.training.stages.run import Outcome, fit

__all__ = ["Outcome", "Report", "Stages", "StagesDryRun", "dry_run", "fit", "load", "parse"]
