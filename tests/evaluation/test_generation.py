"""Laws of `generation@1`: what an honest generator gets, what a cheat gets, and whom `tgim eval` measures by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support import colour_world
from support.colour_world import COLOURS, SIDE, SQUARE, WORDS, Eyes, EyesConfig
from support.toy_generator import ToyGenerator, ToyGeneratorConfig
from tgim.checkpoints import checkpoint, registry
from tgim.data.config import DataConfig
from tgim.errors import UserError
from tgim.evaluation import PROTOCOLS, Bench, ModelContender, evaluate, generation
from tgim.evaluation.contenders import GeneratorContender, quantised
from tgim.evaluation.run import entrants
from tgim.inference.editor import Editor
from tgim.models.base import sample_noise
from tgim.models.editing.style_encoder import StyleEncoder, StyleEncoderConfig
from tgim.text.vocabulary import tokenize


class SharpEyes(Eyes):
    """Judges by hue alone, but sees the rest of the picture, too."""

    name = "sharp_eyes"

    def embed_images(self, image):
        coarse = torch.nn.functional.adaptive_avg_pool2d(image, 8).flatten(1)
        rough = (image[..., 1:] - image[..., :-1]).abs().mean((1, 2, 3))[:, None]
        return torch.cat([super().embed_images(image), 0.1 * coarse, 2 * rough], 1)

    def embed_captions(self, text):
        said = super().embed_captions(text)
        return torch.cat([said, said.new_zeros(len(said), 3 * 64 + 1)], 1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = colour_world.build(tmp_path_factory.mktemp("world"), each=12)
    return DataConfig(name="folder", root=str(root), split="all")


@pytest.fixture
def judge(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.SYSTEMS, "sharp_eyes", SharpEyes)
    model = SharpEyes(EyesConfig(), vocabulary_size=len(colour_world.VOCABULARY))
    return str(checkpoint.save(tmp_path / "eyes.safetensors", model, vocabulary=colour_world.VOCABULARY))


@pytest.fixture
def bench(world, judge):
    return Bench(world, size=SIDE, judge=judge, extractor=judge)


@pytest.fixture
def generator_file(tmp_path):
    torch.manual_seed(1)
    model = ToyGenerator(ToyGeneratorConfig(image_size=16), vocabulary_size=len(colour_world.VOCABULARY))
    return checkpoint.save(tmp_path / "generator.safetensors", model, vocabulary=colour_world.VOCABULARY)


class Painter:
    """Generates pictures by a function of captions and a source of random numbers: (B, 3, S, S)."""

    kind, checkpoint, has_strength = "model", None, False

    def __init__(self, name, paint):
        self.name, self.paint = name, paint

    def generate(self, captions, rows, *, number, seed):
        sources = [torch.Generator().manual_seed(1000 * seed + k) for k in range(number)]
        return torch.stack([quantised(self.paint(captions, rows, source)) for source in sources], 1)


def grey_noise(captions, rows, source):
    """The backgrounds of this world, each row with its own."""
    levels = torch.rand(72, 1, SIDE, SIDE, generator=source)[list(rows)]
    return (1.6 * levels - 0.8).repeat(1, 3, 1, 1)


def honest(captions, rows, source):
    pictures = grey_noise(captions, rows, source)
    for picture, caption in zip(pictures, captions, strict=True):
        word = next(word for word in tokenize(caption) if word in WORDS)
        picture[:, SQUARE, SQUARE] = COLOURS[WORDS.index(word)][:, None, None]
    return pictures


def pixel_noise(captions, rows, source):
    return 2 * torch.rand(72, 3, SIDE, SIDE, generator=source)[list(rows)] - 1


def one_for_all(picture):
    return lambda captions, rows, source: picture.expand(len(captions), -1, -1, -1)


def figures(bench, paint):
    return {figure.metric: figure.figures(seed=0)[0] for figure in generation.measure(bench, Painter("painter", paint))}


def rows_of(bench):
    return {(name, figure.metric): figure.figures(seed=0)[0] for name, figure in generation.references(bench)}


# What is measured


@pytest.mark.slow
def test_a_generator_that_fits_its_captions_is_like_the_photographs(bench):
    found, rows = figures(bench, honest), rows_of(bench)
    assert found["recall@1"] == found["recall@10"] == rows["real", "recall@1"] == 1
    assert found["kid"] == pytest.approx(rows["real", "kid"], abs=0.01)
    assert found["diversity_rmse"] == pytest.approx(rows["real", "diversity_rmse"], rel=0.05)
    assert found["diversity"] == pytest.approx(rows["real", "diversity"], rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("cheat", ["one photograph for all", "mean colour", "random pixels", "photographs by lot"])
def test_what_a_cheat_gets(bench, cheat):
    photographs = bench.pictures
    lot = torch.from_numpy(np.random.default_rng(0).integers(0, 72, (4, 72)))

    def by_lot(captions, rows, source):
        return photographs[lot[source.initial_seed() % 4]][list(rows)]

    paint = {
        "one photograph for all": one_for_all(photographs[:1]),  # as one that learned a training picture by heart
        "mean colour": one_for_all(photographs.mean((0, 2, 3), keepdim=True).expand(1, 3, SIDE, SIDE)),
        "random pixels": pixel_noise,
        "photographs by lot": by_lot,
    }[cheat]
    found, rows = figures(bench, paint), rows_of(bench)
    assert found["recall@1"] < 0.35 * rows["real", "recall@1"]  # one caption in six says the right colour here
    same, like_photographs = cheat in ("one photograph for all", "mean colour"), cheat == "photographs by lot"
    assert (found["diversity"] < 1e-6) == (found["diversity_rmse"] == 0) == same
    assert (found["kid"] < rows["real", "kid"] + 0.02) == like_photographs
    if not same:
        assert found["diversity_rmse"] > 0.9 * rows["real", "diversity_rmse"]  # diversity alone is no merit


@pytest.mark.slow
def test_one_picture_for_each_caption_fits_and_has_no_diversity(bench):
    found = figures(bench, lambda captions, rows, source: honest(captions, rows, torch.Generator().manual_seed(5)))
    assert found["recall@1"] == 1
    assert found["diversity_rmse"] == 0
    assert found["diversity"] < 1e-6


@pytest.mark.slow
def test_the_rows_to_read_the_figures_by(bench):
    rows = rows_of(bench)
    assert rows["unrelated", "recall@1"] == 0  # of another class: another colour
    assert rows["chance", "recall@1"] == pytest.approx(1 / 61, rel=1e-5)  # 60 captions are of other classes
    assert rows["chance", "recall@10"] == pytest.approx(10 / 61, rel=1e-5)
    assert rows["unrelated", "diversity"] > rows["real", "diversity"] > 0.01
    assert {name for name, _ in rows} == set(generation.GENERATION.reference_names)


def test_the_other_photograph_is_of_the_same_class_and_not_the_same(bench):
    found = generation.mates(bench)
    labels = np.asarray([item.label for item in bench.dataset.items])
    assert (labels[found] == labels[bench.rows]).all()
    assert (found != bench.rows).all()
    assert len(set(found)) == len(found)


def test_without_classes_no_pair_is_made_up(world, judge, tmp_path):
    root = colour_world.build(tmp_path / "bare", each=3)
    notes = root / "metadata.jsonl"
    notes.write_text(notes.read_text().replace('"class"', '"kind"').replace('"a ', '"one '))
    bare = Bench(DataConfig(name="folder", root=str(root), split="all"), size=SIDE, judge=judge, extractor=judge)
    assert (generation.mates(bare) == -1).all()
    rows = rows_of(bare)
    assert ("real", "diversity") not in rows
    assert rows["unrelated", "diversity"] > 0


# Who generates


def test_pictures_depend_on_the_noises_of_their_rows_alone(generator_file):
    contender = ModelContender.open(generator_file)
    captions = ["a red bird", "this is a blue bird", "a green bird"] * 7
    rows = list(range(21))
    whole = contender.generate(captions, rows, number=3, seed=2)
    assert whole.shape == (21, 3, 3, 16, 16)
    assert torch.allclose(contender.generate(captions[18:], rows[18:], number=3, seed=2), whole[18:], atol=1e-6)
    noise, _ = sample_noise(contender.editor.model.generator, 63, seed=2)
    tokens = contender.editor.vocabulary.encode(captions[19:20])
    with torch.no_grad():
        assert torch.allclose(
            contender.editor.model.generator.generate(tokens, noise[19 * 3 + 1 :][:1])[0], whole[19, 1], atol=1e-6
        )
    assert not torch.allclose(contender.generate(captions, rows, number=3, seed=3), whole, atol=1e-3)


@pytest.mark.slow
def test_a_limit_changes_no_picture(world, judge, generator_file):
    whole, part = (Bench(world, size=SIDE, judge=judge, extractor=judge, limit=limit) for limit in (None, 20))
    contender = ModelContender.open(generator_file)
    all_pictures, all_apart = generation.generated(whole, contender)
    pictures, apart = generation.generated(part, contender)
    assert pictures.shape == (20, 3, SIDE, SIDE)  # generated at 16, compared at 32
    assert (pictures - all_pictures[part.rows]).abs().max() < 0.01  # a level at most
    assert np.allclose(apart, all_apart[part.rows], atol=0.01)


@pytest.mark.slow
def test_a_generator_is_measured_by_its_pictures_unless_edits_are_named(world, judge, generator_file, tmp_path):
    options = {"data": world, "judge": judge, "size": SIDE, "limit": 18}
    out = tmp_path / "results.jsonl"
    lines = evaluate([str(generator_file)], **options, out=out)
    assert {line.protocol for line in lines} == {"generation@1"}
    assert {line.model for line in lines} == {"generator", "real", "unrelated", "chance"}  # no trivial editors
    assert {line.metric for line in lines if line.kind == "model"} == {
        *generation.RECALLS, *generation.DIVERSITY, "kid",
    }  # fmt: skip
    assert all(line.extractor == f"eyes:{checkpoint.fingerprint(judge)}" == line.judge for line in lines)
    contender = ModelContender.open(generator_file)
    assert entrants(PROTOCOLS["l2-edit@1"], [contender], named=True) == [contender]


@pytest.mark.slow
def test_a_second_run_generates_nothing(world, judge, generator_file, tmp_path, monkeypatch):
    options = {"data": world, "judge": judge, "size": SIDE, "limit": 18}
    first = evaluate([str(generator_file)], **options, out=tmp_path / "results.jsonl", cache=tmp_path / "cache")

    def never(*args, **kwargs):
        raise AssertionError("generated again")

    monkeypatch.setattr(GeneratorContender, "generate", never)
    key = lambda line: line.key  # noqa: E731
    again = evaluate([str(generator_file)], **options, out=tmp_path / "results.jsonl")
    assert sorted(again, key=key) == sorted(first, key=key)  # from the file
    kept = evaluate([str(generator_file)], **options, cache=tmp_path / "cache")  # pictures from the cache
    assert [line.value for line in kept] == [line.value for line in first]


@pytest.mark.slow
def test_an_editor_among_generators_is_refused_before_anything_is_measured(world, judge, tagrid_file, generator_file):
    options = {"data": world, "judge": judge, "limit": 18}
    with pytest.raises(UserError, match="tagrid edits pictures and generates none") as raised:
        evaluate([str(generator_file), str(tagrid_file)], **options, protocols=["generation@1"])
    assert "\n" not in str(raised.value)
    models = [ModelContender.open(file) for file in (generator_file, tagrid_file)]
    for protocol in PROTOCOLS.values():
        asked = [model.name for model in entrants(protocol, models, named=False)]
        assert asked == {"generator": ["generator"], "editor": ["tagrid"]}.get(protocol.role, [])


@pytest.mark.slow
def test_a_style_encoder_edits_in_batches_and_generates_if_it_is_named(world, judge, tmp_path, monkeypatch):
    model = StyleEncoder(
        StyleEncoderConfig(system="toy_generator", sizes={"image_size": SIDE}, width=4),
        vocabulary_size=len(colour_world.VOCABULARY),
    )
    file = str(checkpoint.save(tmp_path / "style.safetensors", model, vocabulary=colour_world.VOCABULARY))
    assert isinstance(Editor.from_pretrained(file).model, StyleEncoder)
    counts = []
    edit = StyleEncoder.edit
    monkeypatch.setattr(StyleEncoder, "edit", lambda self, image, *rest, **options: counts.append(len(image)) or edit(self, image, *rest, **options))  # fmt: skip  # noqa: E501
    options = {"data": world, "judge": judge, "baselines": False}
    lines = evaluate([file], **options, protocols=["retrieval@1"])
    assert counts == [64, 8]
    assert {line.protocol for line in lines if line.kind == "model"} == {"retrieval@1"}
    assert not entrants(PROTOCOLS["generation@1"], [ModelContender.open(file)], named=False)
    named = evaluate([file], **options, limit=18, protocols=["generation@1"])
    assert {line.metric for line in named if line.model == "style"} >= {"recall@1", "kid", "diversity"}
