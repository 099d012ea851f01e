"""Laws of captions: what a word is, what an id is, what is refused and how it is told."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tgim.errors import TextError, nearest
from tgim.text.vocabulary import (
    CHARACTERS,
    MAX_WORDS,
    PADDING,
    UNKNOWN,
    Alphabet,
    TextCode,
    Tokens,
    Vocabulary,
    characters,
    complete,
    pad,
    tokenize,
)

WORD = st.text("abcde", min_size=1, max_size=3)
CAPTION = st.lists(WORD, min_size=1, max_size=6).map(" ".join)
CAPTIONS = st.lists(CAPTION, min_size=1, max_size=6)
quick = settings(max_examples=40, deadline=None)  # no deadline: machines are busy
BIRDS = Vocabulary.build(["this bird has a red head", "a small blue bird"])
TEMPLATE = "this bird has a {}"


@quick
@given(st.text())
def test_words_hold_no_space_no_punctuation_and_no_capital(caption):
    words = tokenize(caption)
    assert tokenize(" ".join(words)) == words
    assert all(word == word.lower() and not any(c.isspace() or c in ".,;:!?'\"-()" for c in word) for word in words)


def test_a_caption_is_cut_where_words_end():
    assert tokenize("It's a RED-headed bird,\n2 inches;  grün_blau") == [
        "it", "s", "a", "red", "headed", "bird", "2", "inches", "grün_blau",
    ]  # fmt: skip
    assert tokenize(" ,.! ") == []


@pytest.mark.slow
@quick
@given(CAPTIONS, st.randoms())
def test_a_vocabulary_depends_on_what_was_said_not_on_its_order(captions, random):
    mixed = list(captions)
    random.shuffle(mixed)
    assert Vocabulary.build(mixed).words == Vocabulary.build(captions).words


@pytest.mark.slow
@quick
@given(CAPTIONS, st.integers(1, 3))
def test_a_vocabulary_holds_the_words_that_are_frequent_enough_by_frequency(captions, least):
    said = [word for caption in captions for word in tokenize(caption)]
    words = Vocabulary.build(captions, min_count=least).words
    assert set(words) == {word for word in said if said.count(word) >= least}
    assert list(words) == sorted(words, key=lambda word: (-said.count(word), word))


@pytest.mark.slow
@quick
@given(CAPTIONS, CAPTION)
def test_an_id_is_two_after_the_place_of_its_word(captions, caption):
    vocabulary = Vocabulary.build(captions)
    assert len(vocabulary) == len(vocabulary.words) + 2
    for word, i in zip(tokenize(caption), vocabulary.ids(caption), strict=True):
        assert (word in vocabulary) is (i != UNKNOWN)
        assert i != PADDING
        assert i == UNKNOWN or vocabulary.words[i - 2] == word
    assert vocabulary.ids(caption.upper() + "!") == vocabulary.ids(caption)
    assert Vocabulary(vocabulary.words).ids(caption) == vocabulary.ids(caption)
    assert vocabulary.unknown(caption).keys() == {word for word in tokenize(caption) if word not in vocabulary}


def test_ids_by_hand():
    assert BIRDS.words == ("a", "bird", "blue", "has", "head", "red", "small", "this")
    assert BIRDS.ids("A red, green bird") == [2, 7, 1, 3]
    with pytest.raises(TextError, match="twice"):
        Vocabulary(["a", "b", "a"])


def test_unknown_words_come_once_in_order_with_what_looks_alike():
    unknown = BIRDS.unknown("a zzz hed and a smal zzz bird")
    assert list(unknown) == ["zzz", "hed", "and", "smal"]
    assert (unknown["zzz"], unknown["hed"][0], unknown["smal"]) == ((), "head", ("small",))


@pytest.mark.slow
@quick
@given(st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=5))
def test_padding_comes_after_every_word_and_is_masked(rows):
    tokens = pad(rows)
    width = max(1, max(map(len, rows), default=0))
    assert tokens.ids.shape == tokens.mask.shape == (len(rows), width)
    assert (tokens.ids.dtype, tokens.mask.dtype) == (torch.int64, torch.bool)
    assert tokens.lengths.tolist() == [len(row) for row in rows]
    for row, ids, mask in zip(rows, tokens.ids.tolist(), tokens.mask.tolist(), strict=True):
        assert ids == row + [PADDING] * (width - len(row))
        assert mask == [True] * len(row) + [False] * (width - len(row))


def test_encoding_is_padded_ids():
    captions = ["a red bird", "blue", "this bird has a purple head"]
    tokens, padded = BIRDS.encode(captions), pad([BIRDS.ids(caption) for caption in captions])
    assert torch.equal(tokens.ids, padded.ids)
    assert torch.equal(tokens.mask, padded.mask)


@quick
@given(st.integers(1, 5), st.integers(-7, 7))
def test_rolling_gives_each_picture_its_neighbours_caption(count, shift):
    tokens = pad([[i + 1] * (i + 1) for i in range(count)])
    code = TextCode(tokens.ids[..., None].float(), tokens.ids[:, :1].float(), tokens.mask)
    rolled = tokens.roll(shift)
    assert rolled.lengths.tolist() == [(i - shift) % count + 1 for i in range(count)]
    assert torch.equal((rolled.ids > 0), rolled.mask)
    assert torch.equal(rolled.roll(-shift).ids, tokens.ids)
    assert all(torch.equal(x, y.roll(shift, 0)) for x, y in zip(code.roll(shift), code, strict=True))
    assert torch.equal(tokens.roll().ids, tokens.roll(1).ids)


def test_indexing_selects_captions():
    tokens = pad([[5], [6, 7], [8, 9, 10]])
    for rows in (slice(1, 3), [1, 2], torch.tensor([1, 2]), torch.tensor([False, True, True])):
        assert isinstance(tokens[rows], Tokens)
        assert tokens[rows].ids.tolist() == [[6, 7, 0], [8, 9, 10]]
        assert tokens[rows].lengths.tolist() == [2, 3]
    ids, mask = tokens
    assert ids is tokens.ids
    assert mask is tokens.mask
    assert tokens.to("cpu").ids.tolist() == tokens.ids.tolist()


@quick
@given(CAPTION, st.sampled_from([TEMPLATE, "the flower shown has {}", "{}", ""]))
def test_a_completed_text_is_complete_and_keeps_its_words(text, template):
    done = complete(text, template)
    assert complete(done, template) == done
    assert text in done
    if not set(tokenize(text)) & set(tokenize(template)) - {"a"}:
        assert done == (template.format(text) if template else text)


def test_a_text_that_says_what_it_is_about_stays():
    assert complete("  red head ", TEMPLATE) == "this bird has a red head"
    assert complete("a red head", TEMPLATE) == "this bird has a a red head"  # "a" alone says nothing
    for text in ("a red bird", "A RED BIRD", "It has {} wings", "this one"):
        assert complete(text, TEMPLATE) == text
    assert complete("{0} wings", TEMPLATE) == "this bird has a {0} wings"


def test_a_caption_that_can_be_used_comes_back_stripped():
    assert BIRDS.check("  a purple Bird \n") == "a purple Bird"
    assert BIRDS.check("bird " * MAX_WORDS) == ("bird " * MAX_WORDS).strip()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ("no words", "a red bird")),
        (" ?! ", ("no words", "' ?! '")),
        ("bird " * (MAX_WORDS + 1), (f"{MAX_WORDS + 1} words", f"at most {MAX_WORDS}")),
        ("purple zebra", ("none of the words", "a, bird, blue, has, head, red, small, this")),
        ("bleu smal", ("none of the words", "words that it knows: blue, small")),
        ("bleu\nzebra", ("none of the words", "blue")),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(text, told):
    with pytest.raises(TextError) as raised:
        BIRDS.check(text)
    message = str(raised.value)
    assert "\n" not in message
    assert all(part in message for part in told)


@quick
@given(WORD, st.lists(WORD, max_size=4))
def test_only_a_known_name_is_suggested(name, known):
    hint = nearest(name, known)
    assert hint == "" or hint in {f"; did you mean {word!r}?" for word in known}
    assert (name in known) <= (hint == f"; did you mean {name!r}?")


def test_the_alphabet_is_that_of_the_authors_release():
    theirs = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
    planes = {character: place for place, character in enumerate(theirs)}  # of "-", named twice, the second place
    alphabet = Alphabet()
    assert len(alphabet) == len(CHARACTERS) + 2 == 72
    for character in theirs.strip():
        assert alphabet.ids(character) == [planes[character] + 2]
    assert alphabet.ids("a b")[1] == planes[" "] + 2


def test_a_caption_by_hand_in_characters():
    tokens = Alphabet().encode(["Aa  z9\n.", "\u00fc"])
    assert tokens.ids.tolist() == [[2, 2, 71, 27, 37, 71, 41], [UNKNOWN] + 6 * [PADDING]]
    assert tokens.lengths.tolist() == [7, 1]


@quick
@given(st.text())
def test_every_character_has_an_id_and_only_known_ones_a_known_one(caption):
    alphabet, read = Alphabet(), characters(caption)
    ids = alphabet.ids(caption)
    assert len(ids) == len(read)
    assert alphabet.unknown(caption).keys() == {c for c, i in zip(read, ids, strict=True) if i == UNKNOWN}
    assert alphabet.ids("\n") == []


def test_a_vocabulary_of_the_alphabet_alone_is_one():
    assert isinstance(Vocabulary(list(CHARACTERS)), Alphabet)
    assert type(Vocabulary(list(CHARACTERS[:-1]))) is Vocabulary
    assert type(Vocabulary(list(reversed(CHARACTERS)))) is Vocabulary
    with pytest.raises(TextError, match="70 fixed characters, got 2"):
        Alphabet(["a", "b"])


@pytest.mark.parametrize(
    ("text", "message"), [("", "no words"), ("\u9ce5", "Latin letters"), ("bird " * (MAX_WORDS + 1), "61 words")]
)
def test_an_alphabet_refuses_what_it_cannot_read(text, message):
    with pytest.raises(TextError, match=message):
        Alphabet().check(text)


def test_an_alphabet_reads_any_word():
    assert Alphabet().check(" a bleu bird bird\n") == "a bleu bird bird"
    assert Alphabet().unknown("a bl\u00eau bird") == {"\u00ea": ()}


@pytest.mark.parametrize("text", ["this flower has purple petals", "purple", "a bird"])
def test_an_alphabet_knows_words_of_its_letters(text):
    assert Alphabet().knows(text)


def test_what_nothing_is_known_of():
    assert not Alphabet().knows("\u9ce5 \u82b1")
    assert not Vocabulary(["bird"]).knows("purple petals")
    assert Vocabulary(["bird"]).knows("a purple bird")
