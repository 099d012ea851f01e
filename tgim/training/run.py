"""The one training loop: a model says what is optimised (`steps`), this file says how.

Each step depends on nothing but the recipe, its number, and the state that the step before left: the batch is a
function of (seed, step) and torch's random numbers are seeded by (seed, step). So a run that was stopped anywhere, even
killed, goes on from its last checkpoint with the very losses of a run that was not.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tgim.checkpoints import checkpoint
from tgim.data.synthetic.pool import synthetic_count
from tgim.environment import Precision
from tgim.files import write_file
from tgim.training import state
from tgim.training.loop import MODEL, STATE, Interrupted, Trainer, TrainingError
from tgim.training.recipe import Recipe
from tgim.training.runlog import RunLog, flatten
from tgim.training.running import Prefetch, keep_memory

__all__ = ["DryRun", "Interrupted", "TrainingError", "dry_run", "duration", "finished", "fit", "keep_memory"]
RECIPE = "recipe.yaml"
DRY_STEPS, MOST_STEPS = 5, 40  # of a dry run; the more captions of different lengths, the more memory is held
DRY_SECONDS = 8.0  # after which it ends, once there were the fewest steps; the time of the first is left out
SLOW_STEPS, SLOW_SECONDS = 3, 30.0  # the same for steps that are slow
MAY_CHANGE = {
    f"train.{key}"
    for key in ("steps", "epochs", "log_every", "checkpoint_every", "sample_every", "precision", "threads", "device")
}  # what a run may go on with: how long it is, what it writes, and what it runs on
logger = logging.getLogger(__name__)


def fit(recipe: Recipe, *, out: str | Path, resume: bool = False, progress: bool = True) -> Path:
    """Train what `recipe` says and write it all to the folder `out`.

    The folder gets `model.safetensors` (loads alone; written at every checkpoint and at the end, averaged weights),
    `state.safetensors` (to go on from), `log.jsonl`, `samples/`, `tensorboard/` and the resolved `recipe.yaml`.

    Args:
        recipe: from `tgim.training.recipe.load`.
        out: folder, new or empty unless `resume`.
        resume: go on from the last checkpoint in `out`; starts anew when there is nothing yet.
        progress: show a bar on stderr.

    Returns:
        Path of the finished `model.safetensors`.

    Raises:
        TrainingError: `out` is not empty, the recipe is not the one of the run, or a loss is not finite.
        Interrupted: stopped by SIGINT or SIGTERM after saving.
        DataError, CheckpointError, RecipeError: what the recipe names cannot be used.
    """
    out = Path(out).expanduser()
    notes = _notes(out, recipe, resume=resume)
    trainer = Trainer.build(recipe, notes=notes, progress=progress)
    if notes is not None:
        state.restore(out / STATE, trainer.model, averages=trainer.averages, optimizers=trainer.optimizers)
        trainer.step, trainer.seconds = notes["step"], notes["seconds"]
        before = notes.get("precision", trainer.precision.name)  # not in states of older versions
        if before != trainer.precision.name:
            logger.warning("the run in %s was computed in %s and goes on in %s", out, before, trainer.precision)
    else:
        trainer.save_state(out)
        write_file(out / RECIPE, trainer.recipe.to_yaml())
    with contextlib.closing(RunLog(out, step=trainer.step)) as log:
        trainer.run(out, log, progress=progress)
    return out / MODEL


def finished(recipe: Recipe, *, out: str | Path) -> bool:
    """Whether the run in the folder `out` has done all steps of `recipe`; False where there is no run yet.

    Raises:
        TrainingError: the run has another recipe.
        CheckpointError: its files are broken.
    """
    out = Path(out).expanduser()
    if not ((out / STATE).exists() and (out / MODEL).exists()):
        return False
    notes = _notes(out, recipe, resume=True) or {}
    as_long = all(notes["given"]["train"][key] == getattr(recipe.train, key) for key in ("steps", "epochs"))
    return as_long and bool(notes["step"] >= checkpoint.read_header(out / MODEL)["history"]["of"])


def _notes(out: Path, recipe: Recipe, *, resume: bool) -> dict[str, Any] | None:
    """The notes of the run in `out` to go on with; None to start one."""
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file; name a folder for the run")
    if not resume:
        if out.exists() and any(out.iterdir()):
            raise TrainingError(f"{out} is not empty; go on with its run by --resume, or name another folder")
        return None
    if not (out / STATE).exists():
        if out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
            raise TrainingError(f"{out} holds no {STATE}, so there is no run to resume; name the folder of a run")
        logger.warning("%s holds no run yet; starting one", out)
        return None
    notes = state.read_notes(out / STATE)
    was, filled, now = flatten(notes["given"]), flatten(notes["recipe"]), flatten(recipe.values())
    changed = sorted(k for k in was.keys() | now.keys() if now.get(k) not in (was.get(k), filled.get(k)))
    changed = [key for key in changed if key not in MAY_CHANGE and not key.startswith("card")]
    if changed:
        told = ", ".join(f"{key} (was {was.get(key)!r}, is {now.get(key)!r})" for key in changed)
        raise TrainingError(
            f"the run in {out} has another recipe: {told}; change it back, or start a run in another folder"
        )
    return notes


@dataclass(frozen=True)
class DryRun:
    """What a run would be; as text, a page for people."""

    recipe: Recipe  # resolved
    parameters: dict[str, tuple[int, int]]  # part of the model -> trainable, frozen
    pictures: int
    steps: int
    seconds_per_step: float
    memory: int | None  # bytes at the highest; None where it cannot be known
    device: str
    precision: Precision

    def __str__(self) -> str:
        width = max(len(name) for name in self.parameters)
        seconds = self.steps * self.seconds_per_step
        memory = "unknown" if self.memory is None else f"{self.memory / 2**30:.2f} GiB at the highest"
        batch = self.recipe.train.batch_size
        epochs = self.steps * batch / self.pictures
        return "\n".join(
            [
                self.recipe.to_yaml(),
                "parameters",
                *(
                    f"  {name:<{width}}  {own:>12,} trained  {kept:>12,} frozen"
                    for name, (own, kept) in self.parameters.items()
                ),
                f"data        {self.pictures:,} pictures; {epochs:.1f} epochs of batches of {batch}",
                f"memory      {memory}, on {self.device}",
                f"precision   {self.precision}",
                f"time        {duration(seconds)} for {self.steps:,} steps of {self.seconds_per_step:.2f} s, "
                f"{batch / self.seconds_per_step:.1f} pictures a second",
            ]
        )


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as few as tell.

    >>> duration(4.2), duration(90), duration(7300)
    ('4 s', '2 min', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def peak_memory(device: torch.device) -> int | None:
    """Bytes that were in use at the highest: of a GPU by tensors, otherwise by the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def dry_run(recipe: Recipe, *, keep: Path | None = None) -> DryRun:
    """What `fit` would do: sizes, memory and time, from a few steps on real pictures; nothing is left on the disk.

    Between the steps it writes all that a run writes, to a temporary folder: a sheet of samples, the checkpoint, the
    state. So what was in use at the highest is what a run uses, but for pictures that it maps from the cache, which are
    added on a CPU; the system takes those back when memory is short. With glibc that holds after `keep_memory`.

    Args:
        recipe: as for `fit`.
        keep: a folder that gets `model.safetensors` as it is after these steps, for a recipe that goes on from it.

    Raises:
        DataError, CheckpointError, RecipeError, TrainingError: as `fit`.
    """
    pool = min(recipe.data.drawn_pool, max(20, recipe.data.drawn))
    small = recipe.model_copy(update={"data": recipe.data.model_copy(update={"drawn_pool": pool})})
    with tempfile.TemporaryDirectory(prefix="tgim-") as folder:
        trainer = Trainer.build(small, cache=Path(folder) / "cache", limit=recipe.train.batch_size)
        seconds = _a_short_run(trainer, Path(folder))
        if keep is not None:
            trainer.save_model(keep)
    counts = {
        name: (
            sum(p.numel() for p in child.parameters() if p.requires_grad),
            sum(p.numel() for p in child.parameters() if not p.requires_grad),
        )
        for name, child in trainer.model.named_children()
    }
    data = trainer.recipe.data.model_copy(update={"drawn_pool": recipe.data.drawn_pool})
    pictures, steps = trainer.pictures, trainer.total
    if data.name == "synthetic":
        pictures = synthetic_count(data.drawn_pool, data.split)
        steps = recipe.train.total_steps(pictures / recipe.train.batch_size)
    memory = peak_memory(trainer.accelerator.device)
    if memory is not None and trainer.accelerator.device.type == "cpu":
        memory += trainer.batches.mapped(pictures, synthetic_count(data.drawn_pool, data.split) if data.drawn else 0)
    return DryRun(
        recipe=trainer.recipe.model_copy(update={"data": data}),
        parameters=counts,
        pictures=pictures,
        steps=steps,
        seconds_per_step=seconds,
        memory=memory,
        device=str(trainer.accelerator.device),
        precision=trainer.precision,
    )


def _a_short_run(trainer: Trainer, out: Path) -> float:
    """A few steps, with all that a run writes to `out` between them; the seconds of a step, their median."""
    seconds: list[float] = []
    with contextlib.closing(RunLog(out, step=0)) as log, Prefetch(trainer.batches, last=MOST_STEPS) as ahead:
        for step in range(MOST_STEPS):
            spent = sum(seconds)
            if (step >= DRY_STEPS and spent > DRY_SECONDS) or (step >= SLOW_STEPS and spent > SLOW_SECONDS):
                break
            begun = time.monotonic()
            trainer.train_step(ahead.take(step))
            trainer.check()
            seconds.append(time.monotonic() - begun)
            if step == DRY_STEPS // 2:
                log.write(trainer.record(1 / max(seconds)))
                if trainer.recipe.train.sample_every:
                    trainer.write_samples(out)
                trainer.save_model(out)
                trainer.save_state(out)
    return statistics.median(seconds[1:])
