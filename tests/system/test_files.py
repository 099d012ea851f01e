"""Laws of writing files: whole or not at all, permissions, links, long names, and one place that does it."""

from __future__ import annotations

import ast
import errno
import os
from collections.abc import Callable
from io import FileIO
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


def test_a_link_is_written_through_unless_it_may_be_anothers(tmp_path):
    (tmp_path / "real").write_text("real")
    (tmp_path / "link").symlink_to("real")
    write_file(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    write_file(tmp_path / "link", "own", follow=False)
    assert (tmp_path / "real").read_text() == "new"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400])
def test_a_replaced_file_keeps_its_permissions_also_while_it_is_written(tmp_path, mode):
    (tmp_path / "a.txt").touch(0o600)
    (tmp_path / "a.txt").chmod(mode)
    with replacing(tmp_path / "a.txt") as temporary:
        assert temporary.stat().st_mode & 0o777 & ~mode & ~0o200 == 0
        temporary.write_text("new")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_replaced_file_keeps_its_owner(tmp_path):
    (tmp_path / "a.txt").touch(0o600)
    os.chown(tmp_path / "a.txt", 12345, 12346)
    write_file(tmp_path / "a.txt", "new")
    status = (tmp_path / "a.txt").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 12346, 0o600)


def refusing(code: int) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("new", ["a longer content", "new", ""])
@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV])
def test_a_file_that_cannot_be_renamed_over_is_written_in_place(tmp_path, monkeypatch, code, new):
    (tmp_path / "a.txt").write_text("old text")
    before = (tmp_path / "a.txt").stat().st_ino
    monkeypatch.setattr("os.replace", refusing(code))
    write_file(tmp_path / "a.txt", new)
    assert (tmp_path / "a.txt").read_text() == new
    assert (tmp_path / "a.txt").stat().st_ino == before
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OSError, match=os.strerror(code)):
        write_file(tmp_path / "b.txt", "there is nothing to write into")


def test_a_failure_in_place_puts_the_old_content_back(tmp_path, monkeypatch):
    class Full(FileIO):
        def write(self, data: bytes) -> int:
            room = os.fstat(self.fileno()).st_size - self.tell()  # the disk has no block beyond those of the file
            if room <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:room])

    (tmp_path / "a.txt").write_text("old text")
    monkeypatch.setattr("os.replace", refusing(errno.EBUSY))
    monkeypatch.setattr("pathlib.Path.open", lambda path, *_, **__: Full(path, "rb+"))
    with pytest.raises(OSError, match="No space"), replacing(tmp_path / "a.txt") as temporary, temporary.open() as file:
        os.pwrite(file.fileno(), b"new text that is longer", 0)
    monkeypatch.undo()
    assert (tmp_path / "a.txt").read_text() == "old text"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_takes_no_files_does_not_keep_a_file_from_being_written(tmp_path, monkeypatch):
    folder, elsewhere = tmp_path / "closed", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "a.txt").write_text("old")
    opened = os.open

    def guarded(path: os.PathLike[str], *rest: int) -> int:
        if Path(path).parent == folder:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *rest)

    monkeypatch.setattr("os.open", guarded)
    monkeypatch.setattr("os.replace", refusing(errno.EXDEV))
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    write_file(folder / "a.txt", "new")
    assert (folder / "a.txt").read_text() == "new"
    assert not list(elsewhere.iterdir())
    with pytest.raises(PermissionError):
        write_file(folder / "b.txt", "new")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_file(tmp_path / "nowhere" / "a.txt", "")


@pytest.mark.slow
def test_no_other_module_renames_or_makes_temporary_files():
    package = Path(tgim.__file__).parent
    for file in package.rglob("*.py"):
        if file == package / "system" / "files.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            own = ("os.replace", "os.rename", "tempfile.mkstemp", "tempfile.NamedTemporaryFile")
            assert not called.endswith((*own, ".write_text")), f"{file}:{node.lineno} {called}"
