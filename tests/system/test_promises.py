"""The promises of SECURITY.md, kept by every verb: no network, no pickle, no code and no file that was not named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT
from tgim.cli.main import main

TRAPS = (
    "functools",
    "types",
    "random",
    "queue",
    "secrets",
    "typing",
    "json",
    "click",
    "yaml",
    "torch",
    "numpy",
    "PIL",
    "sitecustomize",
)
SUBJECT = "--box 10,10,90,70"
RECIPE = (
    "{model: {name: tagan, image_size: 32, width: 4, word_size: 6, text_size: 8, condition_size: 5}, "
    "data: {name: folder, root: folder}, train: {steps: 2, batch_size: 2, sample_every: 1}}"
)
COMMANDS = {  # verb -> its words, and the names of what it may write
    "edit": (f"--image bird.jpg --text 'red head' {SUBJECT} --out made.png", "made.png"),
    "sample": ("made.png", "made.png"),
    "train": ("recipe.yaml --out made", "made"),
    "train --dry-run": ("recipe.yaml", ""),
    "data check": ("folder", ""),
    "convert": ("--system tagan G.pth made.safetensors --word-vectors words.vec", "made.safetensors"),
    "info": ("birds", ""),
    "list": ("", ""),
    "env": ("", ""),
    "doctor": ("--full", ""),
    "generate": ("--text red --n 1 --out made.png --attention words.png", "made.png words.png"),
    "interpolate": ("--image bird.jpg --text red --text blue --model birds-1 --steps 2 --out made.png", "made.png"),
    "steer": (
        "--operation hue --steps 1 --n 1 --out made.png --save-direction made.safetensors",
        "made.png made.safetensors",
    ),
    "parts": (f"bird.jpg {SUBJECT} --out made.png", "made.png"),
    "export": ("birds --out made", "made"),
    "match": ("bird.jpg --text red --text blue", ""),
    "search": ("folder/images --image bird.jpg --text red", ""),
    "eval": (
        "--model judge-birds --data folder --split all --protocol matching --limit 4 --out made.jsonl",
        "made.jsonl",
    ),
}
SERVERS = {  # verb -> its words, and how what it may write begins: a file takes its name when it is whole
    "serve": ("--port 0 --model birds", ""),
    "label": (
        "folder --port 0 --no-browser --parts head,tail",
        "folder/.tgim-",
    ),  # a file takes its name when it is whole
}
LISTENING = "socket.bind socket.getaddrinfo"  # of a server's address
PROGRAMS = {"git", "uname", "ldconfig"}  # asked for a commit, the kind of machine, and where libraries are
WATCH = '''
"""Told by Python what is done: files that are written, the network, pickles, other programs."""
import os, sys
LOG = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")


def watch(event, args):
    told = None
    if event == "open" and isinstance(args[0], (str, bytes)) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        told = os.path.abspath(os.fsdecode(args[0]))
    elif event == "os.mkdir" and os.path.isdir(args[0]):
        pass  # it is only wanted there
    elif event in ("os.remove", "os.rmdir") and args[1] != -1:
        pass  # a name within an open folder that is removed as a whole, of which the removal is told
    elif event in CHANGES and isinstance(args[0], (str, bytes)):
        told = os.path.abspath(os.fsdecode(args[1] if event in ("os.rename", "os.link", "os.symlink") else args[0]))
    elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        told = os.path.basename(str(args[0]))
    elif event in os.environ.get("ALLOWED", "").split():
        pass
    elif event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        told = str(args)
    elif event == "pickle.find_class":
        told = str(args)
    if told is not None:
        os.write(LOG, (event.replace(" ", "_") + " " + ascii(told) + "\\n").encode())
        if event.startswith(("socket.", "pickle.")):
            raise RuntimeError("this was promised not to happen: " + event)


sys.addaudithook(watch)
'''


@pytest.fixture(scope="module")
def trapped(tmp_path_factory, drawn_bird):
    """A folder with what the commands need, and with files named like modules that tell when they are run."""
    folder = tmp_path_factory.mktemp("trapped")
    tell = "open('ran', 'a').write(__name__ + ' ')\n"
    for name in TRAPS:
        (folder / f"{name}.py").write_text(tell)
    (folder / "tgim").mkdir()
    for name in ("__init__", "__main__", "errors"):
        (folder / "tgim" / f"{name}.py").write_text(tell)
    (folder / "folder" / "images").mkdir(parents=True)
    lines = []
    for i in range(8):
        (folder / "folder" / "images" / f"{i}.jpg").write_bytes(drawn_bird)
        lines.append(json.dumps({"file_name": f"{i}.jpg", "captions": ["a red bird", f"a bird with blue wings {i}"]}))
    (folder / "bird.jpg").write_bytes(drawn_bird)
    (folder / "folder" / "metadata.jsonl").write_text("\n".join(lines))
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "words.vec").write_text("1 2\nbird 0.1 0.2")
    hooks = tmp_path_factory.mktemp("hooks")
    (hooks / "sitecustomize.py").write_text(WATCH)
    (hooks / "bin").mkdir()
    (hooks / "bin" / "tgim").write_text("from tgim.cli.main import main\nmain()\n")  # as pip writes it
    return folder, hooks


def test_every_verb_is_tried():
    found = {name if name != "data" else "data check" for name in main.commands}
    assert found == {verb.removesuffix(" --dry-run") for verb in COMMANDS} | SERVERS.keys()


def watched(hooks: Path, home: Path) -> dict[str, str]:
    """The variables of a process that is watched, with folders of its own in `home`."""
    (home / "temporary").mkdir()
    own = {"PYTHONPATH": f"{hooks}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home)}
    own |= {"TGIM_CACHE": str(home / "cache"), "WATCHED": str(home / "watched"), "TMPDIR": str(home / "temporary")}
    return {**os.environ, **own}


@pytest.mark.slow
@pytest.mark.parametrize("verb", COMMANDS)
def test_a_verb_does_what_it_was_told_and_nothing_else(trapped, tmp_path, verb):
    folder, hooks = trapped
    here = Path(shutil.copytree(folder, tmp_path / "here"))
    words, outputs = COMMANDS[verb]
    environment = watched(hooks, tmp_path)
    command = f'"{sys.executable}" "{hooks / "bin" / "tgim"}" {verb} {words}'
    done = subprocess.run(
        ["bash", "-c", command], cwd=here, env=environment, capture_output=True, text=True, timeout=900
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if verb == "convert" else 0), done.stderr
    assert not (here / "ran").exists(), (here / "ran").read_text()
    allowed = [str(here / name) for name in outputs.split()] + [str(tmp_path / "cache"), os.devnull]
    allowed.append(str(tmp_path / "temporary"))  # which is empty in the end
    assert (tmp_path / "watched").exists()
    for line in (tmp_path / "watched").read_text().splitlines():
        event, _, told = line.partition(" ")
        if event == "subprocess.Popen":
            assert told.strip("'") in PROGRAMS, line
        else:
            path = Path(told.strip("'"))
            part = path.name.startswith(".tgim-") and path.name.endswith(".part")  # takes its name when it is whole
            beside = {str(Path(each).parent) for each in allowed}
            assert str(path).startswith(tuple(allowed)) or (part and str(path.parent) in beside), line
    left = [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]
    assert left == []  # torch makes an empty folder there, torchinductor_<user>
    assert {path.name for path in here.iterdir() if path.name.startswith("made")} <= {*outputs.split()}


@pytest.mark.slow
@pytest.mark.parametrize("verb", SERVERS)
def test_a_server_listens_and_does_nothing_else(trapped, tmp_path, verb, drawn_bird):
    pytest.importorskip("fastapi", reason="needs the extra serve")
    httpx = pytest.importorskip("httpx", reason="httpx is missing (extra dev)")
    folder, hooks = trapped
    here = Path(shutil.copytree(folder, tmp_path / "here"))
    environment = watched(hooks, tmp_path) | {"ALLOWED": LISTENING}
    words, outputs = SERVERS[verb]
    command = [sys.executable, str(hooks / "bin" / "tgim"), verb, *words.split()]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=here, env=environment, **pipes) as server:
        url = next(word for word in server.stdout.readline().split() if word.startswith("http"))
        assert httpx.get(url).status_code == 200
        for data in () if verb == "label" else ({"text": "red head"}, {"text": "red head", "box": "10,10,90,70"}):
            answer = httpx.post(url + "edit", files={"image": drawn_bird}, data=data, timeout=60)
            assert answer.status_code == 200, answer.text
        server.terminate()
        _, said = server.communicate(timeout=60)
    assert server.returncode == 0, said
    assert "Traceback" not in said
    assert not (here / "ran").exists(), (here / "ran").read_text()
    allowed = [str(tmp_path / "cache"), str(tmp_path / "temporary"), os.devnull]
    allowed += [str(here / name) for name in outputs.split()]
    for line in (tmp_path / "watched").read_text().splitlines():
        event, _, told = line.partition(" ")
        known = PROGRAMS if event == "subprocess.Popen" else ()
        assert told.strip("'") in known or told.strip("'").startswith(tuple(allowed)), line
    assert [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["list", "sample made.png"])
def test_started_by_python_it_leaves_the_current_folder_alone(tmp_path, verb):
    for name in TRAPS[2:]:  # the first are Python's own, to start a module
        (tmp_path / f"{name}.py").write_text("open('ran', 'a').write(__name__ + ' ')\n")
    (tmp_path / "tgim").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tgim", *verb.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
