"""The benchmark of training steps compares like with like, and prints what was measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner

from support import ROOT

BENCHMARKS = ROOT / "benchmarks"
RATE = 2e-5  # of descent; a step changes a loss by more than 1e-4 of it
NARROW = {"width": 4, "condition_size": 5, "word_size": 6, "text_size": 8}
TINY = {"tagan": {"image_size": 64, **NARROW}, "sisgan": {**NARROW, "text_steps": 1}}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import steps

    yield steps
    for name in ("steps", "releases", "releases.steps", "releases.networks", "releases.editors"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.parametrize("system", TINY)
def test_both_sides_are_timed_at_equal_sizes(steps: ModuleType, system: str) -> None:
    line = steps.measured(system, full=False, batch=4, pairs=2, sizes=TINY[system])
    assert (line["system"], line["side"], line["batch"], line["n"], line["threads"]) == (system, 64, 4, 2, 1)
    assert min(line["ours_s"], line["release_s"]) > 0
    assert line["lowest"] <= line["ratio"] <= line["highest"]


def copied(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    """Give the release's network our weights in the order of both; the layer of mean and spread is two there."""
    given: list[torch.Tensor] = []
    named = {name: each for name, each in ours.named_parameters() if "read.table." not in name}
    for name, each in named.items():
        if name == "augment.linear.weight":
            bias = named.get("augment.linear.bias")
            halves = (each.chunk(2), each.chunk(2) if bias is None else bias.chunk(2))
            given += [half for i in (0, 1) for half in (halves[0][i], halves[1][i])[: 1 if bias is None else 2]]
        elif name != "augment.linear.bias":
            given.append(each)
    with torch.no_grad():
        for mine, yours in zip(given, theirs.parameters(), strict=True):
            yours.copy_(mine)


@pytest.mark.slow
@pytest.mark.parametrize("system", TINY)
def test_losses_are_those_of_the_release_step_by_step(
    steps: ModuleType, system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What our step shares and computes by fewer products changes no loss: both train, from equal weights."""
    words = tmp_path / "given.vec"
    known = ("this", "bird", "has", "a", "red", "blue", "yellow", "black", "white", "head", "wings", "breast", "and")
    rows = [f"{word} " + " ".join(f"{x:.4f}" for x in torch.randn(6).tolist()) for word in known]
    words.write_text("\n".join([f"{len(rows)} 6", *rows]) + "\n", encoding="utf-8")
    sizes = {**TINY[system], "noise": 0.0, "word_size": 6, "word_vectors": str(words)}
    trainer = steps.trainer_of(system, sizes, batch=8, text={}, folder=tmp_path)
    # no flat grounds, which come to the kink of a ReLU all at once, and no Adam, whose first steps are those of signs:
    # rounding would grow thirtyfold with each step
    model, shown = trainer.model, replace(trainer.batches.batch(0), image=torch.rand(8, 3, 64, 64) * 2 - 1)
    for name, each in trainer.optimized.items():
        descent = torch.optim.SGD(each.parameters, momentum=0.5)
        trainer.optimized[name] = each._replace(
            optimizer=descent, settings=each.settings.model_copy(update={"lr": RATE})
        )
    releases, told = sys.modules["releases.steps"], []
    if system == "sisgan":
        model.step_count.fill_(1)

    def move(optimizer: object, network: object, losses: Iterable[torch.Tensor], run: object = releases.move) -> None:
        found = []
        run(optimizer, network, (found.append(loss.item()) or loss for loss in losses))
        told.append(sum(found))

    monkeypatch.setattr(releases, "move", move)
    monkeypatch.setattr(releases, "adam", lambda net: torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.5))
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    with monkeypatch.context() as patch:
        if system == "tagan":
            vectors = model.generator.read.table(shown.text).transpose(0, 1)
            patch.setattr(torch, "randn", lambda *shape: vectors)
        networks, theirs = releases.RELEASES[system](model, shown)
    for name, network in networks.items():
        copied(getattr(model, name), network)
    for _ in range(3):
        trainer.train_step(shown)
        theirs()
        ours = [float(sum(trainer.last[name][0].values())) for name in ("discriminator", "generator")]
        assert ours == pytest.approx(told[-2:], rel=1e-4)


@pytest.mark.slow
def test_networks_of_different_sizes_are_not_compared(steps: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    of_tagan = steps.RELEASES["tagan"]

    def wider(model: torch.nn.Module, batch: object) -> object:
        networks, step = of_tagan(model, batch)
        return {**networks, "generator": torch.nn.Linear(7, 7)}, step

    monkeypatch.setitem(steps.RELEASES, "tagan", wider)
    with pytest.raises(ValueError, match="the release's 56"):
        steps.measured("tagan", full=False, batch=4, pairs=1, sizes=TINY["tagan"])


def test_the_loop_over_captions_gives_our_losses(steps: ModuleType) -> None:
    mask = torch.arange(6) < torch.tensor([6, 2, 4, 5])[:, None]
    words, sentence = torch.randn(4, 6, 8) * mask[..., None], torch.randn(4, 8)
    regions, picture = torch.randn(4, 8, 9), torch.randn(4, 8)
    labels = torch.tensor([0, 1, 0, 2])
    batch = steps.Batch(torch.zeros(4, 3, 1, 1), steps.Tokens(mask.long(), mask), labels)
    ours = steps.damsm_words(regions, words, mask, labels) + steps.damsm_sentence(picture, sentence, labels)
    torch.testing.assert_close(steps.damsm_losses(regions, words, sentence, picture, batch), sum(ours))


def test_both_attentions_find_the_same(steps: ModuleType) -> None:
    mask = torch.arange(6) < torch.tensor([6, 2, 4])[:, None]
    words, x = torch.randn(3, 6, 8), torch.randn(3, 5, 4, 4)
    ours, theirs = steps.WordAttention(5, 8), steps.Attention(5, 8)
    theirs.load_state_dict(ours.state_dict())
    for a, b in zip(ours(x, words, mask.float()), theirs(x, words.transpose(1, 2), ~mask), strict=True):
        torch.testing.assert_close(a, b)


def test_the_committed_lines_are_of_all_systems_and_are_printed(steps: ModuleType) -> None:
    lines = steps.read()
    assert {line["system"] for line in lines} == {*steps.RELEASES, *steps.PARTS}
    printed = CliRunner().invoke(steps.main, []).output.splitlines()
    assert len(printed) == 2 + len(lines)
    assert printed[2].startswith(f"| {lines[0]['system']} | {lines[0]['sizes']} |")


def test_a_new_line_takes_the_place_of_the_old_one(steps: ModuleType, tmp_path: Path) -> None:
    path, new = tmp_path / "steps.jsonl", {"system": "tagan", "sizes": "small", "dtype": "float32", "ratio": 0.5}
    old = [{**new, "ratio": 2.0}, {**new, "dtype": "bfloat16"}, {**new, "sizes": "full"}]
    assert steps.kept(old, new, path) == [new, *old[1:]]
    assert [json.loads(line) for line in path.read_text().splitlines()] == [new, *old[1:]]
