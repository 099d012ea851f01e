"""Estimate of a training run from a few steps: parameters, pictures, memory, time. Nothing is left on the disk."""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from tgim.data.batch import Batch
from tgim.data.synthetic.pool import synthetic_count
from tgim.environment import Precision
from tgim.system.say import bar, duration
from tgim.training import parallel
from tgim.training.build import build_trainer, precision_of
from tgim.training.loop import Prefetch, Trainer
from tgim.training.recipe import Recipe
from tgim.training.runlog import RunLog

FIRST, GROWTH = 2, 4  # pictures of the first step, and how many times as many the next size has
LONGEST = 2.0  # seconds of computing: no step is tried that is expected to take longer
STEPS, WORK = 10, 1.0  # steps and seconds of whole batches; the more captions differ in length, the more memory is held
PICTURES = 16  # that are decoded; batches repeat them
POOL = 20  # pairs that are rendered: every split has some


@dataclass(frozen=True)
class Measured:
    """Time and memory of steps."""

    seconds: float  # of a step of a whole batch
    memory: int | None  # bytes at the highest; None where it cannot be known
    steps: int  # that were timed
    pictures: tuple[int, ...]  # in them: those of a whole batch, or fewer, from which both figures are extrapolated


@dataclass(frozen=True)
class DryRun:
    """Estimate of a run; as text, a page for people."""

    recipe: Recipe  # resolved
    parameters: dict[str, tuple[int, int]]  # part of the model -> trainable, frozen
    pictures: int
    steps: int
    measured: Measured
    device: str
    precision: Precision  # of the run; where it is emulated, fp32 was measured

    @property
    def seconds_per_step(self) -> float:
        """Seconds of one step, measured or extrapolated."""
        return self.measured.seconds

    @property
    def memory(self) -> int | None:
        """Bytes at the highest, measured or extrapolated; None where it cannot be known."""
        return self.measured.memory

    @property
    def seconds(self) -> float:
        """Seconds of the whole run."""
        return self.steps * self.seconds_per_step

    def __str__(self) -> str:
        width = max(len(name) for name in self.parameters)
        memory = "unknown" if self.memory is None else f"{self.memory / 2**30:.2f} GiB at the highest"
        batch, step = self.recipe.train.batch_size, self.seconds_per_step
        epochs = self.steps * batch / self.pictures
        emulated, slower = self.precision.emulated, " in fp32; emulated bf16 is much slower"
        return "\n".join(
            [
                self.recipe.to_yaml(),
                "parameters",
                *(
                    f"  {name:<{width}}  {own:>12,} trained  {kept:>12,} frozen"
                    for name, (own, kept) in self.parameters.items()
                ),
                f"data        {self.pictures:,} pictures; {epochs:.1f} epochs of batches of {batch}",
                f"memory      {memory}, on {self.device}{' in fp32' if emulated else ''}",
                f"precision   {self.precision}",
                f"time        {duration(self.seconds)} for {self.steps:,} steps of {step:.2f} s, "
                f"{batch / step:.1f} pictures a second" + (slower if emulated else ""),
                f"            {self._basis()}",
            ]
        )

    def _basis(self) -> str:
        """Say in words what memory and time are known from."""
        *_, pictures = self.measured.pictures
        if pictures < self.recipe.train.batch_size:
            sizes = " and ".join(map(str, self.measured.pictures))
            return f"memory and time are extrapolated from steps of {sizes} pictures; the run itself will differ"
        count = self.measured.steps
        return f"memory and time are measured, in {count} step{'s' if count > 1 else ''} of a whole batch"


def peak_memory(device: torch.device) -> int | None:
    """Largest number of bytes in use so far: of a GPU by tensors, otherwise by the whole process; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def dry_run(recipe: Recipe, *, keep: Path | None = None, progress: bool = False) -> DryRun:
    """Estimate what `fit` would need: sizes, memory and time, from a few steps on a batch of pictures.

    It decodes and renders a few pictures, which fill the batches. Where a whole batch takes long, steps are of fewer
    pictures, and time and memory extrapolated; where bf16 is emulated, they are in fp32. All that a run writes is
    written once, to a temporary folder. Memory on a CPU is that of the process, with the pictures that a run maps
    from the cache; the system takes those back when memory is short. With glibc it holds after `keep_memory`.

    Args:
        recipe: as for `fit`.
        keep: a folder that gets `model.safetensors` as it is after these steps, for a recipe that goes on from it.
        progress: show it on stderr.

    Raises:
        DataError, CheckpointError, RecipeError, TrainingError: as `fit`.
    """
    parallel.alone("a dry run")
    precision = precision_of(recipe.train)
    with tempfile.TemporaryDirectory(prefix="tgim-") as folder:
        trainer = build_trainer(
            _small(recipe, precision),
            cache=Path(folder) / "cache",
            limit=min(PICTURES, recipe.train.batch_size),
            progress=progress,
        )
        with bar(desc="trying steps", unit="step", show=progress, leave=False) as shown:
            measured = _measure(trainer, Path(folder), shown.update)
        if keep is not None:
            trainer.save_model(keep)
    return DryRun(
        recipe=trainer.recipe.model_copy(
            update={
                "data": trainer.recipe.data.with_section("synthetic", pool=recipe.data.synthetic.pool),
                "train": recipe.train,
            }
        ),
        parameters=_parameters(trainer),
        pictures=_pictures(recipe, trainer),
        steps=recipe.train.total_steps(_pictures(recipe, trainer) / recipe.train.batch_size),
        measured=_with_cache(measured, recipe, trainer),
        device=str(trainer.accelerator.device),
        precision=precision,
    )


def _small(recipe: Recipe, precision: Precision) -> Recipe:
    """`recipe` with few rendered pairs, and without emulated bf16."""
    data = recipe.data.with_section("synthetic", pool=min(recipe.data.synthetic.pool, POOL))
    train = recipe.train.model_copy(update={"precision": "fp32"}) if precision.emulated else recipe.train
    return recipe.model_copy(update={"data": data, "train": train})


def _pictures(recipe: Recipe, trainer: Trainer) -> int:
    """Number of pictures that the run trains on."""
    data = recipe.data
    return synthetic_count(data.synthetic.pool, data.split) if data.name == "synthetic" else trainer.pictures


def _parameters(trainer: Trainer) -> dict[str, tuple[int, int]]:
    """For each part of the model the numbers of trained and of frozen parameters."""
    return {
        name: (
            sum(p.numel() for p in child.parameters() if p.requires_grad),
            sum(p.numel() for p in child.parameters() if not p.requires_grad),
        )
        for name, child in trainer.model.named_children()
    }


def _with_cache(measured: Measured, recipe: Recipe, trainer: Trainer) -> Measured:
    """`measured` with what a run on a CPU holds of pictures and captions that were not looked at."""
    if measured.memory is None or trainer.accelerator.device.type != "cpu":
        return measured
    synthetic = recipe.data.synthetic
    pairs = synthetic_count(synthetic.pool, recipe.data.split) if synthetic.pairs else 0
    held = trainer.batches.mapped(_pictures(recipe, trainer), pairs)
    return replace(measured, memory=measured.memory + held)


def _measure(trainer: Trainer, out: Path, told: Callable[[], object]) -> Measured:
    """Measure steps of growing size, up to a whole batch unless that is slow; write all that a run writes to `out`.

    After each of them `told` is called.
    """
    batch_size, device = trainer.recipe.train.batch_size, trainer.accelerator.device
    batch, size = trainer.batches.batch(0), min(FIRST, batch_size)
    took: dict[int, Took] = {}  # by pictures
    peaks: dict[int, int | None] = {}
    while True:
        took[size] = _step(trainer, batch.first(size))
        told()
        if took[size].work < LONGEST / 2:  # much is set up in the first step of a size
            took[size] = _step(trainer, batch.first(size))
        peaks[size] = peak_memory(device)
        larger = min(size * GROWTH, batch_size)
        if _extrapolated({n: each.work for n, each in took.items()}, larger) > LONGEST:
            larger = size if len(took) > 1 else min(size + 1, batch_size)  # two sizes tell what a picture adds
        if larger == size:
            break
        size = larger
    if size < batch_size:
        _write_all(trainer, out, samples=False)
        seconds = _extrapolated({n: each.seconds for n, each in took.items()}, batch_size)
        known = {n: peak for n, peak in peaks.items() if peak is not None}
        memory = round(_extrapolated(known, batch_size)) if known else None
        return Measured(seconds, memory, len(took), tuple(took)[-2:])
    _write_all(trainer, out, samples=trainer.recipe.train.sample_every > 0)
    steps = [took[size]]
    with Prefetch(trainer.batches, last=STEPS) as ahead:
        while len(steps) < STEPS and sum(step.work for step in steps) < WORK:
            begun = time.monotonic()
            done = _step(trainer, ahead.take(len(steps) - 1))
            steps.append(done._replace(seconds=time.monotonic() - begun))  # where the next batch is not made in time
            told()
    seconds = statistics.median(step.seconds for step in steps)
    return Measured(seconds, peak_memory(device), len(steps), (size,))


class Took(NamedTuple):
    """Time of one step."""

    seconds: float
    work: float  # seconds of computing, without those that other programs took


def _step(trainer: Trainer, batch: Batch) -> Took:
    """Do one step."""
    begun, before = time.monotonic(), time.process_time()
    trainer.train_step(batch)
    trainer.check()
    seconds = time.monotonic() - begun
    return Took(seconds, min(seconds, time.process_time() - before))


def _write_all(trainer: Trainer, out: Path, *, samples: bool) -> None:
    """Write what a run writes."""
    with contextlib.closing(RunLog(out, step=0)) as log:
        log.write(trainer.record(1.0))
    if samples:
        trainer.write_samples(out)
    trainer.save_model(out)
    trainer.save_state(out)


def _extrapolated(found: Mapping[int, float], size: int) -> float:
    """Extrapolate to `size` pictures, along the line through the two largest known; in proportion to a single one.

    >>> _extrapolated({1: 9, 2: 12, 4: 14}, 10), _extrapolated({2: 3}, 10)
    (20.0, 15.0)
    """
    *smaller, (known, high) = sorted(found.items())
    if not smaller:
        return high * size / known
    fewer, low = smaller[-1]
    return high + max(0.0, high - low) * (size - known) / (known - fewer)
