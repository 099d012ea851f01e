"""A small data set, and a run on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import toy
from support.toy_runs import a_recipe
from tgim.training import run as train


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write_dataset(tmp_path_factory.mktemp("squares") / "data")


@pytest.fixture(scope="session")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of ten steps."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train.fit(a_recipe(data, clip=1.0), out=out, progress=False)
    return out
