"""Laws of the lexicon: one place for words, and tables of numbers that have a row for each of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tgim
from tgim.data.synthetic import captions, scenes
from tgim.evaluation import part_scores
from tgim.models.editing.painting import palette
from tgim.text.lexicon import colours, parts, synthetic

PACKAGE = Path(tgim.__file__).parent
WORDS = colours.COLOUR_WORDS | parts.PART_WORDS
FEW = 3  # words that may stand together elsewhere


def lists_of(file):
    """Line and words of each list that a file has: tuples, lists and sets of words, and texts of nothing but words."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            yield node.lineno, [each.value for each in node.elts if isinstance(each, ast.Constant)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            words = node.value.split()
            if WORDS.issuperset(words):
                yield node.lineno, words


@pytest.mark.slow
def test_lists_of_colours_and_parts_stand_in_the_lexicon_alone():
    files = [file for file in PACKAGE.rglob("*.py") if file.parent.name != "lexicon"]
    elsewhere = [
        f"{file.relative_to(PACKAGE)}:{line}: {' '.join(map(str, words))}"
        for file in files
        for line, words in lists_of(file)
        if len(WORDS.intersection(words)) > FEW
    ]
    assert not elsewhere, "\n".join(elsewhere)
    assert len(files) > 100


def test_numbers_of_colours_have_the_words_of_the_lexicon():
    for table in (palette.RAMPS, palette.RANGES, part_scores.COLOURS):
        assert set(table) == set(colours.PLAIN)
    assert tuple(scenes.COLOURS) == synthetic.COLOURS  # an index of this order is part of what a seed draws
    assert scenes.MODIFIERS.keys() == synthetic.MODIFIED.keys()
    bases = {word.split()[-1] for table in scenes.PALETTES.values() for word in table}
    assert bases | set().union(*synthetic.MODIFIED.values()) <= set(synthetic.COLOURS)
    assert scenes.PALETTES.keys() <= {*synthetic.BIRD_PARTS, *synthetic.FLOWER_PARTS}
    for kind, weights in captions._GROUPS.items():
        assert weights.keys() <= synthetic.WORDS[kind].keys()


def test_no_word_is_both_a_colour_and_a_part_or_subject():
    assert not colours.COLOUR_WORDS & (parts.PART_WORDS | parts.BIRD | parts.FLOWER)
    assert colours.EVERYDAY.keys() & (parts.SYNONYMS.keys() | parts.BIRD | parts.FLOWER) <= colours.THINGS


def test_every_colour_of_captions_has_a_colour_that_is_painted():
    drawn = colours.CAPTION_COLOURS - set(synthetic.COLOURS)
    assert drawn <= synthetic.NEAREST.keys()
    assert set(synthetic.NEAREST.values()) <= set(synthetic.COLOURS)


def test_parts_are_named_by_words_that_mean_them():
    localised = {*parts.BIRD_PARTS, *parts.FLOWER_PARTS}
    assert all(parts.PAINTED[part] == part for part in localised)
    assert {*parts.ALIASES.values(), *parts.CUB_PARTS.values(), *parts.MEASURED} <= localised
    for kind, names in synthetic.LOCALISED.items():
        assert names.keys() <= set(synthetic.PARTS[kind.removesuffix("s")])
        assert set(names.values()) <= localised
