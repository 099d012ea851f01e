"""Laws of `inversion@1`: rows of each way, what trivial editors get, and noise that is found under the own caption."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support import colour_world
from support.colour_world import SIDE, VOCABULARY, Eyes, EyesConfig
from support.toy_generator import ToyGenerator, ToyGeneratorConfig
from tgim.checkpoints import checkpoint, registry
from tgim.data.config import DataConfig
from tgim.errors import UserError
from tgim.evaluation import PROTOCOLS, Bench, ModelContender, evaluate, inversion
from tgim.evaluation.inversion import distances, inverted
from tgim.evaluation.run import chosen
from tgim.evaluation.ways import STEPS, ways
from tgim.models.editing.in_domain import InDomainConfig, InDomainEncoder
from tgim.models.editing.style_encoder import StyleEncoder, StyleEncoderConfig

ENCODER = {"system": "toy_generator", "sizes": {"image_size": SIDE}, "width": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = colour_world.build(tmp_path_factory.mktemp("world"), each=4)
    return DataConfig(name="folder", root=str(root), split="all")


@pytest.fixture
def judge(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.SYSTEMS, "eyes", Eyes)
    model = Eyes(EyesConfig(), vocabulary_size=len(VOCABULARY))
    return str(checkpoint.save(tmp_path / "eyes.safetensors", model, vocabulary=VOCABULARY))


@pytest.fixture
def files(tmp_path):
    """A generator, a style encoder and an in-domain encoder, all untrained."""
    torch.manual_seed(1)
    size = len(VOCABULARY)
    models = {
        "bare": ToyGenerator(ToyGeneratorConfig(image_size=SIDE), vocabulary_size=size),
        "style": StyleEncoder(StyleEncoderConfig(**ENCODER), vocabulary_size=size),
        "domain": InDomainEncoder(
            InDomainConfig(**ENCODER, discriminator_width=4, pretrained=False, taps=(0,)), vocabulary_size=size
        ),
    }
    return {
        name: str(checkpoint.save(tmp_path / f"{name}.safetensors", model.eval(), vocabulary=VOCABULARY))
        for name, model in models.items()
    }


@pytest.fixture
def bench(world, judge):
    return Bench(world, size=SIDE, judge=judge, limit=6)


@pytest.mark.slow
def test_each_way_has_a_row_of_all_figures_beside_trivial_ones(world, judge, files, tmp_path):
    options = {"data": world, "judge": judge, "protocols": ["inversion"], "limit": 6}
    lines = evaluate([*files.values()], **options, out=tmp_path / "one.jsonl", cache=tmp_path / "one")
    found = {(line.model, line.metric): line for line in lines}
    assert {line.model for line in lines if line.kind == "model"} == {
        *("bare+random", "bare+search", "style", "style+search", "domain", "domain+search")
    }
    for line in lines:
        if line.kind == "model":
            assert {metric for name, metric in found if name == line.model} == {
                *("rmse", "feature_distance", "recall@1", "off_normal")
            }
            assert line.options.get("steps") == (STEPS if line.model.endswith("+search") else None)
            assert line.higher_is_better is (line.metric == "recall@1")
        assert line.n == 6 or line.model == "chance"
        assert line.extractor.startswith("efficientnet-lite2 of judge-birds-2:")
    assert found["identity", "rmse"].value == found["identity", "feature_distance"].value == 0
    assert found["identity", "recall@1"].value == found["unedited", "recall@1"].value == 0
    assert found["real", "recall@1"].value == 1
    assert found["mean_colour", "rmse"].value < found["bare+random", "rmse"].value
    for search, without in (("bare+search", "bare+random"), ("style+search", "style")):
        assert found[search, "rmse"].value < found[without, "rmse"].value
    again = evaluate([*files.values()], **options, cache=tmp_path / "two")
    assert {line.key: line.value for line in again} == {line.key: line.value for line in lines}
    other = evaluate([files["bare"]], **options, seed=1, baselines=False, cache=tmp_path / "two")
    changed = {line.metric: line.value for line in other if line.model == "bare+random"}
    assert changed["off_normal"] != found["bare+random", "off_normal"].value


def test_random_noise_is_of_the_picture_not_of_the_limit(world, judge, files, bench):
    model = ModelContender.open(files["bare"])
    few, all_of_them = (inverted(each, ways(model)[0]) for each in (bench, Bench(world, size=SIDE, judge=judge)))
    assert torch.equal(few, all_of_them[bench.rows])
    assert len(np.unique(few[:, 0].numpy())) == len(bench)


@pytest.mark.slow
def test_the_noise_is_found_under_the_own_caption_and_edits_under_the_target(bench, files, monkeypatch):
    way, seen = ways(ModelContender.open(files["style"]))[1], []
    condition = way.condition
    monkeypatch.setattr(way, "condition", lambda captions: seen.append(list(captions)) or condition(captions))
    monkeypatch.setattr(way.inverter, "most_steps", 2)
    list(inversion.measure(bench, way))
    assert seen == [bench.own, bench.own, bench.target]  # searched, made again, edited


def test_a_perfect_encoder_makes_what_the_generator_made_again(bench, files):
    way = ways(ModelContender.open(files["style"]))[0]
    noise = inverted(bench, ways(ModelContender.open(files["bare"]))[0])
    made = way.pictures(noise, bench.own)
    way.inverter.encoder.forward = lambda image: noise
    found = way.pictures(way.noise(made, bench.own, range(6)), bench.own)
    assert torch.equal(found, made)


@pytest.mark.slow
def test_feature_distances_are_nil_for_equal_pictures_and_grow_with_what_is_done_to_them(bench):
    noise = torch.randn(bench.pictures.shape, generator=torch.Generator().manual_seed(0))
    equal, little, much = (distances(bench.pictures + s * noise, bench.pictures).mean() for s in (0.0, 0.1, 0.5))
    assert equal < 1e-6
    assert 10 * equal < little < much < 4


def test_it_is_measured_by_name_alone_and_of_what_inverts(world, judge, tagrid_file, bench):
    assert not PROTOCOLS["inversion@1"].possible(bench)
    assert "inversion@1" in [protocol.name for protocol in chosen("all", judge=judge, extractor=None)]
    with pytest.raises(UserError, match="tagrid edits photographs without inverting them") as raised:
        evaluate([str(tagrid_file)], data=world, judge=judge, protocols=["inversion@1"], limit=6, size=SIDE)
    assert "\n" not in str(raised.value)
