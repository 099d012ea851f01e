"""Runs that are killed and resumed; a script: `killed.py DATA OUT SEED`, prints a JSON line for each kill.

Each run is a process of its own, forked from this one before it computes anything, so that torch is imported once. It
kills itself at a random event: the end of a step, or just before or after a file of the run takes its name.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.utils.tensorboard  # before the forks: it takes longer than a run

from support.small import SIZES
from support.toy_runs import losses, same_tensors, values
from tgim.training import recipe
from tgim.training import run as train
from tgim.training.loop import MODEL, STATE, Trainer

SYSTEMS = ("sisgan", "gan_int_cls", "vse", "tagrid", "damsm")
KILLS = 4  # of each system


def a_recipe(system: str, data: Path) -> recipe.Recipe:
    settings = {"steps": 5, "checkpoint_every": 2, "threads": 1, "clip": 1.0, "sample_every": 3}
    given = values(data, **settings)
    return recipe.parse({**given, "model": {"name": system, **SIZES.get(system, {})}})


def apart(work: Callable[[], Any]) -> int:
    """Do `work` in a forked process; returns its exit status, negative for a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def counting(folder: Path, *, at: int | None, told: Path | None) -> None:
    """Count the events in a run's folder; kill this process at number `at`, or write down how many there were."""
    seen = 0

    def event() -> None:
        nonlocal seen
        seen += 1
        if told is not None:
            told.write_text(str(seen))
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

    replace = os.replace

    def replaced(source: Any, target: Any) -> None:
        ours = Path(target).is_relative_to(folder)
        if ours:
            event()
        replace(source, target)
        if ours:
            event()

    os.replace = replaced
    step = Trainer.train_step

    def train_step(self: Trainer, batch: Any) -> None:
        step(self, batch)
        event()

    Trainer.train_step = train_step  # type: ignore[method-assign]


def main(data: Path, out: Path, seed: int) -> None:
    torch.set_num_threads(1)
    source = random.Random(seed)
    out.mkdir(parents=True)
    for system in SYSTEMS:
        chosen, whole, told = a_recipe(system, data), out / system / "whole", out / f"{system}.txt"

        def run(folder: Path, *, at: int | None = None, told: Path | None = None, chosen: Any = chosen) -> int:
            def work() -> None:
                counting(folder, at=at, told=told)
                train.fit(chosen, out=folder, resume=folder.exists(), progress=False)

            return apart(work)

        assert run(whole, told=told) == 0, system
        for at in source.sample(range(1, int(told.read_text()) + 1), KILLS):
            folder = out / system / str(at)
            killed, resumed = run(folder, at=at), run(folder)
            same = resumed == 0 and all(same_tensors(whole / name, folder / name) for name in (STATE, MODEL))
            files = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
            complete = files == {path.name for path in whole.iterdir()}
            logged = resumed == 0 and losses(folder) == losses(whole)
            found = {"system": system, "at": at, "killed": killed, "same": same, "log": logged, "files": complete}
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
