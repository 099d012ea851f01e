"""Who may ask a server on this machine, and how much may be sent."""

from __future__ import annotations

import pytest

starlette = pytest.importorskip("starlette", reason="needs the extra serve")

from starlette.applications import Starlette  # noqa: E402
from starlette.responses import PlainTextResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from tgim.errors import UserError  # noqa: E402
from tgim.server import local  # noqa: E402


async def _count(request):
    return PlainTextResponse(str(len(await request.body())))


def client(**options):
    app = Starlette(routes=[Route("/", _count, methods=["GET", "POST"])])
    return TestClient(local.Guard(app, **options), base_url="http://localhost:7860", raise_server_exceptions=False)


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860", "LOCALHOST"])
def test_own_names_are_answered(host):
    assert client().post("/", content=b"abc", headers={"host": host}).text == "3"


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:7860", "evil@localhost", "local/host", ""])
def test_other_names_are_refused(host):
    answer = client().get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "--allow-host" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:1"},
     {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
)  # fmt: skip
def test_pages_of_others_may_not_send(headers):
    assert client().post("/", content=b"x", headers=headers).status_code == 403


def test_the_own_page_may_send():
    own = {"origin": "http://localhost:7860", "sec-fetch-site": "same-origin"}
    assert client().post("/", content=b"x", headers=own).text == "1"


def test_too_large_a_body_is_refused_with_and_without_its_length():
    small = client(max_bytes=100)
    assert small.post("/", content=b"x" * 100).text == "100"
    assert small.post("/", content=b"x" * 101).status_code == 413
    assert small.post("/", content=(b"x" * 30 for _ in range(9))).status_code == 413


def test_every_answer_forbids_what_comes_from_elsewhere():
    for answer in (client().get("/"), client().get("/", headers={"host": "evil.example"}), client().get("/missing")):
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_loopback_is_known():
    assert [local.is_loopback(host) for host in ("localhost", "127.0.0.2", "[::1]", "0.0.0.0", "10.0.0.1", "box")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_a_port_that_is_taken_is_one_line():
    taken = local.listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    assert local.url_of(taken) == f"http://127.0.0.1:{port}/"
    with pytest.raises(UserError, match=f"127.0.0.1:{port} cannot be listened on .*; choose another --port"):
        local.listen("127.0.0.1", port)
    taken.close()
