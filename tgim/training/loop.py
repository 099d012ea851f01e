"""The training loop: `steps` of a model yields networks and their losses, this file optimises them.

Each step depends on nothing but the recipe, its number, and the state that the step before left: the batch is a
function of (seed, step) and torch's random numbers are seeded by (seed, step). So a run that was stopped anywhere, even
killed, goes on from its last checkpoint with the very losses of a run that was not.

`tgim.training.build` makes a `Trainer` from a recipe, `tgim.training.run` gives it a folder.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tgim.checkpoints import checkpoint
from tgim.data.base import CaptionedImages
from tgim.data.batch import Batch, BatchSource
from tgim.environment import Precision, origin
from tgim.errors import UserError
from tgim.models.base import Editing, Generating, Model, Terms
from tgim.nn.parallel import ALONE, Ranks, together
from tgim.system.say import bar
from tgim.text.vocabulary import Vocabulary
from tgim.training import parallel, state
from tgim.training.config import OptimizerConfig
from tgim.training.process import seed_step, stop_signals
from tgim.training.recipe import Recipe
from tgim.training.runlog import RunLog, generated_sheet, read_log, sample_captions, sample_sheet, thin
from tgim.training.schedule import schedule

STATE, MODEL = "state.safetensors", "model.safetensors"


class TrainingError(UserError):
    """A run that cannot start, go on, or be resumed."""


class Interrupted(TrainingError):
    """A run that was asked to stop, and has saved itself."""


class Optimized(NamedTuple):
    """A network's trained parameters, their optimiser and its settings."""

    parameters: list[nn.Parameter]
    optimizer: Optimizer
    settings: OptimizerConfig


@dataclass
class Trainer:
    """A model with all that its training needs: data, optimisers, averages, and the steps done."""

    recipe: Recipe
    model: Model
    dataset: CaptionedImages
    vocabulary: Vocabulary
    batches: BatchSource
    accelerator: Any
    precision: Precision  # that is computed in
    total: int  # steps
    averages: state.Averages
    given: Mapping[str, Any]  # the recipe as it was given, before the model filled in sizes
    pictures: int  # in the data set
    optimized: dict[str, Optimized]  # by network
    ranks: Ranks = ALONE  # this process among those of the run
    step: int = 0  # done
    seconds: float = 0.0  # spent, before this process too
    cpu_seconds: float = 0.0  # of all threads, before this process too
    last: dict[str, tuple[Terms, Tensor]] = field(default_factory=dict)  # terms and gradient norm by network

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """The optimisers by network."""
        return {network: each.optimizer for network, each in self.optimized.items()}

    def run(self, out: Path, log: RunLog | None, *, progress: bool) -> None:
        """Do the steps that are left, writing logs, samples and checkpoints to `out`; without a `log`, nothing."""
        train, start, begun = self.recipe.train, self.step, time.monotonic()
        before, cpu_before, cpu_begun = self.seconds, self.cpu_seconds, time.process_time()
        batches = Prefetch(self.batches, last=self.total, ranks=self.ranks)
        with stop_signals() as stop, batches as ahead, contextlib.ExitStack() as stack:
            shown = stack.enter_context(bar(total=self.total, initial=start, show=progress, unit="step"))
            while self.step < self.total:
                told = parallel.adding(self.ranks, lambda: [len(stop), time.process_time() - cpu_begun])
                self.train_step(ahead.take(self.step))
                stops, spent = told()  # read once: a later signal is for the next step
                self.seconds, self.cpu_seconds = before + time.monotonic() - begun, cpu_before + spent
                done, stopping = self.step, stops > 0
                saving = stopping or done == self.total or done % train.checkpoint_every == 0
                logging_now = done == 1 or done % train.log_every == 0 or done == self.total
                if logging_now or saving:
                    self.check()
                if logging_now and log is not None:
                    rate = (done - start) * train.batch_size / (time.monotonic() - begun)
                    log.write(record := self.record(rate))
                    shown.set_postfix(_short(record["losses"]), refresh=False)
                shown.update()
                sampling = train.sample_every and (done % train.sample_every == 0 or done == self.total)
                if sampling and log is not None:
                    self.write_samples(out)
                if saving and log is not None:
                    self.save_model(out)  # refuses weights that are not finite, so it comes first
                    self.save_state(out)
                if stopping or done == self.total:
                    parallel.agreed(self.ranks, lambda: None)  # all files are written before any process ends
                if stopping and done < self.total:
                    raise Interrupted(
                        f"stopped after step {done} of {self.total}; go on with the same command and --resume"
                    )
        if start == self.total and log is not None:
            self.save_model(out)

    def train_step(self, batch: Batch) -> None:
        """Do one step of the model's algorithm on `batch`: a network is updated each time that it is yielded."""
        seed_step(self.recipe.train.seed, self.step)
        batch = batch.to(self.accelerator.device)
        if self.recipe.train.channels_last:
            batch = replace(batch, image=batch.image.contiguous(memory_format=torch.channels_last))
        phases = self.model.steps(batch)
        with together(self.ranks):
            while True:
                with self.accelerator.autocast():
                    phase = next(phases, None)
                if phase is None:
                    break
                self._update(*phase)
        self.step += 1
        self.averages.update(self.step)

    def _update(self, network: str, terms: Terms) -> None:
        parameters, optimizer, settings = self.optimized[network]
        total = torch.stack([term.float() for term in terms.values()]).sum()
        optimizer.zero_grad(set_to_none=True)
        # gradients go to this network alone; the others are passed through, and cost nothing more
        self.accelerator.backward(total, inputs=parameters)
        if self.ranks.size > 1:
            terms = parallel.average(self.ranks, parameters, terms)
        gradients = [each.grad for each in parameters if each.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if settings.clip:
            nn.utils.clip_grads_with_norm_(parameters, settings.clip, norm)
        self.last[network] = ({name: term.detach() for name, term in terms.items()}, norm)
        if total.device.type == "cpu":
            self._check_finite(network)
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * schedule(settings, self.step, self.total)
        optimizer.step()

    def _check_finite(self, network: str) -> None:
        terms, norm = self.last[network]
        numbers = {name: float(term) for name, term in terms.items()}
        if all(map(math.isfinite, [*numbers.values(), float(norm)])):
            return
        bad = [f"{name!r} is {value}" for name, value in numbers.items() if not math.isfinite(value)]
        what = "term " + ", ".join(bad) if bad else f"the gradient is {float(norm)} (terms {numbers})"
        raise TrainingError(
            f"step {self.step + 1}: {network} cannot be trained on, {what}; the last good checkpoint is kept: "
            "lower train.lr, set train.clip, or look at the data"
        )

    def check(self) -> None:
        """Raise TrainingError when the last step was not finite. Asking stalls a GPU, so not every step does it."""
        for network in self.last:
            self._check_finite(network)

    def record(self, rate: float) -> dict[str, Any]:
        """The log line of the last step."""
        return {
            "step": self.step,
            "losses": {
                net: {name: float(term) for name, term in terms.items()} for net, (terms, _) in self.last.items()
            },
            "lr": {network: each.optimizer.param_groups[0]["lr"] for network, each in self.optimized.items()},
            "grad_norm": {network: float(norm) for network, (_, norm) in self.last.items()},
            "precision": self.precision.name,
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 2),
            "images_per_second": round(rate, 2),
        }

    def save_state(self, out: Path) -> None:
        """Write the state that the run can be resumed from."""
        notes = {
            "step": self.step,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "precision": self.precision.name,
            "pictures": self.pictures,
            "given": self.given,
            "recipe": self.recipe.values(),
            "config": config_of(self.model),
            "vocabulary": list(self.vocabulary.words),
        }
        state.save(out / STATE, self.model, averages=self.averages, optimizers=self.optimizers, notes=notes)

    def save_model(self, out: Path) -> None:
        """Write the checkpoint of the model, with averaged weights."""
        history = {
            "steps": self.step,
            "of": self.total,
            "seconds": round(self.seconds),
            "cpu_seconds": round(self.cpu_seconds),
            "precision": self.precision.name,
            "recipe": self.recipe.values(),
            "curve": thin(read_log(out / "log.jsonl")),
            **origin(),
        }
        data = {"name": self.dataset.name, "split": self.recipe.data.split, "licence": self.dataset.licence}
        with self.averages.in_place():
            checkpoint.save(
                out / MODEL,
                self.model,
                vocabulary=self.vocabulary,
                template=self.recipe.template,
                card=self.recipe.card,
                history=history,
                data={**data, "pictures": self.pictures},
                half=self.recipe.train.half,
            )

    def write_samples(self, out: Path) -> None:
        """Write a sheet of samples with averaged weights: edits by an editor, pictures of captions by a generator."""
        if not isinstance(self.model, Editing | Generating):
            return
        path = out / "samples" / f"step_{self.step:06d}.png"
        captions = list(self.recipe.train.sample_captions) or sample_captions(self.dataset)
        options: Any = {"captions": captions, "vocabulary": self.vocabulary, "device": self.accelerator.device}
        with self.averages.in_place():
            if isinstance(self.model, Generating):
                generated_sheet(path, self.model, **options)
            else:
                sample_sheet(path, self.model, self.batches.batch(0), **options)


class Prefetch:
    """Batches, each made in a thread while the step before is computed; of several processes the share of this one."""

    def __init__(self, batches: BatchSource, *, last: int, ranks: Ranks = ALONE) -> None:
        self._batches, self._last, self._ranks = batches, last, ranks
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[int, Future[Batch]] | None = None

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self, step: int) -> Batch:
        """Return the batch of `step`, and begin to make the next one."""
        waiting = self._next
        future = waiting[1] if waiting and waiting[0] == step else self._pool.submit(self._make, step)
        batch = future.result()
        self._next = (step + 1, self._pool.submit(self._make, step + 1)) if step + 1 < self._last else None
        return batch

    def _make(self, step: int) -> Batch:
        batch = self._batches.batch(step)
        return batch if self._ranks.size == 1 else batch.share(self._ranks.rank, self._ranks.size)


def config_of(model: Model) -> dict[str, Any]:
    """The config of a model as JSON values."""
    values: dict[str, Any] = model.config.model_dump(mode="json")
    return values


def _short(losses: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    return {network: f"{sum(terms.values()):.4g}" for network, terms in losses.items()}
