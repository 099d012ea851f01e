"""Editors and generators make pictures by a folded network, and what people hold stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from support.small import NEEDS_BF16, VOCABULARY, model_of
from tgim.checkpoints import checkpoint
from tgim.environment import Precision as Chosen
from tgim.errors import UserError
from tgim.inference import fast
from tgim.inference.editor import Editor
from tgim.inference.fast import Fast
from tgim.inference.generator import Generator
from tgim.inference.torch_engine import TorchEngine
from tgim.nn.encoders import BiGru
from tgim.nn.folding import Folding

TEXT = "a small blue bird"


def editor_of(case: str = "tagan") -> Editor:
    return Editor(checkpoint.Checkpoint(model_of(case), VOCABULARY, "{}"))


def generator_of(case: str = "stackgan1") -> Generator:
    return Generator(checkpoint.Checkpoint(model_of(case), VOCABULARY, "{}"))


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def folded(network: nn.Module) -> bool:
    return any(isinstance(module, Folding) for module in network.modules())


def test_an_edit_is_that_of_the_model_to_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    edit = editor_of()
    before = {name: value.clone() for name, value in edit.model.state_dict().items()}
    found = np.asarray(edit(picture(), TEXT)).astype(int)
    assert folded(edit.engine.fast())
    assert not folded(edit.model)
    assert all(torch.equal(before[name], value) for name, value in edit.model.state_dict().items())
    monkeypatch.setattr(fast, "foldable", lambda _: False)
    assert np.abs(found - np.asarray(edit(picture(), TEXT))).max() <= 1


def test_generated_pictures_are_those_of_the_model() -> None:
    draw = generator_of()
    found = draw.generate([TEXT], n=2)
    with torch.no_grad():
        wanted = [draw.model.generate(*inputs[:2]) for inputs in draw._inputs(TEXT, n=2, seed=0, vary="noise")]
    torch.testing.assert_close(found[0], torch.cat(wanted), atol=1e-4, rtol=0)
    assert folded(draw.fast())
    assert not folded(draw.model)


def test_a_caption_is_read_once_for_many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    run = BiGru.forward
    monkeypatch.setattr(BiGru, "forward", lambda self, *given: (read.append(len(given[0])), run(self, *given))[1])
    edit, draw = editor_of(), generator_of()
    list(edit.edit_many([picture(), picture()[::-1], picture()], TEXT))
    assert read == [1]
    draw.generate([TEXT], n=11)
    assert read == [1, 1]
    edit(picture(), "white belly")
    assert read == [1, 1, 1]


def changed(model: nn.Module) -> None:
    with torch.no_grad():
        model.generator.decoder[-1][0].bias.add_(0.3)


def loaded(model: nn.Module) -> None:
    model.load_state_dict(model_of("tagan", stirred=False).state_dict())


def replaced(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data + 0.05 * torch.randn_like(parameter)


@pytest.mark.parametrize("change", [changed, loaded, replaced])
def test_weights_that_change_count(change: Callable[[nn.Module], None]) -> None:
    edit = editor_of()
    first = np.asarray(edit(picture(), TEXT)).astype(int)
    change(edit.model)
    second = np.asarray(edit(picture(), TEXT)).astype(int)
    assert np.abs(first - second).max() > 1
    other = Editor(checkpoint.Checkpoint(edit.model, VOCABULARY, "{}"))
    assert np.array_equal(second, np.asarray(other(picture(), TEXT)))


def test_hooks_are_called_and_training_is_not_folded() -> None:
    edit, seen = editor_of(), []
    edit(picture(), TEXT)
    handle = edit.model.generator.encoder.register_forward_hook(lambda *_: seen.append(1))
    edit(picture(), TEXT)
    assert seen == [1]
    handle.remove()
    assert edit.engine.fast() is not edit.model
    edit.model.train()
    assert edit.engine.fast() is edit.model


def test_other_editors_are_left(tagrid_file: Path) -> None:
    edit = Editor.from_pretrained(tagrid_file)
    assert edit.engine.fast() is edit.model


def test_an_edited_model_can_be_saved(tmp_path: Path) -> None:
    edit = editor_of()
    found = edit(picture(), TEXT)
    file = checkpoint.save(tmp_path / "model.safetensors", edit.model, vocabulary=VOCABULARY)
    again = Editor.from_pretrained(file)
    assert np.array_equal(np.asarray(again(picture(), TEXT)), np.asarray(found)) or again.template != edit.template


def test_a_precision_that_cannot_be_is_refused(tagrid_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="precision is 'fp8', expected one of fp32, bf16"):
        Fast(model_of("tagan"), precision="fp8")
    monkeypatch.setattr(fast, "pick_precision", lambda *_: Chosen("fp32", "processor without bf16 instructions"))
    with pytest.raises(UserError, match="precision is bf16, but: processor without"):
        Fast(model_of("tagan"), precision="bf16")
    with pytest.raises(UserError, match="tagrid makes pictures in fp32 alone"):
        Editor.from_pretrained(tagrid_file, precision="bf16")


@NEEDS_BF16
def test_bf16_is_near_where_it_is_asked_for() -> None:
    source = checkpoint.Checkpoint(model_of("tagan"), VOCABULARY, "{}")
    exact, rounded = (Editor(TorchEngine(source, precision=each)) for each in ("fp32", "bf16"))
    first, second = (edit.edit_batch(torch.zeros(2, 3, 32, 32), [TEXT] * 2) for edit in (exact, rounded))
    assert 0 < (first - second).abs().max() < 2 * 4 / 255
