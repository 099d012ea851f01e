"""Laws of boundaries, on a generator that is linear: the known normal is found, and moves along it change the score."""

from __future__ import annotations

import pytest
import torch

from support.lights import Sees, flat
from support.small import VOCABULARY, model_of
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.errors import UserError
from tgim.inference.steer.boundaries import (
    NOISE,
    Attribute,
    direction_fields,
    find_boundaries,
    logistic,
    part_colour,
    preference,
)

RED = Attribute("red", lambda pictures: pictures[:, 0].mean((1, 2)))
GREEN = Attribute("green", lambda pictures: pictures[:, 1].mean((1, 2)))
LAYER = "units"


@pytest.fixture(scope="module")
def found():
    return find_boundaries(flat(), [RED, GREEN], texts=[], n=400, seed=2)


def test_the_known_normal_is_found_in_noise_and_layer(found):
    assert found.places == (NOISE, LAYER)
    known = {"red": torch.tensor([1.0, -1, 0, 0, 0, 0, 0, 0]) / 2**0.5, "green": torch.eye(8)[2]}
    for boundary in found.found:
        raw = torch.nn.functional.normalize(boundary.normal / boundary.spread, dim=0)  # of the codes as they are
        assert float(raw @ known[boundary.attribute]) > 0.95
        assert float(boundary.normal.norm()) == pytest.approx(1)


def test_held_out_pictures_are_told_apart_and_shuffled_labels_teach_nothing(found):
    assert (found.n, found.ends, found.held_out) == (400, 100, 66)
    for boundary in found.found:
        assert boundary.accuracy.low > 0.85
        assert 0.35 < boundary.shuffled.value < 0.65
        assert boundary.shuffled.high < boundary.accuracy.value


def test_moves_along_the_normal_change_the_score_and_random_ones_do_less(found):
    for boundary in found.found:
        assert boundary.change.low > 1  # standard deviations of the score, by a move of two of the codes
        assert max(-boundary.random.low, boundary.random.high) < boundary.change.value
    red, green = found.of("red", LAYER), found.of("green", LAYER)
    assert float((red.move / red.spread).norm()) == pytest.approx(red.reach)
    assert abs(float(red.normal @ green.normal)) < 0.3


def test_equal_seeds_give_equal_boundaries(found):
    again = find_boundaries(flat(), [RED, GREEN], texts=[], n=400, seed=2)
    for one, other in zip(found.found, again.found, strict=True):
        assert torch.equal(one.normal, other.normal)
        assert (one.accuracy, one.shuffled, one.change, one.random) == (
            other.accuracy, other.shuffled, other.change, other.random,
        )  # fmt: skip


def test_logistic_regression_is_at_its_minimum():
    source = torch.Generator().manual_seed(0)
    x, y = torch.randn(60, 5, generator=source), torch.randint(2, (60,), generator=source).float()
    w, b = logistic(x, y, ridge=0.3)
    w, b = w.double().requires_grad_(), torch.tensor(b, dtype=torch.float64, requires_grad=True)
    loss = (
        torch.nn.functional.binary_cross_entropy_with_logits(x.double() @ w + b, y.double()) + 0.15 * w.square().sum()
    )
    loss.backward()
    assert w.grad.abs().max() < 1e-5
    assert abs(float(b.grad)) < 1e-5


def test_a_preference_is_the_difference_of_two_scores():
    matching = Checkpoint(model_of("dual_encoder").eval(), VOCABULARY, "{}")
    pictures = torch.rand(3, 3, 40, 40) * 2 - 1
    one, other = "a small blue bird", "a bird with yellow and black wings"
    there, back = (preference(matching, *texts).score(pictures) for texts in ((one, other), (other, one)))
    assert there.shape == (3,)
    assert torch.allclose(there, -back)
    assert there.abs().max() > 1e-4


def test_the_colour_of_a_part_is_measured_where_it_is():
    picture = -torch.ones(2, 3, 16, 16)
    picture[:, 0, 2:6, 2:6] = 1  # a head, red
    picture[1, 2, 2:6, 2:6] = 1  # and blue
    score = part_colour(Sees(), "head", (1.0, 0.0, 1.0)).score(picture)
    assert score.tolist() == pytest.approx([-1.0, 0.0])
    with pytest.raises(UserError, match="knows no 'wing'"):
        part_colour(Sees(), "wing", (1.0, 0.0, 0.0))


def test_a_boundary_in_the_noise_is_a_direction(found):
    fields = direction_fields(found.of("green", NOISE), generator="flat", facts={"n": 400})
    assert sorted(fields) == ["facts", "generator", "kind", "of", "vector"]
    assert (fields["kind"], fields["of"], fields["generator"], fields["facts"]["n"]) == (
        "boundary",
        "green",
        "flat",
        400,
    )
    assert float(fields["vector"].norm()) == pytest.approx(1, rel=0.2)  # of standard normal noise
    with pytest.raises(UserError, match="one in the noise is a direction"):
        direction_fields(found.of("green", LAYER), generator="flat")


def test_what_has_no_boundary_is_one_line():
    same = Attribute("same", lambda pictures: torch.zeros(len(pictures)))
    with pytest.raises(UserError, match="scored alike for 'same'"):
        find_boundaries(flat(), [same], texts=[], n=60)
    with pytest.raises(UserError, match="12 pictures at either end"):
        find_boundaries(flat(), [RED], texts=[], n=20)
