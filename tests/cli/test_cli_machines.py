"""Laws of others' machines: disks of which any call that writes may fail, and folders of any name.

Whichever call fails, a verb says so in a line, and no file is half-written.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from support.commands import files, tgim
from support.faults import faults
from support.prepared import prepare
from tgim.checkpoints import checkpoint

NUMBERS = (errno.ENOSPC, errno.EIO, errno.EROFS)
TOY = "{image_size: 32, width: 4, word_size: 6, text_size: 8, condition_size: 5, residual_blocks: 1}"
RECIPE = (
    f"model: {TOY.replace('{', '{name: tagan, ')}\n"
    "data: {name: folder, root: set, synthetic: {pairs: 2, pool: 20}}\n"
    "train: {steps: 2, batch_size: 2, device: cpu, log_every: 1, sample_every: 2, checkpoint_every: 1}\n"
)
VERBS = {  # command; M stands for a file of a small model
    "edit": "edit --image bird.jpg --text red --model tagrid.M --out new.png",
    "edit over a file": "edit --image bird.jpg --text red --model tagrid.M --out old.png",
    "edit folder": "edit --images set/images --text red --model tagrid.M --out new --json",
    "sample": "sample new.png",
    "generate": "generate --text red --model generator.M --n 2 --out new.png --attention words.png",
    "generate folder": "generate --text red --model generator.M --n 2 --out deep/new/",
    "interpolate": "interpolate --image bird.jpg --text red --text blue --model tagrid.M --steps 2 --out new.gif",
    "steer": "steer --operation hue --steps 1 --n 1 --text red --model generator.M --judge matcher.M --out new.png "
    "--save-direction deep/new.safetensors",
    "parts": "parts bird.jpg --model localiser.M --out new.png --box 0,0,60,60",
    "match": "match set/images --text red --text blue --model matcher.M",
    "search": "search set/images --image bird.jpg --text red --model matcher.M",
    "data check": "data check set",
    "eval": "eval --model tagrid.M --data set --split all --judge matcher.M --no-baselines --protocol retrieval "
    "--out deep/new.jsonl",
    "train": "train recipe.yaml --out run",
}
GO_ON = ("train", "eval")  # the same command goes on where it was
WRITES_NOTHING = ("match", "search", "data check")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tagrid_file: Path, drawn_bird: bytes) -> Path:
    """A folder with what the verbs read."""
    models = {"generator": "attngan", "matcher": "dual_encoder", "localiser": "part_localiser"}
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "old.png").write_bytes(b"old")
    return prepare(folder, bird=drawn_bird, recipe=RECIPE, pictures=6, tagrid=tagrid_file, models=models)


@pytest.fixture
def here(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the verbs read, and an empty cache in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def renewed(prepared: Path, here: Path) -> None:
    """Put the working folder into its first state."""
    for path in here.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(prepared, here, dirs_exist_ok=True)


def each_fault(words: str, prepared: Path, here: Path) -> Iterator[tuple[str, Result]]:
    """Run a command, once with each of its calls that write failing; the call and the result."""
    renewed(prepared, here)
    tgim("list")  # imports
    with faults([here]) as counted:
        result = tgim(*words.split())
    assert result.exit_code == 0, result.output
    yield "none", result
    kinds = [re.sub(r"\d+-[0-9a-f]{8}\.part|[0-9a-f]{12,}|\d+", "#", call) for call in counted.calls]
    for place, call in enumerate(counted.calls):
        if kinds[place] in kinds[:place]:
            continue  # the like of it has failed
        renewed(prepared, here)
        with faults([here], fail_at=place, number=NUMBERS[place % len(NUMBERS)], lasting=place % 2 == 0):
            result = tgim(*words.split())
        yield call, result


def outcome(verb: str, found: dict[str, bytes]) -> object:
    """What a run or an evaluation has come to, times aside; None where it is not at its end."""
    if verb == "train":
        state = found.get("run/state.safetensors", b"")
        Path("state.copy").write_bytes(state)
        done = state and json.loads(checkpoint.read_metadata(Path("state.copy"))[1]["tgim_state"])["step"] == 2
        return hashlib.sha256(state[8 + int.from_bytes(state[:8], "little") :]).hexdigest() if done else None
    lines = [json.loads(line) for line in found.get("deep/new.jsonl", b"").splitlines()]
    return [line["value"] for line in lines] if len(lines) == 16 else None


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_every_call_that_writes_may_fail(prepared, here, verb):
    known: dict[str, bytes] = {}
    kept = "cache/embeddings/" if verb in WRITES_NOTHING else "/"  # of which a verb can do without
    for call, result in each_fault(VERBS[verb], prepared, here):
        found = {name: content for name, content in files(here).items() if not name.startswith(kept)}
        if call == "none":
            known = found
            assert (known == files(prepared)) == (verb in WRITES_NOTHING)
            continue
        where = f"{verb}, {call}: {result.output}"
        if result.exit_code == 0:  # it was got around
            assert outcome(verb, found) == outcome(verb, known) if verb in GO_ON else found == known, where
            continue
        assert result.exit_code in (1, 2) if verb == "edit folder" else result.exit_code == 2, where
        assert "Traceback" not in result.output, where
        assert isinstance(result.exception, SystemExit), where
        errors = [line for line in result.stderr.splitlines() if "warning" not in line]
        assert len(errors) == 1 or (verb == "edit folder" and len(errors) <= 6), where
        assert os.strerror(errno.ENOSPC) in errors[0] or any(os.strerror(n) in errors[0] for n in NUMBERS), where
        assert not [name for name in found if name.endswith(".part")], where
        if verb in GO_ON:
            assert outcome(verb, found) is None, where  # or the fault came after the end
            resume = "--resume" if verb == "train" and Path("run").exists() else ""
            again = tgim(*VERBS[verb].split(), *resume.split())
            assert again.exit_code == 0, (where, again.output)
            assert outcome(verb, files(here)) == outcome(verb, known), where
            continue
        for name, content in found.items():
            assert content == known.get(name) or (verb == "edit over a file" and content == b"old"), (where, name)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_the_folder_may_have_any_name(prepared, here, monkeypatch, verb):
    odd = here / os.fsdecode(b"v\xf6gel \xff\n%d{}")
    shutil.copytree(prepared, odd)
    for path in (odd / "set" / "images").iterdir():
        path.rename(path.with_name(os.fsdecode(b"\xf6") + path.name))
    lines = (odd / "set" / "metadata.jsonl").read_text().replace('"file_name": "', '"file_name": "\\udcf6')
    (odd / "set" / "metadata.jsonl").write_text(lines)
    monkeypatch.chdir(odd)
    monkeypatch.setenv("TGIM_CACHE", str(odd / "cache"))
    words = [word if word.startswith("-") or word.isalnum() else f"{odd}/{word}" for word in VERBS[verb].split()]
    words = [word.replace(f"{odd}/0,0", "0,0") if "," in word else word for word in words]
    result = tgim(*words, *(["data.root=" + str(odd / "set")] if verb == "train" else []))
    assert result.exit_code == 0, (result.output, result.exception)
