"""Laws of writing files: whole or not at all, permissions, links, long names, and one place that does it."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import tgim
from tgim.system.files import replacing, write_file


def test_what_is_written_stands_there_alone(tmp_path):
    write_file(tmp_path / "a.txt", "first")
    write_file(tmp_path / "a.txt", b"\xff second")
    write_file(tmp_path / ("n" * 255), "\u00e9")
    assert (tmp_path / "a.txt").read_bytes() == b"\xff second"
    assert (tmp_path / ("n" * 255)).read_bytes() == b"\xc3\xa9"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["block", "os.replace", "os.fsync"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, place, error):
    def fail(*_: object) -> None:
        raise error

    (tmp_path / "a.txt").write_text("old")
    if place != "block":
        monkeypatch.setattr(place, fail)

    def write() -> None:
        with replacing(tmp_path / "a.txt", sync=True) as temporary:
            temporary.write_text("new")
            if place == "block":
                fail()

    with pytest.raises(type(error)):
        write()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_has_the_name_before_the_end(tmp_path):
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a.txt").exists()
        assert temporary.name.startswith(".")  # no listing of a folder shows it


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_follow_the_umask_even_if_the_writer_makes_a_file_of_its_own(tmp_path, umask):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a.txt") as temporary:
            (tmp_path / "own").touch(0o600)
            (tmp_path / "own").replace(temporary)
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_link_is_replaced_and_what_it_points_to_left_alone(tmp_path):
    (tmp_path / "real").write_text("real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_file(tmp_path / "link", "new")
    assert (tmp_path / "real").read_text() == "real"
    assert not (tmp_path / "link").is_symlink()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "nowhere" / "a.txt", "")


def test_no_other_module_renames_or_makes_temporary_files():
    package = Path(tgim.__file__).parent
    for file in package.rglob("*.py"):
        if file == package / "system" / "files.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            own = ("os.replace", "os.rename", "tempfile.mkstemp", "tempfile.NamedTemporaryFile")
            assert not called.endswith((*own, ".write_text")), f"{file}:{node.lineno} {called}"
