"""Part curves: the lessons, the curves, training on described pictures, and edits of photographs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from support.small import batch_of, model_of
from tgim.data.batch import DescribedPictures
from tgim.errors import TextError
from tgim.models.base import Request
from tgim.models.editing.painting.brush import Tones, look_up, tone_curve
from tgim.models.editing.painting.lab import to_lab
from tgim.models.editing.painting.palette import chroma_of, nearest, ramp
from tgim.models.editing.painting.words import Colour
from tgim.models.editing.part_curves.curves import KNOTS, as_curve, recolour, tables
from tgim.models.editing.part_curves.described import SHARPNESS, describe, part_shares
from tgim.models.editing.part_curves.head import to_curve
from tgim.models.editing.part_curves.lessons import Phrases, colours_of, curve_of
from tgim.models.editing.part_curves.painted import as_ramp
from tgim.models.editing.part_curves.pieces import seen
from tgim.text.lexicon.colours import PLAIN as NAMED
from tgim.text.lexicon.parts import BIRD_PARTS

PARTS = ("background", *BIRD_PARTS)


@pytest.mark.parametrize("name", NAMED)
def test_a_table_gives_what_the_brush_gives(name):
    own = Tones(30.0, 55.0, 75.0)
    table = tables(torch.tensor([*own, 3.0, 4.0]), as_curve(ramp(Colour(name))))
    light = torch.linspace(0, 100, KNOTS)
    expected = torch.from_numpy(look_up(tone_curve(own, ramp(Colour(name))), light.numpy()))
    inside = (light > 25) & (light < 80)
    assert (table[:, 0] - expected)[inside].abs().max() < 4
    found = torch.from_numpy(chroma_of(ramp(Colour(name)), table[:, 0].numpy()))
    assert (table[:, 1:].T - found)[:, inside].norm(dim=0).max() < 20  # three tones of it stand for the whole ramp


@pytest.mark.parametrize("name", NAMED)
def test_a_curve_is_its_ramp(name):
    wanted = ramp(Colour(name))
    again = as_curve(as_ramp(as_curve(wanted).numpy()))
    assert (again - as_curve(wanted)).abs().max() < 2


@pytest.mark.parametrize("name", ["red", "blue", "yellow", "white", "black"])
def test_recoloured_parts_have_the_colour_and_the_rest_stays(name):
    image = 0.2 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).clamp(-3, 3)
    index = torch.ones(1, 2, 16, 16, dtype=torch.long)
    index[:, 1] = 2
    share = torch.zeros(1, 2, 16, 16)
    share[:, 0, :, :8] = 1
    lab = to_lab(image[0])
    low, middle, high = torch.quantile(lab[0], torch.tensor([0.04, 0.5, 0.96])).tolist()
    tones = torch.tensor([low, middle, high, float(lab[1].mean()), float(lab[2].mean())]).expand(1, 3, 5)
    nothing = torch.zeros(1, 3)
    parts = DescribedPictures(torch.zeros(1, 3, 1), tones, index, share, nothing, nothing > 0, torch.tensor([True]))
    curve = as_curve(ramp(Colour(name))).expand(1, 3, 9)
    edited = recolour(image, parts, torch.tensor([[0.0, 1.0, 1.0]]), tables(tones, curve))
    assert torch.equal(edited[..., 8:], image[..., 8:])
    found = nearest(to_lab(edited[0, :, :, :8]).numpy())[0]
    assert (found == NAMED.index(name)).mean() > 0.9


def test_the_slope_reaches_tones_and_gates():
    batch = batch_of(16, 2)
    raw = torch.randn(2, 10, 9, generator=torch.Generator().manual_seed(1)).requires_grad_()
    gates = torch.full((2, 10), 0.5, requires_grad=True)
    recolour(batch.image, batch.parts, gates, tables(batch.parts.tones, to_curve(raw))).square().mean().backward()
    assert raw.grad.isfinite().all()
    assert gates.grad.isfinite().all()
    assert raw.grad.abs().sum() > 0 < gates.grad.abs().sum()


def test_tones_are_in_order():
    curve = to_curve(10 * torch.randn(100, 9, generator=torch.Generator().manual_seed(0)))
    assert (curve[:, 0] <= curve[:, 1]).all()
    assert (curve[:, 1] <= curve[:, 2]).all()
    assert (curve[:, :3] >= 0).all()
    assert (curve[:, :3] <= 100).all()


def test_lessons_say_which_parts_take_which_colour():
    found = colours_of("a blue bird with a white belly", PARTS)
    assert {PARTS[i]: [each.name for each in colours] for i, colours in found.items()} == {
        **{key: ["blue"] for key in ("back", "breast", "head", "wings", "tail", "throat")},
        "belly": ["white"],
    }
    assert PARTS.index("throat") in colours_of("red head and breast", PARTS)  # between the two
    assert not colours_of("a bird with a long tail", PARTS)


def test_two_colours_of_a_part_lie_at_its_ends():
    curve = curve_of((Colour("white"), Colour("black")))
    assert curve[0] < 15
    assert curve[2] > 85


def test_phrases_are_read_as_they_were_meant():
    write, source = Phrases(PARTS, "bird"), np.random.default_rng(0)
    texts = [write(source) for _ in range(300)]
    assert sum(bool(colours_of(text, PARTS)) for text in texts) > 285
    assert len(set(texts)) > 280


def test_shares_of_pixels_add_up_and_the_likelier_part_wins():
    maps = np.broadcast_to(np.array([0.1, 0.6, 0.3], np.float32)[:, None, None], (3, 16, 16))
    shares = part_shares(maps, np.zeros((3, 64, 64), np.float32))
    assert np.allclose(shares[0], shares[1:].sum(0))
    assert float(np.median(shares[1] / shares[0].clip(min=1e-6))) == pytest.approx(8 / 9, abs=0.01)
    assert SHARPNESS == 3


def test_a_description_is_of_the_picture_alone():
    model = model_of("part_curves").eval()
    photo = np.random.default_rng(0).uniform(-1, 1, (3, 64, 64)).astype(np.float32)
    maps, own = seen(model.localiser, photo)
    first, second = describe(photo, own, maps), describe(photo, own, maps)
    assert np.array_equal(first.features, second.features)
    assert first.features.shape == (10, model.head.level.num_features)
    assert first.shares.shape == (10, 64, 64)


def test_what_is_left_out_is_said_but_two_colours_of_a_part_are_not():
    model = model_of("part_curves")
    assert model.remarks("black and white wings") == ()
    assert any("striped" in note for note in model.remarks("a red bird with striped wings"))
    with pytest.raises(TextError, match="no colour"):
        model.remarks("a bird with a long tail")


@pytest.mark.slow
def test_a_closed_gate_changes_nothing_and_an_open_one_does():
    model = model_of("part_curves").eval()
    batch = batch_of(64, 2)
    request = Request(("a red head", "a blue bird"), batch.text[:2], skip=True)
    assert not torch.equal(model.edit_photo(batch.image, request), batch.image)
    with torch.no_grad():
        model.head.gate.bias.fill_(-50.0)
    assert torch.equal(model.edit_photo(batch.image, request), batch.image)


@pytest.mark.slow
def test_codes_give_the_edits_of_their_captions():
    model = model_of("part_curves").eval()
    batch = batch_of(64, 1)
    request = Request(("",), batch.text, skip=True)
    with torch.no_grad():
        direct = model.edit_photo(batch.image, request)
        coded = model.edit_photo_from(batch.image, model.condition(batch.text))
    assert torch.equal(direct, coded)


def test_the_first_pictures_of_a_batch_come_with_their_own_lessons():
    batch = batch_of()
    lessons = replace(batch.lessons, rows=torch.tensor([0, 3, 1, 2]))
    few = replace(batch, lessons=lessons).first(2)
    assert few.lessons.rows.tolist() == [0, 1]
    assert torch.equal(few.lessons.ids, lessons.ids[[0, 2]])
