"""Captions as targets: the table of what is read, and what is said of the rest."""

from __future__ import annotations

import pytest

from tgim.models.editing.painting.captions import parse_caption
from tgim.models.editing.painting.words import NAMED, colour_of, vocabulary_words
from tgim.text.lexicon.parts import BIRD_PARTS, FLOWER_PARTS

BIRDS = {
    "this bird has a red head and breast": ["head: red", "breast: red"],
    "red head and breast": ["head: red", "breast: red"],
    "a small blue bird with a white belly": ["bird: blue", "belly: white"],
    "this bird is completely yellow": ["bird: yellow"],
    "yellow with black wings": ["bird: yellow", "wings: black"],
    "bright blue wings and tail": ["wings: bright blue", "tail: bright blue"],
    "dark red head": ["head: dark red"],
    "the bird has a head that is red": ["head: red"],
    "the head of this bird is red": ["head: red"],
    "black and white wings": ["wings: black and white"],
    "its wings are black and white": ["wings: black and white"],
    "green back and an orange breast": ["back: green", "breast: orange"],
    "blue wings and tail with a white belly": ["wings: blue", "tail: blue", "belly: white"],
    "reddish brown belly": ["belly: red-brown"],
    "blue green head": ["head: blue-green"],
    "yellow on its belly and black on the crown": ["belly: yellow", "crown: black"],
    "a red head and wings are black": ["head: red", "wings: black"],
    "this is a small bird, mostly brown, with a white throat": ["bird: brown", "throat: white"],
    "the head, breast and belly are yellow": ["head: yellow", "breast: yellow", "belly: yellow"],
    "a gray bird with pink feathers on the head and throat": ["bird: gray", "head: pink", "throat: pink"],
    "a bird with a white crown and eyes that are black": ["crown: white"],
    "this bird has a white belly breast and a black nape": ["belly: white", "breast: white", "nape: black"],
    "a bird with white eyering and white wingbars": [],
    "this bird has a black beak and cheek patch": ["beak: black"],
    "this bird has a maroon head": ["head: dark red"],
    "orange feet": ["feet: orange"],
    "a bird with a long beak": [],
}
FLOWERS = {
    "this flower has purple petals with a yellow center": ["petals: purple", "center: yellow"],
    "petals are white": ["petals: white"],
    "the petals of the flower are pink in color and have a yellow center": ["petals: pink", "center: yellow"],
    "a white flower with yellow anthers": ["flower: white", "anthers: yellow"],
    "petals that are purple with green sepals": ["petals: purple"],
}


@pytest.mark.parametrize("caption", BIRDS)
def test_bird_captions_are_read(caption):
    assert [str(target) for target in parse_caption(caption, BIRD_PARTS).targets] == BIRDS[caption]


@pytest.mark.parametrize("caption", FLOWERS)
def test_flower_captions_are_read(caption):
    assert [str(target) for target in parse_caption(caption, FLOWER_PARTS).targets] == FLOWERS[caption]


@pytest.mark.parametrize(
    ("word", "part"),
    [("crown", "head"), ("nape", "head"), ("rump", "back"), ("chest", "breast"), ("abdomen", "belly"),
     ("chin", "throat"), ("primaries", "wings"), ("bill", "beak"), ("feet", "legs"),
     ("underside", "belly"), ("cheeks", "head")],
)  # fmt: skip
def test_finer_words_map_to_the_parts_that_are_found(word, part):
    (target,) = parse_caption(f"red {word}", BIRD_PARTS).targets
    assert part in target.parts
    assert set(target.parts) <= set(BIRD_PARTS)


def test_a_whole_bird_keeps_its_beak_and_legs():
    (target,) = parse_caption("this bird is completely yellow", BIRD_PARTS).targets
    assert target.whole
    assert not {"beak", "legs"} & set(target.parts)


def test_what_is_not_painted_is_said_in_one_line_each():
    notes = parse_caption("a red bird with speckled wings, black eyes and a long beak", BIRD_PARTS).notes
    assert len(notes) == 4
    assert not any("\n" in note for note in notes)
    assert all(any(word in note for note in notes) for word in ("speckled", "eyes", "beak", "wings"))
    assert "black" in parse_caption("black and white wings", BIRD_PARTS).notes[0]


def test_a_part_that_is_never_found_is_said_to_be():
    reading = parse_caption("red tail and blue head", ("background", "head"))
    assert [target.word for target in reading.targets] == ["head"]
    assert "tail" in reading.notes[0]


def test_every_word_of_colour_means_one_that_can_be_painted():
    colours = [colour_of(word) for word in vocabulary_words()]
    assert {colour.name for colour in colours if colour} == set(NAMED)
    assert {colour.towards for colour in colours if colour} <= {*NAMED, ""}


@pytest.mark.slow
@pytest.mark.data
def test_nearly_all_captions_of_the_data_sets_name_a_part_and_a_colour():
    import os
    from pathlib import Path

    from tgim.data import cub, oxford102

    root = Path(os.environ["TGIM_DATA"])
    for captions, parts, least in (
        (cub.load(root / "cub", split="val").captions, BIRD_PARTS, 0.93),
        (oxford102.load(root / "oxford102", split="val").captions, FLOWER_PARTS, 0.95),
    ):
        read_any = [bool(parse_caption(caption, parts).targets) for caption in captions[::7]]
        assert sum(read_any) / len(read_any) > least


HOUSE = ("background", "roof", "front door", "wall")


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a gray house with a red roof and white front doors", ["subject: gray", "roof: red", "front_doors: white"]),
        ("the walls are blue and the door is black", ["walls: blue", "door: black"]),
        ("green walls and roof", ["walls: green", "roof: green"]),
        ("a yellow house", ["subject: yellow"]),
        ("a house with a red chimney", ["subject: red"]),
    ],
)
def test_parts_that_no_lexicon_knows_are_read_by_their_names(caption, expected):
    assert [str(target) for target in parse_caption(caption, HOUSE).targets] == expected


def test_a_part_named_otherwise_than_in_the_lexicon_takes_its_words():
    parts = ("chest", "bill", "spots", "eyes")
    found = parse_caption("red breast, yellow beak, black spots and blue eyes", parts).targets
    assert [target.parts for target in found] == [("chest",), ("bill",), ("spots",), ("eyes",)]


@pytest.mark.parametrize(
    ("caption", "colours"),
    [
        ("this bird has a red head", ["red"]),
        ("a yellow bird with black wings", ["yellow", "black"]),
        ("a blue car with a door", ["blue"]),
        ("a bird with black eyes", []),
    ],
)
def test_where_no_parts_are_told_apart_all_colours_are_the_subjects(caption, colours):
    targets = parse_caption(caption, ("background", "subject")).targets
    assert [str(colour) for target in targets for colour in target.colours] == colours
    assert all(target.parts == ("subject",) and target.whole for target in targets)
