"""Embedded part localisers run without torch, and edit as they do with it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from support.commands import environment, tgim
from tgim.checkpoints import checkpoint
from tgim.checkpoints.graphs import Graph, completed, graph_of, read_graph, write_graph
from tgim.checkpoints.tensorfile import read_arrays
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import CheckpointError, UserError
from tgim.images.photo import open_image
from tgim.inference.editor import open_editor
from tgim.inference.onnx_engine import has_graph

GRAPHS = ("birds", "flowers")
ASKED = {
    "birds": ("red head and breast", "this bird is yellow with black wings", "blue tail"),
    "flowers": ("this flower has purple petals", "white petals and a red center"),
}
NEEDED = "this needs torch, which is not installed here; run pip install torch torchvision"
WITHOUT_TORCH = """
import sys

class Refusing:
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "skimage", "scipy", "pydantic"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refusing())
from tgim.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def editors():
    return {(name, engine): open_editor(name, engine=engine) for name in GRAPHS for engine in ("onnx", "torch")}


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_both_engines_make_the_same_edits(editors, name):
    far, changed = [], []
    for seed, size in enumerate(((300, 400), (450, 340), (600, 900), (120, 160))):
        asked = ASKED[name][seed % len(ASKED[name])]
        photo = open_image(sample_picture(name, seed=seed, size=size))
        one, two = (
            editors[name, engine].edit_photo(photo, asked).levels(8)[0].astype(int) for engine in ("onnx", "torch")
        )
        changed.append((one != photo.levels(8)[0]).any())
        far.append(np.abs(one - two))
    assert sum(changed) > 2  # a picture may be as it is asked for
    assert max(each.max() for each in far) <= 1
    assert np.mean([each.mean() for each in far]) < 0.05


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_that_of_its_weights(name):
    facts = read_graph(graph_of(name)).facts
    assert facts["fingerprint"] == checkpoint.fingerprint(name), "make the graph anew: benchmarks/embed.py"
    assert set(facts["weights"].values()) == set(checkpoint.read_header(name)["tensors"])


def test_the_engine_is_chosen_where_it_can_run():
    assert [has_graph(name) for name in ("birds", "birds-1", "/birds", "none")] == [True, False, False, False]
    assert type(open_editor("birds").engine).__name__ == "PaintingEngine"
    assert type(open_editor("birds", engine="torch").engine).__name__ == "TorchEngine"
    with pytest.raises(UserError, match="birds-1 has no graph for onnxruntime; take --engine torch"):
        open_editor("birds-1", engine="onnx")
    with pytest.raises(UserError, match="engine is 'jax', expected one of auto, onnx, torch"):
        open_editor("birds", engine="jax")


def test_the_model_itself_is_loaded_when_it_is_asked_for():
    editor = open_editor("birds")
    assert editor.model.name == "painter"
    assert editor.model is editor.model


def test_a_broken_graph_is_one_line(tmp_path):
    for content in (b"", b"{}\n", b'{"weights": 3}\nx', b"not json\nx"):
        (tmp_path / "x.graph").write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read; install tgim again"):
            read_graph(tmp_path / "x.graph")
    graph = Graph({"weights": {"a": "b"}}, b"model")
    (tmp_path / "x.graph").write_bytes(write_graph(graph))
    assert read_graph(tmp_path / "x.graph") == graph
    with pytest.raises(CheckpointError, match="'b', which the checkpoint lacks"):
        completed(graph, {})


def test_weights_are_put_into_the_graph_as_onnx_reads_them():
    onnx = pytest.importorskip("onnx", reason="onnx is missing (extra export)")
    graph, arrays = read_graph(graph_of("flowers")), read_arrays(checkpoint.resolve("flowers"))
    model = onnx.load_model_from_string(completed(graph, arrays))
    onnx.checker.check_model(model)
    found = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    for name, own in graph.facts["weights"].items():
        assert np.array_equal(found[name], arrays[own])


@pytest.mark.slow
def test_people_edit_without_torch(tmp_path):
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_TORCH, *words]
        return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)

    for words in (
        ("sample", "bird.jpg"),
        ("edit", "--image", "bird.jpg", "--text", "red head", "--out", "red.jpg"),
        ("edit", "--image", "bird.jpg", "--text", "red", "--part", "head", "--save-mask", "m.png", "--out", "part.png"),
        ("edit", "--image", "bird.jpg", "--text", "red", "--mask", "m.png", "--out", "masked.png"),
        ("edit", "--images", ".", "--text", "blue wings", "--out", "many", "--workers", "2"),
        ("parts", "bird.jpg", "--json"),
        ("info", "birds"),
        ("--help",),
    ):
        done = run(*words)
        assert done.returncode == 0, (words, done.stderr)
    expected = tgim("edit", "--image", tmp_path / "bird.jpg", "--text", "red head", "--out", tmp_path / "own.jpg")
    assert expected.exit_code == 0
    assert (tmp_path / "own.jpg").read_bytes() == (tmp_path / "red.jpg").read_bytes()
    for words in (
        ("match", "bird.jpg", "--text", "red"),
        ("edit", "--image", "bird.jpg", "--text", "red", "--model", "birds-1"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert (
            done.stderr
            == "tgim: error: this needs torch, which is not installed here; run pip install torch torchvision\n"
        )


@pytest.mark.slow
def test_a_model_is_exported_with_its_figures(tmp_path):
    pytest.importorskip("onnx", reason="onnx is missing (extra export)")
    result = tgim("export", "flowers", "--out", tmp_path / "made", "--json")
    assert result.exit_code == 0, result.output
    import json

    import onnxruntime

    facts = json.loads((tmp_path / "made" / "flowers.json").read_text())
    assert facts["difference"]["largest"] <= 1
    assert facts["opset"] == 17
    session = onnxruntime.InferenceSession(str(tmp_path / "made" / "flowers.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == facts["input"]["shape"]
    maps, present = session.run(None, {"pictures": np.zeros(facts["input"]["shape"], np.float32)})
    assert np.allclose(maps.sum(1), 1, atol=1e-4)
    assert 0 <= present[0] <= 1
    refused = tgim("export", "birds-1", "--out", tmp_path)
    assert refused.exit_code == 2
    assert "birds-1 (tagrid) cannot be exported to ONNX; birds, flowers can" in refused.stderr
