"""Edits over Ray: equal to `tgim edit`, each row once whatever dies, and a bad row is only a bad row."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from support import ROOT
from support.commands import tgim
from tgim import scale
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import UserError
from tgim.images.photo import open_image, to_bytes
from tgim.inference.editor import Editor
from tgim.inference.folder_edit import Asked
from tgim.scale import Columns, Rows

TEXT = "red head and breast"
COLUMNS = Columns("image", "text", "mask", "part", "box", "edited", "notes", "error")


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def bird(seed: int, height: int = 80, width: int = 100) -> np.ndarray:
    return sample_picture("birds", seed=seed, size=(height, width))


def kinds() -> dict[str, bytes]:
    """Files with something to keep: a profile, an alpha, 16 bits."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = np.dstack([bird(1), np.full((80, 100), 200, np.uint8)])
    deep = to_bytes(replace(open_image(bird(2)), bits=16), "TIFF")
    return {
        "a.jpg": encoded(bird(0), "JPEG", icc_profile=profile),
        "b.png": encoded(alpha, "PNG"),
        "c.tif": deep,
        "d.webp": encoded(bird(3), "WEBP", lossless=True),
    }


def edited_by_command(folder: Path, files: dict[str, bytes], *options: str) -> dict[str, bytes]:
    """What `tgim edit --images` makes of files."""
    photos, out = folder / "photos", folder / "out"
    photos.mkdir()
    for name, content in files.items():
        (photos / name).write_bytes(content)
    done = tgim("edit", "--images", photos, "--text", TEXT, "--out", out, *options)
    assert done.exit_code == 0, done.output
    return {name: (out / name).read_bytes() for name in files}


@pytest.fixture(scope="module")
def rows():
    """An actor's editor, in this process."""
    return Rows(model="birds", columns=COLUMNS, asked=Asked(), threads=1, forgiving=True)


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine alone: two CPUs, a small store, no dashboard, nothing sent home."""
    pytest.importorskip("ray.data", reason='ray is not installed; pip install "tgim[ray]"')
    folder = tempfile.mkdtemp(prefix="ray")  # pytest's own is too long for the name of a socket
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in quiet.items():
            patch.setenv(name, value)
        import ray

        ray.init(
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=80 << 20,
            log_to_driver=False,
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def actors() -> list[int]:
    """Processes of this process's Ray that edit rows."""
    parents, found = {}, []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            title, status = (path / "cmdline").read_bytes(), (path / "stat").read_text()
        except OSError:
            continue
        parents[int(path.name)] = int(status.rpartition(")")[2].split()[1])
        if title.startswith(b"ray::MapWorker(MapBatches(Rows))"):
            found.append(int(path.name))

    def ours(process: int) -> bool:
        while process > 1 and process != os.getpid():
            process = parents.get(process, 0)
        return process == os.getpid()

    return [each for each in found if ours(each)]


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'pip install "tgim\[ray\]"'):
        scale.edit([{"image": b"", "text": TEXT}])


def test_a_missing_column_is_said_beside_those_there_are():
    with pytest.raises(UserError, match=r"no column 'text', it has image, txt, mask, part, box; did you mean 'txt'\?"):
        COLUMNS.check(["image", "txt", "mask", "part", "box"])
    with pytest.raises(UserError, match="'notes' would be there twice"):
        COLUMNS.check(["image", "text", "mask", "part", "box", "notes"])


@pytest.mark.slow
def test_columns_of_masks_parts_and_boxes_count(rows):
    pyarrow = pytest.importorskip("pyarrow", reason='pyarrow is not installed; pip install "tgim[ray]"')
    picture, mask = bird(4), np.zeros((80, 100), np.uint8)
    mask[:, :50] = 255
    table = pyarrow.table(
        {
            "image": [encoded(picture, "PNG")] * 5,
            "text": ["a red bird"] * 5,
            "mask": pyarrow.array([None, encoded(mask, "PNG"), None, None, None], pyarrow.binary()),
            "part": ["head", None, None, "roof", None],
            "box": pyarrow.array([None, None, [10, 10, 70, 60], None, None], pyarrow.list_(pyarrow.int64())),
        }
    )
    done = rows(table)
    assert done.select(table.column_names).equals(table)
    edit = Editor.from_pretrained("birds")
    asked = ({"part": "head"}, {"mask": mask}, {"box": (10, 10, 70, 60)}, None, {})
    for options, content in zip(asked, done["edited"].to_pylist(), strict=True):
        if options is None:
            assert content is None
        else:
            wanted = np.array(edit(picture, "a red bird", **options))
            assert np.array_equal(np.array(Image.open(io.BytesIO(content))), wanted)
    assert [bool(each) for each in done["error"].to_pylist()] == [False, False, False, True, False]


@pytest.mark.slow
def test_pictures_are_files_paths_dicts_or_arrays(rows, tmp_path):
    file, content = tmp_path / "bird.png", encoded(bird(5), "PNG")
    file.write_bytes(content)
    given = (content, str(file), {"bytes": content, "path": None}, {"bytes": None, "path": str(file)}, bird(5))
    assert len({rows.one(each, TEXT)[0] for each in given}) == 1
    _, notes = rows.one(content, "red head and blue stripes")
    assert any("stripes" in note for note in notes)
    for nothing in (None, {"bytes": None, "path": None}, b"", 7):
        with pytest.raises(UserError, match="expected"):
            rows.one(nothing, TEXT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"strength": 2}, "strength is 2"),
        ({"model": "judge-birds"}, "does not edit"),
        ({"part": "roof"}, "roof"),
        ({"format": "jpge"}, "jpge"),
        ({"quality": 0}, "quality is 0"),
        ({"concurrency": (3, 2)}, "concurrency"),
        ({"on_error": "skip"}, "on_error"),
    ],
)
def test_options_are_checked_before_anything_starts(options, told):
    pytest.importorskip("ray.data", reason='ray is not installed; pip install "tgim[ray]"')
    with pytest.raises(UserError, match=told):
        scale.edit([], **options)


@pytest.mark.slow
def test_rows_are_edited_as_by_the_command_and_bad_ones_are_told(cluster, tmp_path):
    files = kinds()
    wanted = edited_by_command(tmp_path, files)
    given = [{"image": content, "text": TEXT, "name": name} for name, content in files.items()]
    given.insert(1, {"image": b"no picture", "text": TEXT, "name": "broken"})
    given.insert(3, {"image": encoded(np.zeros((60, 60, 3), np.uint8), "PNG"), "text": TEXT, "name": "empty"})
    given.append({"image": given[0]["image"], "text": " ", "name": "silent"})
    found = scale.edit(given, batch_size=2, concurrency=2).take_all()
    assert [row["name"] for row in found] == [row["name"] for row in given]
    for row in found:
        assert row["edited"] == wanted.get(row["name"]), row["name"]
        assert (row["error"] is None) == (row["name"] in wanted)
    assert open_image(next(row["edited"] for row in found if row["name"] == "c.tif")).bits == 16
    errors = {row["name"]: row["error"] for row in found if row["error"]}
    assert "expected a JPEG" in errors["broken"]
    assert "no bird" in errors["empty"]
    assert "no words" in errors["silent"]
    assert not any("\n" in error for error in errors.values())
    with pytest.raises(UserError, match="no column 'caption', it has image, text, name"):
        scale.edit(cluster.data.from_items(given), text_column="caption")


@pytest.mark.slow
def test_a_killed_actor_loses_no_row_and_does_none_twice(cluster, tmp_path):
    count = 24
    files = {f"{i:02}.png": encoded(bird(i, 240, 320), "PNG") for i in range(count)}
    wanted = edited_by_command(tmp_path, files)
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(
        {"image": [str(tmp_path / "photos" / name) for name in files], "text": [TEXT] * count, "name": list(files)}
    )
    edited = scale.edit(table, batch_size=2, concurrency=2)
    coming, found, killed = edited.iter_batches(batch_size=2, prefetch_batches=0), [], 0
    for batch in coming:
        found += list(zip(batch["name"], batch["edited"], strict=True))
        if not killed:
            workers = actors()
            assert len(workers) == 2
            killed = workers[0]
            os.kill(killed, signal.SIGKILL)
            assert len(found) < count / 2
    deadline = time.monotonic() + 60
    while killed in actors() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert killed not in actors()
    assert [name for name, _ in found] == list(files)  # each once, in order
    assert dict(found) == wanted


@pytest.mark.slow
def test_a_fault_may_end_the_job(cluster):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"image": [b"no picture"], "text": [TEXT]})
    with pytest.raises(Exception, match="expected a JPEG"):
        scale.edit(table, concurrency=1, on_error="raise").take_all()


@pytest.mark.slow
def test_tables_are_cut_into_blocks_of_a_batch(cluster):
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    given = [{"text": str(i)} for i in range(7)]
    for table in (given, pandas.DataFrame(given), pyarrow.Table.from_pylist(given)):
        made = scale._dataset(cluster, table, 3)
        assert (made.num_blocks(), made.take_all()) == (3, given)
    for wrong in ({"text": ["a"]}, [1, 2]):
        with pytest.raises(UserError, match="the data set is a"):
            scale._dataset(cluster, wrong, 3)
