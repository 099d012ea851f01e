"""Laws of the evaluation: what the task is, what each figure means, and that nobody wins by a trick."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from support import colour_world
from support.colour_world import WORDS, Eyes, EyesConfig, Honest
from support.small import SIZES
from tgim.checkpoints import checkpoint, registry
from tgim.data import open_dataset
from tgim.data.config import DataConfig
from tgim.errors import DataError, UserError
from tgim.evaluation import PROTOCOLS, Measured, evaluate
from tgim.evaluation.baselines import COLOUR_WORDS, baselines, colour_of
from tgim.evaluation.bench import Bench
from tgim.evaluation.records import interval
from tgim.evaluation.task import choose_targets, choose_task, content_hash, frozen_targets, in_order
from tgim.evaluation.tradeoff import area
from tgim.nn.resize import resize


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return DataConfig(name="folder", root=str(colour_world.build(tmp_path_factory.mktemp("world"))), split="all")


@pytest.fixture
def judge(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.SYSTEMS, "eyes", Eyes)

    def save(**config):
        model = Eyes(EyesConfig(**config), vocabulary_size=len(colour_world.VOCABULARY))
        return str(checkpoint.save(tmp_path / "eyes.safetensors", model, vocabulary=colour_world.VOCABULARY))

    return save


def bench_of(world, **options):
    return Bench(world, size=colour_world.SIDE, **options)


def figures(protocol, bench, contender):
    """(metric, strength) -> value."""
    found = PROTOCOLS[protocol].measure(bench, contender)
    return {(figure.metric, figure.strength): figure.figures(seed=0)[0] for figure in found}


# The task


def test_the_task_does_not_depend_on_the_order_of_the_files(world):
    dataset = open_dataset(world)
    mixed = replace(dataset, items=tuple(random.Random(3).sample(dataset.items, len(dataset))))
    first, second = (choose_task(in_order(each), split="all", seed=4) for each in (dataset, mixed))
    assert first.target == second.target
    assert first.captions == second.captions
    assert np.array_equal(first.target_wrong, second.target_wrong)
    assert first.target != choose_task(in_order(dataset), split="all", seed=5).target


def test_targets_are_of_another_class_and_wrong_captions_are_wrong(world):
    dataset = in_order(open_dataset(world))
    task = choose_task(dataset, split="all", seed=0)
    labels = np.asarray([item.label for item in dataset.items])
    assert (labels[task.targets] != labels[task.rows]).all()
    for row, wrong in zip(task.rows, task.own_wrong, strict=True):
        assert labels[row] not in labels[wrong]
        assert len(set(wrong)) == len(wrong) == 20
    for row, said, wrong in zip(task.targets, task.target, task.target_wrong, strict=True):
        assert said in dataset.items[row].captions
        assert labels[row] not in labels[wrong]
        assert len(set(wrong)) == len(wrong)


def test_a_limit_chooses_pictures_and_changes_nothing_else(world):
    dataset = in_order(open_dataset(world))
    whole, part = (choose_task(dataset, split="all", seed=0, limit=limit) for limit in (None, 7))
    assert len(part.rows) == 7
    for i, row in enumerate(part.rows):
        assert part.target[i] == whole.target[row]
        assert np.array_equal(part.target_wrong[i], whole.target_wrong[row])


def test_pictures_without_a_class_count_as_one_each_as_do_those_of_a_single_class(world):
    dataset = in_order(open_dataset(world))
    bare = replace(dataset, items=tuple(replace(item, label=None) for item in dataset.items))
    task = choose_task(bare, split="all", seed=0)
    assert (task.targets != task.rows).all()
    assert task.own_wrong.shape[1] > 0
    same = replace(dataset, items=tuple(replace(item, label="bird") for item in dataset.items))
    task = choose_task(same, split="all", seed=0)
    assert "of one class" in task.note
    assert (task.targets != task.rows).all()
    with pytest.raises(DataError, match="has 1 picture"):
        choose_task(replace(dataset, items=dataset.items[:1]), split="all", seed=0)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("name", "count"), [("cub", 987), ("oxford102", 1065)])
def test_the_kept_target_lists_are_what_the_rule_chooses(name, count):
    dataset = in_order(open_dataset(DataConfig(name=name, split="test")))
    kept = frozen_targets(name, split="test", seed=0)
    assert len(kept) == len(dataset) == count
    assert kept == choose_targets(dataset, seed=0)


@pytest.mark.parametrize("same", [True, False])
def test_a_kept_list_holds_for_exactly_its_pictures(world, monkeypatch, same):
    dataset = in_order(open_dataset(world))
    chosen = choose_targets(dataset, seed=0)
    other = {name: (chosen[target][0], 0) for name, (target, _) in chosen.items()}
    if not same:
        other.popitem()
    monkeypatch.setattr("tgim.evaluation.task.frozen_targets", lambda *args, **options: other)
    task = choose_task(dataset, split="all", seed=0)
    names = [f"images/{item.path.name}" for item in dataset.items]
    expected = other if same else chosen
    assert [names[row] for row in task.targets] == [expected[name][0] for name in names]


def test_the_content_is_told_by_names_bytes_and_captions(tmp_path):
    root = colour_world.build(tmp_path / "set", each=1)

    def content():
        data = in_order(open_dataset(DataConfig(name="folder", root=str(root), split="all")))
        return content_hash(data, fit="squash", folder=tmp_path / "cache")

    first = content()
    assert first == content()
    assert len(first) == 16
    text = (root / "metadata.jsonl").read_text()
    (root / "metadata.jsonl").write_text(text.replace("a red bird", "a pink bird", 1))
    second = content()
    with (root / "images" / "blue0.png").open("ab") as file:
        file.write(b"x")
    assert len({first, second, content()}) == 3


# Figures


def test_the_interval_is_that_of_a_mean(world):
    values = (np.arange(400) < 100).astype(float)
    value, low, high = interval(values, seed=0)
    assert value == 0.25
    assert low == pytest.approx(0.25 - 0.0424, abs=0.006)
    assert high == pytest.approx(0.25 + 0.0424, abs=0.006)
    assert interval(values, seed=0) == (value, low, high) != interval(values, seed=1)


def test_the_area_by_hand():
    floor = area(np.zeros((1, 4)), np.full((1, 5), 0.2))
    assert floor == pytest.approx(0.2)  # who changes nothing has the floor everywhere
    late = area(np.array([[0.5, 1.0]]), np.array([[0.0, 1.0, 1.0]]))
    assert late == pytest.approx(0.25)  # half way up at 0.25, so a quarter in the mean
    falling = area(np.array([[0.125, 0.25]]), np.array([[0.0, 1.0, 0.0]]))
    assert falling == pytest.approx(0.75)  # a weaker edit may always be chosen
    mixed = area(np.array([[0.25, 0.125]]), np.array([[0.0, 0.0, 1.0]]))
    assert mixed == pytest.approx(0.75)  # the order of strengths is no matter


@pytest.mark.slow
def test_reference_rows_bound_the_table(world, judge):
    bench = bench_of(world, judge=judge())
    rows = {(name, f.metric): f for name, f in PROTOCOLS["retrieval@1"].references(bench)}
    assert rows["real", "recall@1"].figures(seed=0)[0] == 1
    assert rows["unedited", "recall@1"].figures(seed=0)[0] == 0
    assert rows["chance", "recall@5"].figures(seed=0) == pytest.approx((5 / 21,) * 3, rel=1e-5)
    assert rows["chance", "recall@1"].options == {"candidates": 21}  # fewer than 100, and the line says so


def test_who_ties_has_lost(world, judge):
    bench = bench_of(world, judge=judge(blind=True))  # it scores all alike
    for contender in baselines(bench):
        found = figures("retrieval@1", bench, contender)
        assert found["recall@1", 1.0] == found["recall@10", 1.0] == 0
        assert figures("directional@1", bench, contender)["directional", 1.0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dual_encoder", "late_interaction"])
def test_a_picture_fits_by_the_judges_own_score(world, tmp_path, name):
    torch.manual_seed(0)
    system = registry.find_model(name)
    model = system(system.Config(**SIZES[name]), vocabulary_size=len(colour_world.VOCABULARY))
    file = checkpoint.save(tmp_path / "judge.safetensors", model, vocabulary=colour_world.VOCABULARY)
    bench = bench_of(world, judge=str(file))
    found = bench.fits(bench.pictures, bench.target, bench.task.target_wrong)
    assert found.shape == (len(bench), 1 + bench.task.target_wrong.shape[1])
    model.eval()
    with torch.no_grad():
        for i in (0, len(bench) - 1):
            texts = [bench.target[i], *(bench.task.captions[row] for row in bench.task.target_wrong[i])]
            seen = model.read_images(resize(bench.pictures[i : i + 1], (model.image_size,) * 2))
            slow = [
                float(model.scores(seen, model.read_captions(colour_world.VOCABULARY.encode([text])))) for text in texts
            ]
            np.testing.assert_allclose(found[i], slow, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dual_encoder", "late_interaction"])
def test_recall_of_a_matching_model_both_ways(world, tmp_path, name):
    torch.manual_seed(0)
    system = registry.find_model(name)
    model = system(system.Config(**SIZES[name]), vocabulary_size=len(colour_world.VOCABULARY)).eval()
    file = checkpoint.save(tmp_path / "matcher.safetensors", model, vocabulary=colour_world.VOCABULARY)
    options = {"data": world, "protocols": ["matching"], "limit": 9, "out": tmp_path / "found.jsonl"}
    lines = evaluate([file], **options)
    bench = Bench(world, size=model.image_size, judge=str(file), limit=9)
    with torch.no_grad():
        seen = model.read_images(bench.images(np.arange(len(bench.dataset))))
        said = model.read_captions(colour_world.VOCABULARY.encode(bench.task.captions))
        table = model.scores(seen, said)
    for way, scores in (("image to text", table), ("text to image", table.T)):
        for depth in (1, 5, 10):
            hits = [
                int((scores[row, list(wrong)] >= scores[row, row]).sum()) < depth
                for row, wrong in zip(bench.rows, bench.task.own_wrong, strict=True)
            ]
            found = [line.value for line in lines if line.metric == f"{way} recall@{depth}"]
            assert found == [pytest.approx(np.mean(hits), abs=1e-5)]
    assert evaluate([file], **options) == lines


@pytest.mark.slow
def test_no_trick_beats_an_honest_edit(world, judge):
    bench = bench_of(world, judge=judge())
    contenders = {each.name: each for each in [Honest(), *baselines(bench)]}
    recall = {name: figures("retrieval@1", bench, each)["recall@1", 1.0] for name, each in contenders.items()}
    curve = {name: figures("tradeoff@1", bench, each) for name, each in contenders.items()}
    mp = {name: figures("mp@1", bench, each)["mp", 1.0] for name, each in contenders.items()}
    assert recall["identity"] == 0
    assert recall["honest"] == recall["unrelated"] == 1
    assert recall["colour_shift"] > recall["identity"]
    assert curve["identity"]["rmse", 1.0] == curve["identity"]["area", None] == 0
    assert curve["unrelated"]["rmse", 1.0] > 0.5
    best = curve["honest"]["area", None]
    assert best > 0.3
    assert all(best > 2 * curve[name]["area", None] for name in contenders if name != "honest")
    assert mp["honest"] == max(mp.values())
    assert curve["colour_shift"]["area", None] > curve["identity"]["area", None]
    directional = figures("directional@1", bench, contenders["honest"])["directional", 1.0]
    assert directional > 0.9
    assert figures("directional@1", bench, contenders["identity"])["directional", 1.0] == 0


def test_errors_under_own_captions_are_means_over_captions_then_pictures(world):
    class Counting(Honest):
        """Moves every value by 0.2 under short captions, by 0.4 under long ones."""

        def edit(self, pictures, captions, rows, strength):
            step = torch.tensor([0.2 if len(caption.split()) == 3 else 0.4 for caption in captions])
            assert torch.equal(pictures, bench.pictures[list(rows)])
            return pictures - step[:, None, None, None] * pictures.sign()

    bench = bench_of(world)
    found = figures("l2-own-caption@1", bench, Counting())
    assert found["rmse", 1.0] == pytest.approx(0.3, rel=1e-4)
    assert found["mse", 1.0] == pytest.approx((0.04 + 0.16) / 2, rel=1e-4)
    assert found["rmse_unit", 1.0] == pytest.approx(0.15, rel=1e-4)
    assert found["mse_unit", 1.0] == pytest.approx(0.025, rel=1e-4)
    assert set(figures("l2-own-caption@1", bench, baselines(bench)[0]).values()) == {0}


def test_the_photograph_of_the_target_caption_is_handed_over(world):
    bench = bench_of(world, limit=9)
    unrelated = {each.name: each for each in baselines(bench)}["unrelated"]
    edited = bench.edits(unrelated, bench.target)
    labels = [item.label for item in bench.dataset.items]
    for i, caption in enumerate(bench.target):
        assert labels[bench.targets[i]] in caption
        assert torch.equal(edited[i], bench.images(bench.targets[[i]])[0])


def test_every_colour_word_has_a_colour_and_a_caption_without_one_changes_nothing(world):
    assert all(0 <= value <= 1 for word in COLOUR_WORDS for value in colour_of(word))
    bench = bench_of(world)
    shift = {each.name: each for each in baselines(bench)}["colour_shift"]
    pictures = bench.pictures[:2]
    edited = shift.edit(pictures, ["a small bird", "a vivid blue bird"], [0, 1], 1.0)
    assert torch.equal(edited[0], pictures[0])
    change = (edited[1] - pictures[1])[:, ~torch.isnan(pictures[1][0])]
    inside = (pictures[1].abs() < 0.3).all(0).flatten()
    spread = change[:, inside].std(1)
    assert (spread < 0.01).all()  # all pixels alike
    assert edited[1].mean((1, 2)).argmax() == 2  # towards blue


def test_a_baseline_is_weakened_by_blending(world):
    bench = bench_of(world)
    full, half = (bench.edits(Honest(), bench.target, strength) for strength in (1.0, 0.5))
    assert ((half - (full + bench.pictures) / 2).abs() <= 1.01 / 255).all()
    assert torch.equal(bench.edits(Honest(), bench.target, 0.0), bench.pictures)


# What is refused


@pytest.mark.slow
def test_what_cannot_be_measured_is_said_in_one_line(world, tagrid_file, tmp_path):
    with pytest.raises(UserError, match="which edits; name a matching model"):
        bench_of(world, judge=str(tagrid_file))
    with pytest.raises(UserError, match="needs a judge"):
        bench_of(world).captions(["a red bird"])
    with pytest.raises(UserError, match="limit is 1"):
        bench_of(world, limit=1)
    with pytest.raises(UserError, match="size is 8"):
        Bench(world, size=8)
    with pytest.raises(DataError):
        Bench(world.model_copy(update={"root": str(tmp_path / "nowhere")}), size=32)
    with pytest.raises(ValueError, match="without values"):
        Measured("rmse").figures(seed=0)


def test_an_unreadable_picture_is_left_out(tmp_path):
    root = colour_world.build(tmp_path / "set", each=2)
    (root / "images" / "red0.png").write_bytes(b"not a picture")
    bench = bench_of(DataConfig(name="folder", root=str(root), split="all"))
    assert len(bench) == 2 * len(WORDS) - 1
    assert "red0.png" not in {item.path.name for item in bench.dataset.items}
    assert bench.pictures.shape == (len(bench), 3, 32, 32)
    assert (bench.pictures.std((1, 2, 3)) > 0.1).all()


@pytest.mark.slow
def test_synthetic_pictures_are_a_data_set_too():
    data = DataConfig(name="synthetic", split="test", image_size=32, drawn_pool=100)
    bench = Bench(data, size=32, limit=4)
    assert len(bench) == 4
    assert len(bench.dataset) == 10
    assert json.dumps(bench.content)
    assert all(value > 0 for value in figures("l2-edit@1", bench, baselines(bench)[1]).values())
