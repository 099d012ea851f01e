"""Laws of randomness: each use draws from a stream of its own, whose number stays what was published with it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import tgim
from tgim.data.base import Stream, random_source

PACKAGE = Path(tgim.__file__).parent
SHARED = {"POOL": "SCENES"}  # streams with another's number, kept for what was published; nothing may be added
NUMBERS = {
    "EPOCH": 0, "STEP": 1, "SCENES": 2, "POOL": 2, "SOURCES": 3, "VIEWS": 5, "PARTS_ORDER": 6,
    "BACKGROUND_POINTS": 7, "MAPS": 8, "FRAMES": 9, "LESSONS": 10, "STEER": 11,
    "LOOP": 100, "BOOTSTRAP": 900, "TRUTH": 901, "FEATURE_BOOTSTRAP": 902,
    "TRIPLES": 903, "COMPOSE": 904, "SHOWN": 905, "DISSECTION": 906, "DISSECTION_BOOTSTRAP": 907, "BOUNDARIES": 908,
}  # fmt: skip


def calls_of_random_source():
    """Every call in the package, with its file and its second argument."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "random_source":
                yield f"{file.relative_to(PACKAGE)}:{node.lineno}", [ast.unparse(each) for each in node.args]


def test_no_two_streams_share_a_number_but_those_that_were_published_so():
    shared = {name: member.name for name, member in Stream.__members__.items() if name != member.name}
    assert shared == SHARED


def test_the_numbers_are_those_that_figures_and_weights_were_published_with():
    assert {name: int(member) for name, member in Stream.__members__.items() if name in NUMBERS} == NUMBERS


@pytest.mark.slow
def test_every_call_names_its_stream():
    calls = dict(calls_of_random_source())
    assert len(calls) > 10
    for where, arguments in calls.items():
        stream = arguments[1] if len(arguments) > 1 else arguments[0]
        assert stream.startswith("Stream.") or arguments == ["*stream", "i"], where  # a triple pool's, which begins so


@pytest.mark.parametrize("stream", Stream.__members__)
def test_a_stream_is_what_its_number_is(stream):
    expected = np.random.default_rng([3, NUMBERS[stream], 4]).integers(1000, size=5)
    assert np.array_equal(random_source(3, Stream[stream], 4).integers(1000, size=5), expected)
