"""Laws of `tgim edit --images`: a folder of any size, in parts, again after an end at any moment, and as it fills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from support.commands import environment, files, is_refused, tgim
from tgim.inference.manifest import NAME

TEXT = "red head and breast"


@pytest.fixture
def edit(tagrid_file):
    """Run `tgim edit --images photos --out new` with the small editor."""

    def run(*args, text=TEXT):
        return tgim("edit", "--images", "photos", "--out", "new", "--text", text, "--model", tagrid_file, *args)

    return run


@pytest.fixture
def photos(here):
    """Pictures in a folder and below."""
    for name in ("a.jpg", "b.jpg", "in/a.jpg", "in/deep/c.jpg"):
        (here / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "photos" / name).write_bytes((here / "bird.jpg").read_bytes())
    return here / "photos"


def test_names_below_keep_their_folders_and_what_is_there_is_skipped(photos, edit):
    assert edit().stdout == "2 of 2 edits written to new\n"
    first = edit("--recursive", "--skip-existing", "--failed", "failed.jsonl")
    assert first.stdout == "2 of 4 edits written to new, 2 skipped\n"
    assert files(Path("new")).keys() == files(photos).keys()
    assert Path("failed.jsonl").read_text() == ""
    times = {path: path.stat().st_mtime_ns for path in Path("new").rglob("*.jpg")}
    again = edit("--recursive", "--skip-existing", "--json")
    assert json.loads(again.stdout) == {"report": {"done": 0, "skipped": 4, "failed": 0}}
    assert {path: path.stat().st_mtime_ns for path in Path("new").rglob("*.jpg")} == times
    assert edit("--skip-existing", text="a blue bird").stdout == "2 of 2 edits written to new\n"
    assert edit("--recursive", "--skip-existing").stdout == "2 of 4 edits written to new, 2 skipped\n"


def test_an_out_inside_is_not_read(photos, tagrid_file):
    words = ("edit", "--images", ".", "--out", "new", "--text", TEXT, "--model", tagrid_file, "--recursive")
    assert tgim(*words, "--skip-existing").stdout == "5 of 5 edits written to new\n"
    assert tgim(*words, "--skip-existing").stdout == "0 of 5 edits written to new, 5 skipped\n"


def test_failures_are_listed_in_a_file(photos, edit):
    (photos / "b.jpg").write_bytes(b"no picture")
    result = edit("--failed", "failed.jsonl")
    assert result.exit_code == 1
    assert result.stdout == "1 of 2 edits written to new, 1 failed\n"
    (line,) = map(json.loads, Path("failed.jsonl").read_text().splitlines())
    assert (line["image"], line["text"]) == ("photos/b.jpg", TEXT)
    assert "b.jpg" in line["error"]
    assert "\n" not in line["error"]


def test_parts_make_the_whole(photos, edit):
    said = [edit("--recursive", "--shard", f"{part}/3").stdout for part in (1, 2, 3)]
    assert files(Path("new")).keys() == files(photos).keys()
    assert sum(int(each.split()[0]) for each in said) == 4
    lines = [json.loads(line) for line in (Path("new") / NAME).read_text().splitlines()]
    assert sorted(line["image"] for line in lines) == sorted(files(photos))


REFUSED = {
    "shard": (["--shard", "0/2"], "I/N"),
    "shard beyond": (["--shard", "3/2"], "I/N"),
    "shard words": (["--shard", "half"], "I/N"),
    "workers": (["--workers", "0"], "range"),
    "failed folder": (["--failed", "nowhere/f.jsonl"], "--failed"),
    "failed picture": (["--failed", "photos/a.jpg"], ".jsonl"),
    "failed device": (["--failed", "/dev/null"], ".jsonl"),
    "strength": (["--strength", "2"], "strength"),
    "format": (["--format", "jepg"], "did you mean"),
    "part": (["--part", "head"], "finds no parts"),
    "save mask": (["--save-mask", "m.png"], "--image FILE"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_option_is_one_line_and_nothing_is_written(photos, edit, case):
    before = files(photos.parent)
    words, said = REFUSED[case]
    assert said in is_refused(edit(*words))
    assert files(photos.parent) == before
    assert not Path("new").exists()


def test_what_needs_a_folder_says_so(photos, tagrid_file):
    words = ("edit", "--image", "bird.jpg", "--text", TEXT, "--model", tagrid_file)
    for option in (["--recursive"], ["--watch"], ["--workers", 2], ["--shard", "1/2"], ["--failed", "f.jsonl"]):
        assert f"{option[0]} goes with --images" in is_refused(tgim(*words, *option))
    inside = ("edit", "--images", "photos", "--text", TEXT, "--model", tagrid_file, "--out")
    assert "--skip-existing" in is_refused(tgim(*inside, "photos/", "--skip-existing", "--force"))
    assert "--watch" in is_refused(tgim(*inside, ".", "--watch", "--recursive"))
    assert "no folder" in is_refused(tgim("edit", "--images", "x", *inside[3:], "new", "--watch"))
    Path("empty/deep").mkdir(parents=True)
    assert "--recursive" in is_refused(tgim("edit", "--images", "empty", *inside[3:], "new"))
    assert "no picture" in is_refused(tgim("edit", "--images", "empty", *inside[3:], "new", "--recursive"))


@pytest.fixture
def hearing_ctrl_c():
    """A process that a shell started in the background ignores ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hearing_ctrl_c")
def test_a_folder_is_watched_until_ctrl_c(photos, edit):
    def come():
        wait_for(Path("new/b.jpg"))
        (photos / "broken.jpg").write_bytes(b"no picture")
        (photos / "in/late.jpg").write_bytes((photos / "a.jpg").read_bytes())
        wait_for(Path("new/in/late.jpg"))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=come)
    thread.start()
    result = edit("--watch", "--recursive", "--failed", "failed.jsonl")
    thread.join()
    assert result.exit_code == 0, result.output
    *made, report = result.stdout.splitlines()
    assert sorted(made) == sorted(f"new/{name}" for name in files(photos) if name != "broken.jpg")
    assert report == "5 of 6 edits written to new, 1 failed"
    assert "failed: photos/broken.jpg" in result.stderr
    assert json.loads(Path("failed.jsonl").read_text())["image"] == "photos/broken.jpg"


def wait_for(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


# real processes


def started(*args, **options):
    """A command in a process of its own, which hears ctrl-C."""
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "tgim", *map(str, args)]
    return subprocess.Popen(command, **pipes, env=environment(), preexec_fn=listening, **options)


def workers_of(run):
    """Numbers of the processes that a command has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == run.pid:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture
def sixty(here):
    """Sixty tiny pictures."""
    (here / "many").mkdir()
    for i in range(60):
        Image.new("RGB", (16, 12), (4 * i, 100, 255 - 4 * i)).save(here / "many" / f"{i:02}.png")
    return here / "many"


@pytest.fixture
def many(tagrid_file, sixty):
    return ("edit", "--images", "many", "--out", "new", "--text", TEXT, "--model", tagrid_file)


@pytest.fixture
def right(sixty, many):
    """What the outputs should be."""
    words = ["whole" if word == "new" else word for word in many]
    assert tgim(*words).exit_code == 0
    return files(Path("whole"))


@pytest.mark.slow
def test_a_killed_folder_goes_on_and_nothing_is_done_twice(here, many, right):
    kills, valid = [3, 11, 12, 27, 45], 0
    for number in [*kills, None]:
        run = started(*many, "--skip-existing", cwd=here)
        while number is not None and run.poll() is None:
            if len(list(here.glob("new/*.png"))) >= number:
                time.sleep(0.0007 * number)
                run.kill()
                break
            time.sleep(0.001)
        stdout, stderr = run.communicate(timeout=120)
        assert "Traceback" not in stderr
        skipped = valid
        lines = [json.loads(line) for line in (here / "new" / NAME).read_bytes().split(b"\n")[:-1] if line]
        found = {name: content for name, content in files(here / "new").items() if name.endswith(".png")}
        assert all(right[name] == content for name, content in found.items())
        whole = [line["image"] for line in lines]
        assert len(whole) <= len(found) + len(kills)  # at most one line for each kill is without its file
        valid = len(found)
        if number is None:
            assert stdout == f"{60 - skipped} of 60 edits written to new, {skipped} skipped\n"
    assert found == right
    twice = [name for name in set(whole) if whole.count(name) > 1]
    assert len(whole) - 60 <= len(kills)
    assert len(twice) <= len(kills)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are read from /proc")
def test_workers_make_the_same_and_one_may_die(here, many, right):
    for name in ("json", "queue", "random", "subprocess"):  # of a stranger; no process may run them
        (here / f"{name}.py").write_text("open('ran', 'a')")
    run = started(*many, "--workers", 2, "--failed", "failed.jsonl", cwd=here)
    deadline = time.monotonic() + 120
    while len(list(here.glob("new/*.png"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    victim = workers_of(run)[0]
    os.kill(victim, signal.SIGKILL)
    stdout, stderr = run.communicate(timeout=120)
    failed = [json.loads(line)["image"] for line in (here / "failed.jsonl").read_text().splitlines()]
    assert len(failed) <= 1  # it may have been between two pictures
    assert run.returncode == len(failed)
    assert "Traceback" not in stderr
    assert stderr.count("a worker ended by signal 9") == 1
    assert not (here / "ran").exists()
    assert len(stderr.splitlines()) == 1 + len(failed)
    assert stdout.startswith(f"{60 - len(failed)} of 60 edits written")
    found = {name: content for name, content in files(here / "new").items() if name.endswith(".png")}
    lost = {Path(name).name for name in failed}
    assert {name: right[name] for name in right if name not in lost} == {
        name: content for name, content in found.items() if name not in lost
    }


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_all_and_leaves_nothing_half_written(here, many, right, workers):
    run = started(*many, "--workers", workers, cwd=here)
    deadline = time.monotonic() + 120
    while len(list(here.glob("new/*.png"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    inner = workers_of(run)
    run.send_signal(signal.SIGINT)
    stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 130
    assert stderr == "tgim: interrupted\n"
    assert "of 60 edits written" in stdout
    found = files(here / "new")
    assert all(content == right[name] for name, content in found.items())
    assert not any(Path(f"/proc/{number}").exists() for number in inner)
    again = tgim(*many, "--skip-existing")
    assert again.exit_code == 0
    assert f"{len(found)} skipped" in again.stdout


@pytest.mark.slow
def test_workers_refuse_in_one_line(here, many):
    words = [*many]
    words[words.index(TEXT)] = "qwertz uiop"
    run = started(*words, "--workers", 2, cwd=here)
    stdout, stderr = run.communicate(timeout=120)
    assert (run.returncode, stdout, stderr.count("\n")) == (2, "", 1), stderr
    assert not (here / "new").exists()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_pictures(here, tagrid_file):
    (here / "many").mkdir()
    content = (here / "bird.jpg").read_bytes()
    for i in range(300):
        (here / "many" / f"{i:03}.jpg").write_bytes(content)
    run = started(
        "edit", "--images", "many", "--out", "new", "--text", TEXT, "--model", tagrid_file, "--skip-existing", cwd=here
    )
    held = {}
    while run.poll() is None:
        made = len(list(here.glob("new/*.jpg")))
        try:
            text = Path(f"/proc/{run.pid}/status").read_text()
            held[made] = int(text.split("VmRSS:")[1].split()[0]) / 1024
        except (OSError, IndexError):
            break
        time.sleep(0.02)
    assert run.communicate(timeout=60)[0] == "300 of 300 edits written to new\n"
    early = max(size for made, size in held.items() if made <= 60)
    late = max(size for made, size in held.items() if 60 < made < 300)  # the interpreter takes more to end
    assert late - early < 12
