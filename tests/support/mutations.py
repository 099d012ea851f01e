"""Mutations of documents and of bytes, as hypothesis draws them: what a fuzzer of a file format is made of."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

DEEP: Any = []
for _ in range(60):
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 7, 2**31, 2**63, -(2**70), 10**30, 0.5, -1e308, 1e-320, float("nan"), float("inf")),
    *("", " ", "\0", "x" * 300, "../x", "/etc/passwd", "é", "e\u0301", "\u2028", "\x85", "\ud83d", "{}", "{0}", "%s"),
    *("nan", "stage:x", "my_editors:Tint", [], [[]], {}, {"": {}}, {"a": 1}, [1] * 40, ["a", "a"], DEEP),
)
PIECES = (
    *(b"", b"\0", b"\0" * 40, b"\n", b"\r", b"\r\n", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b"\xed\xa0\x80", b"\x0b"),
    *(b"{", b"[" * 2000, b'"', b"\\ud83d", b"9" * 5000, b"NaN", b"-Infinity", b"1e999", b",", b":", b"}", b"null"),
    *(
        b"\xff" * 8,
        b"\xe2\x80\xa8",
        b"&a [*a]",
        b"*a",
        b"!!python/object:os.system",
        b"- " * 500,
        b"\t",
        b"0x" + b"f" * 5000,
    ),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all that lies in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


@st.composite
def documents(draw: Any, document: dict[str, Any]) -> dict[str, Any]:
    """The document with one to three of its values replaced, removed, moved under another key, or doubled."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        paths = list(places(found))
        if not paths:
            return found
        *way, last = paths[draw(st.integers(0, len(paths) - 1))]
        home = found
        for key in way:
            home = home[key]
        what = draw(st.sampled_from(("replace", "replace", "remove", "rename", "double")))
        if what == "replace":
            home[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif what == "remove":
            del home[last]
        elif isinstance(home, dict):
            home[draw(st.sampled_from(("", "x" * 300, "\ud83d", "name", f"{last}s")))] = copy.deepcopy(home[last])
            if what == "rename":
                del home[last]
        else:
            home += copy.deepcopy(home)
    return found


@st.composite
def cut_up(draw: Any, content: bytes) -> bytes:
    """The bytes with one to three pieces cut out, put in, put in place of others, or repeated."""
    found = content
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(found))))
        length = draw(st.sampled_from((0, 1, 2, 8, 100, 10**6)))
        piece = draw(st.sampled_from(PIECES) | st.binary(min_size=1, max_size=3))
        what = draw(st.sampled_from(("cut", "put", "replace", "repeat")))
        end = at + length
        if what == "cut":
            found = found[:at] + found[end:]
        elif what == "repeat":
            found = found[:end] + found[at:end] + found[end:]
        else:
            found = found[:at] + piece + found[at if what == "put" else end :]
    return found
