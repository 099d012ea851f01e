"""`tgim serve` as a process: it says where it is, ends in order, and refuses in one line what cannot be."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from support.commands import environment, tgim
from tgim.server import local


def post(url: str, image: bytes, text: str) -> tuple[int, bytes]:
    import httpx

    answer = httpx.post(url, files={"image": image}, data={"text": text}, timeout=60)
    return answer.status_code, answer.content


@pytest.fixture
def process():
    own = environment()
    started = subprocess.Popen(
        [sys.executable, "-m", "tgim", "serve", "--port", "0", "--model", "birds"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=own, text=True,
    )  # fmt: skip
    started.url = started.stdout.readline().split()[0]
    yield started
    started.kill()
    started.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_after_what_was_asked(process, drawn_bird, number):
    assert post(process.url + "edit", drawn_bird, "red head")[0] == 200
    answers = []
    asking = threading.Thread(target=lambda: answers.append(post(process.url + "edit", drawn_bird, "blue head")))
    asking.start()
    while b"tgim_places_taken 1.0" not in urllib.request.urlopen(process.url + "metrics").read() and asking.is_alive():
        pass
    process.send_signal(number)
    asking.join(30)
    out, err = process.communicate(timeout=30)
    assert answers[0][0] == 200
    assert (process.returncode, out, err) == (0, "", "tgim: the server has ended\n")


@pytest.mark.slow
def test_it_listens_on_the_loopback_alone(process):
    assert process.url.startswith("http://127.0.0.1:")
    request = urllib.request.Request(process.url + "health", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)


@pytest.mark.slow
def test_it_serves_without_torch(drawn_bird):
    code = (
        "import sys\n"
        "class Refusing:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'torchvision', 'skimage', 'scipy'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Refusing())\n"
        "from tgim.cli.main import main\n"
        "main(['serve', '--port', '0'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment(), text=True
    ) as started:
        url = started.stdout.readline().split()[0]
        assert post(url + "edit", drawn_bird, "red head")[0] == 200
        status, content = post(url + "match", drawn_bird, "red head")
        assert (status, b"lacks torch" in content) == (422, True)
        started.terminate()


def test_what_cannot_be_served_is_one_line(tmp_path):
    taken = local.listen("127.0.0.1", 0)
    for arguments, said in (
        (["--port", str(taken.getsockname()[1])], "cannot be listened on"),
        (["--model", "nonsense"], "nonsense"),
        (["--model", "birds", "--model", "birds"], "would both be served as 'birds'"),
        (["--host", "no.such.host.invalid"], "cannot be listened on"),
    ):
        result = tgim("serve", *arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith("tgim: error: ")
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
    taken.close()


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = tgim("serve")
    assert result.exit_code == 2
    assert 'pip install "tgim[serve]"' in result.stderr
