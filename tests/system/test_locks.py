"""Laws of locks: one process at a time, none left behind, and folders that were made for nothing are not left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from support.commands import environment, is_refused, process, tgim
from tgim.system.locks import BusyError, own_folder

HOLD = """
import sys, time
from pathlib import Path
from tgim.system.locks import own_folder

with own_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
RECIPE = "{model: {name: tagan, width: 4}, data: {name: synthetic, drawn_pool: 20}, train: {steps: 1, batch_size: 2}}"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")


@pytest.fixture
def held(tmp_path):
    """A folder that another process has, and that process."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield tmp_path / "run", other
        other.kill()


@pytest.mark.slow
def test_a_folder_has_one_process_until_that_ends_however_it_ends(held, tmp_path):
    folder, other = held
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(BusyError), own_folder(folder):
        pass
    line = is_refused(tgim("train", tmp_path / "recipe.yaml", "--out", folder))
    assert "another process" in line
    assert list(folder.iterdir()) == []
    other.send_signal(signal.SIGKILL)
    other.wait()
    with own_folder(folder):
        pass


def test_what_was_made_for_nothing_goes(tmp_path):
    with pytest.raises(KeyError), own_folder(tmp_path / "a" / "b"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), own_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / str(1 // (tmp_path / "a" / "b" / "kept").write_bytes(b""))).touch()
    assert (tmp_path / "a" / "b" / "kept").exists()


WRITER = """
import sys
from pathlib import Path
from support.results_toy import line
from tgim.evaluation.records import Results

sys.stdin.readline()
results = Results(Path(sys.argv[1]))
for i in range(50):
    results.add(line("l2-edit@1", f"model {i}", "rmse", i))
"""


@pytest.mark.slow
def test_two_processes_write_each_figure_once(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "results.jsonl")]
    paths = os.pathsep.join([environment()["PYTHONPATH"], os.path.join(environment()["PYTHONPATH"], "tests")])
    options = {"stdin": subprocess.PIPE, "env": {**environment(), "PYTHONPATH": paths}}
    writers = [subprocess.Popen(command, **options) for _ in range(3)]
    for writer in writers:
        writer.stdin.write(b"\n")
        writer.stdin.close()
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    from tgim.evaluation import read_lines

    assert sorted(each.model for each in read_lines(tmp_path / "results.jsonl")) == sorted(
        f"model {i}" for i in range(50)
    )


@pytest.mark.slow
def test_a_user_without_a_home_is_told_of_the_cache(tmp_path, monkeypatch):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.delenv("TGIM_CACHE")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError("uid")))
    assert "TGIM_CACHE" in is_refused(tgim("train", tmp_path / "recipe.yaml", "--out", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_caches_have_the_permissions_of_the_umask(tmp_path, monkeypatch, umask):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    done = process("train", "recipe.yaml", "--out", "run", cwd=tmp_path, umask=umask)
    assert done.returncode == 0, done.stderr
    found = [path for folder in ("cache", "run") for path in (tmp_path / folder).rglob("*")]
    assert len(found) > 5
    for path in found:
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        assert path.stat().st_mode & 0o777 == wanted, path
