"""Laws of a measurement's run: what a line says, what is refused, and that a killed run goes on where it was."""

from __future__ import annotations

import os
import shutil
import signal
import warnings
from pathlib import Path

import pytest

from support import ROOT, colour_world
from support.colour_world import Eyes, EyesConfig
from tgim.checkpoints import checkpoint, registry
from tgim.data.config import DataConfig
from tgim.errors import UserError
from tgim.evaluation import PROTOCOLS, evaluate, read_lines
from tgim.evaluation.contenders import ModelContender
from tgim.evaluation.matcher import Matcher
from tgim.evaluation.records import VOLATILE, Results
from tgim.inference.editor import Editor

SOME = ["retrieval@1", "tradeoff@1", "l2-own-caption@1"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return DataConfig(name="folder", root=str(colour_world.build(tmp_path_factory.mktemp("world"))), split="all")


@pytest.fixture
def judge(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.SYSTEMS, "eyes", Eyes)
    model = Eyes(EyesConfig(), vocabulary_size=len(colour_world.VOCABULARY))
    return str(checkpoint.save(tmp_path / "eyes.safetensors", model, vocabulary=colour_world.VOCABULARY))


def lasting(lines):
    """Lines without what may differ from run to run; the figures stay."""
    away = VOLATILE - {"value", "low", "high"}
    return [line.model_dump(exclude=set(away)) for line in lines]


@pytest.mark.slow
def test_a_line_can_be_argued_with(world, judge, tagrid_file, tmp_path):
    out = tmp_path / "results.jsonl"
    lines = evaluate([str(tagrid_file)], data=world, protocols=SOME, judge=judge, limit=8, out=out)
    assert read_lines(out) == lines
    assert len({line.key for line in lines}) == len(lines)
    model = next(line for line in lines if line.kind == "model")
    assert model.model == "tagrid"
    assert model.checkpoint == checkpoint.fingerprint(tagrid_file)
    assert model.size == 32
    assert model.judge == f"eyes:{checkpoint.fingerprint(judge)}"
    assert model.options == {"candidates": 21, "limit": 8}
    for line in lines:
        assert line.n == 8
        assert line.low <= line.value <= line.high
        assert len(line.content) == 16
        assert line.torch
        assert (line.judge is None) == (line.protocol == "l2-own-caption@1")
    names = {line.model for line in lines if line.protocol == "retrieval@1"}
    assert names == {
        *("real", "unedited", "chance", "tagrid"),
        *("identity", "mean_colour", "blur16", "unrelated", "colour_shift"),
    }
    for name in SOME:
        assert {line.metric for line in lines if line.protocol == name} == set(PROTOCOLS[name].metrics)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_lines(world, judge, tagrid_file, tmp_path):
    options = {"data": world, "protocols": SOME, "judge": judge, "limit": 8}
    whole = evaluate([str(tagrid_file)], **options, cache=tmp_path / "one", out=tmp_path / "one.jsonl")
    out = tmp_path / "two.jsonl"

    def kill(what, done, total):
        if out.exists() and len(out.read_bytes().splitlines()) > 20:
            os.kill(os.getpid(), signal.SIGKILL)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        evaluate([str(tagrid_file)], **options, cache=tmp_path / "two", out=out, progress=kill)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    begun = out.read_bytes()
    assert 20 < len(begun.splitlines()) < len(whole)
    out.write_bytes(begun + begun.splitlines()[-1][:40])  # the next line, torn
    resumed = evaluate([str(tagrid_file)], **options, cache=tmp_path / "two", out=out)
    assert out.read_bytes().startswith(begun)
    assert lasting(resumed) == lasting(whole) == lasting(read_lines(out)) == lasting(read_lines(tmp_path / "one.jsonl"))


@pytest.mark.slow
def test_what_is_measured_is_not_measured_again(world, judge, tagrid_file, tmp_path, monkeypatch):
    options = {"data": world, "protocols": ["l2-edit@1", "l2-own-caption@1"], "limit": 6, "baselines": False}
    options["cache"] = tmp_path / "cache"
    first = evaluate([str(tagrid_file)], **options, out=tmp_path / "results.jsonl")

    def never(*args, **kwargs):
        raise AssertionError("edited again")

    monkeypatch.setattr(ModelContender, "edit", never)
    assert evaluate([str(tagrid_file)], **options, out=tmp_path / "results.jsonl") == first  # from the file
    assert lasting(evaluate([str(tagrid_file)], **options)) == lasting(first)  # from the cache
    with pytest.raises(AssertionError, match="edited again"):
        evaluate([str(tagrid_file)], **{**options, "seed": 1})


@pytest.mark.slow
def test_all_protocols_are_those_that_can_be_measured(world, judge):
    names = {line.protocol for line in evaluate([], data=world, size=32, limit=4)}
    assert names == {"l2-edit@1", "l2-own-caption@1", "perceptual@1", "truth@1"}
    names = {line.protocol for line in evaluate([], data=world, size=32, limit=4, judge=judge)}
    assert names >= {"retrieval@1", "tradeoff@1", "mp@1", "directional@1", "l2-edit@1", "l2-own-caption@1"}


@pytest.mark.slow
def test_all_protocols_measure_an_editor_that_finds_no_noise(world, judge, tagrid_file, tmp_path):
    out = str(tmp_path / "results.jsonl")
    lines = evaluate([str(tagrid_file)], data=world, limit=4, judge=judge, out=out)
    names = {line.protocol for line in lines if line.kind == "model"}
    assert names >= {"retrieval@1", "tradeoff@1", "l2-own-caption@1"}
    assert "inversion@1" not in names


@pytest.mark.slow
def test_what_cannot_be_measured_is_said(world, judge, tagrid_file, tagan_file, tmp_path):
    with pytest.raises(UserError, match=r"no protocol 'retrieval@2'; did you mean 'retrieval@1'"):
        evaluate([], data=world, protocols=["retrieval@2"])
    with pytest.raises(UserError, match="retrieval@1 needs a judge"):
        evaluate([], data=world, protocols=["retrieval@1"])
    with pytest.raises(UserError, match="does not edit"):
        evaluate([judge], data=world, protocols=["l2-edit@1"])
    with pytest.raises(UserError, match="eyes matches pictures with captions and generates none"):
        evaluate([judge], data=world, protocols=["generation@1"], judge=judge)
    with pytest.raises(UserError, match="tagrid edits pictures and does not match captions; matching@1 is for"):
        evaluate([judge, str(tagrid_file)], data=world, protocols=["matching@1"])
    with pytest.raises(UserError, match="no embedded weights"):
        evaluate([], data=world, judge="no-such-judge")
    wrong = tmp_path / "other.jsonl"
    wrong.write_text('{"protocol": "something else"}\n{}\n')
    with pytest.raises(UserError, match="line 1 is no figure"):
        Results(wrong)
    with pytest.raises(UserError, match="cannot be written"):
        Results(tmp_path / "eyes.safetensors" / "results.jsonl")


@pytest.mark.slow
def test_models_of_two_sizes_are_compared_at_a_size_that_is_given(world, tagrid_file, tmp_path):
    import torch

    from tgim.models.editing.tagan import TAGAN

    vocabulary = Editor.from_pretrained(str(tagrid_file)).vocabulary
    torch.manual_seed(0)
    model = TAGAN(TAGAN.Config(image_size=64, width=4), vocabulary_size=len(vocabulary))
    large = str(checkpoint.save(tmp_path / "large.safetensors", model, vocabulary=vocabulary))
    options = {"data": world, "protocols": ["l2-edit@1"], "limit": 3, "baselines": False}
    with pytest.raises(UserError, match=r"different sizes \(tagrid 32, large 64\)"):
        evaluate([str(tagrid_file), large], **options)
    lines = evaluate([str(tagrid_file), large], **options, size=48)
    assert {(line.model, line.size) for line in lines} == {("tagrid", 48), ("large", 48)}
    assert all(line.value > 0 for line in lines)


@pytest.mark.data
@pytest.mark.parametrize(("name", "data"), [("judge-birds", "cub"), ("judge-flowers", "oxford102")])
def test_published_recall_is_recognised_and_not_measured_again(name, data, tmp_path, monkeypatch):
    published = ROOT / "benchmarks" / "results" / "matching.jsonl"
    out = Path(shutil.copy(published, tmp_path))

    def never(*args, **kwargs):
        raise AssertionError("measured again")

    monkeypatch.setattr(Matcher, "read", never)
    config = DataConfig(name=data, split="test")
    lines = evaluate([name], data=config, protocols=["matching"], out=out, cache=tmp_path)
    assert len(lines) == 6
    assert out.read_bytes() == published.read_bytes()
