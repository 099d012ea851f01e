"""What all tests share: which of them can run here, one thread, and small checkpoints, pictures and data sets."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

collect_ignore_glob = ["*conftest.py", "support/*", "golden/*"]  # no tests, no doctests
NEEDS = {"data": "TGIM_DATA", "golden": "TGIM_GOLDEN"}  # marker -> environment variable


def pytest_configure() -> None:
    """Make the folders' paths absolute, and look for the golden folder beside the data."""
    data = os.environ.get("TGIM_DATA")
    if data:
        os.environ["TGIM_DATA"] = str(Path(data).resolve())
        beside = Path(data).resolve().parent / "golden"
        if beside.is_dir():
            os.environ.setdefault("TGIM_GOLDEN", str(beside))
    if "TGIM_GOLDEN" in os.environ:
        os.environ["TGIM_GOLDEN"] = str(Path(os.environ["TGIM_GOLDEN"]).resolve())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a folder that is not at hand."""
    for item in items:
        for marker, variable in NEEDS.items():
            if item.get_closest_marker(marker) and not Path(os.environ.get(variable, "/nowhere")).is_dir():
                item.add_marker(pytest.mark.skip(reason=f"{variable} is not set to a folder"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are fastest, and sums repeatable, on one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch")]:
        logging.getLogger(name).propagate = True  # pytest attaches to each logger that does not, in each test
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """A test that fails fails again."""
    import torch

    torch.default_generator.manual_seed(0)  # torch.manual_seed formats stack traces


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither find nor leave decoded pictures in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TGIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def colour_vocabulary():
    from tgim.text.vocabulary import Vocabulary

    return Vocabulary.build(
        ["this bird has a red head and breast", "a small blue bird with a white belly", "yellow black wings"]
    )


@pytest.fixture(scope="session")
def tagrid_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small, untrained TAGrid whose edits are visible."""
    import torch

    from tgim.checkpoints import checkpoint
    from tgim.models.editing.tagrid import TAGrid

    vocabulary = colour_vocabulary()
    torch.manual_seed(0)
    encoder = {
        "image_size": 32,
        "width": 8,
        "blocks": 1,
        "word_size": 8,
        "embedding_size": 16,
        "match_size": 8,
        "members": 1,
    }
    model = TAGrid(TAGrid.Config(encoder=encoder, width=16, bins=3), vocabulary_size=len(vocabulary))
    for parameter in model.generator.head.leave[-1].parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # zeros, the identity, before training
    card = {"title": "A small editor for tests", "licence": "none", "figures": {"match": 0.5}, "limits": ["untrained"]}
    return checkpoint.save(
        tmp_path_factory.mktemp("models") / "tagrid.safetensors",
        model,
        vocabulary=vocabulary,
        template="this bird has a {}",
        card=card,
        history={"steps": 0, "commit": "none"},
        data={"name": "nothing", "licence": "none"},
    )


@pytest.fixture(scope="session")
def tagan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small, untrained TAGAN, which repaints."""
    import torch

    from tgim.checkpoints import checkpoint
    from tgim.models.editing.tagan import TAGAN

    vocabulary = colour_vocabulary()
    torch.manual_seed(0)
    model = TAGAN(TAGAN.Config(image_size=32, width=8), vocabulary_size=len(vocabulary))
    return checkpoint.save(tmp_path_factory.mktemp("models") / "tagan.safetensors", model, vocabulary=vocabulary)


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The matching model `halves` of tests/support/halves.py can be named."""
    from support.halves import Halves
    from tgim.checkpoints import registry

    monkeypatch.setitem(registry.SYSTEMS, "halves", Halves)


@pytest.fixture(scope="session")
def drawn_bird() -> bytes:
    """A drawn photograph as a JPEG file, 120 x 90."""
    import io

    from PIL import Image

    from tgim.data.synthetic.pairs import sample_picture

    file = io.BytesIO()
    Image.fromarray(sample_picture("birds", seed=1, size=(90, 120))).save(file, "JPEG", quality=90)
    return file.getvalue()
