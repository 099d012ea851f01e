"""A working folder with a photograph."""

from __future__ import annotations

import pytest


@pytest.fixture
def here(tmp_path, monkeypatch, drawn_bird):
    """An empty working folder with one photograph, bird.jpg."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bird.jpg").write_bytes(drawn_bird)
    return tmp_path
