"""Laws of what is kept of pictures: scores are the same bits with and without it, no picture is looked at twice."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from support import small
from support.commands import environment, process, tgim
from tgim.checkpoints import checkpoint
from tgim.inference import embeddings, ranking, scoring
from tgim.inference import search as searching
from tgim.models.base import Matching
from tgim.system.rows import SUFFIXES

MATCHERS = [name for name, system in small.SYSTEMS.items() if issubclass(system, Matching)]
TEXTS = ["this bird has a red head and breast", "a small blue bird", "white belly"]


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Files that were just written count as files that will not change within the clock's grain."""
    monkeypatch.setattr(embeddings, "FRESH", -float("inf"))
    monkeypatch.setattr(scoring, "CHUNK", 4)


@pytest.fixture
def photos(tmp_path):
    """A folder of ten pictures."""
    folder, source = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for i in range(10):
        coarse = Image.fromarray(source.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((40 + 5 * i, 60)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A file of a small, untrained matching model."""
    path = tmp_path_factory.mktemp("models") / "matcher.safetensors"
    return checkpoint.save(path, small.model_of("dual_encoder"), vocabulary=small.VOCABULARY)


def scores(folder, model, cache=None, **options):
    found = ranking.rank(sorted(folder.iterdir()), TEXTS, model=model, cache=cache, **options)
    return found.images, found.scores.tobytes()


@pytest.fixture
def counted(monkeypatch):
    """Names of the pictures that are opened."""
    opened, read = [], scoring.read_square
    monkeypatch.setattr(
        scoring, "read_square", lambda image, **size: opened.append(Path(image).name) or read(image, **size)
    )
    return opened


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MATCHERS, "judge-birds"])
def test_scores_are_the_same_bits_with_any_part_of_them_kept(photos, tmp_path, name):
    model = name
    if name in MATCHERS:
        file = tmp_path / "model.safetensors"
        model = checkpoint.save(file, small.model_of(name), vocabulary=small.VOCABULARY)
    alone = scores(photos, model)
    assert scores(photos, model, tmp_path / "all") == alone
    assert scores(photos, model, tmp_path / "all") == alone
    ranking.rank([photos / "7.png", photos / "2.png", photos / "4.png"], TEXTS, model=model, cache=tmp_path / "some")
    assert scores(photos, model, tmp_path / "some") == alone


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tirg", "dual_encoder"])
def test_searches_are_the_same_bits(photos, tmp_path, name):
    model = checkpoint.save(tmp_path / "m.safetensors", small.model_of(name), vocabulary=small.VOCABULARY)

    def found(**cache):
        paths = sorted(photos.iterdir())
        return searching.search(paths, image=paths[3], text="red head", model=model, **cache).scores.tobytes()

    alone = found()
    assert [found(cache=tmp_path / "kept") for _ in range(2)] == [alone] * 2


def test_a_picture_is_opened_once_wherever_it_goes(photos, tmp_path, model, counted):
    cache = tmp_path / "kept"
    first = scores(photos, model, cache)
    assert sorted(counted) == sorted(path.name for path in photos.iterdir())
    counted.clear()
    assert scores(photos, model, cache) == first
    shutil.copytree(photos, tmp_path / "elsewhere")  # other paths and times, the same contents
    assert scores(tmp_path / "elsewhere", model, cache)[1] == first[1]
    (photos / "3.png").rename(photos / "zz.png")
    ranking.rank(sorted(photos.iterdir()), ["red wings"], model=model, cache=cache)
    assert counted == []


def test_known_pictures_are_not_even_read(photos, tmp_path, model, monkeypatch):
    first = scores(photos, model, tmp_path / "kept")
    monkeypatch.setattr(embeddings, "sha256_of", lambda path: pytest.fail(f"{path} was read"))
    assert scores(photos, model, tmp_path / "kept") == first


def test_a_changed_picture_is_looked_at_again_though_size_and_time_stay(photos, tmp_path, model, counted):
    plain = photos / "plain.bmp"
    Image.new("RGB", (40, 40), "red").save(plain)
    before = scores(photos, model, tmp_path / "kept")
    status = plain.stat()
    counted.clear()
    Image.new("RGB", (40, 40), "blue").save(plain)
    os.utime(plain, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = scores(photos, model, tmp_path / "kept")
    assert counted == ["plain.bmp"]
    assert after == scores(photos, model) != before


def test_a_file_that_has_just_changed_is_known_by_its_content_alone(photos, tmp_path, model, monkeypatch):
    monkeypatch.setattr(embeddings, "FRESH", float("inf"))
    read, content = [], embeddings.sha256_of
    scores(photos, model, tmp_path / "kept")
    monkeypatch.setattr(embeddings, "sha256_of", lambda path: read.append(path) or content(path))
    scores(photos, model, tmp_path / "kept")
    assert len(read) == 10


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damage_changes_no_score_and_is_mended(photos, tmp_path, model, counted, suffix):
    alone = scores(photos, model)
    scores(photos, model, tmp_path / "kept")
    (file,) = (tmp_path / "kept" / embeddings.FOLDER).glob(f"*{suffix}")
    content = bytearray(file.read_bytes())
    for place in range(7, len(content), 97):
        content[place] ^= 64
    file.write_bytes(content)
    counted.clear()
    assert scores(photos, model, tmp_path / "kept") == alone
    assert counted
    counted.clear()
    assert scores(photos, model, tmp_path / "kept") == alone
    assert not counted


def test_other_models_engines_and_threads_keep_their_own(photos, tmp_path, model):
    other = small.model_of("dual_encoder")
    with torch.no_grad():
        next(other.parameters()).add_(0.5)
    other = checkpoint.save(tmp_path / "other.safetensors", other, vocabulary=small.VOCABULARY)
    for each in (model, other):
        assert scores(photos, each, tmp_path / "kept") == scores(photos, each)
    torch.set_num_threads(2)
    try:
        scores(photos, model, tmp_path / "kept")
    finally:
        torch.set_num_threads(1)
    assert len(embeddings.stores(tmp_path / "kept" / embeddings.FOLDER)) == 3


def test_it_grows_to_its_limit_and_others_make_room(photos, tmp_path, model, monkeypatch, caplog):
    folder = tmp_path / "kept" / embeddings.FOLDER
    folder.mkdir(parents=True)
    for name, age in (("old", 200), ("less", 20), ("new", 10)):
        (folder / f"{name}.rows").write_bytes(bytes(1000))
        os.utime(folder / f"{name}.rows", (time.time() - age * 86400,) * 2)
    alone = scores(photos, model)
    scores(photos, model, tmp_path / "kept")
    own = sum(size for name, (size, _) in embeddings.stores(folder).items() if name not in ("less", "new"))
    assert set(embeddings.stores(folder)) > {"less", "new"}
    assert "old" not in embeddings.stores(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    for name, age in (("less", 20), ("new", 10)):
        (folder / f"{name}.rows").write_bytes(bytes(1000))
        os.utime(folder / f"{name}.rows", (time.time() - age * 86400,) * 2)
    monkeypatch.setattr(embeddings, "LIMIT", own + 1500)
    assert scores(photos, model, tmp_path / "kept") == alone
    assert "less" not in embeddings.stores(folder)
    assert "new" in embeddings.stores(folder)
    assert not caplog.messages
    shutil.rmtree(folder)
    monkeypatch.setattr(embeddings, "LIMIT", own // 2)
    assert scores(photos, model, tmp_path / "kept") == alone
    assert 0 < sum(size for size, _ in embeddings.stores(folder).values()) <= own // 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    shutil.copytree(photos, tmp_path / "others")
    for path in (tmp_path / "others").iterdir():
        path.write_bytes(path.read_bytes() + b"other")
    paths = sorted((tmp_path / "others").iterdir())
    ranking.rank(paths[:1], TEXTS, model=model, cache=tmp_path / "kept")  # full of what is not asked for any more
    ranking.rank(paths[:1], TEXTS, model=model, cache=tmp_path / "kept")
    assert len(embeddings.stores(folder)) == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_cache_that_takes_nothing_gives_what_it_has(photos, tmp_path, model, counted, caplog):
    alone = scores(photos, model)
    ranking.rank([photos / "1.png"], TEXTS, model=model, cache=tmp_path / "kept")
    counted.clear()
    folder = tmp_path / "kept" / embeddings.FOLDER
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555)
    assert scores(photos, model, tmp_path / "kept") == alone
    assert "1.png" not in counted
    assert len(caplog.messages) == 1


def test_a_cache_that_cannot_be_is_one_warning(photos, tmp_path, model, caplog):
    (tmp_path / "file").write_text("no folder")
    assert scores(photos, model, tmp_path / "file") == scores(photos, model)
    (message,) = caplog.messages
    assert "--no-cache" in message


def test_the_command_keeps_unless_told_not_to(photos, tmp_path, model, monkeypatch):
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    words = ("match", photos, "--text", "red head", "--model", model, "--json")
    without = tgim(*words, "--no-cache")
    assert not (tmp_path / "cache").exists()
    assert [tgim(*words).stdout for _ in range(2)] == [without.stdout] * 2
    assert len(embeddings.stores(tmp_path / "cache" / embeddings.FOLDER)) == 1
    for words in (("search", photos, "--image", photos / "0.png", "--text", "red head", "--model", model, "--json"),):
        without = tgim(*words, "--no-cache")
        assert len(embeddings.stores(tmp_path / "cache" / embeddings.FOLDER)) == 1
        assert [tgim(*words).stdout for _ in range(2)] == [without.stdout] * 2
    assert len(embeddings.stores(tmp_path / "cache" / embeddings.FOLDER)) == 2


@pytest.mark.slow
def test_several_commands_at_once_and_one_that_is_killed(photos, tmp_path, model, monkeypatch):
    for i in range(150):
        (photos / f"more{i}.png").write_bytes((photos / f"{i % 10}.png").read_bytes() + b"%d" % i)
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    words = ("--quiet", "match", photos, "--text", "red head", "--model", model, "--json")
    alone = process(*words, "--no-cache").stdout
    command = [sys.executable, "-m", "tgim", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()}
    killed = subprocess.Popen(command, **pipes)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").glob("*/*.rows")) and time.monotonic() < deadline:
        time.sleep(0.001)
    killed.kill()
    killed.communicate()
    runs = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for run in runs:
        stdout, stderr = run.communicate(timeout=120)
        assert (run.returncode, stdout, stderr) == (0, alone, "")
    assert process(*words).stdout == alone
