"""Laws of the painter's colours: gamut, names, tone curves, texture, and what stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from tgim.data.synthetic.pairs import random_scene, render
from tgim.images.photo import from_uint8
from tgim.models.editing.painting.already import Surroundings, evidence, names, to_change
from tgim.models.editing.painting.brush import Tones, paint, tone_curve
from tgim.models.editing.painting.captions import ColourTarget
from tgim.models.editing.painting.lab import limited, to_lab, to_rgb
from tgim.models.editing.painting.palette import RAMPS, chroma_of, ramp
from tgim.models.editing.painting.words import NAMED, Colour

# Eleven colours by name, as people asked for them would point at them; differences of lightness count half.
SEEN = {
    "red": (200, 25, 25), "blue": (40, 70, 200), "yellow": (235, 210, 40), "green": (40, 140, 50),
    "black": (22, 22, 22), "white": (240, 240, 240), "orange": (235, 130, 30), "brown": (110, 70, 40),
    "gray": (128, 128, 128), "purple": (120, 50, 150), "pink": (240, 150, 180),
}  # fmt: skip
SEEN_LAB = rgb2lab(np.array([list(SEEN.values())], float) / 255)[0]


def named(lab: np.ndarray) -> list[str]:
    """The name of each colour of Lab (3, N)."""
    far = (((lab.T[:, None] - SEEN_LAB) ** 2) * np.array([0.5, 1, 1])).sum(-1)
    return [list(SEEN)[i] for i in far.argmin(1)]


def feathers(usual: float, spread: float, *, size: int = 64, seed: int = 0) -> np.ndarray:
    """A gray texture (3, H, W) in [-1, 1] of a usual lightness, lit from above."""
    rng = np.random.default_rng(seed)
    fine = rng.standard_normal((size, size)) * 0.4 + np.linspace(-1.2, 1.2, size)[:, None]
    light = (usual + spread * fine).astype(np.float32).clip(1, 99)
    return to_rgb(np.stack([light, 0 * light, 0 * light])).clip(-1, 1)


def test_lab_is_that_of_scikit_image_and_comes_back():
    rgb = torch.rand(3, 500) * 2 - 1
    ours = to_lab(rgb)
    theirs = rgb2lab(((rgb.T + 1) / 2).double().numpy()[None])[0]
    assert np.abs(ours.numpy().T - theirs).max() < 0.02
    assert (to_rgb(ours) - rgb).abs().max() < 1e-3


def test_colours_of_arrays_are_those_of_tensors():
    rgb = torch.rand(3, 500) * 2.4 - 1.2
    for function in (to_lab, lambda x: to_rgb(to_lab(x)), lambda x: limited(1.5 * to_lab(x))):
        assert np.allclose(function(rgb.numpy()), function(rgb).numpy(), atol=2e-3)
    lab = to_lab(rgb).requires_grad_()
    (slope,) = torch.autograd.grad(to_rgb(limited(lab)).sum(), lab)
    assert slope.isfinite().all()


def test_limited_colours_are_inside_srgb_with_their_lightness_and_hue():
    wild = torch.stack([100 * torch.rand(20000), 90 * torch.randn(20000), 90 * torch.randn(20000)])
    tame = limited(wild)
    assert (to_rgb(tame).abs() > 1 + 0.02).float().mean() < 1e-3
    assert torch.equal(tame[0], wild[0])
    assert (tame[1] * wild[2] - tame[2] * wild[1]).abs().max() < 1e-2 * 90**2
    assert (tame[1:].norm(dim=0) <= wild[1:].norm(dim=0) + 1e-3).all()


@pytest.mark.parametrize("name", NAMED)
def test_a_colour_keeps_its_name_over_all_its_tones(name):
    tones = ramp(Colour(name))
    light = np.linspace(tones.low, tones.high, 30, dtype=np.float32)
    assert set(named(limited(np.stack([light, *chroma_of(tones, light)])))) == {name}


def test_shades_move_the_tones():
    plain, dark, light = (ramp(Colour("blue", light=shade)) for shade in (0, -1, 1))
    assert dark.usual < plain.usual < light.usual
    assert np.linalg.norm(ramp(Colour("blue", strong=-1)).ab) < np.linalg.norm(plain.ab)
    assert ramp(Colour("brown", towards="red")).ab[0, 36] > ramp(Colour("brown")).ab[0, 36]


@pytest.mark.parametrize("name", RAMPS)
def test_the_tone_curve_never_falls_and_stays_near_the_colours_tones(name):
    wanted = ramp(Colour(name))
    for low, middle, high in ((1, 3, 6), (5, 30, 80), (70, 90, 98), (50, 50.1, 50.2), (2, 60, 62)):
        curve = tone_curve(Tones(low, middle, high), wanted)
        assert (np.diff(curve) >= 0).all()
        assert curve.min() >= wanted.low - 5
        assert curve.max() <= wanted.high + 5


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize(("usual", "spread"), [(8, 3), (50, 12), (88, 6)])
def test_a_part_gets_the_named_colour_and_keeps_its_texture(name, usual, spread):
    photo = feathers(usual, spread)
    result = paint(photo, np.ones((1, 64, 64), np.float32), [ramp(Colour(name))], radius=2)
    before, after = to_lab(photo), to_lab(result)
    right = np.mean([each == name for each in named(after.reshape(3, -1))])
    assert right > 0.93
    assert np.corrcoef(before[0].flatten(), after[0].flatten())[0, 1] > 0.87
    assert np.abs(result).max() <= 1


def test_nothing_changes_at_strength_0_nor_outside_the_mask():
    photo, mask = feathers(50, 12), np.zeros((64, 64), np.float32)
    mask[10:30, 10:30] = np.random.default_rng(0).random((20, 20))
    red = [ramp(Colour("red"))]
    assert np.array_equal(paint(photo, mask[None], red, radius=2, strength=0), photo)
    result = paint(photo, mask[None], red, radius=2)
    assert np.array_equal(result[:, mask == 0], photo[:, mask == 0])
    assert not np.array_equal(result, photo)
    half = paint(photo, mask[None], red, radius=2, strength=0.5)
    assert np.allclose(half, (photo + result) / 2, atol=1e-5)


@pytest.mark.slow
def test_parts_of_drawn_birds_become_what_is_asked():
    shares = []
    for seed in range(4):
        rendering = render(random_scene("bird", np.random.default_rng(seed)), 96)
        photo = from_uint8(rendering.image.transpose(2, 0, 1))
        for parts, name in ((("crown", "face", "nape"), "red"), (("belly",), "yellow"), (("wings",), "blue")):
            mask = np.clip(sum(rendering.parts[part] for part in parts), 0, 1).astype(np.float32)
            if (mask > 0.9).sum() < 30:
                continue
            after = to_lab(paint(photo, mask[None], [ramp(Colour(name))], radius=2))[:, mask > 0.9]
            shares.append(np.mean([each == name for each in named(after)]))
    assert len(shares) > 6
    assert np.mean(shares) > 0.9


def target(*colours: str) -> ColourTarget:
    return ColourTarget("head", ("head",), tuple(Colour(name) for name in colours))


@pytest.mark.parametrize(("name", "rgb"), [("red", (185, 40, 30)), ("black", (20, 20, 22)), ("yellow", (225, 200, 50))])
def test_a_part_that_has_its_colour_is_known_to(name, rgb):
    own = to_lab(np.array(rgb, np.float32)[:, None].repeat(50, 1) / 127.5 - 1)
    around, even = Surroundings(dark=15.0, light=75.0, a=2.0, b=8.0), np.ones(50, np.float32)
    other = "blue" if name != "blue" else "red"
    assert evidence(own, even, target(name), around, "head") > evidence(own, even, target(other), around, "head") + 2
    assert evidence(own, even, target(other, name), around, "head") == evidence(own, even, target(name), around, "head")


def test_names_are_known_of_all_colours():
    assert set(names("bird")) == set(names("flower")) == set(NAMED)


def test_pixels_that_are_right_already_are_kept():
    lab = np.empty((3, 20, 40), np.float32)
    lab[:, :, :20] = np.reshape([42.0, 62.0, 46.0], (3, 1, 1))
    lab[:, :, 20:] = np.reshape([50.0, 0.0, 0.0], (3, 1, 1))
    change = to_change(lab, [target("red")])[0]
    assert (change[:, :16] == 0).all()
    assert (change[:, 24:] == 1).all()
    assert (to_change(lab, [target("gray")]) == 1).all()  # else what is gray by chance stays as a patch
