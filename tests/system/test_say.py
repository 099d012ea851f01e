"""Laws of output: any text on any stream, and a stream that fails ends nothing but, for stdout, the command."""

from __future__ import annotations

import errno
import io
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgim.system import say as say_module
from tgim.system.say import OutputError, bar, end_bars, one_line, say, say_json, show_progress

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


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(say_module.time, "monotonic", lambda: self.now)


def run(clock: Clock, count: int, *, each: float, **options: object) -> None:
    with bar(total=count, **options) as shown:
        for _ in range(count):
            clock.now += each
            shown.update()


def test_a_pipe_hears_nothing_at_first_then_a_line_now_and_then(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    run(clock, 49, each=0.1)
    assert capsys.readouterr() == ("", "")
    run(clock, 600, each=0.125, desc="drawing", unit="picture")  # a minute and a quarter
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "tgim: drawing: 40 of 600 pictures (7 %), 8 a second, about 1 min to go"
    assert lines[-1] == "tgim: drawing: 600 pictures in 1 min"
    assert len(lines) == 8  # after 5, 15, 25, ... seconds, and at the end
    run(clock, 1000, each=36)  # ten hours
    assert 100 < len(capsys.readouterr().err.splitlines()) < 130  # each five minutes
    run(clock, 1000, each=1.2)  # twenty minutes
    assert 18 < len(capsys.readouterr().err.splitlines()) < 24


@pytest.mark.parametrize("show", [None, True, False])
def test_an_end_that_is_none_has_no_last_line(monkeypatch, capsys, show):
    clock = Clock(monkeypatch)

    def broken_off() -> None:
        with bar(total=100, show=show) as shown:
            clock.now += 6
            shown.update(20)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert capsys.readouterr().err.count("\n") == (show is not False)


def test_progress_without_an_end_in_sight_after_a_start_and_of_several_things(monkeypatch, capsys):
    clock = Clock(monkeypatch)
    with bar(unit="edit") as shown:
        clock.now += 8
        shown.update(2)
    with bar(total=1000, initial=900, unit="step") as shown:
        clock.now += 10
        shown.set_postfix({"loss": "0.5"}, refresh=False)
        shown.update(50)
    with bar(unit="") as shown:
        for name in ("one", "two"):
            shown.set_description_str(name, refresh=False)
            shown.reset(total=4)
            for _ in range(4):
                clock.now += 6
                shown.update()
    assert capsys.readouterr().err.splitlines() == [
        "tgim: 2 edits, 4 s each",
        "tgim: 2 edits in 8 s",
        "tgim: 950 of 1,000 steps (95 %), 5 a second, about 10 s to go; loss 0.5",
        "tgim: one: 1 of 4 (25 %), 6 s each, about 18 s to go",
        "tgim: one: 3 of 4 (75 %), 6 s each, about 6 s to go",
        "tgim: one: 4 in 24 s",
        "tgim: two: 1 of 4 (25 %), 6 s each, about 18 s to go",
        "tgim: two: 3 of 4 (75 %), 6 s each, about 6 s to go",
        "tgim: two: 4 in 24 s",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_beside_a_bar_stands_alone(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with bar(total=2, mininterval=0, leave=False) as shown:
        shown.update()
        say("told", err=True)
        shown.update()
    parts = stream.getvalue().split("told\n")
    assert len(parts) == 2
    assert re.search(r"\r +\r$", parts[0])  # the bar is wiped off before
    assert "1/2" in parts[1].split("\r")[1]  # and comes again
    show_progress(False)
    try:
        with bar(total=2) as shown:
            shown.update(2)
    finally:
        show_progress(True)
    assert stream.getvalue().count("2/2") == 1


def test_a_bar_that_was_broken_off_is_wiped_off(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    shown = bar(total=70, mininterval=0)
    shown.update()
    written, shown.sp = stream.getvalue(), lambda text: None  # as when it was broken off while it wrote
    end_bars()
    say("tgim: interrupted", err=True)
    assert "1/70" in written
    wiped = stream.getvalue()[len(written) :]
    assert re.search(r"\r +\rtgim: interrupted\n$", wiped)
    assert wiped.count(" ") > max(map(len, written.split("\r")))
    end_bars()
    assert stream.getvalue() == written + wiped  # once
