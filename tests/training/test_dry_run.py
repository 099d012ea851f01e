"""What a dry run says of a run is what the run needs, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.toy_runs import a_recipe
from tgim.data.cache import decode
from tgim.data.synthetic.pairs import render_pairs
from tgim.training import dry_run as module
from tgim.training import recipe
from tgim.training.dry_run import dry_run
from tgim.training.loop import Trainer

RECIPE = """
model: {name: stackgan1, image_size: 16, width: 16, discriminator_width: 8, condition_size: 8, text_size: 1024}
data: {name: synthetic, synthetic: {pool: 20}}
train: {steps: 6, batch_size: 8, device: cpu, threads: 1, log_every: 1, checkpoint_every: 3, sample_every: 3}
"""
DRY = """
import sys
from tgim.training import recipe
from tgim.training.dry_run import dry_run
from tgim.system.memory import keep_memory
keep_memory()
print(dry_run(recipe.load(sys.argv[1])).memory)
"""
REAL = """
import resource, sys
from tgim.training import recipe
from tgim.training import run as train
from tgim.system.memory import keep_memory
keep_memory()
train.fit(recipe.load(sys.argv[1]), out=sys.argv[2], progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


def measured(program: str, *arguments: Path) -> int:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the memory of a process is not known there")
def test_the_memory_of_a_dry_run_is_that_of_a_run(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    expected, needed = measured(DRY, file), measured(REAL, file, tmp_path / "run")
    assert expected == pytest.approx(needed, rel=0.1)  # without what a run writes, 13 % are missing


@pytest.mark.slow
def test_a_dry_run_says_what_would_be_and_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    dry = dry_run(a_recipe(data, steps=500))
    assert dry.pictures == 12
    assert dry.steps == 500
    assert dry.parameters["discriminator"] == (49, 0)
    assert dry.seconds_per_step > 0
    for told in ("batch_size: 4", "discriminator", "12 pictures", "500 steps"):
        assert told in str(dry)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_where_whole_batches_are_slow_a_dry_run_says_that_it_extrapolates(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.0)
    dry = dry_run(a_recipe(data, batch_size=8))
    assert dry.measured.pictures == (2, 3)
    assert "extrapolated from steps of 2 and 3 pictures" in str(dry)
    monkeypatch.setattr(module, "LONGEST", 60.0)
    dry = dry_run(a_recipe(data, batch_size=8))
    assert dry.measured.pictures == (8,)
    assert f"measured, in {dry.measured.steps} steps of a whole batch" in str(dry)


def test_a_dry_run_reads_few_pictures(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path, **options: Any) -> Any:
        read.append(path)
        return decode(path, **options)

    monkeypatch.setattr("tgim.data.cache.decode", counted)
    monkeypatch.setattr(module, "PICTURES", 3)
    dry = dry_run(a_recipe(data, batch_size=8))
    assert len(set(read)) == 3
    assert dry.pictures == 12


@pytest.mark.slow
def test_a_dry_run_renders_few_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    rendered: list[int] = []

    def counted(*arguments: Any) -> Any:
        rendered.append(1)
        return render_pairs(*arguments)

    monkeypatch.setattr("tgim.data.synthetic.pairs.render_pairs", counted)
    given = {"model": {"name": "toy"}, "data": {"name": "synthetic", "synthetic": {"pool": 5000, "pairs": 4}}}
    dry = dry_run(recipe.parse({**given, "train": {"steps": 1, "batch_size": 4, "device": "cpu"}}))
    assert len(rendered) < 100
    assert (dry.pictures, dry.recipe.data.synthetic.pool) == (4000, 5000)
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_bf16_is_not_emulated_for_an_estimate(data: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    told = str(dry_run(a_recipe(data, precision="auto")))
    assert "precision   fp32 (ONEDNN_MAX_CPU_ISA=AVX2 leaves no bf16" in told
    assert not caplog.messages
    used: list[str] = []
    monkeypatch.setattr(Trainer, "check", lambda self: used.append(self.precision.name))
    told = str(dry_run(a_recipe(data, precision="bf16")))
    assert set(used) == {"fp32"}
    assert "in fp32; emulated bf16 is much slower" in told
    assert "precision: bf16" in told  # of the recipe
    assert sum("use auto" in message for message in caplog.messages) == 1
