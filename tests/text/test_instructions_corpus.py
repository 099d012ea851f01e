"""The law of a corpus: texts as people write them, each with the caption, the notes and the unknown words recorded.

`instructions.jsonl` has one object a line: `vocabulary` (a key of `KNOWN`), `text`, and either `caption`, `notes`
and `unknown` (left out where empty) or `error`, the line that the user reads. All texts are made up. What a rule of the
grammar changes shows here, text by text; run this file as a script to record the corpus anew:

    python tests/text/test_instructions_corpus.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tgim.checkpoints import checkpoint
from tgim.errors import TextError
from tgim.models.editing.painting.words import vocabulary_words
from tgim.text.understand import understand
from tgim.text.vocabulary import Alphabet, Vocabulary

CORPUS = Path(__file__).parent / "instructions.jsonl"
FEWEST = 800  # texts
LINES = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]


def embedded(name):
    header = checkpoint.read_header(name)
    return Vocabulary(header["vocabulary"]), header["template"]


KNOWN = {
    "birds-1": embedded("birds-1"),
    "flowers-1": embedded("flowers-1"),
    "attngan-birds": embedded("attngan-birds"),
    "painter": (Vocabulary(vocabulary_words()), "{}"),
    "letters": (Alphabet(), "{}"),
    "dogs": (
        Vocabulary.build(["this dog has a brown ear and paws", "the tail is black or white"]),
        "this dog has a {}",
    ),
    "words": (Vocabulary.build(["a red head blue bird wings black"]), "{}"),  # not those of "this bird has"
}


def recorded(vocabulary, text):
    try:
        caption, notes, unknown = understand(text, *KNOWN[vocabulary])
    except TextError as error:
        return {"vocabulary": vocabulary, "text": text, "error": str(error)}
    found = {"vocabulary": vocabulary, "text": text, "caption": caption}
    if notes:
        found["notes"] = list(notes)
    if unknown:
        found["unknown"] = {word: list(near) for word, near in unknown.items()}
    return found


@pytest.mark.parametrize(
    "vocabulary", [pytest.param(name, marks=pytest.mark.slow if name == "birds-1" else ()) for name in KNOWN]
)
def test_texts_are_understood_as_recorded(vocabulary):
    wrong = [
        f"\n  expected {line}\n  found    {found}"
        for line in LINES
        if line["vocabulary"] == vocabulary and (found := recorded(vocabulary, line["text"])) != line
    ]
    assert not wrong, "".join(wrong)


def test_the_corpus_is_large_and_names_no_text_twice():
    asked = [(line["vocabulary"], line["text"]) for line in LINES]
    assert len(set(asked)) == len(asked) >= FEWEST
    assert {name for name, _ in asked} == set(KNOWN)


@pytest.mark.slow
def test_what_the_corpus_gives_is_understood_as_it_is():
    for line in LINES:
        if caption := line.get("caption"):
            assert understand(caption, *KNOWN[line["vocabulary"]]).caption == caption


if __name__ == "__main__":
    anew = [recorded(line["vocabulary"], line["text"]) for line in LINES]
    CORPUS.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in anew), encoding="utf-8")
