"""The doctor: everything works where it does, and each thing that can be wrong is told with a remedy."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from support.commands import environment, tgim
from tgim.inference import doctor, recorded
from tgim.inference.doctor import Finding
from tgim.system import packages, runtime
from tgim.system.packages import LIGHT

GIB = 2**30
WITHOUT = """
import sys
class Refusing:
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refusing())
from tgim.cli.main import main
main()
"""


def only(findings) -> Finding:
    (found,) = findings
    return found


def failing(findings) -> list[Finding]:
    return [each for each in findings if each.state == "fails"]


@pytest.fixture
def edits(monkeypatch):
    """Edits are what is recorded at hand, so that none has to be made."""
    made = recorded.edit(recorded.sample().image, "onnx")
    changes = {}
    monkeypatch.setattr(recorded, "edit", lambda image, engine: changes.get(engine, lambda one: one)(made.copy()))
    return changes


def test_everything_works_here(tmp_path, monkeypatch):
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    answer = tgim("doctor", "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert told["works"]
    assert {each["state"] for each in told["findings"]} <= {"ok", "note"}
    assert all(bool(each["remedy"]) == (each["state"] != "ok") for each in told["findings"])
    names = {each["name"].split()[0] for each in told["findings"]}
    expected = {"tgim", "packages", "models", "engine", "engines", "extra", "threads", "memory", "cache", "bf16"}
    assert names == {*expected, "formats"}
    assert list(tmp_path.iterdir()) == []


def test_what_fails_is_a_line_and_the_exit_code(monkeypatch):
    found = [
        Finding("one", "ok", "fine"),
        Finding("two", "fails", "bad\nnews", "mend it"),
        Finding("three", "note", "x", "y"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda **_: iter(found))
    answer = tgim("doctor")
    assert answer.exit_code == 1
    assert "fails  two           bad news -> mend it\n" in answer.stdout
    assert answer.stdout.splitlines()[-1] == "1 of 3 fail"
    assert json.loads(tgim("doctor", "--json").stdout)["works"] is False
    monkeypatch.setattr(doctor, "examine", lambda **_: iter(found[::2]))
    assert tgim("doctor").exit_code == 0


def test_a_check_that_breaks_down_is_told_and_the_others_go_on(monkeypatch, edits):
    def broken():
        raise RuntimeError("no luck")
        yield

    monkeypatch.setattr(doctor, "look_at_packages", broken)
    found = list(doctor.examine())
    assert [(each.name, each.told) for each in failing(found)] == [
        ("packages", "could not be looked at: RuntimeError: no luck")
    ]
    assert found[-1].name == "formats"


def test_missing_and_old_packages(monkeypatch):
    monkeypatch.setattr(doctor, "is_there", lambda each: each.name not in ("pillow", "tqdm"))
    monkeypatch.setattr(packages.metadata, "version", lambda name: "1.9.3" if name == "numpy" else "3000.1")
    missing, old = doctor.look_at_packages()
    assert (missing.state, missing.told) == ("fails", "missing: pillow, tqdm")
    assert missing.remedy == 'pip install "pillow>=11.3" "tqdm>=4.66"'
    assert (old.state, old.told, old.remedy) == ("fails", "too old: numpy", 'pip install "numpy>=1.26"')


def test_without_torch_the_small_installation_is_looked_at(monkeypatch):
    monkeypatch.setattr(doctor, "is_there", lambda each: each in LIGHT)
    assert only(doctor.look_at_packages()) == Finding("packages", "ok", "6 required packages are there")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of embedded files with three of the real ones, and a record of these."""
    real = recorded.WEIGHTS
    record = recorded.read_record()
    names = ("birds.graph", "flowers.safetensors", "tagan-birds.safetensors")
    (tmp_path / "weights").mkdir()
    for name in names:
        (tmp_path / "weights" / name).write_bytes((real / name).read_bytes())
    record["files"] = {name: record["files"][name] for name in names}
    (tmp_path / "weights" / recorded.RECORD).write_text(json.dumps(record))
    monkeypatch.setattr(recorded, "WEIGHTS", tmp_path / "weights")
    return tmp_path / "weights"


def test_embedded_files_that_are_not_whole(weights):
    assert only(doctor.look_at_models(full=True)).state == "ok"
    graph, flowers, tagan = sorted(path for path in weights.iterdir() if path.suffix != ".json")
    content = bytearray(flowers.read_bytes())
    content[-7] ^= 1  # a weight
    flowers.write_bytes(content)
    assert only(doctor.look_at_models()).state == "ok"
    found = only(doctor.look_at_models(full=True))
    assert (found.state, found.told) == (
        "fails", "flowers.safetensors has other content than when it was recorded",
    )  # fmt: skip
    assert found.remedy == recorded.AGAIN
    content[20] = 0  # of the header
    flowers.write_bytes(content)
    graph.write_bytes(graph.read_bytes()[:1000])
    tagan.unlink()
    told = [each.told for each in failing(doctor.look_at_models())]
    told_of = recorded.read_record()["files"]["birds.graph"]["bytes"]
    assert told[0] == f"birds.graph has 1000 bytes, expected {told_of}"
    assert told[1].startswith("flowers.safetensors cannot be read: ")
    assert told[2] == "tagan-birds.safetensors is missing"
    (weights / recorded.RECORD).write_text("{}")
    assert "models" in [each.name for each in failing(doctor.examine())]


def test_the_record_is_that_of_the_files():
    folder = recorded.WEIGHTS
    found = {path.name for path in folder.iterdir()} - {recorded.RECORD}
    told = recorded.read_record()["files"]
    assert found == told.keys(), "run benchmarks/record.py"
    for name, each in told.items():
        path = folder / name
        assert (path.stat().st_size, recorded.sha256(path)) == (each["bytes"], each["sha256"]), (
            "run benchmarks/record.py"
        )


def test_a_right_edit_is_right_and_an_unchanged_picture_is_not():
    rendering = recorded.sample()
    assert recorded.judge(rendering, recorded.edit(rendering.image, "onnx")) == ""
    assert "not red" in recorded.judge(rendering, rendering.image)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (np.s_[0, 0], "1 pixels of the background changed"),
        (np.s_[90:150, 60:160], "of 255 levels from the recorded one"),
        (np.s_[:], "not red"),
    ],
)
def test_a_wrong_edit_fails(edits, place, told):
    def spoil(picture):
        picture[place] = picture[place] // 2 + (60 if told.startswith("1 ") else 0)
        return picture if told != "not red" else np.ascontiguousarray(picture[..., ::-1])

    edits["onnx"] = spoil
    found = {each.name: each for each in doctor.look_at_edits({})}
    assert found["engine onnx"].state == "fails"
    assert told in found["engine onnx"].told
    assert found["engine torch"].state == "ok"
    assert found["engines"].state == "fails"
    assert "--engine" in found["engines"].remedy


def test_an_edit_that_ends_in_an_error_fails(edits):
    edits["torch"] = lambda picture: 1 / 0
    made = {}
    found = {each.name: each for each in doctor.look_at_edits(made)}
    assert found["engine torch"].told == "an edit ends in ZeroDivisionError: division by zero"
    assert list(made) == ["onnx"]
    assert "engines" not in found


@pytest.mark.parametrize("module", ["onnxruntime", "torch"])
def test_an_engine_that_is_missing_or_broken(monkeypatch, edits, module):
    real = importlib.import_module
    errors = [ModuleNotFoundError(f"No module named {module!r}", name=module), OSError("libx.so: cannot open")]

    def refuse(name):
        if name == module:
            raise errors[0]
        return real(name)

    monkeypatch.setattr(doctor, "import_module", refuse)
    name = "engine onnx" if module == "onnxruntime" else "engine torch"
    found = {each.name: each for each in doctor.look_at_edits({})}
    assert found[name].state == "note"
    assert f"{module} is not installed" in found[name].told
    assert found[name].remedy.startswith(f"pip install {'torch torchvision' if module == 'torch' else ''}")
    assert not failing(found.values())
    errors.pop(0)
    found = {each.name: each for each in doctor.look_at_edits({})}
    assert found[name].state == "fails"
    assert found[name].told == f"{module} is there, but cannot be loaded: libx.so: cannot open"
    assert "--force-reinstall" in found[name].remedy


def test_without_any_engine_nothing_can_be_edited(monkeypatch):
    def refuse(name):
        raise ModuleNotFoundError(name, name=name)

    monkeypatch.setattr(doctor, "import_module", refuse)
    found = list(doctor.look_at_edits({}))
    assert [each.state for each in found] == ["note", "note", "fails"]
    assert found[-1].remedy == "pip install onnxruntime"


def test_extras_that_are_missing(monkeypatch):
    monkeypatch.setattr(doctor, "is_there", lambda each: each.name not in ("fastapi", "onnx"))
    monkeypatch.setattr(doctor, "is_old", lambda each: each.module == "ray")
    notes = {each.name: each for each in doctor.look_at_extras() if each.state == "note"}
    assert {name: (each.told, each.remedy) for name, each in notes.items()} == {
        "extra serve": ("missing: fastapi", 'pip install "tgim[serve]"'),
        "extra export": ("missing: onnx", 'pip install "tgim[export]"'),
        "extra ray": ("too old: ray[data]", 'pip install "tgim[ray]"'),
    }


def test_without_torch_extras_come_without_it(monkeypatch):
    monkeypatch.setattr(doctor, "is_there", lambda each: False)
    found = {each.name: each.remedy for each in doctor.look_at_extras()}
    assert found["extra phone"] == 'pip install "pillow-heif>=0.18"'
    assert found["extra ray"] == 'pip install "ray[data]>=2.51"'


@pytest.mark.parametrize(
    ("usable", "quota", "variables", "state", "told"),
    [
        (2, None, {}, "ok", "2 of 8 cores may be used; threads of an edit: 2"),
        (2, 2.5, {runtime.THREADS: "1"}, "ok", "2 of 8 cores may be used, by a quota of 2.5; threads of an edit: 1"),
        (2, 2.0, {runtime.THREADS: "8"}, "note", "OMP_NUM_THREADS=8, but 2 of 8 cores"),
        (2, None, {runtime.THREADS: "all"}, "note", "is no number of threads"),
        (2, None, {"OMP_WAIT_POLICY": "active"}, "note", "keep their cores busy"),
        (1, 0.5, {runtime.THREADS: "1"}, "note", "2.0 times as long"),
    ],
)
def test_threads(monkeypatch, usable, quota, variables, state, told):
    for name in (runtime.THREADS, *runtime.WAIT_POLICY):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name, value in (("machine_cores", 8), ("usable_cores", usable), ("cpu_quota", quota)):
        monkeypatch.setattr(doctor, name, lambda value=value: value)
    found = next(doctor.look_at_threads())
    assert found.state == state
    assert told in found.told
    assert bool(found.remedy) == (state == "note")


@pytest.mark.parametrize(
    ("available", "engines", "state"),
    [
        (1.6, ("onnx",), "ok"),
        (1.6, ("torch",), "note"),
        (1.6, ("onnx", "torch"), "ok"),
        (0.4, ("onnx",), "note"),
        (None, (), "ok"),
    ],
)
def test_memory_is_compared_with_a_large_edit(monkeypatch, available, engines, state):
    monkeypatch.setattr(doctor, "available_memory", lambda: available and int(available * GIB))
    found = only(doctor.look_at_memory(dict.fromkeys(engines)))
    assert found.state == state
    assert bool(found.remedy) == (state == "note")


def test_a_cache_that_cannot_be_written_is_a_note(tmp_path, monkeypatch):
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache" / "tgim"))
    assert only(doctor.look_at_cache()).state == "ok"
    (tmp_path / "cache").write_text("")
    found = only(doctor.look_at_cache())
    assert (found.state, found.told.split(",")[0]) == ("note", f"{tmp_path / 'cache'} is not a folder")
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "other"))
    room = namedtuple("Room", "total used free")(GIB, GIB, GIB // 2)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: room)
    assert only(doctor.look_at_cache()).told.endswith("has 0.5 GiB of room")
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)  # root may write anywhere
    found = only(doctor.look_at_cache())
    assert (found.state, found.told) == ("note", f"{tmp_path / 'other'} cannot be written")
    monkeypatch.delenv("TGIM_CACHE")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    found = only(doctor.look_at_cache())
    assert (found.state, found.told) == ("note", "there is no home folder to keep a cache in")


def test_instructions_that_are_switched_off_are_told(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    found = only(doctor.look_at_bf16())
    assert (found.state, found.remedy) == ("note", "unset ONEDNN_MAX_CPU_ISA")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert only(doctor.look_at_bf16()).state == "ok"


def test_formats_that_pillow_lacks(monkeypatch):
    from PIL import features

    real = features.check
    monkeypatch.setattr(features, "check", lambda name: name not in ("jpg", "webp") and real(name))
    monkeypatch.setattr("tgim.images.kinds.is_opened", lambda kind: kind == "AVIF")
    found = list(doctor.look_at_formats())
    assert [each.state for each in found] == ["fails", "note", "note", "ok"]
    assert found[0].told == "this Pillow reads and writes no JPEG"
    assert found[2].remedy == 'pip install "tgim[phone]"'
    assert found[3].told == "opened: PNG, TIFF, AVIF, BMP, GIF"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("torch", "torchvision", "skimage", "scipy", "pydantic", "lpips", "accelerate", "yaml"), 0),
        (("onnxruntime",), 0),
        (("PIL",), 1),
        (("numpy",), 1),
    ],
)
def test_it_runs_whatever_is_missing(tmp_path, names, code):
    """The home can only be read: nothing is written there, and a cache is a note."""
    (tmp_path / "home").touch()  # root could write into any folder
    variables = {name: value for name, value in environment().items() if name != "TGIM_CACHE"}
    variables |= {"HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", WITHOUT.format(names=names), "doctor", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == ""
    told = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
    if names[0] == "torch":
        assert told["engine torch"]["state"] == "note"
        assert told["engine onnx"]["state"] == told["packages"]["state"] == "ok"
        assert told["cache"]["state"] == "note"
        assert told["bf16"]["state"] == "ok"
    elif names[0] == "onnxruntime":
        assert told["engine onnx"]["state"] == "note"
        assert told["engine torch"]["state"] == told["packages"]["state"] == "ok"
    else:
        assert told["packages"]["state"] == "fails"
        assert "pip install" in told["packages"]["remedy"]
    assert [path.name for path in Path(tmp_path).iterdir()] == ["home"]
