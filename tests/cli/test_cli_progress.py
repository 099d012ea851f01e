"""Laws of progress: a bar on a terminal, plain lines now and then elsewhere, nothing on stdout, nothing when quiet."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.commands import environment, process, tgim
from support.prepared import prepare
from tgim.system import say

TRAIN = (
    "model: {name: tagan, image_size: 32, width: 4, word_size: 6, text_size: 8, condition_size: 5,"
    " residual_blocks: 1}\n"
    "data: {name: folder, root: set, synthetic: {pairs: 2, pool: 60}}\n"
    "train: {steps: 4, batch_size: 2, device: cpu, threads: 1}\n"
)
VERBS = {  # command, and what it counts; M stands for a file of a small model
    "train": ("train recipe.yaml --out run", ["steps", "preparing pictures", "looking at the pictures"]),
    "a dry run": ("train recipe.yaml --dry-run", ["trying steps", "looking at the pictures"]),
    "eval": (
        "eval --model tagrid.M --data set --split all --judge matcher.M --protocol retrieval",
        ["edits", "judge", "pictures"],
    ),
    "edit": ("edit --images set/images --text red --model tagrid.M --out new", ["edits"]),
    "edit by two": ("edit --images set/images --text red --model tagrid.M --out new2 --workers 2", ["edits"]),
    "match": ("match set/images --text red --model matcher.M --no-cache", ["pictures"]),
    "match with a cache": ("match set/images --text red --model matcher.M", ["pictures"]),
    "search": ("search set/images --image bird.jpg --text red --model matcher.M --no-cache", ["pictures"]),
    "data check": ("data check set", ["pictures"]),
    "generate": ("generate --text red --model generator.M --n 40 --out many/", ["pictures"]),
    "interpolate": (
        "interpolate --image bird.jpg --text red --text blue --model tagrid.M --steps 6 --out new.gif",
        ["pictures"],
    ),
    "interpolate noises": ("interpolate --text red --model generator.M --steps 40 --out noise.gif", ["pictures"]),
    "steer": (
        "steer --operation hue --steps 3 --n 1 --text red --model generator.M --judge matcher.M --out s.png",
        ["steps"],
    ),
    "invert": (
        "edit --image bird.jpg --text red --model generator.M --invert-steps 4 --out inverted.png",
        ["inverting"],
    ),
}
FOLDER = ("edit", "--images", "set/images", "--text", "red", "--model", "tagrid.M", "--out", "new")
LINE = re.compile(
    r"tgim: ([\w ,.:-]+: )?[\d,]+( of [\d,]+)?( \w+)?( \(\d+ %\))?, [\d.e+-]+ (a second|s each)"
    r"(, about .* to go)?(; .*)?"
)
LAST = re.compile(r"tgim: ([\w ,.:-]+: )?[\d,]+( \w+)? in \d+ (s|min|h).*")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tagrid_file, drawn_bird):
    """A folder with what the verbs read."""
    folder, models = tmp_path_factory.mktemp("prepared"), {"generator": "attngan", "matcher": "dual_encoder"}
    return prepare(folder, bird=drawn_bird, recipe=TRAIN, pictures=70, tagrid=tagrid_file, models=models)


@pytest.fixture
def here(prepared, tmp_path, monkeypatch):
    """A working folder with what the verbs read, and an empty cache."""
    shutil.copytree(prepared, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "here"


@pytest.fixture
def at_once(monkeypatch):
    """Each step is said."""
    for name in ("PATIENCE", "PAUSE", "LONGEST"):
        monkeypatch.setattr(say, name, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_on_a_pipe_progress_is_plain_lines_with_an_estimate(here, at_once, verb):
    words, counted = VERBS[verb]
    done = tgim(*words.split())
    assert done.exit_code == 0, done.output
    assert not re.search(r"[\r\x1b]", done.stderr)
    lines = done.stderr.splitlines()
    told = [line for line in lines if LINE.fullmatch(line) or LAST.fullmatch(line)]
    for what in counted:
        assert any(what in line for line in told), (what, done.stderr)
    assert not any(line in done.stdout for line in told)
    assert not [line for line in lines if "%" in line and line not in told]


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_done_in_a_moment_is_not_told_of_and_the_quiet_are_quiet(here, at_once, monkeypatch, verb):
    words = VERBS[verb][0].split()
    quiet = tgim("--quiet", *words)
    assert quiet.exit_code == 0, quiet.output
    assert not LINE.search(quiet.stderr), quiet.stderr
    monkeypatch.setattr(say, "PATIENCE", 60.0)
    shutil.rmtree("run", ignore_errors=True)
    assert not LINE.search(tgim(*words).stderr)


def on_a_terminal(*words: str, here: Path, stop: bool = False) -> tuple[int, str, str]:
    """Run a command whose stderr is a terminal; with `stop` it gets a ctrl-C once it has shown something."""
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tgim", *words]
    with open(here / "stdout", "w+b") as stdout:
        listening = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 -- jobs of a shell ignore ctrl-C
        run = subprocess.Popen(command, cwd=here, env=environment(), stdout=stdout, stderr=theirs, preexec_fn=listening)
        os.close(theirs)
        shown, deadline = b"", time.monotonic() + 240
        while time.monotonic() < deadline:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
            if stop and b"%" in shown:
                run.send_signal(signal.SIGINT)
                stop = False
        code = run.wait(timeout=60)
        os.close(ours)
        stdout.seek(0)
        return code, shown.decode(), stdout.read().decode()


def screen(shown: str) -> list[str]:
    """The lines that a terminal shows in the end, of what came with carriage returns."""
    lines = []
    for line in shown.replace("\r\n", "\n").replace("\x1b[A", "").split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return [line for line in lines if line]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_on_a_terminal_a_bar_comes_with_rate_and_estimate_and_goes(here):
    (here / "set" / "images" / "broken.png").write_bytes(b"no picture")
    code, shown, stdout = on_a_terminal(*FOLDER, here=here)
    assert code == 1
    assert re.search(r"\r *\d+%\|.*\| \d+/71 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+(edit/s|s/edit)\]", shown), shown
    assert [line for line in screen(shown) if "%" in line] == []
    assert any("broken.png" in line and line.startswith("tgim: failed") for line in screen(shown))
    assert stdout == "70 of 71 edits written to new, 1 failed\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_ctrl_c_leaves_one_line(here):
    code, shown, _ = on_a_terminal(*FOLDER, here=here, stop=True)
    assert code == 130
    assert screen(shown) == ["tgim: interrupted"]


@pytest.mark.slow
def test_a_real_pipe_hears_nothing_of_a_short_run(here):
    for path in list((here / "set" / "images").iterdir())[5:]:
        path.unlink()
    done = process(*FOLDER, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
