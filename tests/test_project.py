"""What the project says of itself agrees: workflows, hooks, forms, versions, metadata."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml

import tgim
from support import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = [path for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"]
HOSTED = re.compile(r"ubuntu-\d\d\.\d\d")  # "latest" changes by itself
TAGGED = re.compile(r"[\w.-]+/[\w./-]+@v\d+(\.\d+)*")
FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


@cache
def read(path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def setup() -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.read(ROOT / "setup.cfg")
    return found


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{path.stem}.{name}", job) for path in WORKFLOWS for name, job in read(path)["jobs"].items()]


@pytest.mark.slow
def test_actionlint_finds_nothing():
    if not (linter := shutil.which("actionlint")):
        pytest.skip("actionlint is not installed")  # no wheel on PyPI holds it
    done = subprocess.run([linter, *WORKFLOWS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow[True]  # "on", as YAML 1.1 reads it
    assert "secrets" not in path.read_text(encoding="utf-8")
    assert "pull_request_target" not in workflow[True]


@pytest.mark.parametrize(("name", "job"), jobs(), ids=[name for name, _ in jobs()])
def test_a_job_ends_and_takes_actions_by_tag(name, job):
    assert HOSTED.fullmatch(job["runs-on"])
    assert 0 < job["timeout-minutes"] <= 90
    granted = job.get("permissions", {"contents": "read"})
    assert granted == ({"contents": "read", "id-token": "write"} if name == "release.publish" else {"contents": "read"})
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step), step
        if "uses" in step:
            assert TAGGED.fullmatch(step["uses"]), step["uses"]
            if "checkout" in step["uses"]:
                assert step["with"]["persist-credentials"] is False
        else:  # what others write, such as a branch's name, could run as a command there
            assert "${{" not in step["run"], step["run"]


def test_both_ends_of_what_is_supported_are_tried():
    matrix = read(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["fast"]["strategy"]["matrix"]
    classifiers = setup()["metadata"]["classifiers"]
    versions = re.findall(r":: (3\.\d+)$", classifiers, re.MULTILINE)
    assert matrix["python"] == versions
    assert setup()["options"]["python_requires"] == f">={versions[0]}"
    least = dict(line.split(">=") for line in setup()["options"]["install_requires"].split("\n") if line)
    (oldest,) = matrix["include"]
    assert oldest["python"] == versions[0]
    pins = dict(pin.split("==") for pin in oldest["pins"].split())
    assert pins.keys() == {"torch", "torchvision", "numpy", "pillow"}
    for name, version in pins.items():
        assert re.fullmatch(rf"{re.escape(least[name])}(\.0)*", version)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_can_be_filled_in(path):
    form = read(path)
    assert form["name"]
    assert form["description"]
    names = [field.get("id") for field in form["body"] if field["type"] != "markdown"]
    assert len(names) == len({*names} - {None})
    for field in form["body"]:
        assert field["type"] in FIELDS
        assert field["attributes"]["value" if field["type"] == "markdown" else "label"]
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_hooks_are_taken_by_tag():
    for each in read(ROOT / ".pre-commit-config.yaml")["repos"]:
        assert each["repo"] == "local" or re.fullmatch(r"v\d+\.\d+\.\d+", each["rev"]), each["repo"]
        assert each["hooks"]


def test_the_version_is_the_same_everywhere():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[?([^\]\s]+)", changes, re.MULTILINE)[0] in (tgim.__version__, "Unreleased")
    assert re.search(rf"^## \[?{re.escape(tgim.__version__)}\b", changes, re.MULTILINE)
    assert str(read(ROOT / "CITATION.cff")["version"]) == tgim.__version__


def test_the_citation_names_the_licence():
    assert read(ROOT / "CITATION.cff")["license"] == setup()["metadata"]["license"]
