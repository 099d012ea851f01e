"""Laws of what the verbs print: one function prints it, and no stream or name makes a difference to what is done."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tgim
from support.commands import environment, is_refused
from support.commands import tgim as run

TEXT = "red head \U0001f600"
NOT_UTF8 = b"v\xf6gel"
CODES = {"2>&-": 0, ">&-": 0, "<&- >&- 2>&-": 0, ">/dev/full": 2, "2>/dev/full": 0, "| true": 141, "2>&1 >&- | true": 0}


def in_shell(command: str, here: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in which `tgim` is the command, in one locale of UTF-8; the exit code is that of tgim."""
    start = f'set -o pipefail; tgim() {{ "{sys.executable}" -m tgim "$@"; }}; '
    settings = {**environment(), "LC_ALL": "C.UTF-8", **variables}
    return subprocess.run(["bash", "-c", start + command], cwd=here, env=settings, capture_output=True, timeout=300)


@pytest.mark.slow
def test_nothing_else_prints():
    package = Path(tgim.__file__).parent
    for file in package.rglob("*.py"):
        if file == package / "system" / "say.py":
            continue
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"click\.s?echo|import echo|\btqdm\(|import tqdm|format_filename", text), file
        for node in ast.walk(ast.parse(text)):
            name = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            assert name not in ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__", "print"), file


@pytest.mark.slow
@pytest.mark.parametrize("streams", CODES)
def test_an_edit_is_made_whatever_the_streams(here, tagrid_file, streams):
    (here / "folder").mkdir()
    done = in_shell(f"tgim edit --image bird.jpg --text 'red heda' --model {tagrid_file} --out o.png {streams}", here)
    assert done.returncode == CODES[streams], done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert done.stderr.count(b"\n") == (("2>" not in streams) + (streams == ">/dev/full"))
    in_shell(f"tgim edit --image bird.jpg --text 'red heda' --model {tagrid_file} --out beside.png", here)
    assert (here / "o.png").read_bytes() == (here / "beside.png").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--help", "--version", "list", "edit --help", "env --json", "info birds"])
def test_a_full_device_is_one_line_and_a_closed_pipe_none(here, words):
    full = in_shell(f"tgim {words} >/dev/full", here)
    assert (full.returncode, full.stderr.count(b"\n")) == (2, 1), full.stderr
    assert b"No space left" in full.stderr
    closed = in_shell(f"tgim {words} | true", here)
    assert (closed.returncode, closed.stderr) == (141, b"")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii", "latin-1"])
def test_names_and_texts_that_the_stream_lacks(here, tagrid_file, encoding):
    name = os.fsdecode(NOT_UTF8 + b".jpg")
    (here / "folder").mkdir()
    for path in (here / name, here / "folder" / name, here / "folder" / "plain.jpg"):
        path.write_bytes((here / "bird.jpg").read_bytes())
    (here / "folder" / os.fsdecode(b"bad\xf6.jpg")).write_bytes(b"no picture")
    shown = json.loads(json.dumps(name).replace("\\udcf6", "\\ufffd"))
    edit = f"tgim edit --model {tagrid_file} --text '{TEXT}'"
    streams = {"PYTHONIOENCODING": encoding}
    one = in_shell(f"{edit} --image $'v\\xf6gel.jpg' --out $'o\\xf6.png' --json", here, **streams)
    assert one.returncode == 0, one.stderr
    line = json.loads(one.stdout.decode(encoding))
    assert (line["image"], line["text"]) == (shown, TEXT)
    plain = in_shell(f"{edit} --image $'v\\xf6gel.jpg' --out $'o\\xf6.png'", here, **streams)
    assert plain.stdout.decode(encoding).strip() in ("o\ufffd.png", "o\\ufffd.png")
    many = in_shell(f"{edit} --images folder --out new --json", here, **streams)
    assert many.returncode == 1  # the bad one, which is named
    assert many.stderr.count(b"failed: ") == 1
    names = [json.loads(line)["image"] for line in many.stdout.decode(encoding).splitlines()[:-1]]
    assert names == ["folder/plain.jpg", f"folder/{shown}"]
    sample = in_shell("tgim sample $'s\\xf6.png' && tgim data check $'no\\xf6'", here, **streams)
    assert (sample.returncode, sample.stderr.count(b"\n")) == (2, 1)
    assert b"Traceback" not in b"".join((one.stderr, plain.stderr, many.stderr, sample.stderr))


@pytest.mark.parametrize(
    "words",
    [
        "edit --image bird.jpg --image b.jpg --text x",
        "edit --image bird.jpg --text x --box 1,1,9,9 --box 2,2,9,9",
        "edit --image bird.jpg --text x --focus --no-focus",
        "edit --image bird.jpg --text x --model=a --model b",
        "eval --data cub --data cub --model x",
        "search . --image bird.jpg --text x --text y",
        "train x.yaml --out a --out b",
        "convert --system tagan --template a --template b x.pth y.safetensors",
        "generate --text x --out a --n 1 --n 2",
        "train recipe.yaml train.steps=1 train.steps=2 --out a",
        "data check . --kind cub --kind folder",
        "sample a.png --seed 1 --seed 2",
    ],
)
def test_an_option_that_would_silently_win_is_refused(here, words):
    (here / "recipe.yaml").write_text("{model: {name: tagan}, data: {name: synthetic}}")
    line = is_refused(run(*words.split()))
    assert "times and takes one value" in line or "give train.steps twice" in line


def test_a_flag_may_be_repeated_and_a_text_too(here):
    assert run("list", "--json", "--json").exit_code == 0
    assert run("edit", "--help", "--help").exit_code == 0
    assert "given" not in is_refused(run("edit", "--image", "no.jpg", "--text", "a", "--text", "b"))
