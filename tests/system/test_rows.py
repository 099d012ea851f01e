"""Laws of rows on disk: a key gives the row that was added with it or none, whatever became of the files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.commands import environment
from tgim.system.rows import KEY, NONE, SUFFIXES, Entry, Place, Rows

WIDTH, COUNT = 5, 12


def keys(number: int) -> tuple[bytes, bytes]:
    """Both keys of a row."""
    first, second = (hashlib.sha256(f"{which} {number}".encode()).digest()[:KEY] for which in ("first", "second"))
    return first, second


def row(number: int) -> np.ndarray:
    return np.full(WIDTH, number + 0.5, np.float32)


def add(folder: Path, numbers: range) -> None:
    with_all = Rows(folder, "x", width=WIDTH)
    places = with_all.write(np.stack([row(number) for number in numbers]))
    with_all.enter([Entry(*keys(number), place) for number, place in zip(numbers, places, strict=True)])
    with_all.close()


def found(folder: Path, numbers: range) -> list[set[int]]:
    """The numbers that are found by the first keys, and by the second; every row that is given is the right one."""
    rows, there = Rows(folder, "x", width=WIDTH), []
    for which, look in enumerate((rows.by_first, rows.by_second)):
        places = look([keys(number)[which] for number in numbers])
        known = [(number, place) for number, place in zip(numbers, places, strict=True) if place is not None]
        read = rows.read([place for _, place in known])
        good = {number for (number, _), each in zip(known, read, strict=True) if each is not None}
        for (number, _), each in zip(known, read, strict=True):
            assert each is None or np.array_equal(each, row(number))
        there.append(good)
    rows.close()
    return there


def test_what_was_added_is_found_by_both_keys_and_nothing_else_is(tmp_path):
    assert found(tmp_path / "none", range(3)) == [set(), set()]
    add(tmp_path, range(COUNT))
    add(tmp_path, range(COUNT, 2 * COUNT))
    assert found(tmp_path, range(3 * COUNT)) == [set(range(2 * COUNT))] * 2


def test_of_two_rows_of_a_key_the_last_counts_and_no_key_is_found_by_none(tmp_path):
    add(tmp_path, range(2))
    rows = Rows(tmp_path, "x", width=WIDTH)
    (place,) = rows.write(row(7)[None])
    rows.enter([Entry(NONE, keys(0)[1], place)])
    rows.close()
    rows = Rows(tmp_path, "x", width=WIDTH)
    assert rows.by_first([NONE]) == [None]
    assert rows.by_first([keys(0)[0]]) == [Place(0, rows.by_first([keys(0)[0]])[0].checksum)]
    assert rows.by_second([keys(0)[1]]) == [place]
    rows.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_damaged_byte_gives_a_wrong_row_and_what_is_added_after_it_is_found(tmp_path, suffix):
    source = np.random.default_rng(0)
    for case in range(60):
        folder = tmp_path / str(case)
        add(folder, range(COUNT))
        file = folder / f"x{suffix}"
        whole = file.read_bytes()
        content = bytearray(whole)
        place = int(source.integers(len(content)))
        if case % 3 == 0:
            content = content[:place]  # a process was killed, or the disk was full
        elif case % 3 == 1:
            content[place] ^= 1 << int(source.integers(8))
        else:
            content[place:] = bytes(len(content) - place)  # a power cut
        file.write_bytes(content)
        first, second = found(folder, range(COUNT))
        assert first == second
        assert first < set(range(COUNT)) or content == whole
        add(folder, range(COUNT, COUNT + 3))
        assert set(range(COUNT, COUNT + 3)) <= found(folder, range(2 * COUNT))[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks between processes here")
def test_processes_that_add_at_once_lose_nothing(tmp_path):
    code = "import sys; from test_rows import *\n"
    code += (
        f"for i in range(0, 60, 3): add(Path({str(tmp_path)!r}), range(int(sys.argv[1]) + i, int(sys.argv[1]) + i + 3))"
    )
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "tests"), str(root / "tests" / "system")])
    settings = {**environment(), "PYTHONPATH": path}
    runs = [subprocess.Popen([sys.executable, "-c", code, str(60 * i)], env=settings, cwd=root) for i in range(3)]
    assert [run.wait(timeout=120) for run in runs] == [0, 0, 0]
    assert found(tmp_path, range(180)) == [set(range(180))] * 2


def test_a_link_in_the_cache_is_not_followed(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for suffix in SUFFIXES:
        (tmp_path / f"x{suffix}").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(OSError, match=r"."):
        Rows(tmp_path, "x", width=WIDTH)
    assert (tmp_path / "mine.txt").read_text() == "mine"
