"""The script for Slurm edits each picture of a folder once, whichever of its jobs are run, and again not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support import ROOT
from support.commands import environment, files, process, tgim
from tgim.inference.manifest import NAME

SCRIPT = ROOT / "docs" / "slurm" / "edit.sbatch"
PARTS = 4
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def job(folder: Path, number: int, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """The script as a job of the array; `tgim` is this source tree's."""
    command = folder / "bin" / "tgim"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tgim "$@"\n')
    command.chmod(0o755)
    asked = {"PHOTOS": str(folder / "photos"), "OUT": str(folder / "out"), "TEXT": "a red bird", "PARTS": str(PARTS)}
    slurm = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_CPUS_PER_TASK": "1"}
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", SCRIPT, *map(str, options)],
        env={**environment(), **asked, **slurm, **variables, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_script_is_bash_and_its_array_has_as_many_jobs_as_parts():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    text = SCRIPT.read_text()
    assert "#SBATCH --array=1-64\n" in text
    assert "parts=${PARTS:-64}\n" in text


def test_what_is_not_set_is_asked_for(tmp_path):
    done = job(tmp_path, 1, TEXT="")
    assert done.returncode != 0
    assert "TEXT: set it to the caption" in done.stderr


@pytest.mark.slow
def test_all_jobs_together_edit_each_picture_once(tmp_path, tagrid_file):
    photos, out = tmp_path / "photos", tmp_path / "out"
    names = ("a.png", "b.jpg", "below/a.png")
    for seed, name in enumerate(names):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        assert tgim("sample", photos / name, "--seed", seed).exit_code == 0
    told = []
    for number in (*range(1, PARTS + 1), 2):  # the second once more
        done = job(tmp_path, number, "--model", tagrid_file, "--json")
        assert done.returncode == 0, done.stderr
        told += [json.loads(line) for line in done.stdout.splitlines()]
    assert Counter(line["image"] for line in told if "image" in line) == {str(photos / name): 1 for name in names}
    lines = [json.loads(line) for line in (out / NAME).read_text().splitlines()]
    assert Counter(line["out"] for line in lines) == dict.fromkeys(names, 1)
    whole = process("edit", "--images", photos, "--recursive", "--text", "a red bird", "--out", tmp_path / "whole",
                    "--model", tagrid_file)  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    made = {name: content for name, content in files(out).items() if not name.startswith("failed-")}
    assert made == files(tmp_path / "whole")


@pytest.mark.slow
def test_a_job_with_a_bad_picture_fails_and_lists_it(tmp_path, tagrid_file):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "bad.png").write_bytes(b"no picture")
    done = job(tmp_path, 1, "--model", tagrid_file, PARTS="1")
    assert done.returncode == 1
    (line,) = (tmp_path / "out" / "failed-1.jsonl").read_text().splitlines()
    assert json.loads(line)["image"].endswith("bad.png")
