"""Laws of `swaps@1`: who paints what the caption says where it says it is right, and no trick is."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import ClassVar

import pytest
import torch
from click.testing import CliRunner

from support import colour_world
from tgim.checkpoints import checkpoint, registry
from tgim.cli.main import main
from tgim.data.config import DataConfig
from tgim.evaluation import PROTOCOLS, evaluate, swaps
from tgim.evaluation.baselines import Baseline, baselines, colour_of
from tgim.evaluation.bench import Bench
from tgim.evaluation.contenders import quantised
from tgim.evaluation.truth import SyntheticTruth
from tgim.models.base import Config
from tgim.reporting import section_tables
from tgim.text.vocabulary import Vocabulary, tokenize

SIDE, PATCH = colour_world.SIDE, 8
PARTS = sorted({part for pairs in swaps.PARTS.values() for pair in pairs for part in pair})
VOCABULARY = Vocabulary(("this", "bird", "flower", "has", "a", "an", "and", *swaps.COLOURS, *PARTS))
NAMES = [f"{i:03d}.jpg" for i in range(400)]
kinds = pytest.mark.parametrize("kind", swaps.PARTS)


def told(words):
    """[(part, colour)] of a caption, in its order."""
    return [(part, colour) for colour, part in pairwise(words) if part in PARTS]


def place(part):
    """Each part is a square of its own."""
    row, column = divmod(PARTS.index(part), SIDE // PATCH)
    return slice(PATCH * row, PATCH * (row + 1)), slice(PATCH * column, PATCH * (column + 1))


def shade(word):
    return 2 * torch.tensor(colour_of(word)) - 1


class EyesConfig(Config):
    """Options of the judge: it knows where parts are, or compares the whole picture with the first part's colour."""

    places: bool = True


class PartEyes(colour_world.Untrained):
    """Scores a picture by how far the parts of the caption are from their colours."""

    name: ClassVar[str] = "part_eyes"
    Config: ClassVar[type[Config]] = EyesConfig

    def read_images(self, image):
        seen = torch.stack([image[(..., *place(part))].mean((2, 3)) for part in PARTS], 1)  # B, P, 3
        whole = image.mean((2, 3))[:, None].expand_as(seen)
        return (seen if self.config.places else whole,)

    def read_captions(self, text):
        wanted, weight = torch.zeros(len(text.ids), len(PARTS), 3), torch.zeros(len(text.ids), len(PARTS))
        for i, ids in enumerate(text.ids.tolist()):
            known = told([VOCABULARY.words[number - 2] if number > 1 else "" for number in ids])
            for part, colour in known if self.config.places else known[:1]:
                wanted[i, PARTS.index(part)], weight[i, PARTS.index(part)] = shade(colour), 1
        return wanted, weight

    def scores(self, images, captions):
        wanted, weight = captions
        return -((images[0][:, None] - wanted).square().sum(-1) * weight).sum(-1)


class Painter(Baseline):
    """Paints squares in colours: what it makes of the caption's parts and colours is `plan`'s."""

    def __init__(self, name, plan):
        self.name, self.plan = name, plan

    def edit(self, pictures, captions, rows, strength):
        edited = pictures.clone()
        for picture, caption in zip(edited, captions, strict=True):
            for part, colour in self.plan(told(tokenize(caption))).items():
                picture[(slice(None), *place(part))] = shade(colour)[:, None, None]
        return quantised(edited)


ORACLE = Painter("oracle", dict)
CHEATS = [
    Painter("deaf", lambda parts: {"head": "red", "belly": "white", "petals": "red", "center": "blue"}),
    Painter("all in the first colour", lambda parts: dict.fromkeys(PARTS, parts[0][1])),
    Painter("the wrong way round", lambda parts: {parts[0][0]: parts[1][1], parts[1][0]: parts[0][1]}),
    Painter(
        "colours by the alphabet",
        lambda parts: dict(zip((p for p, _ in parts), sorted(c for _, c in parts), strict=True)),
    ),
]


def synthetic_squares(count=6):
    """Stand-in for the synthetic pictures of `truth@1`: grey squares and their true edits."""
    captions = swaps.swap_captions("birds", [f"synthetic {i}" for i in range(count)], seed=1)
    pictures = quantised(
        torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).repeat(1, 3, 1, 1)
    )
    true = tuple(ORACLE.edit(pictures, texts, range(count), 1.0) for texts in captions)
    return SyntheticTruth("birds", pictures, pictures, pictures[:, 0], [], [], pictures, true, captions)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return DataConfig(
        name="folder", root=str(colour_world.build(tmp_path_factory.mktemp("world"), each=3)), split="all"
    )


@pytest.fixture
def judge(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.SYSTEMS, "part_eyes", PartEyes)
    monkeypatch.setattr(swaps, "synthetic_truth", lambda kind, **options: synthetic_squares())

    def save(**config):
        model = PartEyes(EyesConfig(**config), vocabulary_size=len(VOCABULARY))
        return str(checkpoint.save(tmp_path / f"eyes{len(config)}.safetensors", model, vocabulary=VOCABULARY))

    return save


def figures(bench, contender):
    return {figure.metric: figure.figures(seed=0)[0] for figure in swaps.measure(bench, contender)}


# The captions


@kinds
def test_the_captions_differ_by_which_part_gets_which_colour(kind):
    seen = set()
    for captions in zip(*swaps.swap_captions(kind, NAMES, seed=0), strict=True):
        one, other = (tokenize(caption) for caption in captions)
        (first, a), (second, b) = told(one)
        assert told(other) == [(first, b), (second, a)]
        assert a != b
        assert (first, second) in swaps.PARTS[kind] or (second, first) in swaps.PARTS[kind]
        assert [word for word in one if word in PARTS] == [word for word in other if word in PARTS]
        assert sorted(set(one) - {"a", "an"}) == sorted(set(other) - {"a", "an"})
        assert all(
            (article == "an") == (colour[0] in "aeiou")
            for words in (one, other)
            for article, colour in pairwise(words)
            if article in ("a", "an")
        )
        seen |= {(first, second), a, b}
    assert seen >= {pair[::turn] for pair in swaps.PARTS[kind] for turn in (1, -1)} | set(swaps.COLOURS)


def test_an_example_by_hand():
    assert swaps._pair("birds", 0) == (
        "this bird has a red head and an orange belly",
        "this bird has an orange head and a red belly",
    )
    number = 1 + 2 * (1 + 2 * (10 + 11 * 9))  # the second pair of parts, turned, white, and the last colour before it
    assert swaps._pair("flowers", number) == (
        "this flower has white stamen and black petals",
        "this flower has black stamen and white petals",
    )


@kinds
def test_the_captions_are_frozen(kind):
    """A change here is a change of every figure: it is a new version of the protocol."""
    found = hashlib.sha256(repr(swaps.swap_captions(kind, NAMES, seed=0)).encode()).hexdigest()[:16]
    assert found == {"birds": "c3095500399572de", "flowers": "179ff128eaebff34"}[kind]
    assert swaps.swap_captions(kind, NAMES[::-1], seed=0)[0] == swaps.swap_captions(kind, NAMES, seed=0)[0][::-1]
    assert swaps.swap_captions(kind, NAMES, seed=1) != swaps.swap_captions(kind, NAMES, seed=0)


@kinds
def test_the_shipped_judges_know_every_word(kind):
    words = set(checkpoint.read_header(f"judge-{kind}")["vocabulary"])
    assert (
        not {word for texts in swaps.swap_captions(kind, NAMES, seed=0) for text in texts for word in tokenize(text)}
        - words
    )


def test_a_limit_changes_no_caption(world, judge):
    whole, part = (Bench(world, size=SIDE, judge=judge(), limit=limit) for limit in (None, 5))
    rows = whole.rows.tolist()
    for all_texts, texts in zip(swaps.captions_for(whole), swaps.captions_for(part), strict=True):
        assert texts == [all_texts[rows.index(row)] for row in part.rows]


def test_a_folder_is_of_what_its_captions_speak_of(world, tmp_path, judge):
    assert swaps.kind_of(Bench(world, size=SIDE, judge=judge())) == "birds"
    root = colour_world.build(tmp_path / "flowers", each=1)
    notes = root / "metadata.jsonl"
    notes.write_text(notes.read_text().replace("bird", "flower"))
    bench = Bench(DataConfig(name="folder", root=str(root), split="all"), size=SIDE, judge=judge())
    assert swaps.kind_of(bench) == "flowers"
    assert all(text.startswith("this flower has ") for texts in swaps.captions_for(bench) for text in texts)


# The figures


def test_who_paints_what_is_said_where_it_is_said_is_always_right(world, judge):
    bench = Bench(world, size=SIDE, judge=judge())
    assert figures(bench, ORACLE) == dict.fromkeys((*swaps.METRICS, *swaps.SYNTHETIC), 1.0)


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda each: each.name)
def test_no_trick_is_ever_right(world, judge, cheat):
    bench = Bench(world, size=SIDE, judge=judge())
    found = figures(bench, cheat)
    assert found["swap_accuracy"] == found["drawn_swap_accuracy"] == 0
    assert found["swap_margin_accuracy"] == found["drawn_swap_margin_accuracy"] == 0


@pytest.mark.slow
def test_the_trivial_editors_are_never_right(world, judge):
    bench = Bench(world, size=SIDE, judge=judge())
    for contender in baselines(bench):  # captions with the same words are one to all of them
        assert figures(bench, contender) == dict.fromkeys((*swaps.METRICS, *swaps.SYNTHETIC), 0.0), contender.name


def test_one_of_two_edits_is_not_enough_but_may_win_by_margin(world, judge):
    bench = Bench(world, size=SIDE, judge=judge())
    found = figures(bench, Painter("one of two", lambda parts: dict(parts) if parts[0][1] < parts[1][1] else {}))
    assert found["swap_accuracy"] < 1
    assert found["swap_margin_accuracy"] > 0.9


def test_the_rows_to_read_the_figures_by(world, judge):
    bench = Bench(world, size=SIDE, judge=judge())
    rows = {(name, figure.metric): figure.figures(seed=0)[0] for name, figure in swaps.references(bench)}
    assert rows["true_drawn", "drawn_swap_accuracy"] == rows["true_drawn", "drawn_swap_margin_accuracy"] == 1
    assert ("true_drawn", "swap_accuracy") not in rows
    assert {rows["unedited", metric] for metric in (*swaps.METRICS, *swaps.SYNTHETIC)} == {0}
    assert rows["one_colour", "swap_accuracy"] == rows["one_colour", "drawn_swap_accuracy"] == 0
    assert rows["chance", "swap_accuracy"] == rows["chance", "drawn_swap_accuracy"] == 0.25
    assert rows["chance", "swap_margin_accuracy"] == rows["chance", "drawn_swap_margin_accuracy"] == 0.5


@pytest.mark.slow
def test_a_judge_that_does_not_look_at_places_is_exposed_by_a_row(world, judge):
    bench = Bench(world, size=SIDE, judge=judge(places=False))
    rows = {(name, figure.metric): figure.figures(seed=0)[0] for name, figure in swaps.references(bench)}
    assert rows["one_colour", "swap_accuracy"] > 0.8
    assert rows["unedited", "swap_accuracy"] == 0


# The run


@pytest.mark.slow
def test_both_counts_stand_in_one_table_and_a_second_run_measures_nothing(world, judge, tmp_path, monkeypatch):
    options = {"data": world, "protocols": ["swaps@1"], "judge": judge(), "size": SIDE, "out": tmp_path / "out.jsonl"}
    lines = evaluate([], **options)
    assert {line.model for line in lines} > {"true_drawn", "unedited", "one_colour", "chance", "identity", "unrelated"}
    assert {line.n for line in lines} == {18, 6}
    (table,) = section_tables(lines)
    assert len(table.columns) == 4
    assert {column.split(", n ")[1] for column in table.columns} == {"18", "6"}
    assert "true edit (synthetic)" in table.markdown()

    def never(*args, **kwargs):
        raise AssertionError("judged again")

    monkeypatch.setattr(Bench, "scores", never)
    assert sorted(line.key for line in evaluate([], **options)) == sorted(line.key for line in lines)


def test_it_is_listed():
    assert PROTOCOLS["swaps@1"].needs_judge
    assert "swaps@1" in CliRunner().invoke(main, ["eval", "--help"]).stdout
