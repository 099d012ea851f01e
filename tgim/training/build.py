"""Building of a `Trainer` from a recipe: the device, the data, the model and its vocabulary, the optimisers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.optim import Adam, AdamW

from tgim.data import open_dataset
from tgim.data.config import DataConfig
from tgim.data.doing import doing
from tgim.data.loader import vocabulary_of
from tgim.data.readable import only_readable
from tgim.environment import Precision, pick_device, pick_precision
from tgim.errors import DataError, RecipeError
from tgim.models.base import Config, Model
from tgim.nn.parallel import ALONE, Ranks, synchronise
from tgim.nn.quick import quicken
from tgim.text.vocabulary import Vocabulary
from tgim.training import parallel, state
from tgim.training.config import TrainConfig
from tgim.training.loop import Optimized, Trainer, TrainingError, config_of
from tgim.training.process import seed_step
from tgim.training.recipe import Recipe

OPTIMIZERS = {"adam": Adam, "adamw": AdamW}
logger = logging.getLogger(__name__)


def build_trainer(
    recipe: Recipe,
    *,
    notes: Mapping[str, Any] | None = None,
    progress: bool = False,
    cache: Path | None = None,
    limit: int | None = None,
    ranks: Ranks = ALONE,
) -> Trainer:
    """Open the data and build the model, freshly or (with the `notes` of a state file) as it was built before.

    Args:
        recipe: the model, its data and the settings of its training.
        notes: of the run that is resumed; its weights are restored by the caller.
        progress: show a bar while pictures are decoded.
        cache: where decoded pictures go, the usual place unless given.
        limit: open only so many pictures, for an estimate; the vocabulary is that of all.
        ranks: this process among those of the run; the first of them builds first.

    Raises:
        DataError, CheckpointError, RecipeError, TrainingError: what the recipe names cannot be used.
    """
    train = recipe.train
    accelerator, precision = _accelerator(train, ranks)
    with parallel.first(ranks):
        _check_shares(recipe, ranks)
        if train.threads:
            torch.set_num_threads(train.threads)
        seed_step(train.seed, -1)  # until the model is built
        model_class, config = recipe.model_class, _config(recipe, notes)
        # before the data, to fail at once without a file
        own_vocabulary = _vocabulary_of_model(model_class, config, notes)
        with doing("rendering synthetic pictures", bar=progress) as tell:
            dataset = open_dataset(recipe.data, cache=cache, progress=tell)
        if recipe.data.name != "synthetic":
            with doing("looking at the pictures", bar=progress) as tell:
                dataset = only_readable(dataset, cache=cache, progress=tell, limit=limit)
        if len(dataset) < 2:
            part = f"split {recipe.data.split!r}"
            raise DataError(f"{dataset.root} has 1 picture in {part}, 2 or more are needed; run tgim data check on it")
        if notes is None:
            config = model_class.config_for(config, dataset=dataset, data=recipe.data)
            own_vocabulary = _vocabulary_of_model(model_class, config, None)
        with doing("rendering synthetic pictures", bar=progress) as tell:
            vocabulary = own_vocabulary or vocabulary_of(dataset, recipe.data, cache=cache, progress=tell)
        model = model_class(config, vocabulary_size=len(vocabulary))
        if notes is None:
            model.load_parts()
        data = _sized(recipe.data, model)
        with doing("preparing pictures", bar=progress) as tell:
            batches = model.open_batches(
                dataset,
                data,
                batch_size=train.batch_size,
                vocabulary=vocabulary,
                seed=train.seed,
                cache=cache,
                progress=tell,
                limit=None if data.name == "synthetic" else limit,  # data.synthetic.pool limits what is rendered
            )
    model.to(accelerator.device)
    if train.channels_last:
        model.to(memory_format=torch.channels_last)
    if accelerator.device.type == "cpu":
        quicken(model)
    if ranks.size > 1:
        parallel.spread(ranks, model)
        synchronise(model)
        if not type(model).__module__.startswith("tgim."):
            told = "what %s compares within a batch, and its random numbers, may be those of each process alone; %s"
            logger.warning(told, type(model).name, "tgim.nn.parallel joins them")
    steps_per_epoch = len(dataset) / train.batch_size
    total = train.total_steps(steps_per_epoch)
    if (longest := max(train.optimizer(network).warm_up for network in model.networks)) >= total:
        logger.warning("train.warm_up is %d of %d steps, so the rate never reaches train.lr; lower it", longest, total)
    return Trainer(
        recipe=recipe.model_copy(update={"data": data, "model": {"name": recipe.model["name"], **config_of(model)}}),
        model=model.train(),
        dataset=dataset,
        vocabulary=vocabulary,
        batches=batches,
        accelerator=accelerator,
        precision=precision,
        total=total,
        averages=state.Averages(model, decay=train.ema),
        given=recipe.values(),
        pictures=len(dataset),
        ranks=ranks,
        optimized={network: _optimized(network, model, train, steps_per_epoch) for network in model.networks},
    )


def precision_of(train: TrainConfig) -> Precision:
    """Choose the number format of a run, by its device and `train.precision`.

    Raises:
        TrainingError: there is no such device.
    """
    if train.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("train.device is cuda, but torch sees no GPU; use train.device=auto or cpu")
    precision = pick_precision(train.precision, pick_device(train.device))
    if precision.emulated:
        logger.warning("train.precision is bf16 on a %s: steps are many times slower; use auto", precision.reason)
    return precision


def _accelerator(train: TrainConfig, ranks: Ranks) -> tuple[Any, Precision]:
    precision = precision_of(train)
    AcceleratorState._reset_state(True)  # one process may train several times, differently
    mixed = "bf16" if precision.name == "bf16" else "no"
    accelerator = Accelerator(cpu=train.device == "cpu", mixed_precision=mixed)
    if accelerator.num_processes != ranks.size:
        raise TrainingError("this is for one process; start it without torchrun or accelerate launch")
    torch.use_deterministic_algorithms(train.deterministic, warn_only=True)
    return accelerator, precision


def _check_shares(recipe: Recipe, ranks: Ranks) -> None:
    sizes = {"train.batch_size": recipe.train.batch_size, "data.synthetic.pairs": recipe.data.synthetic.pairs}
    for key, count in sizes.items():
        if count % ranks.size:
            raise TrainingError(
                f"{key} is {count}, of all processes together, and {ranks.size} processes cannot share it evenly; "
                f"use a multiple of {ranks.size}"
            )


def _config(recipe: Recipe, notes: Mapping[str, Any] | None) -> Config:
    """The config of a new model, or the one in the notes of a run that is resumed."""
    return recipe.model_settings() if notes is None else recipe.model_class.Config(**notes["config"])


def _vocabulary_of_model(
    model_class: type[Model], config: Config, notes: Mapping[str, Any] | None
) -> Vocabulary | None:
    """The vocabulary of the run that is resumed, or of the model's trained parts; None to take that of the data."""
    return model_class.vocabulary_for(config) if notes is None else Vocabulary(notes["vocabulary"])


def _sized(data: DataConfig, model: Model) -> DataConfig:
    """`data` with the model's image size, if it was not given; RecipeError when it was, and differs."""
    if "image_size" in data.model_fields_set and data.image_size != model.image_size:
        raise RecipeError(
            f"data.image_size is {data.image_size}, but the model works at {model.image_size}; leave it out"
        )
    return data.model_copy(update={"image_size": model.image_size})


def _optimized(network: str, model: Model, train: TrainConfig, steps_per_epoch: float) -> Optimized:
    """A network of the model with its optimiser and the settings of that, epochs counted in steps."""
    settings = train.optimizer(network)
    if settings.halve_every_epochs:
        steps = max(1, round(settings.halve_every_epochs * steps_per_epoch))
        settings = settings.model_copy(update={"halve_every": steps})
    parameters = [p for p in getattr(model, network).parameters() if p.requires_grad]
    optimizer = OPTIMIZERS[settings.kind](
        parameters,
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=next(model.parameters()).device.type in ("cpu", "cuda"),
    )
    return Optimized(parameters, optimizer, settings)
