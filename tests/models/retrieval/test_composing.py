"""Laws of the composing systems: their formulas, what is learned, and how recall is counted."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import small
import torch
from PIL import Image
from pydantic import ValidationError
from torch.nn import functional as F

from tgim.checkpoints import checkpoint
from tgim.data.batch import Batch, SyntheticPairs
from tgim.data.config import DataConfig
from tgim.errors import CheckpointError, RecipeError
from tgim.evaluation.composing import DEPTHS, OTHER, SAME, Task, captioned_task, evaluate_composing, figures, ranks_of
from tgim.evaluation.records import read_lines
from tgim.images.photo import from_uint8, to_uint8
from tgim.inference.search import SUM, query
from tgim.models.base import Composing, Config, Matching
from tgim.models.matching import MATCHERS
from tgim.models.retrieval import COMPOSERS
from tgim.models.retrieval.base import ComposerConfig
from tgim.models.retrieval.memory import Memory
from tgim.nn.losses import target_softmax
from tgim.text.vocabulary import Vocabulary
from tgim.training import recipe
from tgim.training import run as train

RECIPES = Path(__file__).parents[3] / "recipes"
every = pytest.mark.parametrize("name", COMPOSERS)

# A world of three colours on two sides: "left red" makes the left side red and leaves the right.
PALETTE = torch.eye(3) * 2 - 1
SIDES, NAMES = ("left", "right"), ("red", "green", "blue")
WORDS = Vocabulary([*SIDES, *NAMES])


class HalvesConfig(Config):
    image_size: int = 16


class Halves(Matching):
    """Sees the mean colour of both halves, and reads a side and a colour."""

    name: ClassVar[str] = "halves"
    Config: ClassVar[type[Config]] = HalvesConfig
    networks: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, config, *, vocabulary_size):
        super().__init__()
        self.config, self.weight = config, torch.nn.Parameter(torch.ones(6))

    def embed_images(self, image):
        left, right = image.chunk(2, 3)
        return self.weight * torch.cat([left.mean((2, 3)), right.mean((2, 3))], 1)

    def embed_captions(self, text):
        said = F.one_hot(text.ids, len(WORDS))[..., 2:].sum(1).float()  # B, 5
        return F.pad(said, (0, 1))


@pytest.fixture
def halves(monkeypatch):
    monkeypatch.setitem(MATCHERS, "halves", Halves)


def pictures(left, right):
    """(B, 3, 16, 16) of colours by number."""
    sides = [PALETTE[side][:, :, None, None].expand(-1, -1, 16, 8) for side in (left, right)]
    return torch.cat(sides, 3)


def triples():
    """All 36 wishes that change something: sources, texts and targets."""
    rows = [(a, b, s, c) for a in range(3) for b in range(3) for s in range(2) for c in range(3) if (a, b)[s] != c]
    a, b, s, c = torch.tensor(rows).T
    text = WORDS.encode([f"{SIDES[side]} {NAMES[colour]}" for side, colour in zip(s, c, strict=True)])
    return pictures(a, b), text, pictures(torch.where(s == 0, c, a), torch.where(s == 1, c, b))


def batch_of_triples():
    image, text, target = triples()
    blank = torch.zeros(len(image), 1, 16, 16)
    drawn = SyntheticPairs(image, text, text, target, blank, blank)
    return Batch(image, text, torch.arange(len(image)), synthetic=drawn)


def task_of_triples():
    """The same as a task: the nine pictures are the candidates, every source is left out."""
    image, _, _ = triples()
    rows = [(a, b, s, c) for a in range(3) for b in range(3) for s in range(2) for c in range(3) if (a, b)[s] != c]
    texts = [f"{SIDES[s]} {NAMES[c]}" for _, _, s, c in rows]
    right = np.array([3 * c + b if s == 0 else 3 * a + c for a, b, s, c in rows])
    aside = np.array([3 * a + b for a, b, _, _ in rows])
    candidates = pictures(*torch.cartesian_prod(torch.arange(3), torch.arange(3)).T)
    kinds = np.array(["colour"] * 20 + ["size"] * 16)
    return Task(as_pixels(image), texts, as_pixels(candidates), right, aside, kinds, "", {"candidates": 8})


def as_pixels(image):
    return to_uint8(image).permute(0, 2, 3, 1).numpy()


def composer(name, **options):
    torch.manual_seed(0)
    config = ComposerConfig(system="halves", **options)
    return COMPOSERS[name](config, vocabulary_size=len(WORDS))


def right_targets(model):
    """Share of the 36 wishes whose nearest of the nine pictures is the right one: composed, image alone, added."""
    image, text, target = triples()
    gallery = pictures(*torch.cartesian_prod(torch.arange(3), torch.arange(3)).T)
    own = (target[:, None] == gallery[None]).flatten(2).all(2).float().argmax(1)
    with torch.no_grad():
        seen = model.eval().embed_images(gallery)
        asked = (model.compose(image, text), model.embed_images(image), query(model.matching, image, text))
        return [float(((each @ seen.T).argmax(1) == own).float().mean()) for each in asked]


# The formulas


def norm(x, state, name):
    value = (x - state[f"{name}.running_mean"]) / torch.sqrt(state[f"{name}.running_var"] + 1e-5)
    return value * state[f"{name}.weight"] + state[f"{name}.bias"]


def stirred(name):
    model = small.model_of(name)
    for buffer in model.composer.join.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model.eval()


def test_tirg_is_a_gated_picture_and_a_residual():
    model = stirred("tirg")
    s = model.composer.join.state_dict()
    x, t = (F.normalize(torch.randn(5, 16), dim=1) for _ in range(2))
    both = torch.cat([x, t], 1) * 4  # entries of about one: times the root of 16
    gate = norm(both, s, "gate.0").relu() @ s["gate.2.weight"].T + s["gate.2.bias"]
    hidden = (norm(both, s, "residual.0").relu() @ s["residual.2.weight"].T + s["residual.2.bias"]).relu()
    residual = hidden @ s["residual.4.weight"].T + s["residual.4.bias"]
    meant = s["gate_weight"] / (1 + torch.exp(-gate)) * (4 * x) + s["residual_weight"] * residual
    meant = meant + s["text_weight"] * (4 * t)
    torch.testing.assert_close(model.compose_embeddings(x, t), F.normalize(meant, dim=1), atol=1e-5, rtol=1e-5)


def test_with_an_open_gate_and_no_residual_the_picture_is_meant():
    model = stirred("tirg")
    join = model.composer.join
    with torch.no_grad():
        join.gate[2].weight.zero_()
        join.gate[2].bias.fill_(30.0)
        join.residual_weight.zero_()
        join.text_weight.zero_()
    x, t = (F.normalize(torch.randn(5, 16), dim=1) for _ in range(2))
    torch.testing.assert_close(model.compose_embeddings(x, t), x)


def test_tirg_starts_at_the_sum_of_both_embeddings():
    model = small.model_of("tirg", stirred=False)
    x, t = (F.normalize(torch.randn(5, 16), dim=1) for _ in range(2))
    torch.testing.assert_close(model.compose_embeddings(x, t), F.normalize(x + t, dim=1), atol=1e-6, rtol=1e-5)
    assert model.composer.scale.item() == 4.0


def test_concatenation_is_two_layers():
    model = stirred("compose_concat")
    s = model.composer.join.state_dict()
    x, t = (F.normalize(torch.randn(5, 16), dim=1) for _ in range(2))
    hidden = norm(torch.cat([x, t], 1) * 4, s, "layers.0").relu() @ s["layers.2.weight"].T
    meant = norm(hidden, s, "layers.3").relu() @ s["layers.6.weight"].T + s["layers.6.bias"]
    torch.testing.assert_close(model.compose_embeddings(x, t), F.normalize(meant, dim=1), atol=1e-5, rtol=1e-5)


@every
def test_both_sides_are_of_unit_length_and_heeded(name):
    model = small.model_of(name).eval()
    assert isinstance(model, Composing)
    batch = small.batch_of()
    meant = model.compose(batch.image, batch.text)
    for each in (meant, model.embed_images(batch.image), model.embed_captions(batch.text)):
        torch.testing.assert_close(each.norm(dim=1), torch.ones(4))
    assert not torch.allclose(model.compose(batch.image, batch.text.roll()), meant, atol=1e-3)
    assert not torch.allclose(model.compose(batch.image.roll(1, 0), batch.text), meant, atol=1e-3)


# The loss


def test_the_loss_by_hand():
    one = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    query_, target = one, torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.0, 1.0]])
    e = math.exp(2.0)
    rows = [-math.log(e / (e + 2)), -math.log(e / (2 * e + 1)), -math.log(1 / (e + 2))]
    assert float(target_softmax(query_, target, scale=2.0)) == pytest.approx(sum(rows) / 3, rel=1e-5)
    labels = torch.tensor([0, 1, 1])  # targets 1 and 2 may fit each other's query
    rows = [-math.log(e / (e + 2)), -math.log(e / (e + 1)), -math.log(1 / (e + 1))]
    assert float(target_softmax(query_, target, scale=2.0, labels=labels)) == pytest.approx(sum(rows) / 3, rel=1e-5)
    own = (one, torch.tensor([True, False, False]))  # the first source is one more wrong target, as near as the right
    rows = [-math.log(e / (2 * e + 2)), -math.log(e / (2 * e + 1)), -math.log(1 / (e + 2))]
    assert float(target_softmax(query_, target, scale=2.0, own=own)) == pytest.approx(sum(rows) / 3, rel=1e-5)


@every
def test_a_source_is_a_wrong_target_only_where_something_changes(name, halves):
    model, batch = composer(name).eval(), batch_of_triples()
    without = composer(name, own_negatives=False).eval()

    def loss(system, drawn):
        ((_, terms),) = system.steps(replace(batch, synthetic=drawn))
        return float(terms["synthetic"].detach())

    drawn = batch.synthetic
    assert loss(model, drawn) > loss(without, drawn)
    still = replace(drawn, target=drawn.image)
    assert loss(model, still) == pytest.approx(loss(without, still), rel=1e-6)


@every
def test_captioned_triples_have_no_wrong_target_of_the_same_class(name, halves):
    model = composer(name).eval()
    source, change, target = triples()

    def loss(labels, source=source):
        batch = Batch(target, change, labels, source=source, change=change)
        ((_, terms),) = model.steps(batch)
        return float(terms["captioned"].detach())

    apart = torch.arange(len(target))
    assert loss(torch.zeros_like(apart)) < loss(apart)
    assert loss(apart, source=target) < loss(apart) + 5  # a source that is the target is no wrong target: finite
    both = Batch(target, change, apart, synthetic=batch_of_triples().synthetic, source=source, change=change)
    ((_, terms),) = model.steps(both)
    assert set(terms) == {"synthetic", "captioned"}


@every
def test_without_triples_there_is_nothing_to_learn(name, halves):
    batch = replace(batch_of_triples(), drawn=None)
    with pytest.raises(RecipeError, match=r"data\.drawn"):
        list(composer(name).steps(batch))


# Learning


@every
def test_a_world_is_learned_where_neither_side_alone_will_do(name, halves):
    model = composer(name)
    losses = small.train(model.train(), batch_of_triples(), steps=250, lr=5e-3)
    assert losses[-1] < 0.5 * losses[0]
    composed, image_only, added = right_targets(model)
    assert composed > 0.85
    assert image_only == 0  # every wish changes something
    assert added < 0.7


@pytest.fixture
def given(halves, tmp_path):
    """A checkpoint of a matching model."""
    torch.manual_seed(1)
    model = Halves(HalvesConfig(), vocabulary_size=len(WORDS))
    with torch.no_grad():
        model.weight.uniform_(0.5, 1.5)
    return checkpoint.save(tmp_path / "halves.safetensors", model, vocabulary=WORDS)


@pytest.mark.parametrize("frozen", ["nothing", "pictures", "all"])
def test_what_is_frozen_stays(given, frozen):
    config = ComposerConfig(matching=str(given), frozen=frozen)
    model = COMPOSERS["tirg"](config, vocabulary_size=len(WORDS))
    assert (model.config.system, model.config.encoder) == ("halves", {"image_size": 16})
    model.load_parts()
    before = checkpoint.load(given).model.weight
    assert torch.equal(model.matching.weight, before)
    small.train(model.train(), batch_of_triples(), steps=2, lr=0.01)
    assert torch.equal(model.matching.weight, before) is (frozen != "nothing")


@pytest.mark.parametrize(("frozen", "reads"), [("nothing", True), ("pictures", True), ("all", False)])
def test_how_a_model_reads_is_frozen_last(tmp_path, frozen, reads):
    path = checkpoint.save(tmp_path / "vse.safetensors", small.model_of("vse"), vocabulary=small.VOCABULARY)
    config = ComposerConfig(matching=str(path), frozen=frozen)
    words = COMPOSERS["tirg"].vocabulary_for(config)
    assert words.words[: len(small.VOCABULARY.words)] == small.VOCABULARY.words
    assert ({"remove", "smaller", "but", "instead"} <= set(words.words)) is reads
    model = COMPOSERS["tirg"](config, vocabulary_size=len(words)).train()
    model.load_parts()
    own = checkpoint.load(path).model.state_dict()
    before = {name: value.clone() for name, value in model.matching.state_dict().items()}
    for name, value in own.items():  # the words of changes come after its own
        assert torch.equal(before[name][: len(value)] if value.ndim else before[name], value)
    small.train(model, small.batch_of(), steps=2, lr=0.01)
    after = model.matching.state_dict()
    changed = {name.split(".")[1] for name in own if not torch.equal(before[name], after[name])}
    assert (changed & {"table", "caption"} != set()) is reads
    assert (changed & {"backbone", "picture"} != set()) is (frozen == "nothing")


def test_a_memory_embeds_each_picture_once():
    seen = []

    def embed(image):
        seen.append(len(image))
        return image.mean((2, 3))

    memory, image = Memory(), torch.rand(3, 3, 4, 4) * 2 - 1
    again = image[[2, 0, 0, 1]]
    torch.testing.assert_close(memory.embedded(image[:2], embed), image[:2].mean((2, 3)))
    torch.testing.assert_close(memory.embedded(again, embed), again.mean((2, 3)))
    torch.testing.assert_close(memory.embedded(again, embed), again.mean((2, 3)))
    assert seen == [2, 1]


# Configuration


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"system": "dual_encodr"}, "did you mean 'dual_encoder'"),
        ({"frozen": "all"}, "needs matching"),
        ({"encoder": {"widht": 3}}, r"encoder\.widht does not fit dual_encoder"),
    ],
)
def test_bad_configs_are_refused(options, said):
    with pytest.raises(ValidationError, match=said):
        ComposerConfig(**options)


def test_an_editor_is_nothing_to_compose_on(tagrid_file):
    with pytest.raises(CheckpointError, match="is a tagrid"):
        COMPOSERS["tirg"](ComposerConfig(matching=str(tagrid_file)), vocabulary_size=9)


@every
def test_the_recipes_resolve(name):
    stem = f"compose_{name.removeprefix('compose_')}"
    drawn, birds = (recipe.load(RECIPES / f"{stem}_{data}.yaml") for data in ("synthetic", "birds"))
    assert drawn.model_class is birds.model_class is COMPOSERS[name]
    assert drawn.data.drawn_task == "changes"
    assert birds.data.changes
    assert birds.data.split == "trainval"


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
    assert (loaded.kind, loaded.name) == ("composer", "tirg")
    assert {"make", "remove", "without"} & set(loaded.vocabulary.words)
    image = torch.zeros(1, 3, 48, 48)
    assert loaded.model.compose(image, loaded.vocabulary.encode(["make the petals red"])).shape == (1, 16)

    out, drawn = tmp_path / "lines.jsonl", DataConfig(name="synthetic", drawn_kind="flowers", split="test")
    lines = evaluate_composing([path], data=drawn, count=12, out=out)
    assert read_lines(out) == lines
    assert evaluate_composing([path], data=drawn, count=12, out=out) == lines
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


# Measuring


def test_recall_counts_the_right_target_among_all(halves):
    model, task = composer("tirg"), task_of_triples()
    source = checkpoint.Checkpoint(model.eval(), WORDS, "{}", name="tirg", kind="composer")
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
    matching_only = ranks_of(checkpoint.Checkpoint(model.matching, WORDS, "{}", name="halves", kind="matcher"), task)
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
    task = captioned_task(birds, side=32, seed=0, cache=tmp_path)
    assert task.options["candidates"] == len(task.candidates) - 1 == 7
    assert len(task.texts) == len(task.right) == 8
    assert (task.right != task.aside).all()
    for source, row, right, kind in zip(task.sources, task.aside, task.right, task.kinds, strict=True):
        assert (source == task.candidates[row]).all()
        assert kind == (SAME if row % 2 == right % 2 else OTHER)
    again, other = (captioned_task(birds, side=32, seed=seed, cache=tmp_path) for seed in (0, 1))
    assert (again.content, again.options, again.texts) == (task.content, task.options, task.texts)
    assert other.options != task.options


def test_photographs_train_and_are_measured(birds, tmp_path):
    vse = checkpoint.save(tmp_path / "vse.safetensors", small.model_of("vse"), vocabulary=small.VOCABULARY)
    overrides = [f"model.matching={vse}", f"data.root={birds.root}", "data.name=folder", "data.split=all",
                 "train.steps=2", "train.batch_size=4"]  # fmt: skip
    path = train.fit(recipe.load(RECIPES / "compose_tirg_birds.yaml", overrides), out=tmp_path / "run", progress=False)
    assert checkpoint.load(path).model.config.frozen == "all"
    lines = evaluate_composing([path, vse], data=birds)
    assert {line.n for line in lines if "/" not in line.metric} == {8}
    assert {line.model for line in lines if line.kind == "baseline"} == {
        f"{model}: {what}" for model in ("run", "vse") for what in ("image only", "text only", SUM)
    }
