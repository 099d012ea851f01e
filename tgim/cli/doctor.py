"""The verb that says whether everything works here: `tgim doctor`."""

from __future__ import annotations

import sys

import click

from tgim.cli.app import main
from tgim.cli.options import json_option
from tgim.system.say import one_line, say, say_json


@main.command()
@click.option("--full", is_flag=True, help="Compare all embedded files by their hashes, too.")
@json_option
def doctor(full: bool, as_json: bool) -> None:
    """Say whether everything works here.

    Looked at, in a few seconds, are packages, embedded models, an edit of a rendered bird by each engine, extras,
    threads, memory, cache and formats. Nothing is written.

    Each line begins with ok, note (something that may be wanted is not there) or fails; what to do about it follows an
    arrow. Exits with 1 when something fails. --json prints one line.
    """
    from tgim.inference.doctor import examine

    found = []
    for finding in examine(full=full):
        found.append(finding)
        if not as_json:
            remedy = f" -> {one_line(finding.remedy)}" if finding.remedy else ""
            say(f"{finding.state:<6} {finding.name:<13} {one_line(finding.told)}{remedy}")
    fails = sum(finding.state == "fails" for finding in found)
    if as_json:
        say_json({"works": not fails, "findings": [finding._asdict() for finding in found]})
    else:
        say("everything works" if not fails else f"{fails} of {len(found)} fail")
    if fails:
        sys.exit(1)
