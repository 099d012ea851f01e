"""The interface of `tgim serve`: equal to the command line, one line for each error, hostile uploads, limits."""

from __future__ import annotations

import io
import json
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra serve")

from starlette.testclient import TestClient

from tgim.data.synthetic.pairs import sample_picture
from tgim.images.photo import open_image
from tgim.inference.editor import Editor
from tgim.server import app as server_app
from tgim.server import local
from tgim.server.catalog import Catalog

MODELS = {name: name for name in ("birds", "birds-1", "judge-birds", "attngan-birds")}


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def bird() -> bytes:
    return png(sample_picture("birds", size=(120, 160)))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog(dict(MODELS))


def client_of(catalog, **limits):
    limits = server_app.Limits(**{"max_bytes": 2**20, "max_pixels": 10**6, "waiting": 4, "seconds": 30, **limits})
    app = server_app.create_app(catalog, limits)
    guarded = local.Guard(app, max_bytes=limits.max_bytes)
    return TestClient(guarded, base_url="http://localhost", raise_server_exceptions=False), app


@pytest.fixture(scope="module")
def client(catalog):
    found, app = client_of(catalog)
    with found:
        yield found
    app.state.jobs.close()


def error_of(answer, status: int) -> str:
    assert answer.status_code == status, answer.text
    (message,) = answer.json().values()
    assert "\n" not in message
    return message


def test_an_edit_is_that_of_the_library(client, bird):
    answer = client.post("/edit", files={"image": bird}, data={"text": "red head and breast"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    expected = Editor.from_pretrained("birds").edit_photo(open_image(bird), "red head and breast").levels(8)[0]
    assert (np.asarray(Image.open(io.BytesIO(answer.content))) == expected).all()
    assert answer.headers["x-tgim-model"] == "birds"
    assert answer.headers["x-tgim-size"] == "160x120"
    assert json.loads(answer.headers["x-tgim-caption"]) == "red head and breast"


def test_options_reach_the_edit(client, bird):
    def edited(**data):
        answer = client.post("/edit", files={"image": bird}, data={"text": "red head and breast", **data})
        assert answer.status_code == 200, answer.text
        return answer

    original = np.asarray(Image.open(io.BytesIO(bird)))
    whole = np.asarray(Image.open(io.BytesIO(edited().content)))
    head = np.asarray(Image.open(io.BytesIO(edited(part="head").content)))
    assert (np.asarray(Image.open(io.BytesIO(edited(strength="0").content))) == original).all()
    assert 0 < (head != original).any(-1).sum() < (whole != original).any(-1).sum()
    assert edited(format="webp").headers["content-type"] == "image/webp"
    assert edited(model="birds-1").headers["x-tgim-model"] == "birds-1"
    assert "plorf" in json.loads(edited(text="red head plorf").headers["x-tgim-notes"])[0]


def test_a_mask_is_a_file(client, bird):
    mask = np.zeros((60, 80), np.uint8)
    mask[:, :40] = 255
    form = {"image": bird, "mask": png(mask)}
    answer = client.post("/edit", files=form, data={"text": "this bird is red"})
    changed = (np.asarray(Image.open(io.BytesIO(answer.content))) != np.asarray(Image.open(io.BytesIO(bird)))).any(-1)
    assert changed[:, :78].any()
    assert not changed[:, 82:].any()


def test_parts_are_figures_a_mask_or_an_overlay(client, bird):
    figures = client.post("/parts", files={"image": bird}).json()
    assert figures["names"][0] == "background"
    assert sum(figures["shares"].values()) == pytest.approx(1, abs=0.01)
    import base64

    labels = np.asarray(Image.open(io.BytesIO(base64.b64decode(figures["map"]))))
    assert labels.shape == (120, 160)
    assert set(np.unique(labels)) <= set(range(len(figures["names"])))
    mask = client.post("/parts", files={"image": bird}, data={"show": "mask", "part": "head"})
    assert Image.open(io.BytesIO(mask.content)).size == (160, 120)
    assert client.post("/parts", files={"image": bird}, data={"show": "overlay"}).headers["content-type"] == "image/png"
    assert "unknown" in error_of(
        client.post("/parts", files={"image": bird}, data={"show": "mask", "part": "fin"}), 422
    )


def test_boxes_of_large_pictures_are_in_their_own_pixels(catalog, monkeypatch):
    from tgim.server import work

    bird = png(sample_picture("birds", size=(480, 640)))
    own = work.parts(catalog, work.PartsAsked(bird), max_pixels=10**6)
    monkeypatch.setattr(work, "LOCATED", 480 * 640 / 4)
    small = work.parts(catalog, work.PartsAsked(bird), max_pixels=10**6)
    boxed = work.parts(catalog, work.PartsAsked(bird, box=",".join(map(str, own["subject"]))), max_pixels=10**6)
    assert small["size"] == [640, 480]
    for found in (small, boxed):
        assert np.allclose(found["subject"], own["subject"], atol=16)


def test_matches_are_those_of_the_library(client, bird):
    from tgim import rank

    red = png(np.asarray(Editor.from_pretrained("birds")(bird, "this bird is red")))
    texts = ["a red bird", "a blue bird with a white belly"]
    answer = client.post("/match", files=[("image", bird), ("image", red)], data={"text": texts}).json()
    assert np.allclose(answer["scores"], rank([bird, red], texts).scores, atol=1e-4)
    assert answer["scores"][1][0] > answer["scores"][0][0]


def test_pictures_are_generated(client):
    answer = client.post("/generate", files={"text": (None, "a red bird"), "n": (None, "2"), "seed": (None, "3")})
    assert answer.headers["x-tgim-size"] == "128x64"
    again = client.post("/generate", files={"text": (None, "a red bird"), "n": (None, "2"), "seed": (None, "3")})
    assert again.content == answer.content


def test_samples_and_shown_pictures(client, bird):
    assert client.get("/sample?kind=flowers&seed=3").headers["content-type"] == "image/png"
    turned = Image.new("RGB", (40, 20), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, format="TIFF", exif=exif)
    shown = client.post("/show", files={"image": buffer.getvalue()})
    assert Image.open(io.BytesIO(shown.content)).size == (20, 40)
    assert Image.open(io.BytesIO(client.post("/show", files={"image": bird}, data={"side": "80"}).content)).size == (
        80,
        60,
    )


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({}, 422, "field text is missing"),
        ({"text": ""}, 422, "field text is ''"),
        ({"text": "red", "strength": "2"}, 422, "field strength is '2'"),
        ({"text": "red", "strength": "nan"}, 422, "field strength is 'nan'"),
        ({"text": "red", "seed": "-1"}, 422, "field seed is '-1'"),
        ({"text": "red", "colour": "blue"}, 422, "field 'colour' is unknown"),
        ({"text": ["red", "blue"]}, 422, "sent 2 times"),
        ({"text": "red", "image": "x"}, 422, "field image is text, expected a file"),
        ({"text": "red", "model": "../../etc/passwd"}, 422, "is not served"),
        ({"text": "red", "model": "judge-birds"}, 422, "judge-birds neither edits nor can be made to"),
        ({"text": "red", "box": "0,0,9999,9999"}, 422, "box"),
        ({"text": "red", "format": "exe"}, 422, "exe"),
        ({"text": "red", "part": "fin"}, 422, "part 'fin' is unknown"),
        ({"text": "x" * 3000}, 422, "at most 2000"),
        ({"text": "x" * 30000}, 400, "form cannot be read"),
    ],
)
def test_what_cannot_be_used_is_one_line(client, bird, fields, status, said):
    files = {} if "image" in fields else {"image": bird}
    answer = client.post("/edit", files=files or {"mask": bird}, data=fields)
    assert said in error_of(answer, status)


def test_what_is_no_form_is_refused(client, bird):
    assert "send multipart/form-data" in error_of(client.post("/edit", content=bird), 415)
    assert "send multipart/form-data" in error_of(client.post("/edit", json={"text": "red"}), 415)
    broken = {"content-type": "multipart/form-data; boundary=x"}
    for content in (b"garbage", b"--x\r\nContent-Disposition: form-data\r\n\r\nabc", b"--x"):
        assert error_of(client.post("/edit", content=content, headers=broken), 400 if content != b"--x" else 422)
    assert error_of(client.post("/edit", content=b"", headers={"content-type": "multipart/form-data"}), 400)
    assert "see /docs" in error_of(client.get("/nowhere"), 404)
    assert "see /docs" in error_of(client.get("/edit"), 405)
    assert error_of(client.get("/../../etc/passwd"), 404)


def bomb() -> bytes:
    """A small PNG of 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1:1/'/></svg>",
     b"%PDF-1.4", b"http://169.254.169.254/latest/meta-data/", b"file:///etc/passwd", b"/etc/passwd", bomb(),
     b"\xff\xd8\xff\xe0" + bytes(100)],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/edit", "/parts", "/match", "/show"])
def test_hostile_uploads_are_refused_and_nothing_is_fetched(client, content, path, monkeypatch):
    import socket

    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    data = {"text": "red head"} if path in ("/edit", "/match") else {}
    answer = client.post(path, files={"image": ("../../../tmp/x.png", content)}, data=data)
    message = error_of(answer, 422)
    assert "/etc" not in message
    assert "root:" not in message


def test_no_upload_is_written_to_disk(catalog, monkeypatch):
    import tempfile

    def refuse(self):
        raise AssertionError("an upload became a file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    client, _ = client_of(catalog, max_bytes=4 * 2**20, max_pixels=10**7)
    noise = png(np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), np.uint8))
    assert len(noise) > 2**21  # Starlette's own limit is half of that
    with client:
        assert client.post("/show", files={"image": noise}).status_code == 200


def test_sizes_have_limits(client, bird):
    assert "larger than 1 MiB" in error_of(client.post("/edit", files={"image": bytes(2**20)}, data={"text": "a"}), 413)
    many = png(np.zeros((1001, 1000), np.uint8))
    message = error_of(client.post("/edit", files={"image": many}, data={"text": "red head"}), 422)
    assert "at most 1,000,000 are allowed" in message


def test_a_full_server_says_when_to_come_again(catalog, bird):
    client, app = client_of(catalog, waiting=1)
    jobs = app.state.jobs
    release, begun = threading.Event(), threading.Event()
    with client:

        def hold(items):
            begun.set()
            release.wait(120)
            return items

        def send(answers):
            answers.append(client.post("/edit", files={"image": bird}, data={"text": "red head"}))

        import asyncio

        jobs.taken += 1
        holding = threading.Thread(target=lambda: asyncio.run(jobs.do(hold, 1, seconds=120)))
        holding.start()
        assert begun.wait(60)
        answers: list = []
        waiting = threading.Thread(target=send, args=(answers,))
        waiting.start()
        while jobs.waiting < 1:
            pass
        busy = client.post("/edit", files={"image": bird}, data={"text": "red head"})
        assert "come again in" in error_of(busy, 429)
        assert 1 <= int(busy.headers["retry-after"]) <= 60
        assert client.get("/health").json()["waiting"] == 1
        release.set()
        waiting.join(60)
        holding.join(60)
        jobs.taken -= 1
        assert answers[0].status_code == 200
        assert jobs.taken == 0
        assert 'tgim_requests_total{path="/edit",status="429"} 1.0' in client.get("/metrics").text


def test_too_long_a_wait_ends(catalog, bird):
    client, app = client_of(catalog, seconds=0.3)
    jobs, begun, release = app.state.jobs, threading.Event(), threading.Event()
    import asyncio

    def hold(items):
        begun.set()
        return [release.wait(120)]

    holding = threading.Thread(target=lambda: asyncio.run(jobs.do(hold, 1, seconds=120)))
    with client:
        holding.start()
        assert begun.wait(60)
        try:
            answer = client.post("/edit", files={"image": bird}, data={"text": "red head"})
            assert jobs.waiting == 0  # at once, while the thread is still held
        finally:
            release.set()
        assert "took longer than 0.3 s" in error_of(answer, 504)
        holding.join(60)


def test_equal_requests_that_wait_are_done_once(catalog, bird, monkeypatch):
    from tgim.server import work

    asked = work.EditAsked(bird, "red head")
    calls = []
    monkeypatch.setattr(work, "_edit", lambda *given: calls.append(given) or work.Picture(b"x", "image/png"))
    found = work.edits(
        catalog, [asked, work.EditAsked(bird, "red head"), work.EditAsked(bird, "blue head")], max_pixels=9
    )
    assert [each.content for each in found] == [b"x"] * 3
    assert len(calls) == 2


def test_requests_for_scores_share_a_pass(catalog, bird):
    from tgim.server import work

    other = png(sample_picture("birds", seed=3, size=(90, 90)))
    asked = [work.MatchAsked((bird,), ("a red bird",)), work.MatchAsked((b"no picture",), ("a red bird",)),
             work.MatchAsked((other, bird), ("a red bird",))]  # fmt: skip
    one, bad, two = work.matches(catalog, asked, max_pixels=10**6)
    assert isinstance(bad, Exception)
    assert np.allclose(two["scores"][1], one["scores"][0], atol=1e-5)
    assert np.allclose(two["scores"], work.matches(catalog, asked[2:], max_pixels=10**6)[0]["scores"], atol=1e-5)


def test_generated_pictures_do_not_depend_on_who_else_asks(catalog):
    from tgim.server import work

    asked = [work.GenerateAsked(text, seed=2) for text in ("a red bird", "xqzt", "a blue bird", "a red bird")]
    together = work.generated(catalog, asked)
    assert isinstance(together[1], Exception)
    for i in (0, 2, 3):
        (alone,) = work.generated(catalog, [asked[i]])
        a, b = (np.asarray(Image.open(io.BytesIO(each.content))).astype(int) for each in (alone, together[i]))
        assert abs(a - b).max() <= 1


def test_pages_are_whole_and_from_here(client):
    import re

    for path in server_app.PAGES:
        answer = client.get(path)
        assert answer.status_code == 200
        assert not re.search(r"(src|href)=\"?(https?:)?//", answer.text)
    assert "openapi.json" in client.get("/docs.js").text
    assert client.get("/swagger-ui.css").status_code == 200
    assert set(client.get("/openapi.json").json()["paths"]) == {
        "/edit", "/parts", "/match", "/generate", "/show", "/sample", "/models", "/health", "/metrics",
    }  # fmt: skip


def test_a_stopping_server_says_so(catalog):
    client, app = client_of(catalog)
    with client:
        assert client.get("/health").json()["status"] == "ok"
        app.state.stop()
        assert client.get("/health").status_code == 503
