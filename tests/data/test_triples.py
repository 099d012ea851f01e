"""Laws of the drawn triples: what the text says is what changes and all that does; groups, streams and the cache."""

from __future__ import annotations

import numpy as np
import pytest

from tgim.data.config import DataConfig
from tgim.data.differences import Differences, attributes
from tgim.data.loader import Batches, open_pool, vocabulary_of
from tgim.data.synthetic import triples
from tgim.data.synthetic.pairs import KINDS, albedos, expose, render
from tgim.data.synthetic.pool import PoolSpec
from tgim.data.synthetic.scenes import COLOURS, random_scene, split_colour
from tgim.data.synthetic.triples import (
    CHANGES,
    GROUP,
    SMALL,
    TriplePool,
    plainly_differ,
    random_view,
    render_group,
    triples_of,
)
from tgim.errors import DataError
from tgim.text.lexicon.synthetic import PATTERNS, UNDER, WORDS
from tgim.text.phrases import phrases
from tgim.text.vocabulary import tokenize

SIZE = 48


def many_wishes():
    """Triples of many sources of both kinds; nothing is drawn."""
    for kind in KINDS.values():
        for seed in range(60):
            rng = np.random.default_rng([3, seed])
            yield from (triple for triple, _ in zip(triples_of(random_view(kind, rng), rng), range(8), strict=False))


def open_flowers(folder, *, count, split="train"):
    return TriplePool.open(PoolSpec(kind="flowers", count=count, size=SIZE, split=split), folder=folder)


@pytest.fixture(scope="module", params=KINDS)
def groups(request):
    return [render_group(request.param, np.random.default_rng([4, i]), SIZE) for i in range(3)]


def colours(view):
    return dict(view.scene.colours)


def changed_parts(triple):
    before, after = colours(triple.source), colours(triple.target)
    return {part for part in before if before[part] != after[part]}


@pytest.mark.slow
def test_the_kind_of_change_is_the_only_change():
    seen = set()
    for triple in many_wishes():
        source, target = triple.source, triple.target
        before, after, parts = colours(source), colours(target), changed_parts(triple)
        assert target.scene.repaint(before) == source.scene  # nothing but colours, if anything
        if triple.change == "size":
            assert not parts
            assert {source.scale, target.scale} == {1.0, SMALL}
            continue
        assert source.scale == target.scale
        was_there, is_there = ({part: bool(each[part]) for part in parts} for each in (before, after))
        if triple.change == "colour":
            assert parts
            assert all(was_there.values())
            assert all(is_there.values())
            assert len({after[part] for part in parts}) == 1
        else:
            (part,) = parts
            assert part in PATTERNS
            assert (was_there[part], is_there[part]) == (triple.change == "remove", triple.change == "add")
        seen.add(triple.change)
    assert seen == {"colour", "add", "remove"}


@pytest.mark.slow
def test_the_text_names_what_changes():
    for triple in many_wishes():
        words, kind = set(tokenize(triple.text)), triple.source.scene.kind
        if triple.change == "size":
            larger = triple.target.scale > triple.source.scale
            assert words & ({"larger", "bigger"} if larger else {"smaller"})
            continue
        assert not words & {"larger", "bigger", "smaller"}
        parts = changed_parts(triple)
        named = [part for word in words for part in WORDS[kind].get(word, ()) if word not in ("bird", "flower")]
        spoken = {part for part, said in (("stamen", {"stamens", "anthers"}),) if words & said}
        assert parts <= {*named, *spoken}, triple.text
        said = {word for word in words if word in COLOURS}
        if triple.change == "remove":
            assert not said
            continue
        (new,) = {colours(triple.target)[part] for part in parts}
        assert said == {split_colour(new)[1]}
        assert set(new.split()) <= words
        assert {split_colour(colours(triple.target)[part])[1] for part in named} == said  # true of all that is named


@pytest.mark.slow
def test_pixels_change_where_the_text_says_alone(groups):
    for group in groups:
        for triple, target in zip(group.triples, group.targets, strict=True):
            if triple.change == "size":
                continue
            exposed = expose(triple.source.scene, SIZE, scale=triple.source.scale)
            parts = changed_parts(triple)
            parts |= {absent for absent, under in UNDER.items() if under in parts}  # it shows what lies under it
            touched = sum(mask for part, mask in exposed.parts.items() if part in parts)
            untouched = np.asarray(touched) == 0
            assert (group.image == target)[untouched].all()
            assert (group.image != target).any()


@pytest.mark.slow
def test_pictures_are_those_of_their_scenes(groups):
    group = groups[0]
    for triple, target in zip(group.triples, group.targets, strict=True):
        exposed = expose(triple.target.scene, SIZE, scale=triple.target.scale)
        assert (exposed.paint(albedos(triple.target.scene)) == target).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values())
def test_scale_sizes_the_subject_and_leaves_the_backdrop(kind):
    ratios, same = [], []
    for seed in range(4):
        scene = random_scene(kind, np.random.default_rng([9, seed]))
        full, small = expose(scene, SIZE), expose(scene, SIZE, scale=SMALL)
        assert (full.paint(albedos(scene)) == render(scene, SIZE).image).all()
        ratios.append(small.subject.sum() / full.subject.sum())
        free = np.maximum(full.subject, small.subject) == 0
        equal = (full.paint(albedos(scene)) == small.paint(albedos(scene))).all(-1)
        same.append(equal[free].mean())
    assert all(0.6 * SMALL**2 < ratio < 1.6 * SMALL**2 for ratio in ratios), ratios
    assert min(same) > 0.5, same  # scenery that the subject sits on moves along, the rest does not


def test_a_group_shares_its_source_and_differs_plainly(groups):
    for group in groups:
        assert len(group.triples) == len(group.targets) == GROUP
        assert len({triple.source for triple in group.triples}) == 1
        pictures = [group.image, *group.targets]
        assert all(plainly_differ(pictures[i], pictures[j]) for i in range(GROUP + 1) for j in range(i))


@pytest.mark.slow
def test_a_pool_is_drawn_once_and_streams_are_apart(tmp_path, monkeypatch):
    calls = []
    real = triples.render_group
    monkeypatch.setattr(triples, "render_group", lambda *args: calls.append(args) or real(*args))
    triples.triples_hash("flowers")
    calls.clear()
    first = open_flowers(tmp_path, count=15)
    assert len(first) == len(first.changes) == len(first.pixels) == 12  # whole groups
    assert len(calls) == 2
    again = open_flowers(tmp_path, count=15, split="trainval")
    assert len(calls) == 2
    assert (first.pixels == again.pixels).all()
    assert first.target_captions == again.target_captions
    test = open_flowers(tmp_path, count=12, split="test")
    assert len(calls) == 4
    train_sources = {row.tobytes() for row in first.pixels[..., :3]}
    assert len(train_sources) == 2
    assert not train_sources & {row.tobytes() for row in test.pixels[..., :3]}
    assert set(first.changes) <= set(CHANGES)
    assert first.pixels.shape == (12, SIZE, SIZE, 8)
    differs = (first.pixels[..., :3] != first.pixels[..., 3:6]).any(-1)
    assert (differs == (first.pixels[..., 6] == 255)).all()
    with pytest.raises(DataError, match="no split 'all'"):
        open_flowers(tmp_path, count=12, split="all")


@pytest.mark.slow
def test_batches_hold_whole_groups_of_triples(tmp_path):
    from tgim.data import open_dataset

    config = DataConfig(
        name="synthetic", image_size=SIZE, drawn=8, drawn_task="changes", drawn_kind="flowers", drawn_pool=20
    )
    dataset = open_dataset(config, cache=tmp_path)
    vocabulary = vocabulary_of(dataset, config, cache=tmp_path)
    pool = open_pool(config, tmp_path)
    assert isinstance(pool, TriplePool)
    drawn = Batches(dataset, config, batch_size=2, vocabulary=vocabulary, cache=tmp_path).batch(0).synthetic
    assert drawn.image.shape == drawn.target.shape == (8, 3, SIZE, SIZE)
    assert bool((drawn.image[:GROUP] == drawn.image[:1]).all())
    assert not bool((drawn.image[GROUP:] == drawn.image[:1]).flatten(1).all(1).any())
    texts = {tuple(vocabulary.ids(text)) for text in pool.target_captions}
    for ids, mask in zip(drawn.target_text.ids, drawn.target_text.mask, strict=True):
        assert tuple(ids[mask].tolist()) in texts


CAPTIONS = [
    ["a red bird with a black beak", "this bird has a crimson head and a white belly"],
    ["a brown bird with a black bill", "this bird has brown wings and a white belly"],
    ["this bird has a white belly and a yellow beak"],
    ["a bird that sits on a twig"],
]


def told(captions):
    return {pair for caption in captions for phrase in phrases(caption) for pair in attributes(phrase)}


def test_a_text_tells_what_a_caption_says_and_no_caption_of_the_source():
    table, texts = Differences(CAPTIONS), set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        source, text = table.sample(0, rng)
        assert source != 0
        said = told([text])
        assert said
        assert any(said <= told([caption]) for caption in CAPTIONS[0])
        assert not said & told(CAPTIONS[source])
        assert table.sample(0, np.random.default_rng(seed)) == (source, text)
        texts.add(text)
    assert any("red" in text and "beak" not in text for text in texts)  # the sources have that beak
    assert any("crimson head" in text and "belly" not in text for text in texts)


def test_the_source_is_the_one_whose_captions_are_most_alike():
    assert {Differences(CAPTIONS).sample(0, np.random.default_rng(seed)).source for seed in range(20)} == {1}
    table = Differences(CAPTIONS, rows=np.array([0, 2, 3]))  # the picture of row 1 cannot be read
    assert {table.sample(0, np.random.default_rng(seed)).source for seed in range(20)} == {2}


def test_where_no_caption_tells_of_a_difference_the_picture_leads_to_itself():
    assert Differences(CAPTIONS).sample(3, np.random.default_rng(0)) == (3, CAPTIONS[3][0])
    alike = [["a red bird"], ["a red bird"]]
    assert Differences(alike).sample(1, np.random.default_rng(0)) == (1, "a red bird")


@pytest.mark.slow
def test_batches_lead_from_other_pictures_to_their_own(tmp_path):
    from tgim.data import open_dataset

    config = DataConfig(name="synthetic", image_size=SIZE, drawn_pool=30, changes=True, flip=True)
    dataset = open_dataset(config, cache=tmp_path)
    vocabulary = vocabulary_of(dataset, config, cache=tmp_path)
    assert {"but", "instead"} <= set(vocabulary.words)
    batches = Batches(dataset, config, batch_size=6, vocabulary=vocabulary, cache=tmp_path)
    batch, again = batches.batch(1), batches.batch(1)
    assert batch.source.shape == batch.image.shape
    assert (batch.source != batch.image).flatten(1).any(1).all()
    assert len(batch.change.ids) == 6
    assert (batch.source == again.source).all()
    assert (batch.change.ids == again.change.ids).all()
    plain = Batches(
        dataset, config.with_section("captions", changes=False), batch_size=6, vocabulary=vocabulary, cache=tmp_path
    )
    assert (plain.batch(1).image == batch.image).all()
    assert plain.batch(1).source is None


def test_what_cannot_be_seen_is_refused(monkeypatch):
    monkeypatch.setattr(triples, "TRIES", 1)
    monkeypatch.setattr(triples, "LEAST", 0.99)
    with pytest.raises(DataError, match="48 pixels or more"):
        render_group("flowers", np.random.default_rng(0), 16)
