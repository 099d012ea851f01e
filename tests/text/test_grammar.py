"""Laws of the notation of rules: what it fits is what regular expressions over single letters fit."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgim.text.grammar import Grammar

SAME = {  # a rule over the words a, b, c, and the regular expression over the letters
    "a b": "ab",
    "a | b c | a b": "a|bc|ab",
    "(a | a b) c": "(?:a|ab)c",
    "[a] a b": "a?ab",
    "a* a b": "a*ab",
    "(a | b)* c": "(?:a|b)*c",
    "(a [b])* b c": "(?:ab?)*bc",
    "a &b": "a(?=b)",
    "a ~b ANY": "a(?!b).",
    "a ~(b | c)": "a(?!b|c)",
    "VOWEL* c ~ANY": "[a]*c$",
    "PAIR PAIR": "(?:ab|ba)(?:ab|ba)",
    "[PAIR*] c": "(?:(?:ab|ba)*)?c",
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", SAME)
@settings(max_examples=100, deadline=None)
@given(letters=st.text("abc", max_size=8))
def test_rules_fit_what_regular_expressions_fit(rule, letters):
    grammar = Grammar(f"RULE = {rule}\nPAIR = a b | b a", {"VOWEL": {"a"}})
    same = re.compile(SAME[rule])
    found = same.match(letters)
    assert grammar.match("RULE", list(letters)) == (found.end() if found else None)
    assert list(grammar.find_all("RULE", list(letters))) == [
        each.span() for each in same.finditer(letters) if each.end() > each.start()
    ]
    written = grammar.rewrite("RULE", list(letters), lambda words: ["x", *words])
    assert "".join(written) == same.sub(lambda found: f"x{found.group()}" if found.group() else "", letters)


def test_comments_and_lines_that_go_on_are_read():
    grammar = Grammar(
        """
# what is said
SAID = one  # of them
       | two

WORD = three
""",
        {},
    )
    assert [grammar.match("SAID", [word]) for word in ("one", "two", "three")] == [1, 1, None]
    assert grammar.match("WORD", ["three"]) == 1


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("RULE = a NOUN", "rules name NOUN, which no rule and no list defines"),
        ("RULE = (a b", "a bracket '(' is not closed"),
        ("RULE = a ] b", "cannot be read at '] b'"),
        ("RULE", "cannot be read"),
    ],
)
def test_what_is_no_rule_is_refused(rules, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Grammar(rules, {})
