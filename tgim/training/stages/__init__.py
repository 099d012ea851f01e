"""Several trainings and a report by one recipe: `plan` reads it, `run` carries it out."""

from __future__ import annotations

from tgim.training.stages.plan import Report, Stages, load, parse
from tgim.training.stages.run import DryRun, Outcome, dry_run, fit

__all__ = ["DryRun", "Outcome", "Report", "Stages", "dry_run", "fit", "load", "parse"]
