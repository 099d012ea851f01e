"""Laws of what people say: instructions become captions, captions stay, and what is not taken is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgim.checkpoints import checkpoint
from tgim.data import cub, oxford102
from tgim.errors import TextError
from tgim.text.lexicon.colours import EVERYDAY
from tgim.text.neighbours import neighbour
from tgim.text.understand import understand
from tgim.text.vocabulary import MAX_WORDS, Alphabet, Vocabulary, tokenize

listed = str.split
quick = settings(max_examples=150, deadline=None)  # no deadline: machines are busy
EMBEDDED = {name: Vocabulary(checkpoint.read_header(f"{name}-1")["vocabulary"]) for name in ("birds", "flowers")}
HAS, IS = "this bird has", "this bird is"
BIRDS = {
    "make its head red": f"{HAS} a red head",
    "Make its head RED!": f"{HAS} a red head",
    "can you make the head red?": f"{HAS} a red head",
    "make the bird's head red": f"{HAS} a red head",
    "make the head of the bird red": f"{HAS} a red head",
    "change the color of the head to red": f"{HAS} a red head",
    "set the head to red": f"{HAS} a red head",
    "make the bird have a red head": f"{HAS} a red head",
    "I want its head red": f"{HAS} a red head",
    "make the head as red as a rose": f"{HAS} a red head",
    "its head must become red": f"{HAS} a red head",
    "change the wings to black": f"{HAS} black wings",
    "recolour the wings black": f"{HAS} black wings",
    "change the red wings to black": f"{HAS} black wings",
    "turn the red wings black": f"{HAS} black wings",
    "replace the brown wings with black ones": f"{HAS} black wings",
    "change the wings from red to black": f"{HAS} black wings",
    "let the wings be black": f"{HAS} black wings",
    "let it have black wings": f"{HAS} black wings",
    "keep the wings black": f"{HAS} black wings",
    "wings should be black": f"{HAS} black wings",
    "make her wings black": f"{HAS} black wings",
    "add some black on the wings": f"{HAS} black wings",
    "make the wings darker": f"{HAS} darker wings",
    "make all of its feathers white": f"{HAS} white feathers",
    "make the upper breast red": f"{HAS} a red upper breast",
    "paint the tail feathers dark blue": f"{HAS} dark blue tail feathers",
    "make the tips of the wings white": f"{HAS} white tips of the wings",
    "make the feathers on the head red": f"{HAS} red feathers on the head",
    "give it a white belly": f"{HAS} a white belly",
    "add an orange crown": f"{HAS} an orange crown",
    "turn it blue": f"{IS} blue",
    "color the bird blue": f"{IS} blue",
    "make him blue": f"{IS} blue",
    "I'd like the bird to be blue": f"{IS} blue",
    "change red to blue": f"{IS} blue",
    "transform the bird into a blue one": f"{IS} blue",
    "make the whole bird white": f"{IS} white",
    "make it red and black": f"{IS} red and black",
    "make its head yelow": f"{HAS} a yellow head",
    # several parts, several colours
    "make the head red and the belly white": f"{HAS} a red head and a white belly",
    "make the head red, the belly white and the wings black": f"{HAS} a red head, a white belly and black wings",
    "make the belly white and turn the head red": f"{HAS} a white belly and a red head",
    "Please, paint the belly white, and the back brown.": f"{HAS} a white belly and a brown back",
    "I want the wings to be black and the belly to be white": f"{HAS} black wings and a white belly",
    "its head should be red and its wings should be black": f"{HAS} a red head and black wings",
    "make the head and breast red": f"{HAS} a red head and breast",
    "give it a red head and breast": f"{HAS} a red head and breast",
    "give the bird a red head and white belly": f"{HAS} a red head and a white belly",
    "give this bird a yellow belly, black wings and a red head": f"{HAS} a yellow belly, black wings and a red head",
    "give it black and white wings and a red crown": f"{HAS} black and white wings and a red crown",
    "make the wings black and white and the tail red": f"{HAS} black and white wings and a red tail",
    "make the crown and nape black and the throat white": f"{HAS} a black crown and nape and a white throat",
    "make it blue and give it a white belly": f"{IS} blue with a white belly",
    "make it red with black wings": f"{IS} red with black wings",
    "make it a red bird with black wings": f"{IS} red with black wings",
    "the bird should be yellow with black wings": f"{IS} yellow with black wings",
    "make it black except for a red head": f"{IS} black with a red head",
    # a caption in polite clothes
    "I want a red bird": "a red bird",
    "please give me a red bird with black wings": "a red bird with black wings",
    "I would love to see a yellow bird": "a yellow bird",
    "show me a bird with a red head": "a bird with a red head",
}
FLOWERS = {
    "paint the petals purple please": "this flower has purple petals",
    "give it purple petals": "this flower has purple petals",
    "the flower should have purple petals": "this flower has purple petals",
    "make the flower's petals purple": "this flower has purple petals",
    "change the petals from red to purple": "this flower has purple petals",
    "make the petals light purple with dark red spots": "this flower has light purple petals and dark red spots",
    "make the petals white and the centre yellow": "this flower has white petals and a yellow centre",
    "make the outer petals pink and the inner petals white": "this flower has pink outer petals and white inner petals",
    "make the tips of the petals pink": "this flower has pink tips of the petals",
    "color the stamens yellow": "this flower has yellow stamens",
    "turn the flower red": "this flower is red",
    "change the red flower to a yellow one": "this flower is yellow",
    "make it purple with a yellow center": "this flower is purple with a yellow center",
    "I want a flower with purple petals": "a flower with purple petals",
}
SAID = [("birds", *each) for each in BIRDS.items()] + [("flowers", *each) for each in FLOWERS.items()]
STAY = (
    "this bird has a red head and a white belly",
    "red head and breast",
    "Black wings, red head",
    "the bird's wings are black; its tail is white.",
    "a bird that is mostly black except for the white belly",
    "a small bird with brown in color wings that turn black",
)


@pytest.mark.parametrize(("name", "said", "caption"), SAID)
def test_instructions_become_captions(name, said, caption):
    assert understand(said, EMBEDDED[name]) == (caption, (), {})


@pytest.mark.parametrize("text", STAY)
def test_captions_and_phrases_come_back_word_for_word(text):
    assert understand(f" {text}\n", EMBEDDED["birds"]).caption == text
    assert understand(text, Alphabet()) == (text, (), {})


@pytest.mark.parametrize(("name", "said", "caption"), SAID)
def test_what_was_understood_is_understood_as_it_is(name, said, caption):
    assert understand(caption, EMBEDDED[name]) == (caption, (), {})


def test_the_subject_is_the_templates_or_the_one_that_captions_name_most():
    dogs = Vocabulary.build(["this dog has a brown ear", "the tail is black"])
    said = "make the ear brown and the tail black"
    assert understand(said, dogs, "this dog has a {}").caption == "this dog has a brown ear and a black tail"
    assert understand("make the dog brown", dogs, "this dog has a {}").caption == "this dog is brown"
    assert understand(said, dogs).caption == "brown ear and a black tail"
    assert understand("Make the head red, please", Alphabet()).caption == "red head"


HEARD = dict(
    zip(
        listed("""crimson scarlet maroon burgundy navy azure turquoise teal cyan indigo violet lavender lilac magenta
        fuchsia coral salmon peach amber gold mustard lime emerald olive khaki beige cream ivory silver
        charcoal ebony chestnut rust copper bronze chocolate tan sand rose ruby sapphire snow apricot
        tangerine mint jade mauve caramel onyx sienna yelow purpel orrange blakc wihte"""),
        listed("""red red red red blue blue blue blue,green blue blue,purple violet,purple purple purple pink,purple
        pink,purple orange,pink pink orange,pink orange,yellow,golden yellow yellow green green green
        green brown,tan,yellow white,yellow white gray,grey gray,grey black brown brown,orange
        brown,orange brown brown brown,tan brown,tan,yellow pink red blue white orange orange green
        green purple brown black brown yellow purple orange black white"""),
        strict=True,
    )
)


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("word", HEARD)
def test_everyday_colour_words_fall_back_on_plain_ones(name, word):
    known = EMBEDDED[name]
    understood = understand(f"{word} bird", known)
    if word in known:
        assert understood == (f"{word} bird", (), {})
        return
    used = understood.caption.removesuffix(" bird")
    assert set(used.split()) & set(HEARD[word].split(",")), used
    assert understood.notes == (f"unknown word {word!r}: {used!r} is used instead",)
    assert understood.unknown == {word: (used,)}


@pytest.mark.parametrize(
    ("word", "used"),
    [("ears", "ear"), ("paw", "paws"), ("berries", "berry"), ("crimsons", "red"), ("bellys", "tummy"), ("ear", "")],
)
def test_the_other_number_of_a_word_stands_for_it(word, used):
    assert neighbour(word, Vocabulary(["ear", "paws", "berry", "red", "tummy"] if used else ["red"])) == used


def test_plain_colours_suffice_for_every_colour_word():
    plain = Vocabulary(each := listed("red orange yellow green blue purple pink brown white black gray"))
    lost = {word for word in EVERYDAY if not set(neighbour(word, plain).split()) & set(each)} - {*each, "grey"}
    assert not lost


@pytest.mark.parametrize(
    ("name", "said", "caption"),
    [
        ("birds", "a sapphire blue bird with a lilac belly", "a bright blue bird with a light purple belly"),
        ("birds", "a bird with an ebony head", "a bird with a black head"),
        ("flowers", "a turquoise flower", "a light blue flower"),
        ("birds", "a parrot with green wings", "a bird with green wings"),
        ("birds", "red flowers", "red flower"),
        ("flowers", "white petels, pistils and plumage", "white petals, pistils and feathers"),
        ("birds", "Ebony Wings!", "black Wings!"),
    ],
)
def test_unknown_words_give_way_to_known_neighbours(name, said, caption):
    understood = understand(said, EMBEDDED[name])
    assert understood.caption == caption
    assert len(understood.notes) == len(understood.unknown) > 0
    assert not EMBEDDED[name].unknown(caption)


@pytest.mark.parametrize("word", ["clamp", "name", "mate", "tell", "chess", "qwertz"])
def test_words_that_only_look_a_little_alike_are_left_unknown(word):
    understood = understand(f"{word} red bird", EMBEDDED["birds"])
    assert understood.caption == f"{word} red bird"
    if word not in EMBEDDED["birds"]:
        assert understood.notes[0].startswith(f"unknown word {word!r} is ignored")


LEFT_OUT = {  # text: (caption, what the note quotes)
    "make the head red but keep the wings": (f"{HAS} a red head", "keep the wings"),
    "make the head red, don't touch the belly": (f"{HAS} a red head", "do not touch the belly"),
    "make the head red without changing the tail": (f"{HAS} a red head", "without changing the tail"),
    "don't change the wings, make the head red": (f"{HAS} a red head", "do not change the wings"),
    "make everything red except the wings": (f"{IS} red", "except the wings"),
    "make everything but the tail blue": (f"{IS} blue", "but the tail"),
    "make the body red, but not the wings": (f"{HAS} a red body", "not the wings"),
    "never make it red, make it blue": (f"{IS} blue", "never make it red"),
    "make it pink, not white": (f"{IS} pink", "not white"),
    "make the wings yellow instead of white": (f"{HAS} yellow wings", "instead of white"),
    "remove the tail and make the head red": (f"{HAS} a red head", "remove the tail"),
    "a blue bird but keep the wings": ("a blue bird", "keep the wings"),
    "a bird without a red head": ("a bird", "without a red head"),
    "a red bird without black wings": ("a red bird", "without black wings"),
    "a yellow bird with no black on its wings": ("a yellow bird", "with no black on its wings"),
    "a bird with a red head but no red belly": ("a bird with a red head", "no red belly"),
    "a red bird, not a blue one": ("a red bird", "not a blue one"),
    "a bird that isn't red": ("a bird", "that is not red"),
    "the head is not red and the wings are black": ("the wings are black", "the head is not red"),
    "this bird is not red but blue": (f"{IS} blue", "is not red"),
}


@pytest.mark.parametrize("said", LEFT_OUT)
def test_what_is_not_wanted_is_left_out_and_named(said):
    caption, quoted = LEFT_OUT[said]
    understood = understand(said, EMBEDDED["birds"])
    assert understood.caption == caption
    assert len(understood.notes) == 1
    assert understood.notes[0].startswith(repr(quoted))
    assert understand(said, Alphabet()).notes == understood.notes


@pytest.mark.parametrize(
    "said",
    ["not red", "don't make the head red", "this bird is not red", "make it less red", "remove the tail", "please",
     "the head should not be red", "make it", "keep the wings", "make it look like a cardinal"],
)  # fmt: skip
@pytest.mark.parametrize("vocabulary", [EMBEDDED["birds"], Alphabet()], ids=["words", "characters"])
def test_a_text_that_names_nothing_to_be_seen_is_refused(said, vocabulary):
    with pytest.raises(TextError, match="nothing that is to be seen") as raised:
        understand(said, vocabulary)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "said", "caption"),
    [
        ("birds", "two birds", "birds"),
        ("birds", "3 blue birds with red heads", "blue birds with red heads"),
        ("flowers", "three petals", "petals"),
        ("flowers", "5 yellow petals", "yellow petals"),
        ("flowers", "make five petals pink", "this flower has pink petals"),
        ("flowers", "this flower has five pink petals", "this flower has five pink petals"),  # as in captions
        ("birds", "a bird with twelve black spots", "a bird with black spots"),  # a word that it does not know
    ],
)
def test_counts_change_nothing_and_are_named(name, said, caption):
    understood = understand(said, EMBEDDED[name])
    assert understood.caption == caption
    assert understood.notes[0].endswith("models do not count")
    assert not understood.unknown
    assert understand(caption, EMBEDDED[name]).caption == caption


def test_what_is_left_must_have_a_known_word():
    with pytest.raises(TextError, match="none of the words in 'zzz'"):
        understand("zzz, not red", EMBEDDED["birds"])


def test_negation_without_a_colour_stays_but_is_named():
    said = "this flower has no visible stamen"
    assert understand(said, EMBEDDED["flowers"])[:2] == (
        said,
        ("'no visible stamen' changes nothing: models know no negation",),
    )


WORDS = listed("""make change turn give it its the a an and but with without not no don't never keep except head wings
        petals red blue crimson yelow two 5 please should be have to of on , . ! bird flower everything
        all darker more less is that this zebra i want you can add remove one ones them instead like""")


@pytest.mark.slow
@quick
@given(st.lists(st.sampled_from(WORDS), max_size=MAX_WORDS + 2).map(" ".join) | st.text(max_size=80), st.booleans())
def test_anything_is_understood_or_refused(said, characters):
    vocabulary = Alphabet() if characters else EMBEDDED["birds"]
    try:
        understood = understand(said, vocabulary)
    except TextError:
        return
    assert tokenize(understood.caption)
    assert all("\n" not in note for note in understood.notes)


@pytest.mark.slow
@quick
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join))
def test_understanding_twice_changes_nothing_more(said):
    try:
        caption = understand(said, EMBEDDED["birds"]).caption
    except TextError:
        return
    assert understand(caption, EMBEDDED["birds"]).caption == caption


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("name", "load"), [("cub", cub.load), ("oxford102", oxford102.load)])
def test_real_captions_come_back_word_for_word(name, load):
    captions = load(Path(os.environ["TGIM_DATA"]) / name, split="trainval").captions[::7]
    usable = [each for each in captions if len(tokenize(each)) <= MAX_WORDS]
    every_word = Vocabulary.build(usable)
    same = sum(understand(each, every_word).caption == each for each in usable)
    assert same >= 0.999 * len(usable) > 4000
    embedded = EMBEDDED["birds" if name == "cub" else "flowers"]
    for caption in usable[::7]:  # where words are unknown, those alone are replaced
        understood = understand(caption, embedded)
        gone = [word for word in tokenize(caption) if word not in tokenize(understood.caption)]
        assert set(gone) <= set(understood.unknown) or understood.caption == understand(caption, every_word).caption
