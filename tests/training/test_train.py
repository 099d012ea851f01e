"""Laws of a run: that a stopped one goes on exactly, that it stops early and clearly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from support import toy
from support.small import NEEDS_BF16
from support.toy_runs import a_recipe, losses, same_tensors, values
from tgim.checkpoints import checkpoint, registry
from tgim.checkpoints.checkpoint import read_header
from tgim.data.config import RENAMED
from tgim.errors import CheckpointError, DataError, RecipeError
from tgim.text.vocabulary import Vocabulary
from tgim.training import recipe, state
from tgim.training import run as train
from tgim.training.build import build_trainer
from tgim.training.loop import STATE, Interrupted, TrainingError
from tgim.training.runlog import read_log


@pytest.mark.slow
def test_a_run_leaves_a_checkpoint_that_loads_alone(whole: Path, data: Path) -> None:
    loaded = checkpoint.load(whole / "model.safetensors")
    assert loaded.name == "toy"
    assert "blue" in loaded.vocabulary
    assert loaded.data["pictures"] == 12
    assert loaded.history["steps"] == 10
    assert loaded.history["recipe"]["train"]["clip"] == 1.0
    assert [line["step"] for line in loaded.history["curve"]] == list(range(1, 11))
    assert recipe.load(whole / "recipe.yaml").data.image_size == 16
    assert list(losses(whole)) == list(range(1, 11))


@pytest.mark.slow
def test_the_checkpoint_has_the_averaged_weights_and_the_state_both(whole: Path) -> None:
    model = checkpoint.load(whole / "model.safetensors").model.state_dict()
    tensors = checkpoint.read_tensors(whole / "state.safetensors")
    name = "generator.out.weight"
    assert torch.equal(model[name], tensors[f"average/{name}"])
    assert not torch.equal(model[name], tensors[f"model/{name}"])
    judge = "discriminator.parametrizations.weight.original"
    assert torch.equal(model[judge], tensors[f"model/{judge}"])


@pytest.mark.slow
def test_two_runs_are_equal(whole: Path, data: Path, tmp_path: Path) -> None:
    train.fit(a_recipe(data, clip=1.0, log_every=3, checkpoint_every=100), out=tmp_path / "b", progress=False)
    assert same_tensors(whole / "state.safetensors", tmp_path / "b" / "state.safetensors")
    other = a_recipe(data, clip=1.0, seed=1)
    train.fit(other, out=tmp_path / "c", progress=False)
    assert losses(tmp_path / "c")[1] != losses(whole)[1]


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 4, 7])
def test_a_longer_run_goes_on_exactly(whole: Path, data: Path, tmp_path: Path, stop: int) -> None:
    train.fit(a_recipe(data, clip=1.0, steps=stop), out=tmp_path / "run", progress=False)
    train.fit(a_recipe(data, clip=1.0), out=tmp_path / "run", resume=True, progress=False)
    assert losses(tmp_path / "run") == losses(whole)
    for name in ("state.safetensors", "model.safetensors"):
        assert same_tensors(tmp_path / "run" / name, whole / name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "adamw", "weight_decay": 0.1, "channels_last": True},
        pytest.param({"precision": "bf16"}, marks=NEEDS_BF16),
    ],
)
def test_other_settings_go_on_exactly_too(data: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    settings |= {"schedule": "halve", "halve_every": 2}
    for out, pieces in (("a", [5]), ("b", [2, 5])):
        for i, steps in enumerate(pieces):
            train.fit(a_recipe(data, steps=steps, **settings), out=tmp_path / out, resume=i > 0, progress=False)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert same_tensors(tmp_path / "a" / "state.safetensors", tmp_path / "b" / "state.safetensors")


def wait_for(out: Path, *, step: int, alive: Callable[[], bool] = lambda: True) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and alive():
        if any(line["step"] >= step for line in read_log(out / "log.jsonl")):
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached")


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(data: Path, tmp_path: Path) -> None:
    out, settings = tmp_path / "run", {"checkpoint_every": 7, "threads": torch.get_num_threads()}
    (tmp_path / "toy.yaml").write_text(a_recipe(data, steps=100_000, **settings).to_yaml())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, toy.__file__, str(tmp_path / "toy.yaml"), str(out)], env=environment)
    try:
        wait_for(out, step=20, alive=lambda: process.poll() is None)
        time.sleep((time.time_ns() % 1000) / 5000)  # somewhere, perhaps while it writes
    finally:
        process.kill()
        process.wait()
    done, saved = max(losses(out)), state.read_notes(out / "state.safetensors")["step"]
    assert 0 < saved <= done + 1
    longer = a_recipe(data, steps=done + 5, **settings)
    train.fit(longer, out=out, resume=True, progress=False)
    train.fit(longer, out=tmp_path / "whole", progress=False)
    assert losses(out) == losses(tmp_path / "whole")
    assert same_tensors(out / "state.safetensors", tmp_path / "whole" / "state.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_saves_its_last_step(data: Path, tmp_path: Path, number: signal.Signals) -> None:
    out, before = tmp_path / "run", signal.getsignal(number)

    def stop() -> None:
        wait_for(out, step=3)
        os.kill(os.getpid(), number)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(Interrupted, match=r"stopped after step \d+ of 100000; .*--resume"):
        train.fit(a_recipe(data, steps=100_000, checkpoint_every=50_000), out=out, progress=False)
    assert signal.getsignal(number) == before
    done = max(losses(out))
    assert state.read_notes(out / "state.safetensors")["step"] == done
    assert checkpoint.load(out / "model.safetensors").history["steps"] == done


def test_a_finished_run_stays_as_it_is(whole: Path, data: Path) -> None:
    before = (whole / "state.safetensors").read_bytes(), losses(whole)
    assert train.fit(a_recipe(data, clip=1.0), out=whole, resume=True, progress=False) == whole / "model.safetensors"
    assert ((whole / "state.safetensors").read_bytes(), losses(whole)) == before


@pytest.mark.slow
def test_the_log_is_cut_where_the_run_goes_on(data: Path, tmp_path: Path) -> None:
    train.fit(a_recipe(data, steps=3), out=tmp_path / "run", progress=False)
    with (tmp_path / "run" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 4, "losses": {"lost": {}}, "grad_norm": {}}) + '\n{"step": 5, "lo')
    train.fit(a_recipe(data, steps=5), out=tmp_path / "run", resume=True, progress=False)
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4, 5]
    assert "lost" not in (tmp_path / "run" / "log.jsonl").read_text()


def test_where_a_run_may_not_go(data: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"not empty.*--resume"):
        train.fit(a_recipe(data), out=whole)
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="is a file"):
        train.fit(a_recipe(data), out=tmp_path / "file")
    with pytest.raises(TrainingError, match="no run to resume"):
        train.fit(a_recipe(data), out=tmp_path, resume=True)
    with pytest.raises(DataError):
        train.fit(a_recipe(tmp_path / "absent"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_changed_recipe_is_told_key_by_key(data: Path, whole: Path) -> None:
    changed = values(data, clip=1.0, lr=1e-3, log_every=2, model={"width": 5})
    with pytest.raises(
        TrainingError, match=r"model\.width \(was 4, is 5\), train\.lr \(was 0\.0002, is 0\.001\)"
    ) as told:
        train.fit(recipe.parse(changed), out=whole, resume=True)
    assert "log_every" not in str(told.value)


@pytest.mark.slow
def test_a_run_that_was_begun_with_flat_keys_goes_on(data: Path, tmp_path: Path) -> None:
    """State files of older versions have no sections in `data`, and lack the keys that came later."""
    out = tmp_path / "run"
    train.fit(a_recipe(data, steps=2), out=out, progress=False)
    tensors, (_, metadata) = checkpoint.read_tensors(out / STATE), checkpoint.read_metadata(out / STATE)
    notes = json.loads(metadata[state.KEY])
    for key in ("given", "recipe"):
        sections = notes[key]["data"]
        old = {k: sections[new.split(".")[0]][new.split(".")[1]] for k, new in RENAMED.items()}
        kept = {k: v for k, v in sections.items() if k not in ("augment", "captions", "synthetic", "views")}
        notes[key]["data"] = {**kept, **old}
    notes["given"]["data"]["views"] = {"drawn": 0.0, "drawn_kind": "birds"}
    checkpoint.write(out / STATE, tensors, {state.KEY: notes})
    with pytest.raises(TrainingError, match=r"another recipe: data\.augment\.flip \(was True, is False\); "):
        train.fit(recipe.parse(values(data), ["data.flip=false"]), out=out, resume=True, progress=False)
    train.fit(a_recipe(data, steps=3), out=out, resume=True, progress=False)
    assert max(losses(out)) == 3
    assert state.read_notes(out / STATE)["given"]["data"]["augment"]["margin"] == 2


@pytest.mark.slow
def test_the_resolved_recipe_resumes_as_well(data: Path, tmp_path: Path) -> None:
    train.fit(a_recipe(data, steps=2), out=tmp_path / "run", progress=False)
    written = recipe.load(tmp_path / "run" / "recipe.yaml", ["train.steps=3"])
    train.fit(written, out=tmp_path / "run", resume=True, progress=False)
    assert max(losses(tmp_path / "run")) == 3


@pytest.mark.parametrize("length", [0, 20, 2000])
def test_a_broken_state_is_refused(data: Path, whole: Path, tmp_path: Path, length: int) -> None:
    (tmp_path / "state.safetensors").write_bytes((whole / "state.safetensors").read_bytes()[:length])
    with pytest.raises(CheckpointError):
        train.fit(a_recipe(data, clip=1.0), out=tmp_path, resume=True)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run(data: Path, tmp_path: Path) -> None:
    broken = recipe.parse(values(data, model={"fail_at": 6}))
    with pytest.raises(TrainingError, match=r"step 6: generator .*'keep' is inf") as told:
        train.fit(broken, out=tmp_path / "run", progress=False)
    assert "\n" not in str(told.value)
    assert state.read_notes(tmp_path / "run" / "state.safetensors")["step"] == 4
    assert all(v.isfinite().all() for v in checkpoint.read_tensors(tmp_path / "run" / "model.safetensors").values())


@pytest.mark.slow
def test_sample_sheets_change_nothing(whole: Path, data: Path, tmp_path: Path) -> None:
    train.fit(
        a_recipe(data, clip=1.0, sample_every=5, sample_captions=["a red square", "blue"]),
        out=tmp_path / "run",
        progress=False,
    )
    assert sorted(p.name for p in (tmp_path / "run" / "samples").iterdir()) == ["step_000005.png", "step_000010.png"]
    assert same_tensors(whole / "state.safetensors", tmp_path / "run" / "state.safetensors")


class Hooked(toy.Toy):
    """Brings its own vocabulary and weights, once."""

    name = "hooked"
    loaded = 0

    @classmethod
    def vocabulary_for(cls, config: toy.ToyConfig) -> Any:
        return Vocabulary(["red", "blue"]) if config.weight == 2 else None

    def load_parts(self) -> None:
        type(self).loaded += 1
        nn.init.constant_(self.generator.words.weight, 0.25)


@pytest.mark.slow
def test_a_model_may_bring_parts_of_its_own(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.SYSTEMS, "hooked", Hooked)
    own = {"name": "hooked", "weight": 2}
    train.fit(recipe.parse(values(data, steps=1, lr=1e-9, model=own)), out=tmp_path / "run", progress=False)
    loaded = checkpoint.load(tmp_path / "run" / "model.safetensors")
    assert loaded.vocabulary.words == ("red", "blue")
    torch.testing.assert_close(loaded.model.generator.words.weight.detach(), torch.full((4, 4), 0.25))
    train.fit(
        recipe.parse(values(data, steps=2, lr=1e-9, model=own)), out=tmp_path / "run", resume=True, progress=False
    )
    assert Hooked.loaded == 1
    plain = build_trainer(recipe.parse(values(data, model={"name": "hooked"})), cache=tmp_path)
    assert "square" in plain.vocabulary


def test_what_the_model_cannot_do_is_said_before_training(data: Path, tmp_path: Path) -> None:
    odd = values(data)
    odd["data"]["image_size"] = 32
    with pytest.raises(RecipeError, match=r"data\.image_size is 32.* 16"):
        train.fit(recipe.parse(odd), out=tmp_path / "run", progress=False)
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="no GPU"):
            train.fit(a_recipe(data, device="cuda"), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_says_its_precision_and_may_go_on_in_another(data: Path, tmp_path: Path, caplog: Any) -> None:
    train.fit(a_recipe(data, steps=1, precision="fp32"), out=tmp_path / "run", progress=False)
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["precision"] == "fp32"
    assert read_header(tmp_path / "run" / "model.safetensors")["history"]["precision"] == "fp32"
    caplog.clear()
    train.fit(a_recipe(data, steps=2, precision="bf16"), out=tmp_path / "run", resume=True, progress=False)
    assert any("was computed in fp32 and goes on in bf16" in message for message in caplog.messages)
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["precision"] == "bf16"
