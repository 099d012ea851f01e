"""Points that are written into metadata.jsonl: read as they were clicked, and nothing else in the file changes."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tgim.data import folder, labels
from tgim.data.labels import Conflict, Labels, with_points
from tgim.data.points import has_points, read_points
from tgim.errors import DataError
from tgim.system import files

HEAD = {"head": [[0.25, 0.5]]}


def pictures(root, *names):
    for name in names:
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10), (200, 30, 30)).save(path, "PNG")
    return root


def metadata(root, content):
    (root / "metadata.jsonl").write_bytes(content)
    return root


def test_a_file_is_made_where_there_is_none_and_read_by_the_data_set(tmp_path):
    found = Labels(pictures(tmp_path, "b.png", "a.png", "c/d.png"))
    assert found.names == ["a.png", "b.png", "c/d.png"]
    assert found.points(2) == ({}, "", "")
    version = found.write(2, {**HEAD, "tail": []}, version="")
    assert found.points(2) == ({**HEAD, "tail": []}, version, "")
    assert (tmp_path / "metadata.jsonl").read_text() == (
        '{"file_name": "c/d.png", "points": {"head": [[0.25, 0.5]], "tail": []}}\n'
    )
    data = folder.load(tmp_path, split="all", captions=False)
    ((path, points),) = read_points(data).items()
    assert path.name == "d.png"
    assert {part: [(s.x, s.y) for s in spots] for part, spots in points.spots.items()} == {"head": [(0.25, 0.5)]}
    assert found.marks() == [0, 0, 1]


def test_a_part_that_is_not_in_view_teaches_nothing(tmp_path):
    root = metadata(
        pictures(tmp_path, "a.png"), b'{"file_name": "a.png", "captions": "a bird", "points": {"head": []}}'
    )
    data = folder.load(root, split="all")
    assert read_points(data) == {}
    assert not has_points(data)
    assert Labels(root).marks() == [2]


ODD = (
    b'\xef\xbb\xbf{"file_name":"gone.png" ,"captions": ["a\\u00e9"],  "x": 1.50}\r\n'
    b"\r\n"
    b"not json at all\r\n"
    b'{ "class": 3, "points" : {"tail": [[0.10, 1e-1, 0.05]]}, "captions": "ros\xe9", "file_name": "b.png" }\r\n'
    b'{"captions": "a bird", "file_name": "a.png"}\r\n'
    b'{"captions": "twice", "file_name": "a.png"}'
)


def test_other_lines_fields_and_spaces_stay_byte_for_byte(tmp_path):
    root = metadata(pictures(tmp_path, "a.png", "b.png", "c.png"), ODD)
    found = Labels(root)
    first = found.write(0, HEAD, version="")
    expected = ODD.replace(b'"a.png"}\r\n', b'"a.png", "points": {"head": [[0.25, 0.5]]}}\r\n')
    assert (root / "metadata.jsonl").read_bytes() == expected
    second = found.write(1, {"tail": [[0.5, 0.5]]}, version=found.points(1)[1])
    expected = expected.replace(b'{"tail": [[0.10, 1e-1, 0.05]]}', b'{"tail": [[0.5, 0.5]]}')
    assert (root / "metadata.jsonl").read_bytes() == expected
    third = found.write(2, HEAD, version="")
    assert (root / "metadata.jsonl").read_bytes() == (
        expected + b'\r\n{"file_name": "c.png", "points": {"head": [[0.25, 0.5]]}}\r'
    )
    assert found.write(0, {}, version=first) == ""
    assert found.write(1, {}, version=second) == ""
    assert found.write(2, {}, version=third) == ""
    left = ODD.replace(b' "points" : {"tail": [[0.10, 1e-1, 0.05]]},', b"")
    assert (root / "metadata.jsonl").read_bytes() == left + b"\r"  # the end that a line before the last has


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.none() | st.floats(0, 1) | st.text(max_size=5), st.lists)),
    st.booleans(),
    st.booleans(),
)
def test_only_the_points_of_a_line_change(fields, ascii_only, spaced):
    fields = {"file_name": "a.png", **fields} if spaced else {**fields, "file_name": "a.png"}
    separators = (" ,\t", "  :  ") if spaced else (",", ":")
    text = json.dumps(fields, ensure_ascii=ascii_only, separators=separators)
    line = text.encode("utf-8", "surrogatepass").decode("latin-1")
    before = {key: value for key, value in json.loads(text).items() if key != "points"}
    for wanted in ({"größe": [[0.5, 0.5]]}, {}):
        line = with_points(line, wanted, ascii_only=ascii_only)
        now = json.loads(line.encode("latin-1").decode("utf-8", "surrogatepass"))
        assert now.pop("points", {}) == wanted
        assert list(now.items()) == list(before.items())
    if "points" not in fields:
        assert line == text.encode("utf-8", "surrogatepass").decode("latin-1")


def test_other_programs_may_write_but_not_on_the_same_points(tmp_path):
    root = pictures(tmp_path, "a.png", "b.png")
    found = Labels(root)
    version = found.write(0, HEAD, version="")
    text = (root / "metadata.jsonl").read_text()
    metadata(root, ('{"file_name": "b.png", "captions": "a new caption"}\n' + text).encode())
    version = found.write(0, {"head": [[0.75, 0.5]]}, version=version)
    assert json.loads((root / "metadata.jsonl").read_text().splitlines()[0])["captions"] == "a new caption"
    metadata(root, (root / "metadata.jsonl").read_bytes().replace(b"0.75", b"0.8"))
    before = (root / "metadata.jsonl").read_bytes()
    with pytest.raises(Conflict, match=r"a\.png in metadata\.jsonl were changed by another program; load the page"):
        found.write(0, HEAD, version=version)
    assert (root / "metadata.jsonl").read_bytes() == before
    assert found.write(0, {"head": [[0.8, 0.5]]}, version="old") == found.points(0)[1]  # an answer that was lost


def test_what_is_written_while_the_file_is_being_written_is_kept(tmp_path, monkeypatch):
    root = pictures(tmp_path, "a.png")
    found, real, calls = Labels(root), os.fsync, []

    def slow(handle):
        if not calls:
            metadata(root, b'{"file_name": "z.png"}\n')
        calls.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fsync", slow)
    found.write(0, HEAD, version="")
    assert [json.loads(line)["file_name"] for line in (root / "metadata.jsonl").read_text().splitlines()] == [
        "z.png", "a.png",
    ]  # fmt: skip
    assert len(calls) == 2


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_crash_leaves_the_file_whole_and_the_point_can_be_saved_later(tmp_path, monkeypatch, broken):
    root = metadata(pictures(tmp_path, "a.png"), b'{"file_name": "a.png", "captions": "a bird"}\n')
    found, before = Labels(root), (root / "metadata.jsonl").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, broken, full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); the point is not saved"):
            found.write(0, HEAD, version="")
    assert (root / "metadata.jsonl").read_bytes() == before
    assert sorted(path.name for path in root.iterdir()) == ["images", "metadata.jsonl"]
    found.write(0, HEAD, version="")
    assert json.loads((root / "metadata.jsonl").read_text())["points"] == HEAD


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"file_name": "a.png", "captions": 3}', "line 1 of metadata.jsonl is broken .captions is neither"),
        (b'\n{"file_name": "a.png", "points": {"head": [[0.5', "line 2 of metadata.jsonl is broken .not JSON"),
        ('{"file_name": "a.png"}'.encode("utf-16"), "is UTF-16 text, expected UTF-8"),
    ],
)
def test_into_a_broken_line_nothing_is_written(tmp_path, content, told):
    root = metadata(pictures(tmp_path, "a.png"), content)
    with pytest.raises(DataError, match=told):
        Labels(root).write(0, HEAD, version="")
    assert (root / "metadata.jsonl").read_bytes() == content


def test_faulty_points_are_told_and_replaced_only_on_demand(tmp_path):
    root = metadata(pictures(tmp_path, "a.png"), b'{"file_name": "a.png", "points": {"head": [[3, 4]]}}')
    found = Labels(root)
    points, version, fault = found.points(0)
    assert points == {}
    assert "fractions of width and height" in fault
    found.write(0, HEAD, version=version)
    assert found.points(0)[0] == HEAD
    for wrong in ({"head": [[1.5, 0]]}, {"": [[0, 0]]}, {"a\nb": []}, {"head": [[0.5, 0.5]] * 1001}):
        with pytest.raises(DataError):
            found.write(0, wrong, version=found.points(0)[1])
    assert found.points(0)[0] == HEAD


def test_parts_are_kept_and_found_the_background_last(tmp_path):
    root = pictures(tmp_path, "a.png")
    found = Labels(root)
    assert found.parts() == []
    assert found.keep_parts([" head", "", "head", "beak"]) == ["head", "beak", "background"]
    found.write(0, {"background": [[0, 0]], "tail": [[1, 1]]}, version="")
    assert Labels(root).parts() == ["head", "beak", "tail", "background"]
    for wrong in ([], ["background"], ["x" * 61], ["a\x07"], [f"p{i}" for i in range(61)]):
        with pytest.raises(DataError):
            found.keep_parts(wrong)
    (root / labels.KEPT).write_text("{")
    assert Labels(root).parts() == ["tail", "background"]


def test_links_out_of_the_folder_are_left_out(tmp_path):
    (tmp_path / "other").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "other" / "secret.png")
    root = pictures(tmp_path / "mine", "a.png", "b.png")
    (root / "images" / "out.png").symlink_to(tmp_path / "other" / "secret.png")
    (root / "images" / "in.png").symlink_to(root / "images" / "a.png")
    found = Labels(root)
    assert (found.names, found.left_out) == (["a.png", "b.png", "in.png"], 1)
    (root / "images" / "b.png").unlink()
    (root / "images" / "b.png").symlink_to(tmp_path / "other" / "secret.png")  # since then
    with pytest.raises(DataError, match="leads out of the folder"):
        found.path(1)
    for number in (-1, 3):
        with pytest.raises(IndexError):
            found.path(number)


def test_a_folder_without_pictures_is_one_line(tmp_path):
    with pytest.raises(DataError, match="holds no picture"):
        Labels(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        Labels(tmp_path)


def test_an_added_line_goes_again_and_the_others_are_found_where_they_are_then(tmp_path):
    found = Labels(pictures(tmp_path, "a.png", "b.png"))
    first, second = found.write(0, HEAD, version=""), found.write(1, HEAD, version="")
    found.write(0, {}, version=first)
    found.write(1, {"tail": [[1, 1]]}, version=second)
    assert (tmp_path / "metadata.jsonl").read_text() == '{"file_name": "b.png", "points": {"tail": [[1, 1]]}}\n'


def test_a_line_of_ones_own_stays_when_its_points_go(tmp_path):
    root = metadata(pictures(tmp_path, "a.png"), b'{"file_name": "a.png"}\n')
    found = Labels(root)
    found.write(0, {}, version=found.write(0, HEAD, version=""))
    assert (root / "metadata.jsonl").read_bytes() == b'{"file_name": "a.png"}\n'


def test_a_line_stays_in_its_own_encoding(tmp_path):
    root = metadata(pictures(tmp_path, "a.png"), b'{"file_name": "a.png", "captions": "ros\xe9 petals"}')
    Labels(root).write(0, {"k\u00f6pfe": [[0.5, 0.5]]}, version="")
    (item,) = folder.load(root, split="all").items
    assert (item.captions, item.points) == (("ros\u00e9 petals",), {"k\u00f6pfe": [[0.5, 0.5]]})


def test_pictures_may_lie_in_the_folder_itself(tmp_path):

    from tgim.data import folder, report

    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (40, 30), "red").save(tmp_path / name)
    found = Labels(tmp_path)
    assert found.names == ["a.png", "b.png", "c.png"]
    found.write(1, HEAD, version="")
    lines = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert [line["file_name"] for line in lines] == ["b.png"]
    assert report.detect(tmp_path) == "folder"
    items = folder.load(tmp_path, split="all", captions=False).items
    assert [item.path.name for item in items] == ["b.png"]
    assert items[0].points is not None
