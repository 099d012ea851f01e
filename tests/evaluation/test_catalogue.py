"""Laws of the catalogue: it is light, its entries are the protocols, and names are looked up in one way."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tgim
from tgim.errors import UserError
from tgim.evaluation import PROTOCOLS
from tgim.evaluation.baselines import BASELINES
from tgim.evaluation.catalogue import CATALOGUE, entries
from tgim.evaluation.protocol import load

HOME = Path(tgim.__file__).parent


@pytest.mark.slow
def test_the_catalogue_and_the_help_import_nothing_heavy():
    code = "import sys, tgim.evaluation.catalogue, tgim.cli.evaluate\nprint(*{m.split('.')[0] for m in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pydantic", "PIL"} & set(run.stdout.split())


def test_each_entry_is_the_protocol_at_its_address():
    assert list(PROTOCOLS) == list(CATALOGUE)
    for name, entry in CATALOGUE.items():
        assert (load(entry).entry, load(entry).name, entry.name) == (entry, name, name)
        assert PROTOCOLS[name] is load(entry)
        assert re.fullmatch(r"[a-z0-9-]+@\d+", name)
        assert len(entry.help) <= 80
        assert entry.reading.endswith((".", "?"))


def test_names_are_found_without_versions_and_by_role():
    assert [entry.name for entry in entries(["compose", "mp@1", "mp"])] == ["compose@1", "mp@1"]
    with pytest.raises(UserError, match=r"no protocol 'retreival'; did you mean 'retrieval'"):
        entries(["retreival"])
    with pytest.raises(UserError, match="no protocol 'matching'"):
        entries(["matching"], roles=["editor", "generator"])


def test_nobody_is_known_by_a_name():
    """No module of the evaluation or the reports compares a contender's name with a text."""
    names = "|".join(each.name for each in BASELINES)
    for file in [*(HOME / "evaluation").glob("*.py"), *(HOME / "reporting").glob("*.py")]:
        text = file.read_text(encoding="utf-8").replace("    name = ", "")  # where a baseline is given its name
        assert not re.search(rf"""(name|model)\s*(==|!=|=|in)\s*\(?["']({names})["']""", text), file
