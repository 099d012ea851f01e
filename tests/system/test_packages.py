"""The packages that tgim takes are those of setup.cfg."""

from __future__ import annotations

import configparser

import pytest

from support import ROOT
from tgim.system import packages
from tgim.system.packages import EXTRAS, FULL, LIGHT, TORCH, Package


def test_the_packages_are_those_of_the_setup():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")

    def wanted(text: str) -> set[str]:
        lines = [line for line in text.split("\n") if line and not line.startswith(("%", "types-"))]
        everywhere = [line for line in lines if ";" not in line]  # doctor tells of no others
        return {line.partition("==")[0] for line in everywhere}

    assert {each.wanted for each in (*LIGHT, TORCH, *FULL)} == wanted(setup["options"]["install_requires"])
    assert {each.wanted for each in LIGHT} == {
        line for line in (ROOT / "requirements-light.txt").read_text().splitlines() if not line.startswith("#")
    }
    extras = setup["options.extras_require"]
    assert {name: {each.wanted for each in EXTRAS[name]} for name in EXTRAS} == {
        name: wanted(extras[name]) - (wanted(extras["ray"]) if name == "dev" else set()) for name in extras
    }


@pytest.mark.parametrize(
    ("found", "least", "old"),
    [("2.9.0", "2.14", True), ("2.14.1+cpu", "2.14", False), ("2024.1", "2023.2.3", False), ("1.0", "", False)],
)
def test_releases_are_compared_by_numbers(monkeypatch, found, least, old):
    monkeypatch.setattr(packages.metadata, "version", lambda name: found)
    assert packages.is_old(Package("x", "x", least)) == old
