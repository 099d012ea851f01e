"""Laws of reading what other programs wrote: both formats alike, one line for each fault, no code run, one place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import tgim
from tgim.checkpoints.state_dict import read_state_dict, read_torch
from tgim.errors import CheckpointError

EXPECTED = "get the weights from their authors"
STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.count": torch.tensor(3)}


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_both_formats_hold_the_same(tmp_path, monkeypatch):
    torch.save(STATE, tmp_path / "a.pth")
    save_file(STATE, tmp_path / "a.safetensors")
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / "a.pth", str(tmp_path / "a.safetensors"), "~/a.pth"):
        found = read_state_dict(path, expected=EXPECTED)
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[name], value) for name, value in STATE.items())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pth", None, "is not there"),
        ("gone.safetensors", None, "is not there"),
        ("text.pth", b"<html>not found</html>", "cannot be read"),
        ("text.safetensors", b"<html>not found</html>", "cannot be read"),
        ("empty.pth", b"", "cannot be read"),
        ("list.pth", [1, 2], "holds no state dict"),
        ("nothing.pth", {}, "holds no state dict"),
        ("nested.pth", {"model": STATE}, "holds no state dict"),
    ],
)
def test_a_fault_is_one_line_that_says_what_is_expected(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_state_dict(path, expected=EXPECTED)
    said = str(caught.value)
    assert name in said
    assert said.endswith(EXPECTED)
    assert "\n" not in said


def test_code_in_a_file_is_not_run(tmp_path):
    torch.save({"a": Trap(tmp_path / "was-here")}, tmp_path / "code.pth")
    for read in (read_torch, read_state_dict):
        with pytest.raises(CheckpointError, match="state dict"):
            read(tmp_path / "code.pth", expected=EXPECTED)
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize(("call", "homes"), [("torch.load(", {"state_dict.py"}), ("load_file(", {"tensorfile.py"})])
def test_files_of_tensors_are_read_in_one_place(call, homes):
    package = Path(tgim.__file__).parent
    assert {file.name for file in package.rglob("*.py") if call in file.read_text(encoding="utf-8")} == homes
