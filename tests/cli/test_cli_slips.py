"""Laws of slips: what was probably meant is said, in one line, and nothing is written."""

from __future__ import annotations

import pytest

from support.commands import files, is_refused, tgim
from tgim.reporting.tables import Cell, Row, Table

SLIPS = {  # command -> what the line says
    "edit --image *.jpg --text red": "--images FOLDER",
    "edit --image pictures --text red": "--images FOLDER",
    "edit --images *.jpg --text red --out new": "without quotes",
    "edit --images pictures --text red --out new": "pictures/2024",
    "match *.jpg --text red": "without quotes",
    "match pictures --text red": "pictures/2024",
    "search pictures --image bird.jpg --text red": "pictures/2024",
    "search pictures --image pictures --text red": "is a folder",
    "parts pictures": "is a folder",
    "parts b*.png": "without quotes",
    "parts bird.jpg --out ./bird.jpg": "would replace bird.jpg",
    "edit --image bird.jpg --text red --out ./bird.jpg": "would replace",
    "interpolate --image bird.jpg --text red --text blue --out pictures/../bird.jpg": "would replace bird.jpg",
    "steer --operation hue --image bird.jpg --out pictures/../bird.jpg": "would replace bird.jpg",
    "steer --direction bird.jpg --out new.png": "tgim steer --save-direction",
    "convert --system tagan bird.jpg bird.jpg --word-vectors no.vec": "would replace bird.jpg",
    "convert --system tagan bird.jpg new.safetensors": "--word-vectors",
}


@pytest.mark.parametrize("words", SLIPS)
def test_a_slip_is_named(here, words):
    (here / "pictures" / "2024").mkdir(parents=True)
    (here / "pictures" / "2025").mkdir()
    before = files(here)
    assert SLIPS[words] in is_refused(tgim(*words.split()))
    assert files(here) == before


@pytest.mark.slow
def test_the_list_cuts_no_sentence():
    for line in tgim("list").stdout.splitlines():
        assert line.endswith((":", ".", "MiB)")), line
        assert line.endswith(":") or line[2:].split()[1].endswith(":"), line  # name, role:


def test_the_star_of_a_table_is_explained():
    cells = (Cell("0.5", best=True), Cell("0.4"))
    starred = Table("title", ("a", "b"), (Row("mine", "model", cells),))
    assert "* the best of the models" in starred.text()
    assert "*" not in Table("title", ("a", "b"), (Row("mine", "model", cells[1:] * 2),)).text()
