"""Laws of interpolation: its ends are the plain pictures, what lies between lies between, and files hold all of it."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from support.pictures import encoded
from support.small import VOCABULARY as WORDS
from support.small import model_of
from support.toy_generator import VOCABULARY, toy_generator
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.data.synthetic.pairs import sample_picture
from tgim.errors import ImageError, UserError
from tgim.images.photo import open_image, to_uint8
from tgim.inference.editor import Editor
from tgim.inference.generator import Generator
from tgim.inference.interpolate import (
    Frames,
    between_captions,
    between_noises,
    between_pictures,
    lerp,
    save_frames,
    slerp,
    strip,
)
from tgim.inference.inversion import Inverter
from tgim.models.base import Editing

RED, BLUE = "this bird has a red head", "a small blue bird"


@pytest.fixture(scope="module")
def generator():
    return Generator(Checkpoint(toy_generator(), VOCABULARY, "{}"))


@pytest.fixture(scope="module")
def inverting():
    return Editor(Checkpoint(Inverter(toy_generator(), steps=25), VOCABULARY, "{}"))


def editor_of(name):
    return Editor(Checkpoint(model_of(name).eval(), WORDS, "{}"))


def photo(seed, height=40, width=48):
    return open_image(sample_picture("birds", seed=seed, size=(height, width)))


def is_a_way(frames: Frames, *, steps: int):
    """From one end to another, each step nearer to the last than to what was before it."""
    pictures = frames.pictures
    assert len(pictures) == steps
    assert pictures.abs().max() <= 1
    whole = (pictures[0] - pictures[-1]).abs().mean()
    strides = [(a - b).abs().mean() for a, b in pairwise(pictures)]
    assert whole > 0
    assert 0 < max(strides) < 0.9 * whole


def test_interpolated_vectors_lie_on_the_great_circle():
    start, end = torch.randn(2, 50)
    at = torch.tensor([0.0, 0.25, 0.5, 1.0])
    found = slerp(start, 3 * end, at)
    assert torch.allclose(found[0], start)
    assert torch.allclose(found[-1], 3 * end, atol=1e-6)
    unit = slerp(start / start.norm(), end / end.norm(), at)
    assert torch.allclose(unit.norm(dim=1), torch.ones(4), atol=1e-5)
    angles = (unit @ (start / start.norm())).clamp(-1, 1).arccos()
    assert torch.allclose(angles / angles[-1], at, atol=1e-3)
    for other in (start, -start, 0 * start):
        assert torch.allclose(slerp(start, other, at), lerp((torch.stack([start, other]),), at)[0], atol=1e-5)


def test_captions_on_one_noise_end_where_the_captions_are(generator):
    frames = between_captions(generator, RED, BLUE, steps=5, seed=3)
    is_a_way(frames, steps=5)
    plain = generator.generate([RED, BLUE], seed=3)[:, 0]
    assert torch.allclose(frames.pictures[[0, -1]], plain, atol=1e-6)
    again = between_captions(generator, RED, BLUE, steps=5, seed=3)
    assert torch.equal(frames.pictures, again.pictures)
    assert "captions" in frames.how


def test_noises_end_where_the_seed_draws(generator):
    frames = between_noises(generator, RED, steps=12, seed=6)
    is_a_way(frames, steps=12)
    assert torch.allclose(frames.pictures[[0, -1]], generator.generate([RED], n=2, seed=6)[0], atol=1e-5)
    assert not torch.equal(frames.pictures, between_noises(generator, RED, steps=12, seed=7).pictures)


@pytest.mark.parametrize("name", ["tagan", "sisgan"])
@torch.no_grad()
def test_two_steps_are_one_edit(name):
    model = model_of(name).eval()
    image, text = torch.rand(2, 3, 32, 32) * 2 - 1, WORDS.encode([RED, BLUE])
    assert torch.equal(model.edit_from(model.encode(image), model.condition(text)), model.edit(image, text))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tagan", "sisgan", "tagrid"])
def test_captions_on_a_photograph_end_at_its_edits(name):
    editor, source = editor_of(name), photo(1)
    frames = between_captions(editor, RED, BLUE, image=source, steps=4)
    assert frames.pictures.shape == (4, 3, 40, 48)
    is_a_way(frames, steps=4)
    edits = [editor.edit_photo(source, text, focus=False).tensor for text in (RED, BLUE)]
    assert torch.allclose(frames.pictures[[0, -1]], torch.stack(edits), atol=1e-4)
    assert frames.how == "the codes of the captions"
    assert max(between_captions(editor, RED, BLUE, image=source, steps=2, side=24).pictures.shape) == 24


def test_codes_are_interpolated_and_not_edits():
    editor = editor_of("tagan")
    editor.model.condition = lambda text: (torch.tensor([[-1.0], [1.0]]),)
    editor.model.edit_from = lambda seen, codes: (0.5 * codes[0].square())[..., None, None].expand(-1, 3, 32, 32)
    frames = between_captions(editor, RED, BLUE, image=photo(1, 32, 32), steps=3).pictures
    for found, expected in zip(frames, (0.5, 0.0, 0.5), strict=True):  # edits would be 0.5 all the way
        assert (found - expected).abs().max() < 0.01


@pytest.mark.slow
def test_an_editor_without_codes_says_that_edits_are_blended():
    model = model_of("tagan").eval()

    class Closed(Editing):
        """Hides the two steps."""

        name, image_size = "closed", model.image_size

        def edit(self, image, text, *, seed=None):
            return model.edit(image, text)

    editor = editor_of("tagan")
    editor.engine.model = Closed()
    frames = between_captions(editor, RED, BLUE, image=photo(1), steps=3)
    assert "closed has no codes" in frames.how
    ends = between_captions(editor_of("tagan"), RED, BLUE, image=photo(1), steps=2).pictures
    assert torch.allclose(frames.pictures[[0, -1]], ends, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("tagan", 32), ("sisgan", 32), ("tagrid", 40)])
def test_photographs_end_at_their_own_edits(name, size):
    editor, ends = editor_of(name), (photo(1, 40, 40), photo(2, 40, 40))
    frames = between_pictures(editor, *ends, RED, steps=4, side=40)
    assert frames.pictures.shape == (4, 3, size, size)
    is_a_way(frames, steps=4)
    raw = "model" if size == 32 else "photo"
    edits = [editor.edit_photo(end, RED, focus=False, size=raw).tensor for end in ends]
    assert torch.allclose(frames.pictures[[0, -1]], torch.stack(edits), atol=1e-4)
    assert ("blend" in frames.how) is (name == "tagrid")


def test_of_a_wide_photograph_the_middle_is_taken():
    editor, wide = editor_of("sisgan"), photo(1, 40, 60)
    middle = replace(wide, pixels=wide.tensor[:, :, 10:50])
    found, expected = (between_pictures(editor, end, photo(2, 40, 40), RED, steps=2) for end in (wide, middle))
    assert torch.equal(found.pictures, expected.pictures)


@pytest.mark.slow
def test_a_generator_turns_photographs_into_noise(inverting):
    ends = photo(1, 40, 40), photo(2, 40, 40)
    frames = between_pictures(inverting, *ends, RED, steps=4)
    is_a_way(frames, steps=4)
    edits = [inverting.edit_photo(end, RED, size="model").tensor for end in ends]
    assert torch.allclose(frames.pictures[[0, -1]], torch.stack(edits), atol=0.02)  # found together, and apart
    assert "noise" in frames.how
    captions = between_captions(inverting, RED, BLUE, image=ends[0], steps=4)
    is_a_way(captions, steps=4)
    assert torch.allclose(captions.pictures[0], edits[0], atol=1e-5)


@pytest.mark.slow
def test_a_style_encoder_is_asked_for_the_noise():
    editor = editor_of("style_encoder")
    ends = photo(1, 40, 40), photo(2, 40, 40)
    frames = between_pictures(editor, *ends, RED, steps=3)
    edits = [editor.edit_photo(end, RED, size="model").tensor for end in ends]
    assert torch.allclose(frames.pictures[[0, -1]], torch.stack(edits), atol=1e-5)
    captions = between_captions(editor, RED, BLUE, image=ends[0], steps=3)
    assert torch.allclose(captions.pictures[0], edits[0], atol=1e-5)


def test_what_does_not_fit_is_refused(generator):
    editor = editor_of("sisgan")
    for wrong in (
        lambda: between_noises(generator, RED, steps=1),
        lambda: between_noises(generator, RED, seed=-1),
        lambda: between_captions(generator, RED, BLUE, image=photo(1)),
        lambda: between_captions(editor, RED, BLUE),
        lambda: between_captions(editor, RED, "xyzzy", image=photo(1)),
        lambda: between_pictures(editor, photo(1), "not/there.jpg", RED),
    ):
        with pytest.raises(UserError) as raised:
            wrong()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp"])
def test_files_hold_all_pictures(tmp_path, suffix):
    pictures = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 3, 12, 20)
    first, second = (save_frames(pictures, tmp_path / f"{name}{suffix}") for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        if suffix in (".gif", ".webp"):
            assert (image.n_frames, image.size, image.info["loop"]) == (5, (20, 12), 0)
            for i, expected in enumerate(pictures):
                image.seek(i)
                found = np.asarray(image.convert("RGB")).astype(int)
                assert abs(found - to_uint8(expected).permute(1, 2, 0).numpy()).max() <= 4
        else:
            assert image.size == strip(pictures).size == (5 * 20 + 4 * 2, 12)
    if suffix == ".png":
        whole = open_image(first).tensor
        assert torch.allclose(whole[:, :, 22:42], pictures[1], atol=1 / 127)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["a.xyz", "no/folder.gif"])
def test_a_file_that_cannot_be_written_is_refused(tmp_path, name):
    with pytest.raises(ImageError):
        save_frames(torch.zeros(2, 3, 4, 4), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_photographs_are_interpolated_in_srgb_and_their_frames_told(caplog) -> None:
    image = Image.fromarray(sample_picture("birds", seed=2, size=(40, 50)))
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", 100_000))  # linear
    told, plain = encoded(image, "PNG", pnginfo=info), encoded(image, "PNG")
    moving = encoded(image, "PNG", save_all=True, append_images=[Image.new("RGB", image.size)])
    editor = editor_of("tagrid")
    light, dark, first = (
        between_captions(editor, RED, BLUE, image=each, steps=2).pictures.mean() for each in (told, plain, moving)
    )
    assert light > dark + 0.1
    assert first == dark
    assert [message.partition(";")[0] for message in caplog.messages] == ["image bytes has several frames"]
