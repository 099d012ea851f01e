"""What a dry run says of a run is what the run needs, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = """
model: {name: stackgan1, image_size: 16, width: 16, discriminator_width: 8, condition_size: 8, text_size: 1024}
data: {name: synthetic, drawn_pool: 20}
train: {steps: 6, batch_size: 8, device: cpu, threads: 1, log_every: 1, checkpoint_every: 3, sample_every: 3}
"""
DRY = """
import sys
from tgim.training import recipe
from tgim.training.dry_run import dry_run
from tgim.training.process import keep_memory
keep_memory()
print(dry_run(recipe.load(sys.argv[1])).memory)
"""
REAL = """
import resource, sys
from tgim.training import recipe
from tgim.training import run as train
from tgim.training.process import keep_memory
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
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    expected, needed = measured(DRY, recipe), measured(REAL, recipe, tmp_path / "run")
    assert expected == pytest.approx(needed, rel=0.1)  # without what a run writes, 13 % are missing
