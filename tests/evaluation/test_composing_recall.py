"""Recall of composed queries: how it is counted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from support import ROOT, small
from support.halves import NAMES, SIDES, WORDS, as_pixels, composer, pictures, triples
from tgim.checkpoints import checkpoint
from tgim.data.config import DataConfig
from tgim.evaluation import Bench, evaluate
from tgim.evaluation.composing import DEPTHS, OTHER, SAME, ComposeTask, captioned_task, figures, ranks_of
from tgim.evaluation.records import read_lines
from tgim.images.photo import from_uint8
from tgim.inference.search import SUM
from tgim.training import recipe
from tgim.training import run as train

RECIPES = ROOT / "recipes"


def task_of_triples():
    """The same as a task: the nine pictures are the candidates, every source is left out."""
    image, _, _ = triples()
    rows = [(a, b, s, c) for a in range(3) for b in range(3) for s in range(2) for c in range(3) if (a, b)[s] != c]
    texts = [f"{SIDES[s]} {NAMES[c]}" for _, _, s, c in rows]
    right = np.array([3 * c + b if s == 0 else 3 * a + c for a, b, s, c in rows])
    aside = np.array([3 * a + b for a, b, _, _ in rows])
    candidates = pictures(*torch.cartesian_prod(torch.arange(3), torch.arange(3)).T)
    kinds = np.array(["colour"] * 20 + ["size"] * 16)
    return ComposeTask(as_pixels(image), texts, as_pixels(candidates), right, aside, kinds, "", {"candidates": 8})


@pytest.mark.slow
def test_a_recipe_trains_and_its_checkpoint_composes_and_is_measured(tmp_path):
    overrides = [
        "model.matching=null", "model.frozen=nothing", "model.system=dual_encoder", "data.drawn_pool=20",
        "model.encoder={image_size: 48, width: 8, blocks: 1, word_size: 8, embedding_size: 16}",
        "data.image_size=48", "data.drawn=12", "data.drawn_kind=flowers", "train.steps=2", "train.batch_size=4",
    ]  # fmt: skip
    path = train.fit(
        recipe.load(RECIPES / "compose_tirg_synthetic.yaml", overrides), out=tmp_path / "run", progress=False
    )
    loaded = checkpoint.load(path)
    assert (loaded.role, loaded.name) == ("retrieval", "tirg")
    assert {"make", "remove", "without"} & set(loaded.vocabulary.words)
    image = torch.zeros(1, 3, 48, 48)
    assert loaded.model.compose(image, loaded.vocabulary.encode(["make the petals red"])).shape == (1, 16)

    out, synthetic = tmp_path / "lines.jsonl", DataConfig(name="synthetic", drawn_kind="flowers", split="test")
    lines = evaluate([path], data=synthetic, protocols=["compose"], limit=12, out=out)
    assert read_lines(out) == lines
    assert evaluate([path], data=synthetic, protocols=["compose"], limit=12, out=out) == lines
    assert len(read_lines(out)) == len(lines)
    names = {(line.kind, line.model) for line in lines}
    baselines = {("baseline", f"run: {what}") for what in ("image only", "text only", SUM)}
    assert names == {("model", "run"), ("reference", "chance"), *baselines}
    for line in lines:
        assert 0 <= line.low <= line.value <= line.high <= 1
        if "/" not in line.metric:
            assert line.n == 12
    chance = {line.metric: line.value for line in lines if line.model == "chance"}
    assert chance == {f"recall@{k}": pytest.approx(min(1, k / 12), rel=1e-5) for k in DEPTHS}


def test_recall_counts_the_right_target_among_all(halves):
    model, task = composer("tirg"), task_of_triples()
    source = checkpoint.Checkpoint(model.eval(), WORDS, "{}", name="tirg", role="retrieval")
    found = ranks_of(source, task)
    assert set(found) == {"image only", "text only", SUM, "tirg"}
    with torch.no_grad():
        image, text, _ = triples()
        gallery = from_uint8(torch.from_numpy(task.candidates).permute(0, 3, 1, 2))
        scores = (model.compose(image, text) @ model.embed_images(gallery).T).numpy()
    for i, rank in enumerate(found["tirg"].tolist()):
        others = np.delete(scores[i], [task.right[i], task.aside[i]])
        better, equal = (
            (others > scores[i, task.right[i]] + 1e-5).sum(),
            (abs(others - scores[i, task.right[i]]) <= 1e-5).sum(),
        )
        assert better < rank <= 1 + better + equal
    assert found["image only"].max() <= 8  # the source is left out
    told = {figure.metric: figure.values for figure in figures(found["tirg"], task)}
    assert len(told["recall@1"]) == 36
    assert (len(told["recall@5/colour"]), len(told["recall@5/size"])) == (20, 16)
    assert "recall@1/add" not in told
    np.testing.assert_array_equal(told["recall@10"], found["tirg"] <= 10)
    matching_only = ranks_of(checkpoint.Checkpoint(model.matching, WORDS, "{}", name="halves", role="matching"), task)
    assert set(matching_only) == {"image only", "text only", SUM}


@pytest.fixture
def birds(tmp_path):
    """A folder of captioned pictures of two classes."""
    root, colours = tmp_path / "birds", ("red", "blue", "white", "black")
    (root / "images").mkdir(parents=True)
    lines = []
    for i, colour in enumerate(colours * 2):
        Image.new("RGB", (40, 40), colour).save(root / "images" / f"{i}.png")
        captions = [f"a {colour} bird with a {colours[i // 2]} head", f"this bird has a {colours[i // 4]} belly"]
        lines.append(json.dumps({"file_name": f"{i}.png", "captions": captions, "class": "ab"[i % 2]}))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return DataConfig(name="folder", root=str(root), split="all")


def test_photographs_are_looked_up_among_all_but_the_source(birds, tmp_path):
    task = captioned_task(Bench(birds, size=32, seed=0, cache=tmp_path))
    assert task.options["candidates"] == len(task.candidates) - 1 == 7
    assert len(task.texts) == len(task.right) == 8
    assert (task.right != task.aside).all()
    for source, row, right, kind in zip(task.sources, task.aside, task.right, task.kinds, strict=True):
        assert (source == task.candidates[row]).all()
        assert kind == (SAME if row % 2 == right % 2 else OTHER)
    again, other = (captioned_task(Bench(birds, size=32, seed=seed, cache=tmp_path)) for seed in (0, 1))
    assert (again.content, again.options, again.texts) == (task.content, task.options, task.texts)
    assert other.options != task.options


@pytest.mark.slow
def test_photographs_train_and_are_measured(birds, tmp_path):
    vse = checkpoint.save(tmp_path / "vse.safetensors", small.model_of("vse"), vocabulary=small.VOCABULARY)
    overrides = [f"model.matching={vse}", f"data.root={birds.root}", "data.name=folder", "data.split=all",
                 "train.steps=2", "train.batch_size=4"]  # fmt: skip
    path = train.fit(recipe.load(RECIPES / "compose_tirg_birds.yaml", overrides), out=tmp_path / "run", progress=False)
    assert checkpoint.load(path).model.config.frozen == "all"
    lines = evaluate([path, vse], data=birds, protocols=["compose@1"])
    assert {line.n for line in lines if "/" not in line.metric} == {8}
    assert {line.model for line in lines if line.kind == "baseline"} == {
        f"{model}: {what}" for model in ("run", "vse") for what in ("image only", "text only", SUM)
    }
