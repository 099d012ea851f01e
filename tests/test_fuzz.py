"""Laws of all files that are read: whatever is in them, an error is ours and one line, and memory stays bounded."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support import small, toy_runs
from support.datasets import make
from support.mutations import cut_up, documents
from support.results_toy import line as a_line
from tgim.checkpoints import card, checkpoint
from tgim.cli.evaluate import read_texts
from tgim.data import folder
from tgim.data.base import read_captions
from tgim.errors import UserError
from tgim.evaluation.records import Results, read_lines
from tgim.training import recipe, stages
from tgim.training.runlog import read_log, thin
from tgim.training.values import read

FEW, MANY = 200, 4_000  # five times; a hundred seconds of a processor in all
ROOM = 300 * 2**20  # bytes that a fuzz may add to the most that the process has held
TIERS = [pytest.param(FEW, id="some"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]


def fuzz(strategy: st.SearchStrategy[Any], use: Callable[[Any], Any], count: int) -> None:
    """Let `use` have `count` examples: it may return, or raise our error with one line that is no novel."""

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(strategy)
    def run(example: Any) -> None:
        said = ""
        try:
            use(example)
        except UserError as error:
            said = str(error)
        assert "\n" not in said
        assert len(said) < 3000
        said.encode()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < ROOM


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def as_yaml(value: Any) -> bytes:
    return yaml.safe_dump(value, sort_keys=False).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("count", TIERS)
def test_checkpoints(count: int, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    system = checkpoint.find_model("vse")
    model = system(system.Config(**small.ENCODER), vocabulary_size=len(small.VOCABULARY))
    notes = {"card": {"title": "small", "figures": {"match": 0.5}}, "history": {"steps": 3, "commit": "none"}}
    content = checkpoint.save(path, model, vocabulary=small.VOCABULARY, **notes).read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header, tensors = json.loads(content[8:end]), content[end:]
    own = json.loads(header["__metadata__"]["tgim"])

    def start(header: Any) -> bytes:
        text = as_json(header)
        return len(text).to_bytes(8, "little") + text

    def use(start: bytes) -> None:
        path.write_bytes(start + tensors)
        checkpoint.read_header(path)
        card.render(card.model_card(path))
        checkpoint.fingerprint(path)
        checkpoint.load(path)

    use(content[:end])
    claimed = [(length % 2**64).to_bytes(8, "little") + content[8:end] for length in (0, 1, 10**8 - 1, 2**31, -1)]
    mine = documents(own).map(lambda own: start({**header, "__metadata__": {"tgim": json.dumps(own)}}))
    fuzz(mine | documents(header).map(start) | cut_up(content[:end]) | st.sampled_from(claimed), use, count)


@pytest.mark.parametrize("count", TIERS)
def test_recipes(count: int, tmp_path: Path) -> None:
    one = toy_runs.values(tmp_path, model={"name": "vse", "image_size": 32})
    several = {"data": one["data"], "stages": {"guide": {"model": one["model"], "train": one["train"]}, "edit": {}}}
    several["stages"]["edit"] = {"model": {"name": "tagrid", "matching": "stage:guide"}, "train": {"steps": 2}}
    several["stages"]["report"] = {"editor": "stage:edit", "limit": 4, "split": "test"}
    several["data"] = {"name": "folder", "root": "pictures", "split": "trainval"}
    path = tmp_path / "x.yaml"

    def use(content: bytes) -> None:
        path.write_bytes(content)
        values = read(path)
        if isinstance(values, dict) and "stages" in values:
            stages.parse(values, ["train.steps=3"], source="x.yaml")
        else:
            recipe.parse(values, ["train.steps=3"], source="x.yaml").to_yaml().encode()

    recipe.parse(one)
    stages.parse(several)
    fuzz(
        documents(one).map(as_yaml) | documents(several).map(as_yaml) | cut_up(as_yaml(one)) | cut_up(as_yaml(several)),
        use,
        count,
    )


@pytest.mark.parametrize("count", TIERS)
def test_results_files(count: int, tmp_path: Path) -> None:
    lines = [a_line("retrieval@1", "birds", "recall@1", value, judge="j:" + "f" * 16) for value in (0.25, 0.5)]
    rows = [json.loads(each.model_dump_json()) for each in lines]
    rows[0]["options"] = {"candidates": 100}
    text = b"".join(as_json(row) + b"\n" for row in rows)
    path = tmp_path / "x.jsonl"

    def use(content: bytes) -> None:
        path.write_bytes(content)
        known = read_lines(path)
        results = Results(path)
        results.add(lines[1])
        assert lines[1].key in {each.key for each in read_lines(path)}
        assert len(read_lines(path)) <= len(known) + 1

    fuzz(documents(rows[0]).map(lambda row: as_json(row) + b"\n" + text) | cut_up(text), use, count)


@pytest.mark.parametrize("count", TIERS)
def test_metadata_and_captions_of_a_folder(count: int, tmp_path: Path) -> None:
    root = make(tmp_path / "data", "folder")
    file = root / "metadata.jsonl"
    rows = [json.loads(line) for line in file.read_text().split("\n")]
    rows[1]["points"] = {"head": [[0.4, 0.2], [0.1, 0.1, 0.05]], "background": [[0.9, 0.1]]}
    text = b"\n".join(map(as_json, rows))

    def use(content: bytes) -> None:
        file.write_bytes(content)
        found = folder.load(root, split="all")
        assert {item.path.parent for item in found.items} <= {root / "images"}
        told = "".join(map(str, found.problems))
        told.encode()
        assert len(told) < 20_000
        folder.load(root, split="train", captions=False)

    fuzz(documents(rows[1]).map(lambda row: as_json(row) + b"\n" + text) | cut_up(text), use, count)


@pytest.mark.parametrize("count", TIERS)
def test_files_of_lines(count: int, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    log = b"".join(as_json({"step": n, "losses": {"generator": {"keep": 0.5}}}) + b"\n" for n in range(1, 4))
    captions = "a red bird\r\nthe café's blue bird\u2028or two\n\n".encode() * 3

    def use(content: bytes) -> None:
        path.write_bytes(content)
        thin(read_log(path))
        kept, problems = read_captions(path, tmp_path)
        "".join([*kept, *map(str, problems)]).encode()
        read_texts(path)

    fuzz(cut_up(log) | cut_up(captions), use, count)


def doubling(levels: int) -> str:
    """YAML in which each level refers to the one before ten times."""
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels))]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (doubling(9), "more than 20,000 values"),
        ("model: &m {name: vse, again: *m}", "deep in one another"),
        ("model: " + "[" * 5000 + "]" * 5000, "deep"),
        ("train: {steps: " + "9" * 5000 + "}", "a value that is none|64 bits"),
        ('model: {name: "\\ud83d"}', "lone surrogate"),
        ("model: {name: vse}\ndata: {flip: trueue}", "data.augment.flip .*valid boolean"),
        ("# " + "x" * 2**18, "expected a recipe of at most"),
    ],
    ids=["doubling", "recursive", "deep", "digits", "surrogate", "slip", "long"],
)
def test_recipes_that_grow_are_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        recipe.parse(read(tmp_path / "x.yaml"), source="x.yaml")


@pytest.mark.parametrize(
    "change", [{"width": 10**6}, {"blocks": 10**6}, {"word_size": 2**62}, {"embedding_size": 10**9}]
)
def test_a_config_of_a_far_larger_model_is_refused_before_memory_is_spent(
    change: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    system = checkpoint.find_model("vse")
    model = system(system.Config(**small.ENCODER), vocabulary_size=len(small.VOCABULARY))
    checkpoint.save(path, model, vocabulary=small.VOCABULARY)
    _, metadata = checkpoint.read_metadata(path)
    header = json.loads(metadata["tgim"])
    checkpoint.write(path, model.state_dict(), {"tgim": {**header, "config": {**header["config"], **change}}})
    with pytest.raises(UserError, match=r"far larger|no 'vse' can be built|does not fit"):
        checkpoint.load(path)
