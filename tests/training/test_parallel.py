"""Several processes train as one: the same losses at the same whole batch, the same weights everywhere, one writer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from support import several, toy
from support.small import CASES, SYSTEMS
from support.toy_runs import losses, values
from tgim.checkpoints import checkpoint
from tgim.nn import parallel as nn_parallel
from tgim.training import recipe
from tgim.training import run as train
from tgim.training.loop import MODEL, STATE
from tgim.training.runlog import read_log
from tgim.training.state import read_notes

STEPS = 3
GROUPS = {
    "editing": [case for case, system in CASES.items() if ".editing." in system.__module__],
    "generation": [case for case in SYSTEMS if ".generation." in SYSTEMS[case].__module__],
    "variants": [case for case in CASES if case not in SYSTEMS],
    "matching": [case for case, system in CASES.items() if ".matching." in system.__module__],
    "the rest": [case for case, each in SYSTEMS.items() if ".parsing." in each.__module__ or ".ret" in each.__module__],
}


def test_every_system_is_in_a_group() -> None:
    assert sorted(case for group in GROUPS.values() for case in group) == sorted(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_two_processes_have_the_losses_of_one(group: str, tmp_path: Path) -> None:
    found = several.of_two(tmp_path / "found.json", STEPS, GROUPS[group])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for case in GROUPS[group]:
            alone, _ = several.train(case, STEPS)
            assert found[case]["same"], case
            for step, (one, two) in enumerate(zip(alone, found[case]["lines"], strict=True)):
                assert two == pytest.approx(one, rel=1e-4, abs=1e-4), (case, step)
            assert alone[0] != alone[-1], case
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_gathered_rows_and_layers_have_the_gradients_of_one_process(tmp_path: Path) -> None:
    found, alone = several.of_two(tmp_path / "found.json", 1, [several.LAYERS])[several.LAYERS], several.layers()
    assert found.keys() == alone.keys()
    for name, value in alone.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert max(map(abs, alone["slope"])) > 1e-3


def test_shares_are_closed_under_halves_and_sides() -> None:
    whole = torch.arange(8)
    for rank in range(2):
        share = whole[rank::2]
        assert torch.equal(torch.cat([share, share + 8]), torch.arange(16)[rank::2])
        assert torch.equal(share[:2], whole[:4][rank::2])
    batch = several.batch_for(32)
    shares = [batch.share(rank, 2) for rank in range(2)]
    for name in ("image", "labels", "subject", "source"):
        joined = torch.stack([getattr(share, name) for share in shares], 1).flatten(0, 1)
        assert torch.equal(joined, getattr(batch, name)), name
    assert batch.lessons is not None
    for rank, share in enumerate(shares):
        assert share.lessons is not None
        assert share.synthetic is not None
        assert torch.equal(share.lessons.rows, torch.arange(4))
        assert torch.equal(share.lessons.ids, batch.lessons.ids[rank::2])
        assert len(share.synthetic.image) == 4


def test_alone_nothing_changes() -> None:
    x = torch.randn(4, 3, 2, 2)
    assert nn_parallel.gathered(x) is x
    for ours, torchs in (
        (lambda: nn_parallel.rand(4, 3, dim=1), lambda: torch.rand(4, 3)),
        (lambda: nn_parallel.rand(4, 3, each=2), lambda: torch.rand(4, 3)),
        (lambda: nn_parallel.randn(4, 3), lambda: torch.randn(4, 3)),
        (lambda: nn_parallel.randn_like(x), lambda: torch.randn_like(x)),
        (lambda: nn_parallel.rolled(x, -1), lambda: x.roll(-1, 0)),
    ):
        torch.manual_seed(1)
        first = ours()
        torch.manual_seed(1)
        assert torch.equal(first, torchs())


def written(folder: Path, data: Path, **settings: Any) -> Path:
    """A recipe file of a generator with a matching loss of classes, flips and samples."""
    given = values(data, clip=1.0, **settings)
    model = {"name": "gan_int_cls", "width": 8, "discriminator_width": 4, "image_size": 32}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**given, "model": model}))
    return path


def command(count: int, recipe_file: Path, *arguments: object) -> list[str]:
    begin = several.launcher(count) if count > 1 else [sys.executable]
    return [*begin, "-m", "tgim", "train", str(recipe_file), *map(str, arguments)]


def run(count: int, recipe_file: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    given = command(count, recipe_file, *arguments)
    return subprocess.run(given, env=several.environment(), capture_output=True, text=True, timeout=120)


def same_losses(a: Path, b: Path) -> bool:
    first, second = losses(a), losses(b)
    near = [all(x == pytest.approx(y, rel=1e-4, abs=1e-4) for x, y in pairs(first[n], second[n])) for n in first]
    return first.keys() == second.keys() and all(near)


def pairs(one: Any, two: Any) -> list[tuple[Any, Any]]:
    (a, norms), (b, others) = one, two
    return [(norms, others), *((a[network], b[network]) for network in a)]


@pytest.mark.slow
def test_a_run_of_two_goes_on_in_one_with_the_losses_of_one(data: Path, tmp_path: Path) -> None:
    file = written(tmp_path, data, steps=6, sample_every=2)
    train.fit(recipe.load(file), out=tmp_path / "one", progress=False)
    done = run(2, file, "train.steps=4", "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'two' / MODEL}\n"
    assert read_notes(tmp_path / "two" / STATE)["step"] == 4
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1
    train.fit(recipe.load(file), out=tmp_path / "two", resume=True, progress=False)
    assert same_losses(tmp_path / "one", tmp_path / "two")
    names = [sorted(p.name for p in (tmp_path / each / "samples").iterdir()) for each in ("one", "two")]
    assert names[0] == names[1]
    one, two = (checkpoint.read_tensors(tmp_path / each / STATE) for each in ("one", "two"))
    assert {name: value.shape for name, value in one.items()} == {name: value.shape for name, value in two.items()}


@pytest.mark.slow
def test_a_run_of_one_goes_on_in_two(data: Path, tmp_path: Path) -> None:
    file = written(tmp_path, data, steps=6)
    train.fit(recipe.load(file), out=tmp_path / "one", progress=False)
    train.fit(recipe.load(file, ["train.steps=3"]), out=tmp_path / "two", progress=False)
    done = run(2, file, "--out", tmp_path / "two", "--resume")
    assert done.returncode == 0, done.stderr
    assert same_losses(tmp_path / "one", tmp_path / "two")


def begun(data: Path, folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """A long run of two processes that has done some steps, and the file of what it says."""
    said = folder / "said.txt"
    file = written(folder, data, steps=100_000, checkpoint_every=3)
    with said.open("w") as stream:
        given = command(2, file, "--out", folder / "run")
        process = subprocess.Popen(given, env=several.environment(), stdout=stream, stderr=stream, text=True)
    wait_for(lambda: len(read_log(folder / "run" / "log.jsonl")) > 4 or process.poll() is not None)
    assert process.poll() is None, said.read_text()
    return process, said


def wait_for(condition: Callable[[], bool], *, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_a_signal_to_the_launcher_stops_all_after_one_step(data: Path, tmp_path: Path) -> None:
    process, said = begun(data, tmp_path)
    process.send_signal(signal.SIGTERM)
    process.wait(120)
    step = read_notes(tmp_path / "run" / STATE)["step"]
    assert said.read_text().count(f"tgim: stopped after step {step} of 100000; go on") == 1
    assert said.read_text().count("tgim:") == 1
    assert checkpoint.read_header(tmp_path / "run" / MODEL)["history"]["steps"] == step
    file = written(tmp_path, data, steps=step + 2, checkpoint_every=3)
    train.fit(recipe.load(file), out=tmp_path / "run", resume=True, progress=False)
    assert list(losses(tmp_path / "run")) == list(range(1, step + 3))


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_when_a_process_is_killed_the_other_says_so_and_ends(data: Path, tmp_path: Path, rank: int) -> None:
    process, said = begun(data, tmp_path)
    of_run = [child for child in psutil.Process(process.pid).children() if "tgim" in child.cmdline()]
    (killed,) = (child for child in of_run if child.environ()["RANK"] == str(rank))
    killed.kill()
    process.wait(120)
    lines = [line for line in said.read_text().splitlines() if line.startswith("tgim:")]
    assert len(lines) == 1
    assert "another process of this run has ended" in lines[0]
    assert "--resume" in lines[0]
    assert not psutil.wait_procs(of_run, timeout=60)[1]
    assert read_notes(tmp_path / "run" / STATE)["step"] % 3 == 0  # the last checkpoint is whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train.batch_size=5", "--out", "OUT"], "train.batch_size is 5"),
        (["--dry-run"], "a dry run is for one process"),
        (["data.synthetic.pairs=3", "--out", "OUT"], "data.synthetic.pairs is 3"),
    ],
)
def test_what_cannot_be_is_one_line(data: Path, tmp_path: Path, arguments: list[str], expected: str) -> None:
    file = written(tmp_path, data, steps=2)
    done = run(2, file, *(str(tmp_path / "run") if each == "OUT" else each for each in arguments))
    lines = [line for line in done.stderr.splitlines() if line.startswith("tgim:")]
    assert done.returncode != 0
    assert len(lines) == 1
    assert expected in lines[0]


@pytest.mark.slow
def test_stages_are_trained_by_two_processes(tmp_path: Path) -> None:
    guide = {"name": "late_interaction", "image_size": 32, "width": 8, "blocks": 1, "word_size": 8}
    given = {
        "data": {"name": "synthetic", "synthetic": {"pool": 32}},
        "train": {"steps": 2, "batch_size": 8, "precision": "fp32", "log_every": 1, "device": "cpu"},
        "stages": {
            "guide": {"model": guide},
            "editor": {"model": {"name": "tagrid", "matching": "stage:guide", "width": 16, "bins": 3}},
        },
    }
    file = tmp_path / "stages.yaml"
    file.write_text(yaml.safe_dump(given, sort_keys=False))
    for count, name in ((1, "one"), (2, "two")):
        done = run(count, file, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{tmp_path / name / MODEL}\n"
    for stage in ("guide", "editor"):
        assert same_losses(tmp_path / "one" / stage, tmp_path / "two" / stage)
    log = json.loads((tmp_path / "two" / "editor" / "log.jsonl").read_text().splitlines()[0])
    assert log["step"] == 1


@pytest.mark.slow
def test_a_system_from_outside_is_warned_of_once(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(values(data, steps=2)))
    given = [*several.launcher(), toy.__file__, str(file), str(tmp_path / "run")]
    done = subprocess.run(given, env=several.environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("what toy compares within a batch") == 1
    assert read_notes(tmp_path / "run" / STATE)["step"] == 2
