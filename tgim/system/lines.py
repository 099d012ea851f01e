"""Lines of text files that people and other programs wrote, and JSON in them: bounded, and told where they are odd.

A line ends at a line feed alone (a carriage return before it belongs to the end): U+2028, U+0085, form feeds and the
like are content, as JSON Lines has it.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

LONGEST = 2**20  # bytes of a line
DEPTH = 20  # lists and objects within one another
DIGITS = 18  # of an integer: it fits into 64 bits
_HEAD = 4096  # bytes by which the encoding is known
_MARKS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32"}
_MARKS |= {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}  # after those that begin like them


class ForeignText(ValueError):
    """A file that is text of another encoding; the message completes "the file ..."."""


class Row(NamedTuple):
    """A line of a file."""

    number: int  # from 1
    text: str  # without its end; empty where it is too long to be read
    fault: str = ""  # of its bytes, and what was read instead
    start: str = ""  # of a line that is too long


def encoding_of(head: bytes) -> str:
    """Name the encoding of the first bytes of a text where it is UTF-16 or UTF-32; otherwise an empty string.

    >>> encoding_of("a bird".encode("utf-16")), encoding_of("a bird".encode("utf-32-be")), encoding_of(b"a bird")
    ('UTF-16', 'UTF-32', '')
    """
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    shares = [head[place::4].count(0) / max(1, len(head[place::4])) for place in range(4)]
    zeros = "".join("0" if share > 0.2 else "." if share < 0.05 else "?" for share in shares)
    return {".0.0": "UTF-16", "0.0.": "UTF-16", ".000": "UTF-32", "000.": "UTF-32"}.get(zeros, "")


def read_rows(path: Path) -> Iterator[Row]:
    """Read the lines of a file one by one; one that is too long is not held in memory.

    Bytes that are not UTF-8 are read as Windows-1252, a superset of Latin-1, and the row's `fault` says so.

    Raises:
        OSError: the file cannot be read.
        ForeignText: it is UTF-16 or UTF-32.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST + 2):
            number += 1
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
                if name := encoding_of(line[:_HEAD]):
                    raise ForeignText(f"is {name} text, expected UTF-8; save it as UTF-8")
            body = line.removesuffix(b"\n").removesuffix(b"\r") if line.endswith(b"\n") else line
            if len(body) > LONGEST:
                while line and not line.endswith(b"\n"):
                    line = file.readline(LONGEST)
                yield Row(number, "", f"longer than {LONGEST:,} bytes", decoded(body[:_HEAD])[0])
                continue
            yield Row(number, *decoded(body))


def decoded(line: bytes) -> tuple[str, str]:
    """The text of a line, and what was wrong with its bytes.

    >>> decoded(b"ros\\xe9 petals")
    ('rosé petals', 'byte 4 is not UTF-8; read as Windows-1252')
    """
    try:
        return line.decode(), ""
    except UnicodeDecodeError as error:
        fault = f"byte {error.start + 1} is not UTF-8; read as "
    try:
        return line.decode("cp1252"), f"{fault}Windows-1252"
    except UnicodeDecodeError:  # five bytes are unused there
        return line.decode("latin-1"), f"{fault}Latin-1"


def parse(text: str) -> Any:
    """Read one JSON value that is no larger and no deeper than people write; control characters in strings are content.

    Raises:
        ValueError: it is no JSON, has a key twice or a number that is none, is too deep, or has a number too long.

    >>> parse('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: key 'a' is given twice
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at character {error.pos + 1})") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > DEPTH:
        level: list[Any] = [value]
        for _ in range(DEPTH + 1):
            inner = [each for each in level if isinstance(each, list | dict)]
            level = [child for each in inner for child in (each.values() if isinstance(each, dict) else each)]
        if level:
            raise ValueError(_TOO_DEEP)
    return value


_TOO_DEEP = f"lists or objects lie more than {DEPTH} deep in one another"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of `pairs`, in which no key comes twice."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:60]!r} is given twice")
        found[key] = value
    return found


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"a number has {len(text):,} digits, expected at most {DIGITS}")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:60]} is too large a number")
    return value


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


_DECODER = json.JSONDecoder(
    strict=False, object_pairs_hook=_once, parse_int=_integer, parse_float=_real, parse_constant=_constant
)


def whole(value: Any) -> Any:
    """A JSON value with U+FFFD for each half of a character that its strings have (a lone surrogate).

    >>> whole({"a": ["x\\ud83d"]})
    {'a': ['x�']}
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [whole(each) for each in value]
    return {whole(key): whole(each) for key, each in value.items()} if isinstance(value, dict) else value
