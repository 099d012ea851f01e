"""Laws of the checkpoint file: it loads alone, comes back equal, and says clearly what is wrong with it."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from support import toy
from tgim.checkpoints import checkpoint
from tgim.errors import CheckpointError
from tgim.text.vocabulary import Vocabulary

WORDS = Vocabulary(["red", "blue", "square"])


def a_model(**config: float) -> toy.Toy:
    torch.manual_seed(3)
    model = toy.Toy(toy.ToyConfig(**config), vocabulary_size=len(WORDS))
    model.calls += 2**40 + 1  # does not fit 32 bits, nor any float
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return checkpoint.save(
        tmp_path / "deep" / "toy.safetensors",
        a_model(width=6),
        vocabulary=WORDS,
        template="a {} square",
        card={"title": "Toy", "licence": "none"},
        history={"steps": 3},
        data={"name": "squares", "licence": "CC0"},
    )


def rewrite(path: Path, change: object) -> Path:
    """The file with its tgim header changed by `change(header)`."""
    tensors = checkpoint.read_tensors(path)
    header = json.loads(checkpoint.read_metadata(path)[1][checkpoint.KEY])
    change(header)  # type: ignore[operator]
    return checkpoint.write(path, tensors, {checkpoint.KEY: header})


def test_it_comes_back_equal(saved: Path) -> None:
    loaded = checkpoint.load(saved)
    assert loaded.model.config == toy.ToyConfig(width=6)
    assert loaded.vocabulary.words == WORDS.words
    assert (loaded.template, loaded.card["title"], loaded.history["steps"]) == ("a {} square", "Toy", 3)
    assert loaded.data == {"name": "squares", "licence": "CC0"}
    assert loaded.preprocessing == {"image_size": 16, "range": [-1, 1]}
    assert not loaded.model.training
    for name, value in a_model(width=6).state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value), name


def test_a_fingerprint_is_of_what_a_checkpoint_computes(saved: Path, tmp_path: Path) -> None:
    told = checkpoint.fingerprint(saved)
    assert len(told) == 16
    assert int(told, 16) >= 0
    model = a_model(width=6)
    other_card = checkpoint.save(
        tmp_path / "card.safetensors", model, vocabulary=WORDS, template="a {} square", card={"title": "Another"}
    )
    assert checkpoint.fingerprint(other_card) == told
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1
    for name, words, changed in (("w", WORDS, model), ("v", Vocabulary(["red", "blue", "ball"]), a_model(width=6))):
        path = checkpoint.save(tmp_path / f"{name}.safetensors", changed, vocabulary=words, template="a {} square")
        assert checkpoint.fingerprint(path) != told


def test_half_precision_is_close_and_leaves_integers_alone(tmp_path: Path) -> None:
    model = a_model()
    with torch.no_grad():
        model.generator.unused.fill_(1e6)  # beyond the range of 16 bits
    path = checkpoint.save(tmp_path / "a.safetensors", model, vocabulary=WORDS, half=True)
    assert path.stat().st_size < checkpoint.save(tmp_path / "b.safetensors", model, vocabulary=WORDS).stat().st_size
    loaded = checkpoint.load(path).model.state_dict()
    for name, value in model.state_dict().items():
        assert loaded[name].dtype == value.dtype, name
        torch.testing.assert_close(loaded[name], value, rtol=1e-3, atol=1e-6)
    assert torch.equal(loaded["calls"], model.calls)


def test_equal_arguments_give_equal_bytes(saved: Path, tmp_path: Path) -> None:
    loaded = checkpoint.load(saved)
    again = checkpoint.save(
        tmp_path / "again.safetensors",
        loaded.model,
        vocabulary=loaded.vocabulary,
        template=loaded.template,
        card=dict(reversed(loaded.card.items())),
        history=loaded.history,
        data=loaded.data,
    )
    assert again.read_bytes() == saved.read_bytes()


def test_loading_leaves_the_random_numbers_alone(saved: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    checkpoint.load(saved)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
def test_the_header_is_read_without_torch(saved: Path) -> None:
    code = (
        "import sys; from tgim.checkpoints import checkpoint; checkpoint.list_embedded(); "
        f"print(checkpoint.read_header({str(saved)!r})['vocabulary'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{list(WORDS.words)} False"


@pytest.mark.parametrize("length", [0x0280, 0x0480, 0x010280, 0x4B50])  # bytes of a pickle, of a zip
def test_a_header_of_any_length_is_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + json.dumps({"__metadata__": {"a": "b"}}).ljust(length).encode())
    assert checkpoint.read_metadata(path) == ({}, {"a": "b"})


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_are_named_as_such(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model.safetensors"
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="pickled PyTorch file"):
        checkpoint.read_metadata(path)


def test_nothing_is_unpickled(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    checkpoint.load(saved)


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()
    model = a_model(width=6)
    with torch.no_grad():
        model.generator.out.weight.fill_(float("nan"))
    with pytest.raises(CheckpointError, match=r"generator\.out\.weight.*not finite"):
        checkpoint.save(saved, model, vocabulary=WORDS)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint.save(saved, a_model(), vocabulary=WORDS)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_every_truncation_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        saved.write_bytes(whole[:length])
        for read in (checkpoint.load, checkpoint.read_header):
            with pytest.raises(CheckpointError) as caught:
                read(saved)
            assert "\n" not in str(caught.value)
    saved.write_bytes(whole + b"!")
    with pytest.raises(CheckpointError, match="expected"):
        checkpoint.load(saved)


def hostile_files() -> dict[str, bytes]:
    def packed(header: object) -> bytes:
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text

    entry = {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]}
    return {
        "empty": b"",
        "zeros": bytes(64),
        "huge header": struct.pack("<Q", 2**62) + b"{}",
        "text": b"once upon a time there was a bird",
        "not json": struct.pack("<Q", 8) + b"{{{{{{{{",
        "a list": packed([1, 2]),
        "deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
        "huge tensor": packed({"a": entry}) + bytes(8),
        "no offsets": packed({"a": {"dtype": "F32", "shape": [2]}}),
        "odd type": packed({"a": {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]}}) + bytes(8),
        "broken header": packed({"__metadata__": {"tgim": "{"}}),
        "header a list": packed({"__metadata__": {"tgim": "[]"}}),
        "nearly empty header": packed({"__metadata__": {"tgim": '{"format": 1, "tgim_version": "0.1.0"}'}}),
    }


@pytest.mark.parametrize("name", hostile_files())
def test_hostile_files_are_one_clear_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(hostile_files()[name])
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "new.pth")
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("new.pth", "old.pth"):
        with pytest.raises(CheckpointError, match="tgim convert"):
            checkpoint.load(tmp_path / name)
    save_file({"a": torch.ones(2)}, str(tmp_path / "foreign.safetensors"), metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="not one of tgim"):
        checkpoint.load(tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        checkpoint.load(tmp_path)
    with pytest.raises(CheckpointError, match="is not there"):
        checkpoint.load(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="is not there"):
        checkpoint.load(str(tmp_path / "absent.safetensors"))


def test_newer_and_unknown_ones_say_so(saved: Path) -> None:
    whole = saved.read_bytes()
    rewrite(saved, lambda header: header.update(format=checkpoint.FORMAT + 1, tgim_version="9.9"))
    with pytest.raises(CheckpointError, match=r"tgim 9\.9.*upgrade"):
        checkpoint.read_header(saved)
    saved.write_bytes(whole)
    rewrite(saved, lambda header: header.update(name="tagit"))
    with pytest.raises(CheckpointError, match=r"'tagit'.*did you mean"):
        checkpoint.load(saved)
    saved.write_bytes(whole)
    rewrite(saved, lambda header: header["config"].update(hue=1))
    with pytest.raises(CheckpointError, match="config that does not fit 'toy'"):
        checkpoint.load(saved)
    saved.write_bytes(whole)
    rewrite(saved, lambda header: header.update(vocabulary=["red", "red"]))
    with pytest.raises(CheckpointError):
        checkpoint.load(saved)


def test_tensors_must_fit_the_config(saved: Path) -> None:
    header = json.loads(checkpoint.read_metadata(saved)[1][checkpoint.KEY])
    tensors = checkpoint.read_tensors(saved)
    name = "generator.out.weight"
    for changed, fault in (
        ({k: v for k, v in tensors.items() if k != name}, "lacks generator.out.weight"),
        ({**tensors, "extra": torch.ones(1)}, "surplus extra"),
        (
            {**tensors, name: tensors[name][:2]},
            r"generator.out.weight has shape \(2, 8, 1, 1\), expected \(3, 8, 1, 1\)",
        ),
    ):
        checkpoint.write(saved, changed, {checkpoint.KEY: header})
        with pytest.raises(CheckpointError, match=fault):
            checkpoint.load(saved)


def test_names_stand_for_embedded_weights(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_weights", lambda: saved.parent)
    assert checkpoint.list_embedded() == ["toy"]
    assert checkpoint.load("toy").name == "toy"
    with pytest.raises(CheckpointError, match=r"'toyy'; did you mean 'toy'\?"):
        checkpoint.load("toyy")
    monkeypatch.setattr(checkpoint, "_weights", lambda: tmp_path / "nowhere")
    assert checkpoint.list_embedded() == []
    with pytest.raises(CheckpointError, match="no embedded weights"):
        checkpoint.read_header("toy")


@pytest.mark.parametrize("template", ["no place", "{} and {}"])
def test_a_template_has_one_place(tmp_path: Path, template: str) -> None:
    with pytest.raises(CheckpointError, match="template"):
        checkpoint.save(tmp_path / "a.safetensors", a_model(), vocabulary=WORDS, template=template)
    assert not list(tmp_path.iterdir())
