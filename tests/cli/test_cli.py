"""Laws of every verb: it explains itself, and what the user can mend is one line and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from support.commands import environment, files, interrupted, is_refused, process, tgim
from tgim.checkpoints import card, registry

TEXT = "red head and breast"

VERBS = ["edit", "parts", "train", "data", "data check", "convert", "info", "list", "sample", "env"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    result = tgim(*verb.split(), "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: tgim {verb}")


def test_without_a_verb_the_help_is_shown():
    result = tgim()
    assert "Commands:" in result.output


def test_info_prints_the_card(tagrid_file):
    text = tgim("info", tagrid_file).stdout
    assert all(
        fact in text for fact in ("A small editor for tests", "tagrid (editor), 32 px", "match: 0.5", "untrained")
    )
    found = json.loads(tgim("info", tagrid_file, "--json").stdout)
    assert found["card"]["limits"] == ["untrained"]
    assert found == card.model_card(tagrid_file)


def test_info_refuses_what_is_no_checkpoint(here):
    is_refused(tgim("info", "nothing"))
    is_refused(tgim("info", "./bird.jpg"))


@pytest.mark.slow
def test_list_names_every_system():
    found = json.loads(tgim("list", "--json").stdout)
    assert registry.built_in().keys() <= {name for section in found.values() for name in section}
    assert all(name in tgim("list").stdout for name in found["systems"])


def test_env_says_versions():
    import torch

    assert json.loads(tgim("env", "--json").stdout)["packages"]["torch"] == torch.__version__.split("+")[0]
    assert tgim("env").exit_code == 0


@pytest.mark.slow
def test_sample_draws_the_same_picture_and_spares_others(here):
    assert tgim("sample", "new.jpg").exit_code == 0
    first = Path("new.jpg").read_bytes()
    assert tgim("sample", "new.jpg").exit_code == 0
    assert Path("new.jpg").read_bytes() == first
    photo = Path("bird.jpg").read_bytes()
    assert "--force" in is_refused(tgim("sample", "bird.jpg"))
    assert Path("bird.jpg").read_bytes() == photo
    assert min(Image.open("new.jpg").size) >= 300
    is_refused(tgim("sample", "x.xyz"))
    is_refused(tgim("sample", "x.png", "--kind", "fish"))


@pytest.fixture
def dataset(tmp_path, drawn_bird):
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    lines = []
    for i in range(10):
        (root / "images" / f"{i}.jpg").write_bytes(drawn_bird)
        lines.append({"file_name": f"{i}.jpg", "captions": ["a red bird", "a blue bird with a white belly"]})
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def test_data_check_counts_and_judges(dataset):
    assert tgim("data", "check", dataset).exit_code == 0
    (dataset / "images" / "0.jpg").unlink()
    report = json.loads(tgim("data", "check", dataset, "--json").stdout)
    assert report["pictures"] == 9
    assert report["counts"]["missing picture"] == 1
    for path in (dataset / "images").iterdir():
        path.write_bytes(b"")
    result = tgim("data", "check", dataset)
    assert result.exit_code == 1
    assert "NOT USABLE" in result.stdout
    is_refused(tgim("data", "check", dataset / "nowhere"))


@pytest.fixture
def recipe(dataset):
    file = dataset.parent / "recipe.yaml"
    file.write_text(
        f"model: {{name: tagan, image_size: 32, width: 8, word_size: 8, text_size: 16, condition_size: 8}}\n"
        f"data: {{name: folder, root: {dataset}}}\n"
        "train: {steps: 2, batch_size: 2, device: cpu}\n"
    )
    return file


@pytest.mark.slow
def test_train_writes_a_checkpoint_that_edits(here, recipe):
    assert "parameters" in tgim("train", recipe, "--dry-run").stdout
    assert not Path("run").exists()
    result = tgim("train", recipe, "train.steps=1", "--out", "run")
    assert result.exit_code == 0, result.output
    assert Path(result.stdout.strip()) == Path("run/model.safetensors")
    edited = tgim("edit", "--image", "bird.jpg", "--text", "a red bird", "--model", "run/model.safetensors")
    assert edited.exit_code == 0, edited.output


@pytest.mark.parametrize("bad", [["train.lrr=1"], ["train.steps"], ["model.name=tagen"], ["train.steps=-3"], []])
def test_train_refuses_bad_recipes(here, recipe, bad):
    before = files(here)
    is_refused(tgim("train", recipe, *bad, *(["--out", "run"] if bad else [])))
    assert files(here) == before


def test_convert_needs_word_vectors_and_a_file(here):
    is_refused(tgim("convert", "--system", "tagan", "x.pth", "out.safetensors"))
    is_refused(tgim("convert", "--system", "tagan", "x.pth", "out.safetensors", "--word-vectors", "no.vec"))


# real processes


@pytest.mark.slow
def test_a_real_process_behaves_the_same(here, tagrid_file):
    done = process("edit", "--image", "bird.jpg", "--text", TEXT, "--model", tagrid_file, "--out", "real.png", cwd=here)
    assert (done.returncode, done.stdout, done.stderr) == (0, "real.png\n", "")
    tgim("edit", "--image", "bird.jpg", "--text", TEXT, "--model", tagrid_file, "--out", "inside.png")
    assert Path("real.png").read_bytes() == Path("inside.png").read_bytes()
    refused = process("edit", "--image", "no.jpg", "--text", TEXT, cwd=here)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_closed_pipe_is_no_drama(tagrid_file):
    command = f"{sys.executable} -m tgim info {tagrid_file} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment(), timeout=300)
    assert done.stderr == ""


@pytest.mark.slow
def test_ctrl_c_saves_and_stops_training(here, recipe):
    done = interrupted("train", recipe, "train.steps=100000", "--out", "run", once=Path("run/log.jsonl"))
    assert done.returncode == 130, done.stderr
    assert done.stderr.count("\n") == 1
    assert "--resume" in done.stderr
    assert Path("run/state.safetensors").exists()
    assert Path("run/model.safetensors").exists()
