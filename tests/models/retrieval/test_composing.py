"""Laws of the composing systems: their formulas, and what is learned."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from support import ROOT, small
from support.halves import WORDS, Halves, HalvesConfig, batch_of_triples, composer, pictures, triples
from tgim.checkpoints import checkpoint, registry
from tgim.data.batch import Batch
from tgim.errors import CheckpointError, RecipeError
from tgim.inference.search import query
from tgim.models.base import Composing
from tgim.models.retrieval.base import ComposerConfig
from tgim.models.retrieval.memory import Memory
from tgim.nn.losses import target_softmax
from tgim.training import recipe

RECIPES = ROOT / "recipes"

COMPOSERS = registry.systems("retrieval")
every = pytest.mark.parametrize("name", COMPOSERS)


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

    def loss(system, pairs):
        ((_, terms),) = system.steps(replace(batch, synthetic=pairs))
        return float(terms["synthetic"].detach())

    pairs = batch.synthetic
    assert loss(model, pairs) > loss(without, pairs)
    still = replace(pairs, target=pairs.image)
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
    batch = replace(batch_of_triples(), synthetic=None)
    with pytest.raises(RecipeError, match=r"data\.synthetic\.pairs"):
        list(composer(name).steps(batch))


# Learning


@pytest.mark.slow
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
    assert (model.config.system, model.config.encoder) == (registry.reference(Halves), {"image_size": 16})
    model.load_parts()
    before = checkpoint.load(given).model.weight
    assert torch.equal(model.matching.weight, before)
    small.train(model.train(), batch_of_triples(), steps=2, lr=0.01)
    assert torch.equal(model.matching.weight, before) is (frozen != "nothing")


@pytest.mark.slow
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


@pytest.mark.slow
@every
def test_the_recipes_resolve(name):
    stem = f"compose_{name.removeprefix('compose_')}"
    drawn, birds = (recipe.load(RECIPES / f"{stem}_{data}.yaml") for data in ("synthetic", "birds"))
    assert drawn.model_class is birds.model_class is COMPOSERS[name]
    assert drawn.data.synthetic.task == "changes"
    assert birds.data.captions.changes
    assert birds.data.split == "trainval"
