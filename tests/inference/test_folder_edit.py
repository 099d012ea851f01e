"""Laws of folders: what counts as done, which picture belongs to which part, and what arrives."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tgim.errors import ImageError, UserError
from tgim.images.folder import walk_images
from tgim.inference import watching, workers
from tgim.inference.batch_edit import Result
from tgim.inference.editor import Editor
from tgim.inference.folder_edit import Asked, Folder, Maker, check_outputs, overlapped, shard
from tgim.inference.manifest import NAME, Manifest
from tgim.system.journal import Journal

TEXT = "red head and breast"
LINE = {"image": "a.jpg", "out": "a.jpg", "picture": "1", "checkpoint": "2", "text": TEXT, "options": {}, "tgim": "3"}


@pytest.fixture(scope="session")
def editor(tagrid_file):
    return Editor.from_pretrained(tagrid_file)


@pytest.fixture
def folder(tmp_path, tagrid_file):
    """Four small pictures, two of them below."""
    for i, name in enumerate(("a.png", "b.png", "in/a.png", "in/deep/c.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return Folder(tmp_path / "photos", tmp_path / "out", (TEXT,), checkpoint="0123", skip=True)


NAMES = ["a.png", "b.png", "in/a.png", "in/deep/c.png"]


def made(editor, folder, names=NAMES):
    """Names that were edited, and that were skipped; none fails."""
    found = list(overlapped(Maker(editor, folder), names))
    assert not [each.error for each in found if each.error]
    by = {
        kind: [str(each.job.out.relative_to(folder.out)) for each in found if each.skipped is kind]
        for kind in (False, True)
    }
    assert sorted(by[False] + by[True]) == sorted(names)
    return by[False], by[True]


def test_the_same_is_skipped_and_all_else_is_done(editor, folder):
    assert made(editor, folder) == (NAMES, [])
    assert made(editor, folder) == ([], NAMES)
    assert made(editor, replace(folder, skip=False)) == (NAMES, [])
    assert made(editor, replace(folder, checkpoint="4567")) == (NAMES, [])
    assert made(editor, folder) == ([], NAMES)  # the untrained model makes the same files of both
    for options in ({"strength": 0.5}, {"seed": 2**62}, {"box": (2, 2, 9, 9)}, {"kind": "bmp"}):
        assert made(editor, replace(folder, asked=Asked(**options))) == (NAMES, [])
        assert made(editor, replace(folder, asked=Asked(**options))) == ([], NAMES)
    assert made(editor, replace(folder, texts=("a blue bird",))) == (NAMES, [])


def test_a_changed_picture_and_a_damaged_output_are_done_again(editor, folder):
    made(editor, folder)
    (folder.images / "b.png").write_bytes((folder.images / "a.png").read_bytes())
    right = (folder.out / "in/a.png").read_bytes()
    (folder.out / "in/a.png").write_bytes(right[:-1])
    (folder.out / "in/deep/c.png").unlink()
    assert made(editor, folder) == (["b.png", "in/a.png", "in/deep/c.png"], ["a.png"])
    assert (folder.out / "in/a.png").read_bytes() == right
    assert made(editor, folder) == ([], NAMES)


def test_the_mask_counts(editor, folder):
    masks = folder.out.parent / "masks"
    for name in NAMES:
        (masks / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 5), 255).save((masks / name).with_suffix(".bmp"))
    folder = replace(folder, masks=masks)
    assert made(editor, folder) == (NAMES, [])
    Image.new("L", (6, 5), 100).save(masks / "in/a.bmp")
    assert made(editor, folder) == (["in/a.png"], [each for each in NAMES if each != "in/a.png"])
    (masks / "a.bmp").unlink()
    failed = [each.error for each in overlapped(Maker(editor, folder), NAMES) if each.error]
    assert len(failed) == 1
    assert "no mask of the name 'a'" in failed[0]


def test_overlapping_changes_nothing(editor, folder):
    folder = replace(folder, texts=(TEXT, "a blue bird"), skip=False)
    (folder.images / "b.png").write_bytes(b"no picture")
    apart = replace(folder, out=folder.out.parent / "apart")
    one = [result for name in NAMES for result in Maker(editor, apart).one(name)]
    two = list(overlapped(Maker(editor, folder), NAMES))
    assert [each.job.out.name for each in one] == [each.job.out.name for each in two]
    assert [bool(each.error) for each in two] == [False, False, True, True, False, False, False, False]
    for each, other in zip(one, two, strict=True):
        assert each.error or each.job.out.read_bytes() == other.job.out.read_bytes()
        assert (each.width, each.box, each.error) == (other.width, other.box, other.error)


def test_a_large_picture_has_the_process_for_itself(editor, folder, monkeypatch):
    Image.new("RGB", (70, 60), "green").save(folder.images / "b.png")
    monkeypatch.setattr("tgim.inference.editor.LARGE", 4000)
    maker, log = Maker(editor, replace(folder, texts=(TEXT, "a blue bird"))), []
    for step in ("load", "write"):

        def noted(first, *, step, real, **only):
            name = first if step == "load" else first.job.image.name
            log.append((step, name, "begins"))
            found = real(first, **only)
            log.append((step, name, "ends"))
            return found

        monkeypatch.setattr(maker, step, partial(noted, step=step, real=getattr(maker, step)))
    assert not [each.error for each in overlapped(maker, NAMES) if each.error]
    first, last = log.index(("load", "b.png", "ends")) + 1, log.index(("load", "in/a.png", "begins"))
    own = [("load", "b.png"), ("write", "b.png")] * 2
    alone = [each for each in log[first:last] if each[1] == "b.png"]
    assert alone == [(*each, state) for each in own for state in ("begins", "ends")]
    assert not {name for _, name, _ in log[log.index(alone[0], first) : last]} - {"b.png"}


def test_a_torn_line_costs_its_own_edit_alone(editor, folder):
    made(editor, folder)
    manifest = folder.out / NAME
    lines = manifest.read_bytes().splitlines()
    assert len(lines) == 4
    assert json.loads(lines[0])["image"] == "a.png"
    manifest.write_bytes(b"\n".join([b"[1]", b"\xff\0", b'{"out": 1}', *lines])[:-20])
    assert made(editor, folder) == (NAMES[3:], NAMES[:3])
    assert made(editor, folder) == ([], NAMES)  # the new line did not join the torn one


def test_a_line_without_its_output_counts_for_nothing(tmp_path):
    manifest = Manifest(tmp_path)
    assert not manifest.has(LINE)
    manifest.add(LINE, content=b"picture")
    assert not manifest.has(LINE)
    (tmp_path / "a.jpg").write_bytes(b"picture")
    assert manifest.has(LINE)
    assert Manifest(tmp_path).has(LINE)
    assert not any(manifest.has({**LINE, name: "other"}) for name in LINE if name != "image")
    (tmp_path / "a.jpg").write_bytes(b"other")
    assert not manifest.has(LINE)
    (tmp_path / "b" / NAME).mkdir(parents=True)
    with pytest.raises(UserError, match="--out"):
        Manifest(tmp_path / "b").has(LINE)


def test_a_journal_hears_what_others_add_and_keeps_lines_apart(tmp_path):
    ours, theirs = Journal(tmp_path / "j"), Journal(tmp_path / "j")
    assert list(ours.news()) == []
    theirs.append(b"one")
    assert list(ours.news()) == [b"one"]
    with (tmp_path / "j").open("ab") as file:
        file.write(b"to")  # torn
    assert list(ours.news()) == []
    ours.append(b"two")
    assert list(ours.news()) == [b"to", b"two"]
    threads = [
        threading.Thread(target=lambda i=i: [Journal(tmp_path / "j").append(b"%d" % i * 99) for _ in range(50)])
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ours.news()) == [b"%d" % i * 99 for i in range(4) for _ in range(50)]
    (tmp_path / "j").write_bytes(b"new\n")
    assert list(ours.news()) == [b"new"]


def test_parts_are_disjoint_and_stay(tmp_path):
    names = [f"in/{i}.jpg" for i in range(500)]
    parts = [list(shard(names, part, 7)) for part in range(1, 8)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(40 < len(part) < 110 for part in parts)
    more = [f"new/{i}.jpg" for i in range(50)]
    assert [name for name in shard([*more, *names], 3, 7) if name not in more] == parts[2]
    assert list(shard(["in/7.jpg"], 1, 3)) == []  # the hash is the same on all machines
    assert list(shard(["in/7.jpg"], 2, 3)) + list(shard(["in/7.jpg"], 3, 3)) == ["in/7.jpg"]


def test_a_walk_reads_each_folder_once_and_ends(folder):
    root = folder.images
    os.symlink(root, root / "in/again")
    os.symlink("..", root / "in/deep/up")
    os.symlink("in", root / "a link")
    os.symlink("nowhere", root / "broken")
    other = root.parent / "other"
    other.mkdir()
    (other / "x.jpg").touch()
    os.symlink(other, root / "linked")
    os.symlink(root, other / "back")
    (root / ".hidden").mkdir()
    (root / ".hidden/h.jpg").touch()
    (root / "notes.txt").touch()
    assert walk_images(root) == sorted([*NAMES, "linked/x.jpg"])
    (root / "out").mkdir()
    (root / "out/made.jpg").touch()
    assert walk_images(root, without=root / "in/../out") == sorted([*NAMES, "linked/x.jpg"])
    assert "out/made.jpg" in walk_images(root)
    with pytest.raises(ImageError, match="cannot be listed"):
        walk_images(root / "nowhere")
    (root / "out/made.jpg").unlink()
    with pytest.raises(ImageError, match="no picture"):
        walk_images(root / "out")


def test_an_output_never_replaces_a_picture(folder):
    check_outputs(folder, NAMES)
    folder.out.mkdir()
    os.link(folder.images / "b.png", folder.out / "a.png")
    with pytest.raises(UserError, match=r"b\.png.*--force"):
        check_outputs(folder, NAMES)


class Clock:
    """Time that passes when one sleeps, and what happens then."""

    def __init__(self, *events):
        self.time, self.events = 0.0, list(events)

    def __call__(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds
        while self.events and self.events[0][0] <= self.time:
            self.events.pop(0)[1]()


def test_what_arrives_is_taken_when_it_is_still(tmp_path):
    def put(name, content, age=1000):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (5000 - age, 5000 - age))

    put("old.jpg", b"1")
    put("fresh.jpg", b"1", age=0.2)
    put("notes.txt", b"1")
    clock = Clock(
        (3.0, lambda: put("new.jpg", b"1")),
        (3.9, lambda: put("new.jpg", b"12")),
        (8.0, lambda: put("old.jpg", b"12")),
        (12.0, lambda: put("old.jpg", b"12", age=900)),
        (14.0, (tmp_path / "new.jpg").unlink),
    )
    coming = watching.arriving(tmp_path, clock=clock, now=lambda: 5000.0, sleep=clock.sleep)
    found = []
    while clock.time < 20:
        name = next(coming)
        if name is not None:
            found.append((name, clock.time))
    assert [name for name, _ in found] == ["old.jpg", "fresh.jpg", "new.jpg", "old.jpg", "old.jpg"]
    times = [time for _, time in found]
    assert times[0] == 0
    assert 0.8 <= times[1] <= 1.5
    assert 4.9 <= times[2] <= 5.5
    assert 9 <= times[3] <= 9.5
    assert 13 <= times[4] <= 13.5


def test_four_threads_edit_as_one(editor):
    pictures = [np.random.default_rng(i).integers(0, 256, (30, 20 + i, 3), dtype=np.uint8) for i in range(8)]
    texts = [TEXT, "a blue bird", "a white belly", "yellow black wings"]
    told = []
    expected = [[each.tobytes() for each in editor.edit_many(pictures, text)] for text in texts]
    found = {}

    def work(text):
        found[text] = [
            each.tobytes() for each in editor.edit_many(pictures, text, progress=lambda *at: told.append(at))
        ]

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[text] for text in texts] == expected
    assert sorted(told) == [(i, 8) for i in range(1, 9) for _ in texts]
    assert [each.size for each in editor.edit_many(iter(pictures[:1]), TEXT, progress=lambda *at: told.append(at))]
    assert told[-1] == (1, None)


def test_what_a_worker_tells_is_said_of_the_right_edit(folder):
    folder = replace(folder, texts=(TEXT, "a blue bird"))
    crew = workers.Crew(folder, model="none", device="cpu", count=1, threads=1)
    worker = workers._Worker(process=None, left=folder.jobs("a.png"))
    first, second = folder.jobs("a.png")
    for job, skipped in ((second, True), (first, False)):  # what is there is told first
        expected = Result(job, box=(1, 2, 3, 4), skipped=skipped)
        told = {key: value for key, value in vars(expected).items() if key != "job"}
        said = json.loads(json.dumps({"result": told, "out": str(job.out)}))
        assert list(crew._hear(worker, said)) == [expected]
    assert worker.left == []


def test_folders_survive_json(folder):
    asked = Asked(0.5, (1, 2, 3, 4), seed=2**62, part="head", kind="png", metadata=True)
    for each in (folder, replace(folder, asked=asked, masks=Path("m\udcf6"), skip=False)):
        assert Folder.from_json(json.loads(json.dumps(each.as_json()))) == each
