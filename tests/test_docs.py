"""The documentation: builds without a warning, knows every page, and its examples are there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from support import ROOT
from support.commands import environment
from tgim.checkpoints import checkpoint

DOCS = ROOT / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("plot_*.py"))
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def test_every_page_is_in_the_contents():
    listed = set(re.findall(r"^([a-z_/]+)$", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE))
    pages = {file.stem for file in DOCS.glob("*.md")} - {"index"}
    notebooks = {f"notebooks/{file.stem}" for file in NOTEBOOKS}
    assert pages | notebooks <= listed
    assert listed - pages - notebooks == {"gallery/index"}


def test_examples_use_no_data_set_and_say_what_they_show():
    assert len(EXAMPLES) >= 8
    for file in EXAMPLES:
        text = file.read_text("utf-8")
        title, line, _, *told = ast.get_docstring(ast.parse(text)).splitlines()
        assert set(line) == {"="}, file
        assert told, file
        assert not re.search(r"cub|oxford102|TGIM_DATA", title + text, re.IGNORECASE), file


@pytest.mark.slow
@pytest.mark.parametrize(("row", "column"), [(0, 1), (1, 0), (2, 1)])
def test_the_strip_of_the_readme_is_what_its_script_draws(row, column, monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    import strip

    assert strip.differences(row, column) < 3  # of 255: JPEG's


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "recipes/README.md", "docs"])
def test_links_lead_to_files_and_headings(page):
    for file in sorted((ROOT / page).glob("*.md")) if page == "docs" else [ROOT / page]:
        for link in re.findall(r"\]\(([^)\s]+)\)", file.read_text("utf-8")):
            name, _, heading = link.partition("#")
            if re.match(r"\w+:", link) or name.startswith("gallery/"):
                continue
            leads_to = file.parent / name if name else file
            if file.parent == DOCS and heading and leads_to.name == "recipes.md":  # which includes the file itself
                leads_to = ROOT / "recipes" / "README.md"
            assert leads_to.exists(), (file.name, link)
            if heading:
                titles = re.findall(r"^#+ (.*)$", leads_to.read_text("utf-8"), re.MULTILINE)
                assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, link


def test_what_pages_include_is_there():
    for file in DOCS.glob("*.md"):
        text = file.read_text("utf-8")
        for name, options in re.findall(r"```\{include\} (\S+)\n((?::.*\n)*)```", text):
            content = (DOCS / name).read_text("utf-8")
            for mark in re.findall(r':(?:start-after|end-before): "(.*)"', options):
                assert content.count(mark) >= 1, (file, mark)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="sphinx is missing (extra docs)")
    pytest.importorskip("furo", reason="furo is missing (extra docs)")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "trees"), "."]
    done = subprocess.run(
        [*command, str(tmp_path / "site")], cwd=DOCS, env=environment(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    gallery = (tmp_path / "site" / "gallery" / "index.html").read_text("utf-8")
    for file in EXAMPLES:
        assert file.stem in gallery
    pages = "".join(file.read_text("utf-8") for file in (tmp_path / "site").glob("*.html"))
    assert "<math" in pages
    assert not re.search(r'(src|href)="https?://[^"]*\.(js|css|woff2?)"', pages)  # nothing is loaded from elsewhere
    cards = (tmp_path / "site" / "zoo.html").read_text("utf-8")
    for name in checkpoint.list_embedded():
        assert f'src="_images/{name}.jpg"' in cards
        assert (tmp_path / "site" / "_images" / f"{name}.jpg").stat().st_size > 5_000
    for file in NOTEBOOKS:
        assert "data:image/jpeg;base64," in (tmp_path / "site" / "notebooks" / f"{file.stem}.html").read_text("utf-8")
        assert list((tmp_path / "site" / "_downloads").glob(f"*/{file.name}"))
    for name in ("Editor.edit_photo", "tgim.rank", "tgim edit", "tgim serve", "TAGAN"):
        assert name.split(".")[-1] in pages
