"""Laws of `truth@1`: the true picture is perfect, doing nothing is nothing, leaks and swapped colours are seen."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tgim.data.base import Stream, random_source
from tgim.data.config import DataConfig
from tgim.data.synthetic.captions import read_caption
from tgim.data.synthetic.pairs import KINDS, albedos, expose, random_pair, swap_scene
from tgim.data.synthetic.scenes import random_scene
from tgim.errors import UserError
from tgim.evaluation import truth
from tgim.evaluation.part_colours import questions
from tgim.images.photo import from_uint8, to_uint8
from tgim.text.lexicon.synthetic import PARTS

COUNT, SIZE = 16, 48
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def sets():
    return {kind: truth.synthetic_truth(kind, count=COUNT, size=SIZE) for kind in KINDS}


def figures(synthetic, edited):
    return {m.metric: m.figures(seed=0)[0] for m in truth.score_edits(synthetic, edited)}


@pytest.mark.slow
@kinds
def test_the_true_pictures_are_the_ceiling(sets, kind):
    found = figures(sets[kind], sets[kind].true)
    assert found["rmse_inside"] == found["rmse_inside_ratio"] == found["leak_255"] == found["rmse_outside"] == 0
    assert min(found["part_accuracy"], found["part_accuracy_macro"], found["kept_accuracy"]) >= 0.95
    assert truth.score_swaps(sets[kind], *sets[kind].swap_true).values.mean() == 1


@pytest.mark.slow
@kinds
def test_changing_nothing_is_the_floor(sets, kind):
    synthetic = sets[kind]
    found = figures(synthetic, synthetic.pictures)
    assert found["rmse_inside_ratio"] == 1
    assert found["rmse_inside"] > 0.1
    assert found["leak_255"] == found["rmse_outside"] == 0
    assert found["part_accuracy"] < 0.1
    assert found["kept_accuracy"] >= 0.95
    assert truth.score_swaps(synthetic, synthetic.swap_pictures, synthetic.swap_pictures).values.mean() == 0


@pytest.mark.slow
def test_an_edit_that_is_right_inside_but_leaks_is_exposed(sets):
    synthetic = sets["birds"]
    levels = to_uint8(synthetic.true).int()
    leaking = from_uint8(
        (levels + torch.where(levels > 127, -3, 3) * (synthetic.change == 0)[:, None].int()).to(torch.uint8)
    )
    found = figures(synthetic, leaking)
    assert found["rmse_inside"] == 0
    assert found["part_accuracy"] >= 0.95
    assert found["leak_255"] == pytest.approx(3, rel=1e-4)
    assert found["rmse_outside"] == pytest.approx(3 / 127.5, rel=1e-4)


@pytest.mark.slow
def test_one_colour_for_everything_gets_neither_parts_nor_places(sets):
    synthetic = sets["birds"]
    flat = synthetic.pictures.mean((2, 3), keepdim=True).expand_as(synthetic.pictures)
    found = figures(synthetic, flat)
    assert found["part_accuracy"] < 0.3
    assert found["kept_accuracy"] < 0.5
    assert found["leak_255"] > 3


@pytest.mark.slow
def test_half_an_edit_is_half_the_error(sets):
    synthetic = sets["birds"]
    half = (synthetic.pictures + synthetic.true) / 2
    assert figures(synthetic, half)["rmse_inside_ratio"] == pytest.approx(0.5, rel=1e-5)


@pytest.mark.slow
def test_swapped_edits_are_told_apart(sets):
    synthetic = sets["birds"]
    one, other = synthetic.swap_true
    assert truth.score_swaps(synthetic, other, one).values.mean() == 0
    blend = (one + other) / 2
    assert truth.score_swaps(synthetic, blend, blend).values.mean() == 0  # blind to which part is which
    assert truth.score_swaps(synthetic, one, one).values.mean() == 0  # one of the two is not enough


@pytest.mark.slow
@kinds
def test_a_swap_exchanges_the_colours_of_two_parts(sets, kind):
    for first, second in zip(*sets[kind].swap_captions, strict=True):
        one, other = (read_caption(caption, KINDS[kind]) for caption in (first, second))
        assert one.keys() == other.keys()
        assert len(set(one.values())) == 2
        assert set(one.values()) == set(other.values())
        assert all(one[part] != other[part] for part in one)
        words = [[word for word in caption.split() if word not in ("a", "an")] for caption in (first, second)]
        assert sorted(words[0]) == sorted(words[1])


def test_no_swap_where_a_word_is_missing():
    scene = random_scene("bird", np.random.default_rng(0))
    assert swap_scene(scene, np.random.default_rng(0), ["head"]) is None
    assert swap_scene(scene, np.random.default_rng(0), ["head", "crown"]) is None  # one is part of the other


@pytest.mark.slow
@pytest.mark.parametrize("kind", PARTS)
def test_questions_are_about_what_can_be_seen_and_the_truth_answers_them(kind):
    asked = right = 0
    for i in range(8):
        pair = random_pair(kind, np.random.default_rng([7, i]))
        exposed = expose(pair.source, SIZE)
        true, source = (exposed.paint(albedos(scene)) for scene in (pair.target, pair.source))
        for question in questions(pair, SIZE, exposed=exposed):
            asked += 1
            right += question.answer(true) == question.word
            assert question.part in exposed.parts
            if question.changed:
                assert question.part in read_caption(pair.target_caption, kind)
            else:
                before, after = (picture.reshape(-1, 3)[question.pixels].astype(float) for picture in (source, true))
                assert np.abs(before - after).mean() < 12  # at its rim a part mixes with its neighbours
    assert asked > 20
    assert right / asked >= 0.95


@pytest.mark.slow
def test_the_answer_follows_the_paint_whatever_the_light(sets):
    pair = random_pair("bird", np.random.default_rng([7, 2]))
    exposed = expose(pair.source, SIZE)
    part = next(q.part for q in questions(pair, SIZE) if not q.changed)
    question = next(q for q in questions(pair, SIZE) if q.part == part)
    for word in ("red", "white", "black", "blue", "yellow", "brown"):
        assert question.answer(exposed.paint(albedos(pair.target.repaint({part: word})))) == word


@pytest.mark.slow
def test_equal_arguments_give_equal_pictures_of_a_stream_of_their_own(sets):
    synthetic = sets["birds"]
    again = truth.synthetic_truth.__wrapped__("birds", count=4, size=SIZE)
    assert torch.equal(again.pictures, synthetic.pictures[:4])
    assert again.captions == synthetic.captions[:4]
    assert again.swap_captions[0] == synthetic.swap_captions[0][:2]
    other = truth.synthetic_truth.__wrapped__("birds", count=4, size=SIZE, seed=1)
    assert not torch.equal(again.pictures, other.pictures)
    assert Stream.TRUTH != Stream.POOL
    trained = random_pair("bird", random_source(0, Stream.POOL, 0))
    assert trained.source.pose != random_pair("bird", random_source(0, Stream.TRUTH, 0)).source.pose
    with pytest.raises(UserError, match="expected 2 or more"):
        truth.synthetic_truth("birds", count=1)


def bench_of(name="cub", **options):
    def edits(contender, captions, strength=1.0, *, pictures=None):
        return contender.edit(pictures, captions, range(len(captions)), strength)

    return SimpleNamespace(
        data=DataConfig(name=name, root=".", **options) if name != "synthetic" else DataConfig(name=name, **options),
        limit=COUNT, size=SIZE, seed=0, edits=edits,
    )  # fmt: skip


def contender(edit, *, replaces=False):
    return SimpleNamespace(name="x", kind="model", checkpoint=None, has_strength=False, replaces=replaces, edit=edit)


@pytest.mark.slow
def test_the_protocol_yields_all_its_metrics_for_contenders_and_references(sets):
    bench = bench_of()
    rows = list(truth.measure(bench, contender(lambda pictures, *_: pictures)))
    assert set(truth.METRICS) <= {m.metric for m in rows}
    assert all(m.strength == 1 and m.options["drawn"].startswith("birds:") for m in rows)
    rows = list(truth.references(bench))
    for name in truth.TRUTH.reference_names:
        assert set(truth.METRICS) <= {m.metric for row, m in rows if row == name}
    same = [m.figures(seed=0) for m in truth.measure(bench, contender(lambda pictures, *_: pictures))]
    assert same == [m.figures(seed=0) for row, m in rows if row == "unedited"]


@pytest.mark.slow
def test_the_kind_of_pictures_follows_the_data_set(sets):
    assert truth.truth_for(bench_of()).kind == "birds"
    assert truth.truth_for(bench_of("oxford102")).kind == "flowers"
    assert truth.truth_for(bench_of("synthetic", drawn_kind="flowers")).kind == "flowers"


@pytest.mark.slow
def test_the_unrelated_baseline_shows_another_picture(sets):
    rows = truth.measure(bench_of(), contender(None, replaces=True))
    assert {m.metric: m.figures(seed=0)[0] for m in rows}["leak_255"] > 10
