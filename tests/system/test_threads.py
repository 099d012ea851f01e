"""Work that is shared by threads: order, errors, nesting, forks, and results that do not depend on their number."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from support.commands import environment
from tgim.data.synthetic.pairs import sample_picture
from tgim.images.resample import interpolated, part_of
from tgim.system import threads


@pytest.fixture
def two(monkeypatch):
    """Two threads, whatever the machine has."""
    monkeypatch.setattr(threads, "count", lambda: 2)
    threads._made.cache_clear()
    yield
    threads._made.cache_clear()


def test_results_come_in_order_and_work_runs_at_once(two):
    both = threading.Barrier(2, timeout=60)

    def meet(number):
        both.wait()  # ends only if two are at work
        return number * number

    assert threads.shared(meet, [3, 1]) == [9, 1]


def test_an_error_is_raised(two):
    with pytest.raises(ZeroDivisionError):
        threads.shared(lambda number: 1 // number, [1, 0, 2])


def test_work_within_work_is_done_by_the_same_thread(two):
    def outer(number):
        return [*threads.shared(lambda _: threading.get_ident(), range(4)), threading.get_ident()]

    assert all(len(set(found)) == 1 for found in threads.shared(outer, range(8)))


def test_numpys_settings_hold_in_threads(two):
    with np.errstate(divide="ignore"):
        threads.shared(lambda number: np.float32(1) / np.float32(number), [0, 0])


@pytest.mark.parametrize(("length", "size"), [(0, 4), (1, 4), (4, 4), (9, 4), (3, 0), (3, 10**9)])
def test_strips_cover_all_once(length, size):
    seen = np.zeros(length, int)
    for strip in threads.strips(length, size):
        seen[strip] += 1
    assert (seen == 1).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked on Unix alone")
def test_a_forked_process_has_threads_of_its_own():
    code = (
        "import os, sys\nfrom tgim.system import threads\nthreads.count = lambda: 2\n"
        "threads.shared(len, ['a', 'b'])\nchild = os.fork()\n"
        "if not child: os._exit(threads.shared(len, ['a', 'bc']) != [1, 2])\n"
        "sys.exit(os.waitpid(child, 0)[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), timeout=120)
    assert done.returncode == 0


def test_parts_of_an_enlarged_map_are_those_of_the_whole():
    small = np.random.default_rng(0).random((2, 37, 23)).astype(np.float32)
    whole = interpolated(small, (500, 300))
    for rows, columns in (((0, 7), (0, 300)), ((123, 377), (10, 250)), ((499, 500), (299, 300))):
        part = part_of(small, (500, 300), (slice(*rows), slice(*columns)))
        assert np.abs(part - whole[:, slice(*rows), slice(*columns)]).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["birds", "birds-2", "flowers"])
def test_edits_do_not_depend_on_the_number_of_threads(name):
    code = (
        "import sys, hashlib, numpy as np\nfrom tgim import Editor\nfrom tgim.system import threads\n"
        "threads.count = lambda: int(sys.argv[2])\n"
        "picture = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(700, 900, 3)\n"
        "text = 'red petals' if sys.argv[1] == 'flowers' else 'red head and breast'\n"
        "print(hashlib.sha256(Editor.from_pretrained(sys.argv[1])(picture, text).tobytes()).hexdigest())"
    )
    picture = sample_picture("flowers" if name == "flowers" else "birds", seed=1, size=(700, 900)).tobytes()
    found = set()
    for count in ("1", "2", "3"):
        command = [sys.executable, "-c", code, name, count]
        done = subprocess.run(command, input=picture, env=environment(), capture_output=True)
        assert done.returncode == 0, done.stderr.decode()[-500:]
        found.add(done.stdout)
    assert len(found) == 1
