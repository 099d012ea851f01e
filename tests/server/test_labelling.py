"""The server of the labelling page: what it shows, saves and refuses."""

from __future__ import annotations

import io
import json
import re
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs the extra serve")

from starlette.testclient import TestClient

from support.commands import is_refused, tgim
from tgim.data.labels import Labels
from tgim.images.decode import decode_path
from tgim.server import browser
from tgim.server.labelling import FILES, PAGES, build, preview

HEAD = {"head": [[0.25, 0.5]]}


def quarters(size=(80, 40)):
    """A picture whose quarters are red, green, blue and white."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    half = size[1] // 2, size[0] // 2
    pixels[: half[0], : half[1]] = 220, 20, 20
    pixels[: half[0], half[1] :] = 20, 200, 20
    pixels[half[0] :, : half[1]] = 20, 20, 220
    pixels[half[0] :, half[1] :] = 240, 240, 240
    return Image.fromarray(pixels)


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        quarters().save(tmp_path / "images" / name, quality=95)
    return tmp_path


def client(root, **options):
    return TestClient(build(Labels(root), **options), base_url="http://localhost", raise_server_exceptions=False)


def put(web, number, points, *, name="a.jpg", version=""):
    return web.put(f"/api/pictures/{number}", json={"name": name, "points": points, "version": version})


def test_points_come_and_go_and_the_next_start_knows_them(mine):
    web = client(mine)
    told = web.get("/api/folder").json()
    assert (told["names"], told["marks"], told["parts"]) == (["a.jpg", "b.jpg"], [0, 0], [])
    assert web.put("/api/parts", json={"parts": ["head", "tail"]}).json() == {"parts": ["head", "tail", "background"]}
    version = put(web, 0, HEAD).json()["version"]
    again = client(mine)
    assert again.get("/api/pictures/0").json() == {"name": "a.jpg", "points": HEAD, "version": version, "fault": ""}
    assert again.get("/api/folder").json()["marks"] == [1, 0]
    assert again.get("/api/folder").json()["parts"] == ["head", "tail", "background"]
    assert put(again, 0, {"head": [[0.5, 0.5]]}, version="old").status_code == 409
    assert put(again, 0, HEAD, name="b.jpg", version=version).status_code == 409  # of a page of another time
    assert json.loads((mine / "metadata.jsonl").read_text()) == {"file_name": "a.jpg", "points": HEAD}


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"points": 1}',
        b'{"name": "a.jpg", "points": {"x": 1}, "version": ""}',
        b'{"name": "a.jpg", "points": {"head": [[0, 2]]}, "version": ""}',
    ],
)
def test_what_is_no_point_is_refused_in_one_line(mine, given):
    answer = client(mine).put("/api/pictures/0", content=given)
    assert answer.status_code in (409, 422)
    assert len(answer.json()["error"].splitlines()) == 1
    assert not (mine / "metadata.jsonl").exists()


@pytest.mark.parametrize(
    "path",
    [
        "/../metadata.jsonl",
        "/..%2f..%2fetc/passwd",
        "/label.js/../labelling.py",
        "/%2fetc%2fpasswd",
        "/api/pictures/-1/preview",
        "/api/pictures/2/preview",
        "/api/pictures/a.jpg/preview",
        "/api/pictures/..%2f..%2fmetadata.jsonl/preview",
        "/api/pictures/9999999999999999999999",
    ],
)
def test_no_path_leads_to_another_file(mine, path):
    answer = client(mine).get(path)
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_a_link_out_of_the_folder_is_not_shown(mine, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "secret.jpg"
    quarters().save(other)
    web = client(mine)
    (mine / "images" / "a.jpg").unlink()
    (mine / "images" / "a.jpg").symlink_to(other)
    answer = web.get("/api/pictures/0/preview")
    assert answer.status_code == 422
    assert "leads out of the folder" in answer.json()["error"]
    assert put(web, 0, HEAD).status_code == 422
    assert client(mine).get("/api/folder").json()["names"] == ["b.jpg"]


def test_other_names_and_other_pages_are_refused(mine):
    assert client(mine).get("/api/folder", headers={"host": "evil.example"}).status_code == 403
    assert client(mine, hosts=["box"]).get("/", headers={"host": "box"}).status_code == 200
    foreign = {"origin": "https://evil.example"}
    assert client(mine).put("/api/parts", json={"parts": ["x"]}, headers=foreign).status_code == 403


def test_the_page_is_there_whole_and_holds_no_script_of_its_own(mine):
    web = client(mine)
    page = web.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    for name in [name for name in named if not name.startswith("data:")]:
        assert web.get(f"/{name}").status_code == 200, name
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", page.text)
    for name, _ in FILES.values():
        text = (PAGES / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|url\(|@import|src=\"//", text), name
        assert text.count("\n") <= 400


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_shown_upright_as_models_see_it(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarters().save(tmp_path / "a.jpg", quality=95, exif=exif)
    seen = decode_path(str(tmp_path / "a.jpg")).rgb
    shown = np.asarray(Image.open(io.BytesIO(preview(tmp_path / "a.jpg"))))
    assert shown.shape == seen.shape
    assert np.abs(shown.astype(int) - seen).mean() < 4


@pytest.mark.parametrize("suffix", ["tiff", "avif", "gif", "png"])
def test_pictures_that_browsers_do_not_know_are_shown_too(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "tiff":
        Image.fromarray(np.asarray(quarters().convert("L")).astype(np.uint16) * 257).save(path)  # 16 bits a channel
    else:
        quarters().save(path)
    shown = Image.open(io.BytesIO(preview(path)))
    assert (shown.format, shown.size, shown.mode) == ("JPEG", (80, 40), "RGB")
    seen = decode_path(str(path)).rgb / (257 if suffix == "tiff" else 1)
    assert np.abs(np.asarray(shown) - seen).mean() < 12


def test_a_large_picture_is_shown_small_and_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    quarters((2400, 1200)).save(tmp_path / "a.jpg", exif=exif)
    shown = Image.open(io.BytesIO(preview(tmp_path / "a.jpg")))
    assert shown.size == (800, 1600)
    assert np.asarray(shown)[100, 100].argmax() == 2  # blue was at the lower left
    Image.new("L", (3000, 1)).save(tmp_path / "thin.png")
    assert Image.open(io.BytesIO(preview(tmp_path / "thin.png"))).size == (1600, 1)


def test_a_picture_that_cannot_be_read_is_one_line(mine):
    (mine / "images" / "a.jpg").write_bytes(b"\xff\xd8\xff nothing")
    answer = client(mine).get("/api/pictures/0/preview")
    assert answer.status_code == 422
    assert "a.jpg" in answer.json()["error"]


@pytest.mark.slow
def test_ten_thousand_pictures_start_fast_and_none_is_opened(mine, monkeypatch):
    with (mine / "metadata.jsonl").open("w") as file:
        for i in range(10_000):
            (mine / "images" / f"p{i:05}.jpg").touch()  # could not be decoded
            file.write(json.dumps({"file_name": f"p{i:05}.jpg", "captions": ["a bird"] * 5, "points": HEAD}) + "\n")
    start = time.process_time()
    web = client(mine)
    assert len(web.get("/api/folder").json()["names"]) == 10_002
    assert time.process_time() - start < 10  # 1 to 2 s
    start = time.process_time()
    assert put(web, 0, HEAD).status_code == 200
    assert time.process_time() - start < 1  # 0.05 s: the file is not read again


def test_the_command_says_what_it_lacks(tmp_path, monkeypatch):
    assert "not there" in is_refused(tgim("label", tmp_path / "none"))
    assert "holds no picture" in is_refused(tgim("label", tmp_path))
    (tmp_path / "images").mkdir()
    quarters().save(tmp_path / "images" / "a.png")
    assert "no part is named" in is_refused(tgim("label", tmp_path, "--parts", " , "))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "tgim[serve]"' in is_refused(tgim("label", tmp_path))


@pytest.mark.parametrize(("options", "opened"), [((), 1), (("--no-browser",), 0)])
def test_the_command_prints_the_address_and_opens_the_browser(mine, monkeypatch, options, opened):
    served, pages = [], []
    monkeypatch.setattr("tgim.server.local.serve", lambda app, listening: served.append(app))
    monkeypatch.setattr("webbrowser.open", lambda url: pages.append(url) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    result = tgim("label", mine, "--parts", "head,tail", "--port", 0, *options)
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", result.stdout)
    assert "2 pictures, 0 with points" in result.stderr
    assert len(served) == 1
    assert pages == [result.stdout.strip()] * opened
    assert Labels(mine).parts() == ["head", "tail", "background"]


def test_without_a_display_no_browser_is_opened(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("webbrowser.open", lambda url: pytest.fail("opened"))
    assert browser.open_page("http://localhost/") is False
