"""Laws of output: any text on any stream, and a stream that fails ends nothing but, for stdout, the command."""

from __future__ import annotations

import errno
import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgim.system.say import OutputError, bar, one_line, say, say_json

ENCODINGS = ["utf-8", "cp1252", "ascii", "latin-1", "utf-16", "shift_jis"]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)  # lone surrogates, too


class Broken(io.StringIO):
    """A stream on which each write fails."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, "cannot")


def said(call, *args: object, encoding: str, err: bool = False, **options: object) -> str:
    """What `call` writes to a stream of an encoding."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding, newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr" if err else "stdout", stream)
        call(*args, **options)
    return stream.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=ANY_TEXT)
def test_any_text_is_said_on_any_stream(encoding, text):
    assert said(say, text, encoding=encoding).endswith("\n")
    assert said(say, text, encoding=encoding, err=True, **{}) == ""  # on the other stream


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=ANY_TEXT)
def test_any_json_is_one_line_and_reads_as_what_it_was(encoding, text):
    line = said(say_json, {"text": text}, encoding=encoding)
    assert line.splitlines(keepends=True) == [line]
    whole = "".join("\ufffd" if "\ud800" <= sign <= "\udfff" else sign for sign in text)
    assert json.loads(line) == {"text": whole}


def test_text_that_can_be_encoded_stays_as_it_is():
    assert said(say, "caf\u00e9 \u2764", encoding="utf-8") == "caf\u00e9 \u2764\n"
    assert said(say_json, "caf\u00e9", encoding="latin-1") == '"caf\u00e9"\n'
    assert said(say, "caf\u00e9 \u2764", encoding="latin-1") == "caf\u00e9 \\u2764\n"


@given(text=ANY_TEXT)
def test_a_message_is_one_line(text):
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert "\x1b" not in line


@pytest.mark.parametrize(("number", "closed"), [(errno.EPIPE, True), (errno.ENOSPC, False), (errno.EIO, False)])
def test_a_broken_stream(monkeypatch, number, closed):
    monkeypatch.setattr(sys, "stdout", Broken(number))
    with pytest.raises(OutputError) as caught:
        say("text")
    assert caught.value.closed == closed
    monkeypatch.setattr(sys, "stderr", Broken(number))
    say("text", err=True)
    with bar(total=2, show=True) as shown:
        shown.update()


def test_a_stream_that_is_not_there(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    say("text")
    say_json({})
    say("text", err=True)
    with bar(total=2) as shown, bar(total=2, show=True) as other:
        shown.update()
        other.update()


def test_a_bar_is_shown_where_it_is_wanted(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", newline="")
    monkeypatch.setattr(sys, "stderr", stream)
    with bar(total=2, show=True, desc="caf\u00e9") as shown:
        shown.update(2)
    assert b"2/2" in stream.buffer.getvalue()
