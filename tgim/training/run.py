"""A training run: its folder, how it is resumed, when it is finished."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tgim.checkpoints import checkpoint
from tgim.data.config import DataConfig
from tgim.models.base import Model
from tgim.nn.parallel import Ranks
from tgim.system.files import write_file
from tgim.system.locks import BusyError, own_folder
from tgim.training import parallel, state
from tgim.training.build import build_trainer
from tgim.training.loop import MODEL, STATE, TrainingError
from tgim.training.recipe import Recipe
from tgim.training.runlog import RunLog, flatten

RECIPE = "recipe.yaml"
MAY_CHANGE = {
    f"train.{key}"
    for key in ("steps", "epochs", "log_every", "checkpoint_every", "sample_every", "precision", "threads", "device")
}  # that may differ when a run is resumed: its length, what it writes, and the hardware
logger = logging.getLogger(__name__)


def fit(recipe: Recipe, *, out: str | Path, resume: bool = False, progress: bool = True) -> Path:
    """Train the model of `recipe`, and write all files of the run to the folder `out`.

    Of several processes, started by `torchrun` or `accelerate launch`, the first writes; see `tgim.training.parallel`.

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
    out = Path(os.path.expanduser(out))
    ranks = parallel.join(recipe.train.device)
    with folder_of_run(out) if ranks.rank == 0 else contextlib.nullcontext():
        return _fit(recipe, out, resume=resume, progress=progress and ranks.rank == 0, ranks=ranks)


@contextlib.contextmanager
def folder_of_run(out: Path) -> Iterator[None]:
    """Have the folder of a run for this process alone; where the block fails before it has written, none is made.

    Raises:
        TrainingError: `out` is a file, another process has it, or it, or something in it, cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file; name a folder for the run")
    try:
        with own_folder(out):
            yield
    except BusyError:
        raise TrainingError(f"another process writes to {out}; wait for it, or name another folder") from None
    except OSError as error:
        if error.strerror is None:
            raise
        place = error.filename or out
        raise TrainingError(f"{place} cannot be used ({error.strerror}); mend that, then go on by --resume") from None


def _fit(recipe: Recipe, out: Path, *, resume: bool, progress: bool, ranks: Ranks) -> Path:
    notes = parallel.agreed(ranks, lambda: _notes(out, recipe, resume=resume))
    trainer = build_trainer(recipe, notes=notes, progress=progress, ranks=ranks)
    if notes is not None:
        state.restore(out / STATE, trainer.model, averages=trainer.averages, optimizers=trainer.optimizers)
        trainer.step, trainer.seconds = notes["step"], notes["seconds"]
        trainer.cpu_seconds = notes.get("cpu_seconds", trainer.seconds)  # not in states of older versions
        if notes.get("pictures", trainer.pictures) != trainer.pictures:
            told = (
                "the run in %s had %d pictures and goes on with %d: not with the losses of a run that was not stopped"
            )
            logger.warning(told, out, notes["pictures"], trainer.pictures)
        before = notes.get("precision", trainer.precision.name)  # not in states of older versions
        if before != trainer.precision.name:
            logger.warning("the run in %s was computed in %s and goes on in %s", out, before, trainer.precision)
    elif ranks.rank == 0:
        trainer.save_state(out)
    if ranks.rank:
        trainer.run(out, None, progress=False)
        return out / MODEL
    if not (out / RECIPE).exists():  # nor where the run was killed before it was written
        write_file(out / RECIPE, trainer.recipe.to_yaml())
    with contextlib.closing(RunLog(out, step=trainer.step)) as log:
        trainer.run(out, log, progress=progress)
    return out / MODEL


def finished(recipe: Recipe, *, out: str | Path) -> bool:
    """Tell whether the run in the folder `out` has done all steps of `recipe`; False where there is no run yet.

    Raises:
        TrainingError: the run has another recipe.
        CheckpointError: its files are broken.
    """
    out = Path(os.path.expanduser(out))
    if not ((out / STATE).exists() and (out / MODEL).exists()):
        return False
    notes = _notes(out, recipe, resume=True) or {}
    as_long = all(notes["given"]["train"][key] == getattr(recipe.train, key) for key in ("steps", "epochs"))
    return as_long and bool(notes["step"] >= checkpoint.read_header(out / MODEL)["history"]["of"])


def _notes(out: Path, recipe: Recipe, *, resume: bool) -> dict[str, Any] | None:
    """Read the notes of the run in `out` that is resumed; None to start a new one."""
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
    was, filled = (_settings(notes[key], recipe.model_class) for key in ("given", "recipe"))
    now = flatten(recipe.values())
    changed = sorted(k for k in was.keys() | now.keys() if now.get(k) not in (was.get(k), filled.get(k)))
    changed = [key for key in changed if key not in MAY_CHANGE and not key.startswith("card")]
    if changed:
        told = ", ".join(f"{key} (was {was.get(key)!r}, is {now.get(key)!r})" for key in changed)
        raise TrainingError(
            f"the run in {out} has another recipe: {told}; change it back, or start a run in another folder"
        )
    return notes


def _settings(recipe: dict[str, Any], model_class: type[Model]) -> dict[str, Any]:
    """The recipe of a run by dotted keys, under their names of today; keys that it is older than have their defaults.

    What a newer version wrote is left as it is.
    """
    found, (name, model) = dict(recipe), (recipe["model"]["name"], dict(recipe["model"]))
    with contextlib.suppress(ValidationError):
        found["data"] = DataConfig(**recipe["data"]).model_dump(mode="json")
    if name == model_class.name:
        with contextlib.suppress(ValidationError):
            del model["name"]
            found["model"] = {"name": name, **model_class.Config(**model).model_dump(mode="json")}
    return flatten(found)
