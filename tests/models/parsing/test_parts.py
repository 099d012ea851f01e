"""Laws of `parts@1`: what counts as a hit, what as spilt, what texture is, and what each cheat gets."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from support import parts_world as world
from tgim.data import cub, folder
from tgim.data.points import ASKED, has_points, photographs, read_points
from tgim.errors import DataError
from tgim.evaluation.baselines import ColourShift, Identity, Unrelated
from tgim.evaluation.part_points import WHOLE, Pointed, pointed
from tgim.evaluation.part_scores import COLOURS, colours_at, lab, named, scene_of, score, texture
from tgim.evaluation.parts import ASKS, NEAR, Ask, Asked, choose_asks, measure, parts_task, scores

WARNED = "ignore:Conversion from CIE-LAB"  # colours that sRGB has not are clipped


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    return world.build(tmp_path_factory.mktemp("parts") / "birds")


@pytest.fixture(scope="module", params=["photographs", "cut-outs"])
def bench(birds, request):
    return world.bench_of(birds, photos=request.param == "photographs")


# points


def whole_of(root):
    """The birds' whole photographs with the points that are asked about."""
    return pointed(photographs(root / "photos", root, split="all", grouping=ASKED))


@pytest.mark.slow
def test_points_of_whole_photographs_and_of_cut_outs_are_the_same_places(birds):
    cut = pointed(read_points(cub.load(birds, split="all"), grouping=ASKED).items())
    whole = whole_of(birds)
    assert [each.path for each in whole] == sorted((birds / "photos").iterdir())
    assert [each.path.name for each in cut] == [each.path.name for each in whole]
    x, y, w, h = world.BOX
    assert cut[0].box == WHOLE
    assert whole[0].box == pytest.approx((x / world.WIDTH, y / world.HEIGHT, w / world.WIDTH, h / world.HEIGHT))
    assert whole[0].points["tail"] == (pytest.approx((122 / world.WIDTH, 84 / world.HEIGHT)),)
    assert cut[0].points["tail"] == (pytest.approx(((122 - x) / w, (84 - y) / h)),)
    assert set(whole[0].points) == {"head", "throat", "breast", "belly", "back", "wings", "tail", "eyes"}  # no beak
    assert len(whole[0].points["head"]) == 3
    assert len(whole[0].points["wings"]) == 2
    (path, learned), *_ = photographs(birds / "photos", birds, split="all")
    assert (path, len(learned.spots["head"])) == (whole[0].path, 4)  # eyes are of the head for part localisers


def test_points_of_flowers_and_of_a_folder(tmp_path):
    root = world.folder_of_flowers(tmp_path / "mine")
    mine = folder.load(root, split="all")
    assert has_points(mine)
    found = pointed(read_points(mine, grouping=ASKED).items())
    assert [each.path.name for each in found] == ["0.png", "1.png", "2.png"]
    assert found[0].points["center"] == ((0.5, 0.5),)  # its radius is not read
    assert found[0].box is None
    flowers = tmp_path / "oxford"
    flowers.mkdir()
    line = {"file": "1", "petals": [[0.5, 0.25]], "center": [], "background": [[0.1, 1.0]], "other": [[0.2, 0.3]]}
    (flowers / "points.jsonl").write_text(json.dumps(line))
    data = replace(mine, name="oxford102", root=flowers)
    assert has_points(data)
    (each,) = pointed(read_points(data, grouping=ASKED).items())
    assert each == Pointed(root / "images" / "1.png", {"petals": ((0.5, 0.25),), "other": ((0.2, 0.3),)})
    assert not has_points(replace(mine, name="cub", root=flowers))
    (flowers / "points.jsonl").write_text(json.dumps({"file": "1", "petals": [[0.5]]}))
    with pytest.raises(DataError, match=r"points\.jsonl:1: points of 'petals'"):
        read_points(data, grouping=ASKED)


# scores by hand


def test_a_colour_is_named_by_the_nearest_of_eleven():
    assert named(lab(np.array(list(COLOURS.values()), float))) == list(COLOURS)
    assert named(lab(np.array([[255.0, 255, 255], [90, 0, 0], [90, 120, 220]]))) == ["white", "brown", "blue"]


def test_a_points_colour_is_the_median_of_its_square():
    picture = np.zeros((9, 9, 3), np.uint8)
    picture[3:6, 3:6] = (200, 25, 25)
    point = np.array([[4, 4]])
    assert np.allclose(colours_at(picture, point, 1), lab(np.array([[200.0, 25, 25]])))
    assert np.allclose(colours_at(picture, point, 2), 0)  # 9 of 25 pixels
    assert np.allclose(colours_at(picture, np.array([[0, 0]]), 3), 0)  # cut off at the edge


def test_scores_by_hand():
    """Two points of the wings, one red; the tail moves by more than 10, the belly by less, the back lies beside."""
    points = {"wings": ((0.1, 0.1), (0.1, 0.5)), "back": ((0.5, 0.1),), "tail": ((0.5, 0.5),), "belly": ((0.5, 0.9),)}
    before = np.full((100, 100, 3), 128, np.uint8)
    scene = scene_of(points, (0.0, 0.0, 0.6, 1.0), height=100, width=100)
    assert scene.reach == 2
    after = before.copy()
    after[5:16, 5:16] = COLOURS["red"]
    after[0:30, 45:56] = COLOURS["blue"]  # back
    after[40:60, 45:56] = 188  # tail
    after[85:95, 45:56] = 138  # belly
    after[:, 80] = 255  # outside: one of 37 columns, by 127
    found = score(before, after, scene, part="wings", colour="red", near=NEAR["wings"], apart=("tail", "belly"))
    grey, light, red, blue = lab(np.array([[128.0] * 3, [188.0] * 3, COLOURS["red"], COLOURS["blue"]]))
    tail, belly = light[0] - grey[0], lab(np.array([138.0] * 3))[0] - grey[0]
    assert (found["hit"], found["half_way"], found["spilt"]) == (0.5, 0.5, 0.5)
    assert found["named_change"] == pytest.approx(np.linalg.norm(red - grey) / 2)
    assert found["others_change"] == pytest.approx((tail + belly) / 2, abs=0.01)
    assert found["near_change"] == pytest.approx(np.linalg.norm(blue - grey))
    assert found["outside"] == pytest.approx(127 / 37)
    assert math.isnan(found["background_change"])
    assert math.isnan(found["texture"])  # a plain photograph has none


def test_outside_is_beyond_the_box_and_a_twentieth_around_it():
    outside = scene_of({}, (0.4, 0.2, 0.2, 0.4), height=100, width=200).outside
    expected = np.ones((100, 200), bool)
    expected[18:62, 78:122] = False
    assert np.array_equal(outside, expected)
    assert scene_of({}, (0.01, 0.01, 0.98, 0.98), height=100, width=200).outside is None  # too little to measure


def test_what_lies_beside_the_named_part_may_change(birds):
    """Paint on back and wings: for the one the other is beside it, for the tail both are others."""
    (picture,) = (each for each in whole_of(birds) if each.path.name == "Grey_Gull_0.png")
    before = world.textured(seed=3)
    after = before.copy()
    for part in ("back", "wings"):
        for u, v in picture.points[part]:
            x, y = int(u * world.WIDTH), int(v * world.HEIGHT)
            after[y - 4 : y + 5, x - 4 : x + 5] = COLOURS["red"]
    asks = tuple(Ask(part, "red", "") for part in ("back", "wings", "tail"))
    back, wings, tail = scores(Asked(picture, asks), before, [after] * 3, name="cub")
    assert (back["hit"], wings["hit"], tail["hit"]) == (1, 1, 0)
    assert (back["spilt"], wings["spilt"]) == (0, 0)
    assert min(back["near_change"], wings["near_change"]) > 40
    assert tail["spilt"] == pytest.approx(2 / 6)  # of head, throat, breast, belly, back and wings


def test_parts_whose_squares_overlap_the_named_ones_do_not_count():
    points = {
        "tail": ((0.5, 0.5),),
        "wings": ((0.53, 0.5), (0.1, 0.1)),
        "head": ((0.54, 0.5),),
        "belly": ((0.55, 0.5),),
    }
    scene = scene_of(points, WHOLE, height=100, width=100)
    before = np.full((100, 100, 3), 128, np.uint8)
    after = before.copy()
    after[40:60, 40:61] = COLOURS["red"]
    found = score(before, after, scene, part="tail", colour="red", apart=("wings", "head", "belly"))
    assert scene.outside is None
    assert found["spilt"] == 0.5  # the belly, 5 pixels away, moved; of the wings the point far away counts alone
    assert math.isnan(score(before, after, scene, part="tail", colour="red", apart=("head",))["spilt"])


def test_texture_is_what_is_left_of_contrast_and_pattern():
    photo = world.textured(seed=1)
    everywhere, middle = np.ones(photo.shape[:2], bool), np.array([[60, 60], [90, 60]])

    def of(after):
        return texture(photo, after, middle, 4)

    assert of(world.fog(0.6)(photo, everywhere, "white"))[0] > 0.99
    assert of(world.fog(0.6)(photo, everywhere, "white"))[1] == pytest.approx(0.4, abs=0.05)
    assert of(world.flat_part(photo, everywhere, "red")) == (0, 0)
    assert abs(of(world.textured(seed=2) // 2)[0]) < 0.1  # another picture's
    darker = np.clip(photo.astype(int) - 40, 0, 255).astype(np.uint8)
    assert of(darker)[0] > 0.99
    assert of(255 - photo)[0] < -0.95  # a negative
    assert all(math.isnan(value) for value in of(photo))  # nothing changed
    part = photo.copy()
    part[:, 60:] = darker[:, 60:]
    assert of(part)[0] > 0.99  # the outline of the edit is no texture


# what is asked

FROZEN = [("tail", "orange"), ("belly", "yellow"), ("belly", "red")]


def said(found):
    """Picture -> parts and colours that are asked for."""
    return {asked.picture.path.name: [(ask.part, ask.colour) for ask in asked.asks] for asked in found.pictures}


@pytest.mark.slow
def test_the_list_is_seeded_and_depends_on_the_picture_alone(birds):
    whole = parts_task(world.bench_of(birds))
    assert len(whole.pictures) == 4  # of the two test classes
    assert all(len(asked.asks) == ASKS for asked in whole.pictures)
    told, few = said(whole), parts_task(world.bench_of(birds, limit=2))
    assert len(few.pictures) == 2
    assert said(few).items() <= told.items()
    assert said(parts_task(world.bench_of(birds, photos=False))) == told  # a cut-out is asked what its photograph is
    assert said(parts_task(world.bench_of(birds, seed=1))) != told
    assert told["Grey_Gull_0.png"] == FROZEN  # what a published figure rests on
    cut_out = parts_task(world.bench_of(birds, photos=False))
    assert parts_task(world.bench_of(birds)).content == few.content != cut_out.content


@pytest.mark.slow
def test_no_part_is_asked_for_a_colour_that_it_has(tmp_path):
    root = world.build(tmp_path / "red")
    for path in (root / "photos").iterdir():
        Image.new("RGB", (world.WIDTH, world.HEIGHT), COLOURS["red"]).save(path)
    pictures = whole_of(root)
    asks = [ask for each in pictures for seed in range(8) for ask in choose_asks(each, "cub", seed=seed)]
    assert len(asks) == 8 * 6 * ASKS
    assert {ask.colour for ask in asks} == {"blue", "yellow", "green", "black", "white", "orange"}
    assert {ask.part for ask in asks} == {"head", "breast", "belly", "back", "wings", "tail"}
    assert len({(ask.part, ask.colour) for ask in choose_asks(pictures[0], "cub", seed=0)}) == ASKS
    texts = {ask.part: ask.text for ask in asks if ask.colour == "orange"}
    assert texts["wings"] == "this bird has orange wings"
    assert texts["head"] == "this bird has an orange head"


@pytest.mark.slow
def test_flowers_are_asked_in_words_of_flowers(tmp_path):
    root = world.folder_of_flowers(tmp_path / "mine", count=40)
    found = parts_task(world.bench_of(root, photos=False, split="all", name="folder"))
    texts = [ask.text for asked in found.pictures for ask in asked.asks]
    assert len(texts) == 40 * ASKS
    share = np.mean([text.endswith(" center") for text in texts])
    assert 0.3 < share < 0.5  # two of five
    assert all(text.startswith("this flower has ") for text in texts)


# what is measured, and what cheats get


@pytest.mark.slow
@pytest.mark.filterwarnings(WARNED)
def test_painting_the_part_alone_hits_and_spills_nothing(bench):
    found = world.figures(bench, world.Known(world.paint_like_feathers, parts_task(bench)))
    assert found["hit"] > 0.95
    assert found["half_way"] > 0.95
    assert found["spilt"] == 0
    assert found["others_change"] == 0
    assert found.get("outside", 0.0) == 0
    assert found["texture"] > 0.85
    assert ("outside" in found) == (bench.photos is not None)  # of a cut-out nothing lies outside


@pytest.mark.slow
def test_flat_paint_and_fog_lose_the_texture(bench):
    flat = world.figures(bench, world.Known(world.flat_part, parts_task(bench)))
    assert (flat["hit"], flat["half_way"], flat["spilt"], flat["others_change"]) == (1, 1, 0, 0)
    assert flat["texture"] == 0
    foggy = world.figures(bench, world.Known(world.fog(0.75), parts_task(bench)))
    assert foggy["hit"] > 0.9
    assert foggy["texture_correlation"] > 0.9
    assert foggy["texture"] < 0.5


@pytest.mark.slow
def test_painting_everything_spills_everywhere(bench):
    found = world.figures(bench, world.Known(world.everything, parts_task(bench)))
    assert (found["hit"], found["spilt"], found["texture"]) == (1, 1, 0)
    assert found["others_change"] > 40
    if bench.photos is not None:
        assert found["outside"] > 40


def test_doing_nothing_hits_nothing_and_spills_nothing(bench):
    found = world.figures(bench, Identity())
    zero = {metric: value for metric, value in found.items() if "/" not in metric}
    assert set(zero.values()) == {0.0}
    assert "texture" not in found  # nothing changed


@pytest.mark.slow
def test_another_photograph_hits_by_chance_and_keeps_no_texture(tmp_path):
    root = world.build(tmp_path / "birds")
    for k, path in enumerate(sorted((root / "photos").iterdir())):
        tinted = world.everything(world.textured(seed=k), np.ones((120, 160), bool), list(COLOURS)[k])
        mixed = (world.textured(seed=k).astype(int) * 0.4 + tinted * 0.6).astype(np.uint8)
        Image.fromarray(mixed).save(path)
    bench = world.bench_of(root)
    found = world.figures(bench, Unrelated(bench))
    assert found["spilt"] == 1
    assert found["hit"] < 0.5
    assert abs(found["texture"]) < 0.15


def test_a_colour_shift_spills_and_keeps_texture(bench):
    found = world.figures(bench, ColourShift())
    assert found["spilt"] > 0.6  # white and black have no chroma to shift to
    assert found["texture_correlation"] > 0.9


@pytest.mark.slow
def test_figures_of_parts_and_colours_add_up(bench):
    asks = [ask for asked in parts_task(bench).pictures for ask in asked.asks]
    lines = list(measure(bench, world.Known(world.flat_part, parts_task(bench))))
    assert lines[-1].metric == "hit"  # a killed run lacks it
    names = {found.metric for found in lines}
    assert {f"hit/{ask.part}" for ask in asks} | {f"hit/{ask.colour}" for ask in asks} <= names
    for part in {ask.part for ask in asks}:
        counted = sum(any(ask.part == part for ask in asked.asks) for asked in parts_task(bench).pictures)
        assert next(len(found.values) for found in lines if found.metric == f"hit/{part}") == counted
    lower = {found.metric for found in lines if not found.higher_is_better and "/" not in found.metric}
    assert lower == {"spilt", "others_change", "near_change", *(["outside"] if bench.photos else [])}


@pytest.mark.slow
def test_background_points_count_for_themselves(tmp_path):
    root = world.folder_of_flowers(tmp_path / "mine")
    bench = world.bench_of(root, photos=False, split="all", name="folder")
    found = world.figures(bench, world.Known(world.everything, parts_task(bench)))
    assert (found["hit"], found["spilt"], found["background_spilt"]) == (1, 1, 1)
    still = world.figures(bench, world.Known(world.flat_part, parts_task(bench)))
    assert (still["spilt"], still["background_change"]) == (0, 0)
    assert "outside" not in still
