"""The authors' checkpoints become ours: every name, every layout, every fault named."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.testing import assert_close

from golden import make, release
from tgim.checkpoints import checkpoint
from tgim.conversion.convert import convert
from tgim.conversion.files import read_state
from tgim.errors import CheckpointError, UserError
from tgim.inference.editor import Editor

SIZES = {
    system: {k: v for k, v in sizes.items() if k not in ("image_size", "word_size")}
    for system, sizes in make.SIZES.items()
}
SYSTEMS = ("tagan", "sisgan")


@pytest.fixture
def folder(tmp_path):
    """Word vectors, and for each system its generator and discriminator as the authors saved them."""
    rows = np.random.default_rng(0).standard_normal((4, 6))
    lines = [f"{w} {' '.join(map(str, row))}" for w, row in zip(("bird", "red", "blue", "white"), rows, strict=True)]
    (tmp_path / "w.vec").write_text("\n".join(["4 6", *lines]), encoding="utf-8")
    for system in SYSTEMS:
        for part, shapes in make.small_shapes(system).items():
            torch.save(release.weights(shapes), tmp_path / f"{system}_{part}.pth")
    return tmp_path


def run(folder: Path, system: str, source: str | None = None, **options):
    arguments = {"word_vectors": folder / "w.vec", "image_size": 32, "config": SIZES[system], **options}
    return convert(system, folder / (source or f"{system}_generator.pth"), folder / "out.safetensors", **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_converted_generator_edits(folder, system):
    out = run(folder, system, discriminator=folder / f"{system}_discriminator.pth")
    picture = np.random.default_rng(1).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    editor = Editor.from_pretrained(out)

    def edit(text: str) -> np.ndarray:
        return np.asarray(editor(Image.fromarray(picture), text))

    assert edit("red bird").shape == picture.shape
    assert (edit("red bird") != picture).any()
    assert (edit("red bird") == edit("red bird")).all()
    assert (edit("red bird") != edit("blue white")).any()


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_weights_arrive_unchanged(folder, system):
    out = run(folder, system, discriminator=folder / f"{system}_discriminator.pth")
    found, expected = checkpoint.load(out).model, make.small_model(system)
    for part in ("generator", "discriminator"):
        for name, value in getattr(expected, part).state_dict().items():
            if "table" not in name:
                assert torch.equal(getattr(found, part).state_dict()[name], value), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"generator": state, "epoch": 3},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"model": {"netG": state}},
        lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
        lambda state: {k: v.double() for k, v in state.items()},
        lambda state: OrderedDict((k, nn.Parameter(v, requires_grad=v.is_floating_point())) for k, v in state.items()),
    ],
    ids=["nested", "parallel", "twice", "torch-0.3", "double", "parameters"],
)
def test_usual_layouts_are_read(folder, wrap):
    plain = run(folder, "tagan").read_bytes()
    torch.save(wrap(torch.load(folder / "tagan_generator.pth")), folder / "other.pth")
    checkpoint_of_other = run(folder, "tagan", "other.pth")
    found = checkpoint.read_tensors(checkpoint_of_other)
    (folder / "plain.safetensors").write_bytes(plain)
    for name, value in checkpoint.read_tensors(folder / "plain.safetensors").items():
        assert torch.equal(found[name], value), name


@pytest.mark.slow
def test_a_file_of_an_old_torch_on_a_gpu_is_read(folder):
    """What torch 0.3 wrote: no zip archive, storages of a GPU that is not there."""
    state = torch.load(folder / "tagan_generator.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    content = (folder / "old.pth").read_bytes()
    moved = content.replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    moved = moved.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert moved != content
    (folder / "old.pth").write_bytes(moved)
    found = read_state(folder / "old.pth")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert {value.device.type for value in found.values()} == {"cpu"}


@pytest.mark.slow
def test_conversion_is_repeatable(folder):
    assert run(folder, "sisgan").read_bytes() == run(folder, "sisgan").read_bytes()


@pytest.mark.slow
def test_a_text_encoder_is_taken_along(folder, caplog):
    gru = nn.GRU(6, 6)
    vgg = {"img_encoder.features.0.weight": torch.zeros(1), "W.weight": torch.zeros(6, 1)}
    torch.save({f"txt_encoder.{k}": v for k, v in gru.state_dict().items()} | vgg, folder / "vse.pth")
    found = checkpoint.load(run(folder, "sisgan", text_encoder=folder / "vse.pth"))
    assert not caplog.records
    tokens = found.vocabulary.encode(["red bird", "bird"])
    vectors = found.model.text.table(tokens)
    assert_close(found.model.text(tokens).sentence[0], gru(vectors[0])[1][0])


@pytest.mark.slow
def test_without_a_text_encoder_the_card_and_the_log_say_so(folder, caplog):
    found = checkpoint.load(run(folder, "sisgan"))
    assert "poorly" in caplog.text
    assert any("mean word vectors" in line for line in found.card["limits"])
    tokens = found.vocabulary.encode(["red bird"])
    assert_close(found.model.text(tokens).sentence, found.model.text.table(tokens).mean(1))


def spoil(folder: Path, change) -> None:
    state = torch.load(folder / "tagan_generator.pth")
    change(state)
    torch.save(state, folder / "spoilt.pth")


def drop_a_few(state):
    for name in ("decoder.1.weight", "encoder.0.bias", "mu.0.bias", "mu.0.weight"):
        del state[name]


def everything(state):
    del state["encoder.0.bias"]
    state |= {"extra": torch.zeros(1), "mu.0.weight": torch.zeros(5, 9)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_a_few, r"lacks decoder.1.weight, encoder.0.bias, mu.0.bias and 1 more$"),
        (lambda s: s.update(extra=torch.zeros(1)), r"has surplus extra$"),
        (lambda s: s.update({"mu.0.weight": torch.zeros(5, 9)}), r"mu.0.weight is \(5, 9\), not \(5, 8\)"),
        (everything, r"lacks encoder.0.bias, has surplus extra and has other shapes: mu.0.weight is \(5, 9\), not"),
        (lambda s: s["mu.0.weight"].fill_(torch.nan), "not finite"),
        (lambda s: s.clear(), "holds nothing"),
    ],
)
def test_what_is_missing_surplus_or_misshapen_is_named(folder, change, message):
    spoil(folder, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        run(folder, "tagan", "spoilt.pth")
    assert "\n" not in str(caught.value)
    assert not (folder / "out.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "source", "message"),
    [
        ("tagan", "tagan_discriminator.pth", "looks like a TAGAN discriminator, and editing needs the generator"),
        ("sisgan", "sisgan_discriminator.pth", "looks like a SISGAN discriminator, and editing needs the generator"),
        ("tagan", "sisgan_generator.pth", "looks like a SISGAN generator"),
        ("sisgan", "tagan_generator.pth", "looks like a TAGAN generator"),
    ],
)
def test_another_network_is_recognised(folder, system, source, message):
    with pytest.raises(CheckpointError, match=message):
        run(folder, system, source)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", {"generator": 3}, [torch.zeros(2)], torch.zeros(2), {"epoch": 1}],
    ids=["empty", "text", "number", "averaged", "tensor", "no-network"],
)
def test_what_is_no_state_dict_is_refused(folder, content):
    path = folder / "broken.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(CheckpointError) as caught:
        run(folder, "tagan", "broken.pth")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.slow
def test_code_in_a_file_is_not_run(folder):
    torch.save({"generator": Payload(folder / "was-here")}, folder / "code.pth")
    with pytest.raises(CheckpointError, match="state dict"):
        run(folder, "tagan", "code.pth")
    assert not (folder / "was-here").exists()


def test_a_truncated_file_is_refused(folder):
    whole = (folder / "tagan_generator.pth").read_bytes()
    (folder / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.pth"):
        run(folder, "tagan", "cut.pth")


@pytest.mark.slow
def test_other_faults_of_the_caller(folder):
    with pytest.raises(CheckpointError, match="No such file"):
        run(folder, "tagan", "gone.pth")
    with pytest.raises(UserError, match="'gawwn', expected one of: tagan, sisgan"):
        convert("gawwn", folder / "x.pth", folder / "o.safetensors", word_vectors=folder / "w.vec")
    with pytest.raises(UserError, match="image_size"):
        run(folder, "tagan", image_size=33)
    with pytest.raises(UserError, match="tagan need no image encoder"):
        run(folder, "tagan", image_encoder=folder / "x.pth")
    (folder / "narrow.vec").write_text("bird 1 2\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="word vectors have the release's width"):
        run(folder, "tagan", word_vectors=folder / "narrow.vec")
