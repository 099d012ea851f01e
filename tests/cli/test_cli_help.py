"""The help of every verb: whole sentences, and a word on every option."""

from __future__ import annotations

import re

import click
import pytest

from support.commands import tgim
from tgim.cli.main import main

VERBS = {
    **{name: verb for name, verb in main.commands.items() if not isinstance(verb, click.Group)},
    **{f"data {name}": verb for name, verb in main.commands["data"].commands.items()},
}


def test_no_line_of_the_list_is_cut():
    answer = tgim("--help")
    assert answer.exit_code == 0
    assert "..." not in answer.stdout.partition("Commands:")[2]


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_says_what_it_does_and_what_its_options_are(name):
    verb = VERBS[name]
    first = verb.help.partition("\n\n")[0]
    assert first.endswith(".")
    assert first[0].isupper()
    for option in verb.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert re.sub(r"\s*\[default: .*\]$", "", option.help).endswith("."), option.help
