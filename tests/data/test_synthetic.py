"""Laws of the drawn set: what is asked for changes, nothing else does, and every caption is true."""

import time

import numpy as np
import pytest
from skimage.color import rgb2lab

from tgim.data.synthetic.pairs import (
    KINDS,
    Pair,
    apply_caption,
    caption_of,
    edit_scene,
    random_pair,
    random_scene,
    read_caption,
    render,
    render_pair,
    render_pairs,
    sample_picture,
)
from tgim.data.synthetic.scenes import COLOURS, PALETTES, shade, split_colour
from tgim.errors import DataError
from tgim.text.lexicon.synthetic import MODIFIED, PARTS, PATTERNS
from tgim.text.vocabulary import tokenize

kinds = pytest.mark.parametrize("kind", PARTS)

WHITE = dict.fromkeys(["crown", "face", "nape", "throat", "breast", "belly", "back", "wings"], "white") | {
    "wingbars": ""
}


def scenes(kind, n, start=0):
    return [random_scene(kind, np.random.default_rng([start, i])) for i in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_outside_the_change_mask_source_and_target_are_equal(kind):
    pairs = render_pairs(kind, np.random.default_rng(1), 40, 48)
    outside = pairs.change == 0
    assert (pairs.image[outside] == pairs.target[outside]).all()
    for image, target, change in zip(pairs.image, pairs.target, pairs.change, strict=True):
        assert bool((image != target).any()) <= bool(change.any())
    assert 0.05 < np.mean([not change.any() for change in pairs.change]) < 0.5
    assert (pairs.change <= pairs.subject.astype(int) + 3).all()  # both are sums of the same shares


@pytest.mark.slow
@kinds
def test_mask_is_empty_exactly_when_no_visible_part_differs(kind):
    for i in range(25):
        pair = random_pair(kind, np.random.default_rng([2, i]))
        source, target, change = render_pair(pair, 48)
        if pair.source == pair.target:
            assert not change.any()
            assert (source.image == target).all()
        if (change > 0.5).sum() > 3:
            assert (source.image != target).any()
        assert ((change >= 0) & (change <= 1)).all()


@kinds
def test_target_equals_the_target_scene_drawn_alone(kind):
    pair = random_pair(kind, np.random.default_rng(8))
    assert (render_pair(pair, 40)[1] == render(pair.target, 40).image).all()


@pytest.mark.slow
@kinds
def test_a_caption_is_true_of_its_picture(kind):
    rng = np.random.default_rng(3)
    for scene in scenes(kind, 300):
        caption = caption_of(scene, rng)
        stated = read_caption(caption, kind)
        assert stated, caption
        assert apply_caption(scene, caption) == scene, (caption, scene)
        for part, colour in stated.items():
            assert not colour or split_colour(scene.colour(part))[1] == split_colour(colour)[1], caption
        words = set(tokenize(caption))
        if words & {"beak", "bill", "petals"}:
            assert not words & ({"short", "long", "round", "pointed"} - {scene.shape, "pointed"}), caption
        assert not words & ({"small", "large"} - {scene.size}), caption


@pytest.mark.slow
@kinds
def test_a_target_caption_is_true_of_its_target(kind):
    rng = np.random.default_rng(4)
    changed = 0
    for source in scenes(kind, 300):
        caption, target = edit_scene(source, rng)
        stated = read_caption(caption, kind)
        assert stated, caption
        assert apply_caption(source, caption) == target == apply_caption(target, caption)
        for part in PARTS[kind]:
            if part not in stated:
                assert target.colour(part) == source.colour(part), (caption, part)
        assert target.repaint(dict(source.colours)) == source  # nothing but colours
        changed += target != source
    assert changed > 200


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("this bird has a red head and breast", dict.fromkeys(("crown", "face", "nape", "throat", "breast"), "red")),
        ("the head of this bird is grey", dict.fromkeys(("crown", "face", "nape", "throat"), "gray")),
        ("its wings and tail are dark blue", {"wings": "dark blue", "tail": "dark blue"}),
        ("the bird is white and it has a red tail and its feet are pink", {"tail": "red", "feet": "pink"} | WHITE),
        ("black wings with white wingbars", {"wings": "black", "wingbars": "white"}),
        ("a bird with a short pointed bill", {}),
    ],
)  # fmt: skip
def test_captions_are_read(caption, expected):
    assert read_caption(caption, "bird") == expected


def test_finer_words_win_whatever_their_order():
    stated = read_caption("this white bird has a red crown and a black head", "bird")
    assert (stated["crown"], stated["face"], stated["belly"], stated["wingbars"]) == ("red", "black", "white", "")


def test_flower_captions_are_read():
    expected = {"petals": "purple", "stamen": "yellow"}
    assert read_caption("this flower has petals that are violet with yellow stamens", "flower") == expected
    assert read_caption("a white flower with pink edges", "flower") == {"petals": "white", "edges": "pink"}


def test_a_colour_is_nearest_to_its_own_word():
    centres = np.array([rgb2lab(np.array(shade(word))[None, None])[0, 0] for word in COLOURS])
    rng = np.random.default_rng(5)
    for i, word in enumerate(COLOURS):
        samples = rgb2lab(np.array([shade(word, at) for at in rng.random((200, 3))])[:, None])[:, 0]
        nearest = np.linalg.norm(samples[:, None] - centres, axis=-1).argmin(1)
        assert (nearest == i).mean() > 0.97, word


@pytest.mark.slow
def test_drawn_parts_look_like_their_word():
    """Light and texture move a colour, but in most pictures the mean over a part is still nearest to its word."""
    centres = np.array([rgb2lab(np.array(shade(word))[None, None])[0, 0] for word in COLOURS])
    right = []
    for i, word in enumerate(list(COLOURS) * 4):
        scene = apply_caption(random_scene("bird", np.random.default_rng([6, i])), f"a {word} bird")
        rendering = render(scene, 64)
        pure = rendering.parts["breast"] + rendering.parts["belly"] + rendering.parts["wings"] > 0.98
        mean = rgb2lab(rendering.image[pure].mean(0)[None, None] / 255)[0, 0]
        distance = np.linalg.norm((mean - centres) * (0.6, 1, 1), axis=-1)  # exposure moves lightness most
        right.append(list(COLOURS)[int(distance.argmin())] == word)
    assert np.mean(right) > 0.7


def test_every_palette_word_is_a_colour():
    for palette in PALETTES.values():
        for word in palette:
            assert split_colour(word)[1] in COLOURS
    for modifier, bases in MODIFIED.items():
        assert all(split_colour(f"{modifier} {base}") == (modifier, base) for base in bases)


@kinds
def test_parts_add_up_to_the_subject(kind):
    for scene in scenes(kind, 6, start=9):
        rendering = render(scene, 56)
        assert all(not (pattern in rendering.parts and not scene.colour(pattern)) for pattern in PATTERNS)
        assert (sum(rendering.parts.values()) <= rendering.subject + 0.01).all()
        assert rendering.subject.mean() > 0.03


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_from_the_generator(kind):
    first, again, other = (render_pairs(kind, np.random.default_rng(seed), 3, 32) for seed in (7, 7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.image, other.image)


@pytest.mark.slow
@kinds
def test_a_size_is_only_a_sampling(kind):
    for scene in scenes(kind, 4, start=11):
        small = render(scene, 48).image.astype(float)
        large = render(scene, 192).image.astype(float).reshape(48, 4, 48, 4, 3).mean((1, 3))
        assert np.abs(small - large).mean() < 6
        assert (
            np.abs(small - large).mean() < 0.5 * np.abs(small - render(scenes(kind, 1, start=12)[0], 48).image).mean()
        )


@pytest.mark.parametrize("size", [8, (33, 70), (90, 31), (64, 64)])
def test_any_size_is_drawn(size):
    for kind in PARTS:
        rendering = render(scenes(kind, 1)[0], size)
        expected = (size, size) if isinstance(size, int) else size
        assert rendering.image.shape == (*expected, 3)
        assert rendering.image.dtype == np.uint8
        assert rendering.subject.shape == expected


def test_own_colours_change_nothing():
    scene = scenes("bird", 1)[0]
    pair = Pair(scene, "", scene.repaint({"wings": scene.colour("wings")}), "")
    source, target, change = render_pair(pair, 32)
    assert not change.any()
    assert (source.image == target).all()


def test_texture_survives_a_new_colour():
    """A repainted part keeps its light and feathers: brightness before and after go together."""
    scene = apply_caption(random_scene("bird", np.random.default_rng(14)), "a gray bird")
    pure = render(scene, 96).parts["wings"] > 0.99
    before = render(scene, 96).image[pure].mean(-1)
    after = render(apply_caption(scene, "red wings"), 96).image[pure].mean(-1)
    assert np.corrcoef(before, after)[0, 1] > 0.95


def test_sample_pictures():
    picture = sample_picture(size=(60, 80))
    assert picture.shape == (60, 80, 3)
    assert (picture == sample_picture(size=(60, 80))).all()
    assert not np.array_equal(picture, sample_picture(size=(60, 80), seed=1))
    assert sample_picture("flowers", size=32).shape == (32, 32, 3)


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(DataError, match="did you mean 'birds'"):
        render_pairs("bird_", np.random.default_rng(0), 1, 32)
    with pytest.raises(DataError, match="'bird' or 'flower'"):
        random_scene("fish", np.random.default_rng(0))
    with pytest.raises(DataError, match="did you mean 'wings'"):
        scenes("bird", 1)[0].repaint({"wing": "red"})
    with pytest.raises(DataError, match="not one of"):
        scenes("bird", 1)[0].repaint({"wings": "mauve"})
    with pytest.raises(DataError, match="at least 8"):
        render(scenes("bird", 1)[0], 4)


@pytest.mark.slow
def test_drawing_is_fast_enough_to_make_thousands():
    render_pairs("birds", np.random.default_rng(0), 2, 64)
    start = time.process_time()
    render_pairs("birds", np.random.default_rng(0), 20, 64)
    assert (time.process_time() - start) / 20 < 0.1  # seconds a pair; about 0.01 on an idle core
