"""Embedded models run without torch, and edit as they do with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from support.commands import environment, tgim
from tgim.checkpoints import checkpoint
from tgim.checkpoints.graphs import SUFFIX, Graph, Graphs, completed, graphs_of, read_facts, read_graphs, written
from tgim.checkpoints.tensorfile import read_arrays
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import CheckpointError, TextError, UserError
from tgim.images.photo import open_image
from tgim.inference.editor import open_editor
from tgim.inference.onnx_engine import EDITING as KINDS
from tgim.inference.onnx_engine import has_graph, padded
from tgim.inference.onnx_matching import MATCHING
from tgim.inference.part_overlay import open_finder
from tgim.inference.ranking import open_matcher, rank
from tgim.inference.traced import pooled, read_caption
from tgim.models.editing.tagrid import TAGrid

GRAPHS = ("birds", "flowers", "birds-1", "flowers-1", "birds-2")
NAMED = sorted(path.stem for path in checkpoint.resolve("birds").parent.glob(f"*{SUFFIX}"))
ASKED = {
    "birds": ("red head and breast", "this bird is yellow with black wings", "blue tail"),
    "flowers": ("this flower has purple petals", "white petals and a red center"),
}
CASES = (  # size, strength, box
    ((300, 400), 1.0, None), ((450, 340), 0.5, None), ((600, 900), 0.3, (100, 80, 600, 450)),
    ((120, 160), 1.0, (10, 5, 100, 90)), ((61, 47), 0.75, None), ((700, 560), 1.0, None),
)  # fmt: skip
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


@pytest.mark.parametrize("name", ["birds", "birds-2", "flowers-1"])
def test_a_photograph_is_overwritten_only_when_it_is_spare(editors, name):
    text = "purple wings" if "birds" in name else "purple petals"
    picture = sample_picture(name.partition("-")[0], seed=2, size=(150, 200))
    edit, kept = editors[name, "onnx"], open_image(picture)
    edited = edit.edit_photo(kept, text).pixels
    assert np.array_equal(kept.pixels, open_image(picture).pixels)
    assert not np.array_equal(kept.pixels, edited)
    assert np.array_equal(edit.edit_photo(open_image(picture), text, spare=True).pixels, edited)


def test_several_texts_edit_the_picture_that_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(sample_picture("birds", seed=2, size=(150, 200))).save("a.png")
    (tmp_path / "many").mkdir()
    Image.open("a.png").save("many/a.png")
    texts = ("red head and breast", "blue wings", "red head and breast")
    for i, text in enumerate(texts):
        assert tgim("edit", "--image", "a.png", "--text", text, "--out", f"alone{i}.png").exit_code == 0
    words = [word for text in texts[:2] for word in ("--text", text)]
    assert tgim("edit", "--images", "many", *words, "--out", "new").exit_code == 0
    made = sorted(Path("new").glob("*.png"))
    assert [each.read_bytes() for each in made] == [Path(f"alone{i}.png").read_bytes() for i in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_both_engines_make_the_same_edits(editors, name):
    far, changed, kind = [], [], name.partition("-")[0]
    for seed, (size, strength, box) in enumerate(CASES):
        asked = ASKED[kind][seed % len(ASKED[kind])]
        photo = open_image(sample_picture(kind, seed=seed, size=size))
        one, two = (
            editors[name, engine].edit_photo(photo, asked, strength=strength, box=box).levels(8)[0].astype(int)
            for engine in ("onnx", "torch")
        )
        changed.append((one != photo.levels(8)[0]).any())
        far.append(np.abs(one - two))
    assert sum(changed) > len(CASES) // 2  # a picture may be as it is asked for
    assert max(each.max() for each in far) <= 1
    assert np.mean([each.mean() for each in far]) < 0.05


@pytest.mark.parametrize("name", NAMED)
def test_graphs_are_those_of_their_weights(name):
    graphs, header = read_graphs(graphs_of(name)), checkpoint.read_header(name)
    assert graphs.facts["fingerprint"] == checkpoint.fingerprint(name), "make them anew: benchmarks/embed.py --graphs"
    assert graphs.facts["kind"] == header["name"]
    named = {own for graph in graphs.graphs.values() for own in graph.weights.values()}
    assert named <= set(header["tensors"])
    if header["name"] == "part_localiser":
        assert named == set(header["tensors"])
    assert graphs_of(name).stat().st_size < 500_000  # weights are not in them


def test_all_models_that_can_be_exported_have_graphs():
    told = {name: checkpoint.read_header(name)["name"] for name in checkpoint.list_embedded()}
    assert set(NAMED) == {name for name, kind in told.items() if kind in (*KINDS, *MATCHING)}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMED if name.startswith("judge")])
def test_both_engines_give_the_same_scores(name):
    kind = "flowers" if "flowers" in name else "birds"
    pictures = [sample_picture(kind, seed=seed, size=(160 + 30 * seed, 200)) for seed in range(3)]
    texts = [*ASKED[kind], "red"]
    one, two = (rank(pictures, texts, model=name, engine=engine).scores for engine in ("onnx", "torch"))
    assert np.abs(one - two).max() < 1e-5
    assert two.std() > 0.02


@pytest.mark.parametrize("name", ["birds-1", "judge-birds"])
@torch.no_grad()
def test_captions_are_read_as_packed_ones(name):
    found = checkpoint.load(name)
    reader = found.model.reader if isinstance(found.model, TAGrid) else found.model.members[0]
    for text in ("red", "this bird has a white belly and a black head with an orange beak", "zzz"):
        expected = reader.text(found.vocabulary.encode([text]))
        own = read_caption(reader.text, torch.from_numpy(padded(found.vocabulary, text, 60)))
        count = expected.words.shape[1]
        assert torch.allclose(own.words[:, :count], expected.words, atol=1e-5)
        assert not own.words[:, count:].any()
        assert torch.allclose(own.sentence, expected.sentence, atol=1e-5)
    with pytest.raises(TextError, match="text has 3 words, at most 2"):
        padded(found.vocabulary, "a red bird", 2)


def test_the_engine_is_chosen_where_it_can_run():
    names = ("birds", "birds-1", "sisgan-birds", "/birds", "none", Path("birds"))
    assert [has_graph(name) for name in names] == [True, True, False, False, False, False]
    assert type(open_editor("birds").engine).__name__ == "PaintingEngine"
    assert type(open_editor("birds", engine="torch").engine).__name__ == "TorchEngine"
    with pytest.raises(UserError, match="sisgan-birds has no graph for onnxruntime; take --engine torch"):
        open_editor("sisgan-birds", engine="onnx")
    with pytest.raises(UserError, match=r"birds-1 \(tagrid\) knows no parts; give --model a part localiser"):
        open_finder("birds-1")
    for opening in (lambda: open_editor("birds", engine="jax"), lambda: rank(["x.png"], ["red"], engine="jax")):
        with pytest.raises(UserError, match="engine is 'jax', expected one of auto, onnx, torch"):
            opening()
    with pytest.raises(UserError, match="birds has no graph for onnxruntime; take --engine torch"):
        open_matcher("birds", engine="onnx")
    with pytest.raises(UserError, match="judge-birds has no graph for onnxruntime; take --engine torch"):
        open_editor("judge-birds", engine="onnx")
    assert type(open_matcher("judge-birds")).__name__ == "OnnxMatcher"
    assert type(open_matcher("judge-birds", engine="torch")).__name__ == "TorchMatcher"


@pytest.mark.parametrize(("side", "places"), [(28, 12), (14, 12), (12, 4), (5, 5)])
def test_maps_are_averaged_as_torch_does(side, places):
    maps = torch.rand(1, 2, side, side)
    expected = torch.nn.functional.adaptive_avg_pool2d(maps, places)
    assert torch.allclose(pooled(maps, places), expected, atol=1e-6)


def test_the_model_itself_is_loaded_when_it_is_asked_for():
    editor = open_editor("birds")
    assert editor.model.name == "painter"
    assert editor.model is editor.model


def test_a_broken_graph_is_one_line(tmp_path):
    graph, path = Graph(b"mo\ndel", {"a": "b"}), tmp_path / "x.graph"
    whole = written(Graphs({"kind": "x"}, {"one": graph, "two": Graph(b"more", {})}))
    lines = (b"{}", b'{"kind": "x", "graphs": 3}', b'{"kind": "x", "graphs": {}}', b'{"kind": "x", "graphs": {"a": 1}}')
    for content in (b"", *(line + b"\nx" for line in lines), b"not json\nx", whole + b"x"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read; install tgim again"):
            read_graphs(path)
    path.write_bytes(whole)
    assert read_graphs(path) == Graphs({"kind": "x"}, {"one": graph, "two": Graph(b"more", {})})
    assert read_facts(path)["kind"] == "x"
    with pytest.raises(CheckpointError, match="'b', which the checkpoint lacks"):
        completed(graph, {})


def test_weights_are_put_into_the_graph_as_onnx_reads_them():
    onnx = pytest.importorskip("onnx", reason="onnx is missing (extra export)")
    graph, arrays = read_graphs(graphs_of("flowers")).graphs["look"], read_arrays(checkpoint.resolve("flowers"))
    model = onnx.load_model_from_string(completed(graph, arrays))
    onnx.checker.check_model(model)
    found = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    for name, own in graph.weights.items():
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
        ("edit", "--image", "bird.jpg", "--text", "red head", "--model", "birds-1", "--out", "grid.png"),
        (
            "edit",
            "--image",
            "bird.jpg",
            "--text",
            "blue",
            "--model",
            "flowers-1",
            "--strength",
            "0.5",
            "--out",
            "f.png",
        ),
        ("edit", "--image", "bird.jpg", "--text", "red head", "--model", "birds-2", "--out", "curves.png"),
        ("edit", "--image", "bird.jpg", "--text", "red", "--part", "head", "--model", "birds-2", "--out", "head.png"),
        ("match", "bird.jpg", "curves.png", "--text", "a red head", "--json"),
        ("match", "bird.jpg", "--text", "a red head", "--text", "a blue bird", "--model", "judge-birds-2"),
        ("info", "birds"),
        ("--help",),
    ):
        done = run(*words)
        assert done.returncode == 0, (words, done.stderr)
    for name, made in (("birds", "red.jpg"), ("birds-1", "grid.png"), ("birds-2", "curves.png")):
        own = tmp_path / f"own-{made}"
        assert not tgim(
            "edit", "--image", tmp_path / "bird.jpg", "--text", "red head", "--model", name, "--out", own
        ).exit_code
        assert own.read_bytes() == (tmp_path / made).read_bytes()
    for words in (
        ("search", ".", "--image", "bird.jpg", "--text", "red"),
        ("edit", "--image", "bird.jpg", "--text", "red", "--model", "sisgan-birds"),
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
    import onnxruntime

    facts = json.loads((tmp_path / "made" / "flowers.json").read_text())
    assert facts["difference"]["largest"] <= 1
    assert facts["opset"] == 17
    session = onnxruntime.InferenceSession(str(tmp_path / "made" / "flowers.onnx"), providers=["CPUExecutionProvider"])
    told = facts["networks"]["look"]
    assert told["file"] == "flowers.onnx"
    shape = told["inputs"]["pictures"]["shape"]
    assert session.get_inputs()[0].shape == shape
    assert [each.name for each in session.get_outputs()] == list(told["outputs"])
    maps, present = session.run(None, {"pictures": np.zeros(shape, np.float32)})
    assert np.allclose(maps.sum(1), 1, atol=1e-4)
    assert 0 <= present[0] <= 1
    refused = tgim("export", "sisgan-birds", "--out", tmp_path)
    assert refused.exit_code == 2
    assert f"sisgan-birds (sisgan) cannot be exported to ONNX; {', '.join(NAMED)} can" in refused.stderr


@pytest.mark.slow
def test_a_model_of_several_networks_is_exported_with_what_slices_its_grid(tmp_path):
    pytest.importorskip("onnx", reason="onnx is missing (extra export)")
    result = tgim("export", "birds-1", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "birds-1.json").read_text())
    assert {told["file"] for told in facts["networks"].values()} == {"birds-1-look.onnx", "birds-1-plan.onnx"}
    assert all((tmp_path / told["file"]).is_file() for told in facts["networks"].values())
    assert facts["networks"]["plan"]["inputs"]["ids"] == {"shape": [1, facts["length"]], "type": "int64"}
    assert facts["words"] == checkpoint.read_header("birds-1")["vocabulary"]
    assert facts["difference"]["largest"] <= 1
    assert np.shape(facts["guide"]["first"]) == (8, 3)
