"""Metadata as other systems write them: read as JSON Lines, and all that is odd is told once."""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from support.datasets import make
from tgim.data import check, cub, folder
from tgim.data.base import CaptionedImages, read_captions
from tgim.errors import DataError
from tgim.text.vocabulary import tokenize

NFC, NFD = "rosé.png", unicodedata.normalize("NFD", "rosé.png")


def a_folder(root: Path, *names: str) -> Path:
    """Pictures without metadata."""
    for name in names:
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (200, 30, 30)).save(path, "PNG")
    return root


def read(root: Path, *lines: str | bytes) -> CaptionedImages:
    """Write metadata of these lines, and read them."""
    content = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    (root / "metadata.jsonl").write_bytes(content)
    return folder.load(root, split="all")


def row(name: str, *captions: str, **more: object) -> str:
    return json.dumps({"file_name": name, "captions": captions or ["a red bird", "a blue bird"], **more})


def kinds(data: CaptionedImages) -> dict[str, int]:
    return dict(Counter(problem.kind for problem in data.problems))


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\t"])
def test_lines_end_at_a_line_feed_alone(odd: str, tmp_path: Path) -> None:
    root = a_folder(tmp_path, "a.png", "b.png")
    line = f'{{"file_name": "a.png", "captions": ["a red{odd}bird"]}}'
    data = read(root, line + "\r", row("b.png") + "\r", "", "  \r")
    assert [item.captions[0] for item in data.items] == [f"a red{odd}bird", "a red bird"]
    assert not data.problems


def test_bytes_that_are_not_utf_8_are_told_and_read_as_what_they_are(tmp_path: Path) -> None:
    root = a_folder(tmp_path, "a.png", "b.png")
    line = '{"file_name": "a.png", "captions": ["rosé petals’ edge"]}'.encode("cp1252")
    data = read(root, line, row("b.png"))
    assert data.items[0].captions == ("rosé petals’ edge",)
    (problem,) = data.problems
    assert (problem.path, problem.kind) == ("metadata.jsonl:1", "not UTF-8")
    assert "Windows-1252" in problem.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_another_encoding_is_named_once_for_the_file(encoding: str, tmp_path: Path) -> None:
    root = a_folder(tmp_path, "a.png", "b.png")
    text = "\n".join([row("a.png"), row("b.png")]).encode(encoding)
    with pytest.raises(DataError, match=rf"metadata\.jsonl is {encoding[:6].upper()} text, expected UTF-8"):
        read(root, text)
    report = check(root)
    assert len(report.problems) == 1
    assert not report.usable
    assert not report.notes


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"file_name": "a.png", "captions": ' + "[" * 30 + "]" * 30 + "}",
        '{"file_name": "a.png", "class": ' + "9" * 100_000 + "}",
        '{"file_name": "a.png", "class": NaN}',
        '{"file_name": "a.png", "points": {"head": [[1e999, 0]]}}',
        '{"file_name": "a.png", "captions": ["one red bird"], "captions": ["two red birds"]}',
        '{"file_name": "a.png", "captions": ["a red bird"',
        '{"file_name": "a.png", "captions": 3}',
        '{"file_name": "a.png", "captions": ["' + "very " * 300_000 + 'red bird"]}',
        "{}",
        "3",
        "\x0c",
        "\0" * 100,
    ],
    ids=lambda line: line[:20] + str(len(line)),
)
def test_a_line_that_is_no_record_is_one_problem_and_its_picture_none(line: str, tmp_path: Path) -> None:
    root = a_folder(tmp_path, *("a.png",) * ("a.png" in line), "b.png")
    data = read(root, line, row("b.png"))
    assert [item.path.name for item in data.items] == ["b.png"]
    assert kinds(data) == ({"broken line": 1} if line.strip() else {})
    assert sum(len(problem.message) for problem in data.problems) < 300


@pytest.mark.parametrize(("there", "named"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_names_are_found_in_any_normalisation(there: str, named: str, tmp_path: Path) -> None:
    data = read(a_folder(tmp_path, there), row(named))
    assert [item.path.name for item in data.items] == [there]
    assert not data.problems


def test_a_picture_named_in_two_ways_is_listed_twice(tmp_path: Path) -> None:
    root = a_folder(tmp_path, NFD, "sub/b.png", "c.png")
    data = read(root, row(NFC), row(NFD), row("sub\\b.png"), row("./sub/b.png"), row("c.png"))
    assert len(data.items) == 3
    assert kinds(data) == {"listed twice": 2}


def test_what_systems_leave_in_folders_does_not_count(tmp_path: Path) -> None:
    root = a_folder(tmp_path, "a.png", "._a.png", ".hidden/b.png", "__MACOSX/._a.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (root / "images" / name).write_bytes(b"\0")
    assert not read(root, row("a.png")).problems


@pytest.mark.parametrize(
    "name",
    [
        "x" * 300 + ".png",
        "x" * 70_000,
        "gone.png",
        "\ud83d.png",
        "a\0.png",
        "dir.png",
        "a.png/b.png",
        ".",
        "broken.png",
    ],
    ids=ascii,
)
def test_a_name_that_is_no_file_is_one_missing_picture(name: str, tmp_path: Path) -> None:
    root = a_folder(tmp_path, "a.png")
    (root / "images" / "dir.png").mkdir()
    (root / "images" / "broken.png").symlink_to("nowhere")
    data = read(root, row("a.png"), row(name))
    assert kinds(data) == {"missing picture": 1}
    (problem,) = data.problems
    str(problem).encode()
    assert len(str(problem)) < 300
    str(check(root)).encode()


@pytest.mark.parametrize(
    "name", ["/etc/a.png", "../images/a.png", "sub/../a.png", "..\\a.png", "C:\\a.png", "c:/a.png"]
)
def test_names_that_lead_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    data = read(a_folder(tmp_path, "a.png"), row("a.png"), row(name))
    assert kinds(data) == {"broken line": 1}
    assert "leads out" in data.problems[0].message


def test_upper_and_lower_case_are_told_apart_and_a_slip_is_told(tmp_path: Path) -> None:
    root = a_folder(tmp_path, "a.png", "A.png")
    if len(os.listdir(root / "images")) < 2:
        pytest.skip("the file system does not tell them apart")  # those of macOS and Windows by default
    assert len(read(root, row("a.png"), row("A.png")).items) == 2
    data = read(root, row("a.PNG"), row("A.png"))
    assert kinds(data)["missing picture"] == 1
    assert "differs in upper and lower case" in next(p.message for p in data.problems if p.kind == "missing picture")


def test_links_are_followed(tmp_path: Path) -> None:
    root, other = a_folder(tmp_path / "data", "a.png"), a_folder(tmp_path / "other", "b.png")
    (root / "images" / "b.png").symlink_to(other / "images" / "b.png")
    (root / "images" / "linked").symlink_to(other / "images")
    data = read(root, row("a.png"), row("b.png"), row("linked/b.png"))
    assert (len(data.items), data.problems) == (3, ())


def test_captions_are_kept_and_what_is_odd_in_them_is_told(tmp_path: Path) -> None:
    captions = ["a 🐦 bird", "عصفور أحمر", "a car\u00addinal bird", unicodedata.normalize("NFD", "a rosé bird")]
    data = read(a_folder(tmp_path, "a.png"), row("a.png", *captions))
    assert data.items[0].captions == tuple(captions)
    assert not data.problems
    assert [tokenize(caption)[-2:] for caption in captions[2:]] == [["cardinal", "bird"], ["rosé", "bird"]]
    odd = ["a red\x07 bird", "a ros\ufffd bird", "half\ud83d a bird", "word " * 70]
    data = read(a_folder(tmp_path, "a.png"), row("a.png", *odd))
    assert len(data.items[0].captions) == 4
    assert kinds(data) == {"odd characters": 4, "long caption": 1}  # half a character is told of the line, too
    "".join(data.items[0].captions).encode()


def test_the_files_of_other_layouts_are_read_as_hard(tmp_path: Path) -> None:
    root = make(tmp_path / "cub", "cub")
    (root / "images" / "class_00001" / "Thumbs.db").write_bytes(b"\0")
    with (root / "images.txt").open("a") as file:
        file.write(
            "9 ../../etc/x.jpg\n10 /etc/x.jpg\n11 class_00001/" + "x" * 300 + ".jpg\n12 a\0b/c.jpg\n13 noslash\n"
        )
    text = root / "text" / "class_00001"
    (text / "image_00001.txt").write_bytes("a red bird\na blue bird\n".encode("utf-16"))
    (text / "image_00002.txt").write_bytes("a red\u2028bird\r\na blue bird\r\n".encode())
    data = cub.load(root, split="all")
    found = Counter(problem.kind for problem in data.problems)
    assert found == {"missing picture": 5, "not UTF-8": 1}
    assert data.items[0].captions == ("a red\u2028bird", "a blue bird")
    (root / "images.txt").write_text("9" * 100_000 + " a/b.jpg\n")
    with pytest.raises(DataError, match="'<number> <value>' was expected"):
        cub.load(root)
    (root / "images.txt").write_bytes("1 class_00001/image_00001.jpg\n".encode("utf-16"))
    with pytest.raises(DataError, match="is UTF-16 text"):
        cub.load(root)


def test_caption_files_of_any_kind_are_told_in_one_problem(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    for content, kind in (("a red bird".encode("utf-32"), "not UTF-8"), (b"very " * 300_000, "broken line")):
        file.write_bytes(content)
        captions, problems = read_captions(file, tmp_path)
        assert not captions
        assert problems[0].kind == kind
    file.unlink()
    file.mkdir()
    assert read_captions(file, tmp_path)[1][0].message == "not a file"
