"""Laws of the loop: what a step updates, averages, schedules, memory."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from support.toy_runs import a_recipe
from tgim.training.build import build_trainer
from tgim.training.config import OptimizerConfig
from tgim.training.process import seed_step
from tgim.training.schedule import schedule


@pytest.mark.slow
def test_a_step_updates_each_network_by_its_own_loss_alone(data: Path, tmp_path: Path) -> None:
    """One step of the loop is one step written out by hand, with plain torch."""
    chosen = a_recipe(
        data, steps=1, kind="adam", lr=1e-2, clip=0.01, optimizers={"discriminator": {"lr": 1e-3, "clip": 0}}
    )
    ours, by_hand = build_trainer(chosen, cache=tmp_path), build_trainer(chosen, cache=tmp_path)
    batch = ours.batches.batch(0)
    ours.train_step(batch)
    seed_step(0, 0)
    model = by_hand.model
    nets = {name: getattr(model, name) for name in model.networks}
    plain = {
        "generator": torch.optim.Adam(nets["generator"].parameters(), lr=1e-2, betas=(0.5, 0.999)),
        "discriminator": torch.optim.Adam(nets["discriminator"].parameters(), lr=1e-3, betas=(0.5, 0.999)),
    }
    for name, terms in model.steps(batch):
        model.zero_grad()
        sum(terms.values()).backward()
        if name == "generator":
            nn.utils.clip_grad_norm_(nets[name].parameters(), 0.01)
        plain[name].step()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(ours.model.state_dict()[key], value, rtol=1e-5, atol=1e-7, msg=key)
    assert torch.equal(ours.model.generator.unused, torch.ones(2))


def test_averages_follow_the_formula_buffers_included(data: Path, tmp_path: Path) -> None:
    trainer = build_trainer(a_recipe(data), cache=tmp_path)
    names = ["generator.out.weight", "generator.body.1.running_mean"]
    counter = "generator.body.1.num_batches_tracked"
    expected = {name: trainer.model.state_dict()[name].clone() for name in names}
    for step in range(1, 4):
        trainer.train_step(trainer.batches.batch(step - 1))
        decay = min(0.9, (1 + step) / (10 + step))
        for name in names:
            expected[name] = decay * expected[name] + (1 - decay) * trainer.model.state_dict()[name]
    for name in names:
        torch.testing.assert_close(trainer.averages.tensors[name], expected[name])
    assert trainer.averages.tensors[counter] == 3
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    with trainer.averages.in_place():
        torch.testing.assert_close(trainer.model.generator.out.weight.detach(), expected[names[0]])
    assert all(torch.equal(before[name], value) for name, value in trainer.model.state_dict().items())
    assert not any(name.startswith("discriminator") for name in trainer.averages.tensors)


def test_one_cycle_is_that_of_torch() -> None:
    settings = OptimizerConfig(schedule="one_cycle", lr=0.5, warm_up=12)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=40, pct_start=0.3, cycle_momentum=False)
    for step in range(40):
        assert 0.5 * schedule(settings, step, 40) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        assert schedule(settings, step, 40) == schedule(OptimizerConfig(schedule="one_cycle"), step, 40)
        optimizer.step()
        theirs.step() if step < 39 else None


def test_schedules_by_hand() -> None:
    cosine = OptimizerConfig(schedule="cosine", warm_up=2)
    assert [round(schedule(cosine, step, 6), 4) for step in (0, 1, 2, 4)] == [0.5, 1.0, 1.0, 0.5]
    halve = OptimizerConfig(schedule="halve", halve_every=3, warm_up=2)
    assert [schedule(halve, step, 9) for step in (0, 2, 3, 6)] == [0.5, 1.0, 0.5, 0.25]


def test_epochs_are_counted_in_pictures(data: Path, tmp_path: Path) -> None:
    settings = {"steps": None, "epochs": 4, "schedule": "halve", "halve_every_epochs": 2}
    trainer = build_trainer(a_recipe(data, **settings), cache=tmp_path)
    assert trainer.total == 12  # four times twelve pictures, four at a time
    assert trainer.optimized["generator"].settings.halve_every == 6


@pytest.mark.parametrize(("warm_up", "told"), [(4, False), (5, True), (9, True)])
def test_a_warm_up_that_does_not_end_is_warned_of(
    warm_up: int, told: bool, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build_trainer(a_recipe(data, steps=5, optimizers={"discriminator": {"warm_up": warm_up}}), cache=tmp_path)
    assert [f"warm_up is {warm_up} of 5 steps" in message for message in caplog.messages] == [True] * told


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_the_allocator_keeps_memory_once_told() -> None:
    code = """
import resource, torch
from tgim.system.memory import keep_memory
keep_memory()
faults = []
for _ in range(24):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16_000_000)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[0], sorted(faults[-9:])[4])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, last = map(int, done.stdout.split())
    assert last < 0.02 * first  # pages are not faulted in again, once the heap has found its size
