"""A notation for rules over the words of a text, and the search for places where a rule fits.

A rule is a name and what it stands for, one rule a line; lines that are indented go on with the rule above::

    NEVER  = do not | never | without
    KEPT   = (keep | leave) [the | its] PART ((and | or) PART)*

`word` fits itself, `NAME` another rule or a list of words, `a b` one after the other, `a | b` the first that lets the
rest fit, `[a]` `a` if possible, `a*` as many as possible, `&a` a place where `a` follows, `~a` a place where it does
not. What is tried first, and that all choices are tried, is as in regular expressions, whose letters are words here.

>>> rules = Grammar("KEPT = (keep | leave) [the | its] PART ((and | or) PART)*", {"PART": {"head", "tail"}})
>>> words = "keep the head and tail".split()
>>> rules.match("KEPT", words), rules.match("KEPT", words[1:]), rules.find("KEPT", ["please", *words])
(5, None, (1, 6))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

Ends = Iterator[int]
Matcher = Callable[[Sequence[str], int], Ends]  # words and a place -> places where what fits there may end
_NOTATION = re.compile(r"[()\[\]|*&~]|[^\s()\[\]|*&~]+")


class Grammar:
    """Rules over words.

    Args:
        rules: in the notation above; `#` begins a comment.
        lists: words that a name stands for, or a function that tells whether a word is one of them. `ANY` is given: it
            fits every word.

    Raises:
        ValueError: a rule that is not in the notation, or a name that is not defined.
    """

    def __init__(self, rules: str, lists: Mapping[str, Collection[str] | Callable[[str], bool]]) -> None:
        self._rules: dict[str, Matcher] = {"ANY": _one(lambda word: True)}
        for name, words in lists.items():
            self._rules[name] = _one(words if callable(words) else words.__contains__)
        self._named: set[str] = set()
        for line in _joined(rules):
            name, equals, text = line.partition("=")
            symbols = _NOTATION.findall(text)
            self._rules[name.strip()] = self._choice(symbols)
            if symbols or not equals:
                raise ValueError(f"rule {line!r} cannot be read at {' '.join(symbols[:3])!r}")
        if unknown := sorted(self._named - self._rules.keys()):
            raise ValueError(f"rules name {', '.join(unknown)}, which no rule and no list defines")

    def match(self, rule: str, words: Sequence[str], at: int = 0) -> int | None:
        """Find the end of the first fit of a rule at place `at`; None if it does not fit there."""
        return next(self._rules[rule](words, at), None)

    def find(self, rule: str, words: Sequence[str], start: int = 0) -> tuple[int, int] | None:
        """Find begin and end of the first place from `start` on where a rule fits at least one word."""
        for i in range(start, len(words)):
            end = self.match(rule, words, i)
            if end is not None and end > i:
                return i, end
        return None

    def find_all(self, rule: str, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield begin and end of each place where a rule fits, from left to right, none within another."""
        found = self.find(rule, words)
        while found:
            yield found
            found = self.find(rule, words, found[1])

    def rewrite(self, rule: str, words: Sequence[str], change: Callable[[list[str]], Iterable[str]]) -> list[str]:
        """Put `change` of the words that fit in their place, wherever a rule fits."""
        written: list[str] = []
        done = 0
        for start, end in self.find_all(rule, words):
            written += [*words[done:start], *change(list(words[start:end]))]
            done = end
        return [*written, *words[done:]]

    def _choice(self, symbols: list[str]) -> Matcher:
        """Read the notation from the first symbol on, up to a closing bracket; takes the symbols away."""
        ways = [self._sequence(symbols)]
        while symbols and symbols[0] == "|":
            symbols.pop(0)
            ways.append(self._sequence(symbols))
        return ways[0] if len(ways) == 1 else _either(ways)

    def _sequence(self, symbols: list[str]) -> Matcher:
        steps: list[Matcher] = []
        while symbols and symbols[0] not in ("|", ")", "]"):
            steps.append(self._step(symbols))
        return steps[0] if len(steps) == 1 else _after_each_other(steps)

    def _step(self, symbols: list[str]) -> Matcher:
        symbol = symbols.pop(0)
        if symbol in ("&", "~"):
            return _ahead(self._step(symbols), wanted=symbol == "&")
        if symbol in ("(", "["):
            found = self._choice(symbols)
            if not symbols or symbols.pop(0) != {"(": ")", "[": "]"}[symbol]:
                raise ValueError(f"a bracket {symbol!r} is not closed")
            if symbol == "[":
                found = _either([found, _nothing])
        elif symbol.isupper():
            self._named.add(symbol)
            found = self._named_rule(symbol)
        else:
            found = _one(symbol.__eq__)
        if symbols and symbols[0] == "*":
            symbols.pop(0)
            found = _repeated(found)
        return found

    def _named_rule(self, name: str) -> Matcher:
        return lambda words, at: self._rules[name](words, at)


def _joined(rules: str) -> list[str]:
    """Join rules that go on in the next line, without comments and empty lines."""
    lines: list[str] = []
    for line in (each.split("#")[0].rstrip() for each in rules.splitlines()):
        if line.startswith(" ") and lines:
            lines[-1] += line
        elif line:
            lines.append(line)
    return lines


def _one(fits: Callable[[str], bool]) -> Matcher:
    """Matcher of one word."""

    def matcher(words: Sequence[str], at: int) -> Ends:
        if at < len(words) and fits(words[at]):
            yield at + 1

    return matcher


def _nothing(words: Sequence[str], at: int) -> Ends:
    """Match no word."""
    yield at


def _either(ways: Sequence[Matcher]) -> Matcher:
    """Matcher of one of the ways, tried in their order."""

    def matcher(words: Sequence[str], at: int) -> Ends:
        for way in ways:
            yield from way(words, at)

    return matcher


def _after_each_other(steps: Sequence[Matcher]) -> Matcher:
    """Matcher of all steps, each where the one before it ends."""

    def matcher(words: Sequence[str], at: int, step: int = 0) -> Ends:
        if step == len(steps):
            yield at
            return
        for end in steps[step](words, at):
            yield from matcher(words, end, step + 1)

    return matcher


def _repeated(once: Matcher) -> Matcher:
    """Matcher of any number of times, many before few."""

    def matcher(words: Sequence[str], at: int) -> Ends:
        for end in once(words, at):
            if end > at:
                yield from matcher(words, end)
        yield at

    return matcher


def _ahead(what: Matcher, *, wanted: bool) -> Matcher:
    """Matcher of no word, where `what` follows or does not."""

    def matcher(words: Sequence[str], at: int) -> Ends:
        if (next(what(words, at), None) is not None) == wanted:
            yield at

    return matcher
