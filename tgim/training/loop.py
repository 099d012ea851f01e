"""The training loop itself; `tgim.training.run` is its front door."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from tqdm import tqdm

from tgim.checkpoints import checkpoint
from tgim.data import open_dataset
from tgim.data.base import CaptionedImages
from tgim.data.batch import Batch
from tgim.data.config import DataConfig
from tgim.data.loader import Batches, vocabulary_of
from tgim.environment import Precision, origin, pick_device, pick_precision
from tgim.errors import RecipeError, UserError
from tgim.models.base import Editing, Generating, Model, Terms
from tgim.text.vocabulary import Vocabulary
from tgim.training import state
from tgim.training.recipe import OptimizerConfig, Recipe, TrainConfig
from tgim.training.runlog import RunLog, drawn_sheet, read_log, sample_captions, sample_sheet, thin
from tgim.training.running import Prefetch, decoding, schedule, seed_step, stop_signals

STATE, MODEL = "state.safetensors", "model.safetensors"
logger = logging.getLogger(__name__)


class TrainingError(UserError):
    """A run that cannot start, go on, or be resumed."""


class Interrupted(TrainingError):
    """A run that was asked to stop, and has saved itself."""


@dataclass
class Trainer:
    """A model with everything that moves it."""

    recipe: Recipe
    model: Model
    dataset: CaptionedImages
    vocabulary: Vocabulary
    batches: Batches
    accelerator: Any
    precision: Precision  # that is computed in
    total: int  # steps
    averages: state.Averages
    given: Mapping[str, Any]  # the recipe as it was given, before the model filled in sizes
    pictures: int  # in the data set
    step: int = 0  # done
    seconds: float = 0.0  # spent before this process
    optimizers: dict[str, Optimizer] = field(default_factory=dict)
    settings: dict[str, OptimizerConfig] = field(default_factory=dict)
    parameters: dict[str, list[nn.Parameter]] = field(default_factory=dict)
    last: dict[str, tuple[Terms, Tensor]] = field(default_factory=dict)  # terms and gradient norm by network

    @classmethod
    def build(
        cls,
        recipe: Recipe,
        *,
        notes: Mapping[str, Any] | None = None,
        progress: bool = False,
        cache: Path | None = None,
        limit: int | None = None,
    ) -> Trainer:
        """Open the data and build the model, freshly or (with the `notes` of a state file) as it was built before.

        Args:
            recipe: what is trained on what.
            notes: of the run that is resumed; its weights are restored by the caller.
            progress: show how far decoding the pictures is.
            cache: where decoded pictures go, the usual place unless given.
            limit: show only so many pictures, for an estimate; captions are kept of all.
        """
        train = recipe.train
        accelerator, precision = _accelerator(train)
        if train.threads:
            torch.set_num_threads(train.threads)
        dataset = open_dataset(recipe.data, cache=cache)
        model, vocabulary = _model(recipe, dataset, notes)
        data = _sized(recipe.data, model)
        pictures, steps_per_epoch = len(dataset), len(dataset) / train.batch_size
        with decoding(progress) as tell:
            open_batches = getattr(model, "open_batches", Batches)  # a part localiser has its own
            batches = open_batches(
                dataset,
                data,
                batch_size=train.batch_size,
                vocabulary=vocabulary,
                seed=train.seed,
                cache=cache,
                progress=tell,
                limit=None if data.name == "synthetic" else limit,  # data.drawn_pool limits what is drawn
            )
        model.to(accelerator.device)
        if train.channels_last:
            model.to(memory_format=torch.channels_last)
        trainer = cls(
            recipe=recipe.model_copy(update={"data": data, "model": {"name": model.name, **_dump(model)}}),
            model=model.train(),
            dataset=dataset,
            vocabulary=vocabulary,
            batches=batches,
            accelerator=accelerator,
            precision=precision,
            total=train.total_steps(steps_per_epoch),
            averages=state.Averages(model, decay=train.ema),
            given=recipe.values(),
            pictures=pictures,
        )
        for network in model.networks:
            trainer._add_optimizer(network, steps_per_epoch)
        return trainer

    def _add_optimizer(self, network: str, steps_per_epoch: float) -> None:
        settings = self.recipe.train.optimizer(network)
        if settings.halve_every_epochs:
            steps = max(1, round(settings.halve_every_epochs * steps_per_epoch))
            settings = settings.model_copy(update={"halve_every": steps})
        parameters = [p for p in getattr(self.model, network).parameters() if p.requires_grad]
        kind = {"adam": Adam, "adamw": AdamW}[settings.kind]
        self.settings[network], self.parameters[network] = settings, parameters
        self.optimizers[network] = kind(
            parameters,
            lr=settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=self.accelerator.device.type in ("cpu", "cuda"),
        )

    def run(self, out: Path, log: RunLog, *, progress: bool) -> None:
        """Do the steps that are left, writing logs, samples and checkpoints to `out`."""
        train, start, begun = self.recipe.train, self.step, time.monotonic()
        before = self.seconds
        with stop_signals() as stop, Prefetch(self.batches, last=self.total) as ahead, contextlib.ExitStack() as stack:
            bar = stack.enter_context(
                tqdm(total=self.total, initial=start, disable=not progress, unit="step", dynamic_ncols=True)
            )
            while self.step < self.total:
                self.train_step(ahead.take(self.step))
                self.seconds = before + time.monotonic() - begun
                done, stopping = self.step, bool(stop)  # asked once: what comes later is for the next step
                saving = stopping or done == self.total or done % train.checkpoint_every == 0
                logging_now = done == 1 or done % train.log_every == 0 or done == self.total
                if logging_now or saving:
                    self.check()
                if logging_now:
                    rate = (done - start) * train.batch_size / (time.monotonic() - begun)
                    log.write(record := self.record(rate))
                    bar.set_postfix(_short(record["losses"]), refresh=False)
                bar.update()
                if train.sample_every and (done % train.sample_every == 0 or done == self.total):
                    self.write_samples(out)
                if saving:
                    self.save_model(out)  # refuses weights that are not finite, so it comes first
                    self.save_state(out)
                if stopping and done < self.total:
                    raise Interrupted(
                        f"stopped after step {done} of {self.total}; go on with the same command and --resume"
                    )
        if start == self.total:
            self.save_model(out)

    def train_step(self, batch: Batch) -> None:
        """One step of the model's algorithm on `batch`: every network that it yields is updated once for each yield."""
        seed_step(self.recipe.train.seed, self.step)
        batch = batch.to(self.accelerator.device)
        if self.recipe.train.channels_last:
            batch = replace(batch, image=batch.image.contiguous(memory_format=torch.channels_last))
        phases = self.model.steps(batch)
        while True:
            with self.accelerator.autocast():
                phase = next(phases, None)
            if phase is None:
                break
            self._update(*phase)
        self.step += 1
        self.averages.update(self.step)

    def _update(self, network: str, terms: Terms) -> None:
        optimizer, settings, parameters = self.optimizers[network], self.settings[network], self.parameters[network]
        total = torch.stack([term.float() for term in terms.values()]).sum()
        optimizer.zero_grad(set_to_none=True)
        # gradients go to this network alone; the others are passed through, and cost nothing more
        self.accelerator.backward(total, inputs=parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, settings.clip or math.inf)
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
        """Raise TrainingError when the last step was not finite; a GPU, which asking stalls, is asked only here."""
        for network in self.last:
            self._check_finite(network)

    def record(self, rate: float) -> dict[str, Any]:
        """The log line of the last step."""
        return {
            "step": self.step,
            "losses": {
                net: {name: float(term) for name, term in terms.items()} for net, (terms, _) in self.last.items()
            },
            "lr": {network: optimizer.param_groups[0]["lr"] for network, optimizer in self.optimizers.items()},
            "grad_norm": {network: float(norm) for network, (_, norm) in self.last.items()},
            "precision": self.precision.name,
            "seconds": round(self.seconds, 2),
            "images_per_second": round(rate, 2),
        }

    def save_state(self, out: Path) -> None:
        """Write what the run can go on from."""
        notes = {
            "step": self.step,
            "seconds": self.seconds,
            "precision": self.precision.name,
            "given": self.given,
            "recipe": self.recipe.values(),
            "config": _dump(self.model),
            "vocabulary": list(self.vocabulary.words),
        }
        state.save(out / STATE, self.model, averages=self.averages, optimizers=self.optimizers, notes=notes)

    def save_model(self, out: Path) -> None:
        """Write the checkpoint that people use, with averaged weights."""
        history = {
            "steps": self.step,
            "of": self.total,
            "seconds": round(self.seconds),
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
        """Write a sheet of samples with averaged weights: edits, or pictures of captions, as the model makes."""
        if not isinstance(self.model, Editing | Generating):
            return
        path = out / "samples" / f"step_{self.step:06d}.png"
        captions = list(self.recipe.train.sample_captions) or sample_captions(self.dataset)
        options: Any = {"captions": captions, "vocabulary": self.vocabulary, "device": self.accelerator.device}
        with self.averages.in_place():
            if isinstance(self.model, Generating):
                drawn_sheet(path, self.model, **options)
            else:
                sample_sheet(path, self.model, self.batches.batch(0), **options)


def _accelerator(train: TrainConfig) -> tuple[Any, Precision]:
    if train.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("train.device is cuda, but torch sees no GPU; use train.device=auto or cpu")
    AcceleratorState._reset_state(True)  # one process may train several times, differently
    precision = pick_precision(train.precision, pick_device(train.device))
    if precision.emulated:
        logger.warning("train.precision is bf16 on a %s: steps are many times slower; use auto", precision.reason)
    mixed = "bf16" if precision.name == "bf16" else "no"
    accelerator = Accelerator(cpu=train.device == "cpu", mixed_precision=mixed)
    if accelerator.num_processes > 1:
        raise TrainingError("tgim trains in one process; start it without a launcher for several")
    torch.use_deterministic_algorithms(train.deterministic, warn_only=True)
    return accelerator, precision


def _model(recipe: Recipe, dataset: CaptionedImages, notes: Mapping[str, Any] | None) -> tuple[Model, Vocabulary]:
    """The model and its vocabulary: of a new run, or as the notes of a run say."""
    model_class, config = recipe.model_class, recipe.model_settings()
    seed_step(recipe.train.seed, -1)
    if notes is not None:
        vocabulary = Vocabulary(notes["vocabulary"])
        return model_class(model_class.Config(**notes["config"]), vocabulary_size=len(vocabulary)), vocabulary
    vocabulary_for = getattr(model_class, "vocabulary_for", None)
    vocabulary = (vocabulary_for(config) if vocabulary_for else None) or vocabulary_of(dataset, recipe.data)
    model = model_class(config, vocabulary_size=len(vocabulary))
    if load_parts := getattr(model, "load_parts", None):
        load_parts()
    return model, vocabulary


def _sized(data: DataConfig, model: Model) -> DataConfig:
    """`data` with the model's image size, if it was not given; RecipeError when it was, and differs."""
    if "image_size" in data.model_fields_set and data.image_size != model.image_size:
        raise RecipeError(
            f"data.image_size is {data.image_size}, but the model works at {model.image_size}; leave it out"
        )
    return data.model_copy(update={"image_size": model.image_size})


def _dump(model: Model) -> dict[str, Any]:
    values: dict[str, Any] = model.config.model_dump(mode="json")
    return values


def _short(losses: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    return {network: f"{sum(terms.values()):.4g}" for network, terms in losses.items()}
