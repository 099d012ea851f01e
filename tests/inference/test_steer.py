"""Laws of steering: known answers are learned, files keep them, other generators refuse them, controls are as long."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from support.linear_generator import GAIN, WORDS, light, linear_generator
from support.small import CAPTIONS, CASES, SYSTEMS, VOCABULARY, model_of
from support.toy_generator import save_toy
from tgim.checkpoints import checkpoint, tensorfile
from tgim.checkpoints.checkpoint import Checkpoint
from tgim.errors import TextError, UserError
from tgim.inference.generator import Generator
from tgim.inference.inversion import Inverter
from tgim.inference.steer import (
    OPERATIONS,
    Direction,
    default_captions,
    load_direction,
    noise_of,
    open_assessor,
    operation,
    sheet,
    steered,
    told,
    towards,
)
from tgim.inference.steer import operations as ops
from tgim.inference.steer.assessor import SCALE_COUNT
from tgim.inference.steer.direction import identity
from tgim.inference.steer.figures import plausible
from tgim.inference.steer.learning import SCALE, conditions, noises
from tgim.models.base import Generating, sample_noise
from tgim.text.vocabulary import Alphabet

TEXTS = ("light", "dark")
SIDE = 32


def smooth(count: int = 2) -> torch.Tensor:
    """Pictures whose registration has one answer."""
    coarse = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(2)) - 0.5
    return torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic", align_corners=False).clamp(-1, 1)


@pytest.fixture(scope="module")
def brighter():
    return operation(linear_generator(), "brightness", texts=TEXTS, judge=light(), steps=200)


# What is learned


def test_an_operation_finds_the_coordinate_and_the_step_that_are_known(brighter):
    expected = torch.tensor([ops.LIGHT / GAIN, 0, 0, 0, 0])
    assert_close(brighter.vector, expected, atol=0.04, rtol=0)
    assert (brighter.kind, brighter.of) == ("operation", "brightness")
    found = brighter.facts["figures"]["pixels"]
    assert found["slope"] == pytest.approx(1, abs=0.02)
    assert found["low"] <= found["slope"] <= found["high"]
    by_chance = brighter.random_like(0).vector[0] * GAIN / ops.LIGHT
    assert found["random"] == pytest.approx(float(by_chance), abs=1e-3)
    assert [place for place, *_ in found["curve"]] == [-3, -2, -1, 1, 2, 3]
    assert (found["n"], found["seed"]) == (64, 0)
    assert f"n {found['n']}, seed 0" in told(brighter)[0]


def test_an_assessor_gives_the_direction_of_its_score_and_a_standard_deviation_as_step():
    generator = linear_generator()
    found = towards(generator, "light", texts=TEXTS, assessor=light(), judge=light("judge", 5.0), steps=200)
    first = noises(generator.model, SCALE_COUNT, seed=0, purpose=SCALE)[:, 0]  # captions come in turns
    pooled = (first.view(-1, 2).var(0, correction=0).sum() * (SCALE_COUNT / 2) / (SCALE_COUNT - 2)).sqrt()
    assert_close(found.vector, torch.tensor([float(pooled), 0, 0, 0, 0]), atol=0.04, rtol=0)
    assert found.facts["scale"] == pytest.approx(3.0 * GAIN * float(pooled), rel=1e-4)
    for by in ("light", "judge"):
        assert found.facts["figures"][by]["slope"] == pytest.approx(1, abs=0.04)
    assert (found.kind, found.facts["assessor"], found.facts["judge"]) == ("assessor", "light", "judge")


def test_a_judge_measures_what_it_did_not_teach():
    with pytest.raises(UserError, match="same model"):
        towards(linear_generator(), "light", texts=TEXTS, assessor=light(), judge=light("another name"))


def test_the_range_ends_where_pictures_leave_those_of_the_generator(brighter):
    generator = linear_generator()
    _, condition = conditions(generator, TEXTS)
    embed = light().embed
    near = replace(brighter, vector=0.01 * brighter.vector)
    far = replace(brighter, vector=50 * brighter.vector)
    assert plausible(generator.model, condition, near, embed)["range"] == 6
    found = plausible(generator.model, condition, far, embed)
    assert (found["range"], found["kept"][1][1]) == (0, 0)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_was_done_is_measured(name):
    before = smooth()
    for alpha in (-3.0, -1.0, 0.0, 2.0):
        after, mask = OPERATIONS[name].edit(before, torch.full((2,), alpha))
        assert after.shape == before.shape
        assert mask.shape == (2, 1, SIDE, SIDE)
        assert_close(OPERATIONS[name].reached(before, after), torch.full((2,), alpha), atol=0.3, rtol=0)
    same, mask = OPERATIONS[name].edit(before, torch.zeros(2))
    assert_close(same, before, atol=1e-5, rtol=0)
    assert mask.all()


def test_operations_go_the_way_that_their_steps_say():
    dot = -torch.ones(1, 3, SIDE, SIDE)
    dot[..., 8:12, 14:18] = 1  # above the middle
    ones = torch.ones(1)

    def place(name: str, alpha: float) -> tuple[float, float, float]:
        moved, mask = OPERATIONS[name].edit(dot, alpha * ones)
        weight = (moved[0, 0] + 1) * mask[0, 0]
        at = torch.arange(SIDE).float()
        down, right = (weight.sum(1) * at).sum() / weight.sum(), (weight.sum(0) * at).sum() / weight.sum()
        return float(down) - 9.5, float(right) - 15.5, float(weight.sum() / (dot + 1)[0, 0].sum())

    assert place("shift-x", 2) == pytest.approx((0, 4, 1), abs=0.01)
    assert place("shift-y", 2) == pytest.approx((4, 0, 1), abs=0.01)
    assert place("zoom", 2)[2] == pytest.approx(ops.ZOOM**4, rel=0.03)
    assert place("rotation", 9)[:2] == pytest.approx((6, -6), abs=0.2)  # a quarter of a turn: the top comes to the left
    assert place("brightness", 1)[2] > 1
    red = torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    turned, _ = OPERATIONS["hue"].edit(0.5 * red, ones)
    assert_close(ops.luma(turned), ops.luma(0.5 * red), atol=1e-4, rtol=0)


def test_pixels_from_outside_count_for_nothing():
    _, mask = OPERATIONS["shift-x"].edit(smooth(), torch.tensor([2.0, -2.0]))
    assert not mask[0, ..., :4].any()
    assert not mask[1, ..., -4:].any()
    assert mask[0, ..., 4:].all()


# Every generator


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in SYSTEMS else pytest.mark.slow)
        for name, system in CASES.items()
        if issubclass(system, Generating)
    ],
)
def test_every_generator_can_be_steered(name, tmp_path):
    def opened() -> Generator:
        vocabulary = VOCABULARY
        return Generator(Checkpoint(model=model_of(name), vocabulary=vocabulary, template="{}"))

    generator, again = opened(), opened()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    options = {"texts": CAPTIONS[:2], "steps": 2, "measure": False}
    found = operation(generator, "brightness", seed=3, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(operation(again, "brightness", seed=3, **options).vector, found.vector)
    assert not torch.equal(operation(again, "brightness", seed=4, **options).vector, found.vector)
    assert found.vector.shape == (generator.model.noise_size,)
    assert found.vector.norm() > 0
    scored = towards(generator, "light", assessor=light(), seed=3, **options)
    assert torch.equal(towards(again, "light", assessor=light(), seed=3, **options).vector, scored.vector)
    assert all(p.requires_grad == q.requires_grad for p, q in zip(*map(parameters, (generator, opened())), strict=True))

    loaded = load_direction(found.save(tmp_path / "way.safetensors"), generator.model)
    assert torch.equal(loaded.vector, found.vector)
    assert vars(loaded) | {"vector": 0} == vars(found) | {"vector": 0}
    _, condition = conditions(generator, CAPTIONS[:2])
    noise, _ = sample_noise(generator.model, 2, seed=0)
    pictures = steered(generator.model, condition, noise, loaded, (-1, 0, 2)).unflatten(0, (2, 3))
    with torch.no_grad():
        own = generator.model.generate_from(condition, noise)
        farther = generator.model.generate_from(condition, noise + 2 * found.vector)
    assert torch.equal(pictures[:, 1], own)
    assert torch.equal(pictures[:, 2], farther)
    assert not torch.equal(pictures[:, 0], own)

    with torch.no_grad():
        next(p for p in again.model.parameters() if p.requires_grad).add_(0.01)
    for refused in (
        lambda: steered(again.model, condition, noise, found, (0,)),
        lambda: load_direction(tmp_path / "way.safetensors", again.model),
    ):
        with pytest.raises(UserError, match=f"learned for {generator.model.name}:") as raised:
            refused()
        assert "\n" not in str(raised.value)


def parameters(generator: Generator) -> list[torch.nn.Parameter]:
    return list(generator.model.parameters())


def test_a_generator_without_text_needs_no_caption():
    silent = linear_generator(reads=False)
    assert default_captions(silent) == ("",)
    found = operation(silent, "brightness", steps=150, measure=False)
    assert found.vector[0] == pytest.approx(ops.LIGHT / GAIN, abs=0.1)


# Directions


def test_the_control_is_as_long_and_another_for_each_seed(brighter):
    control = brighter.random_like(1)
    assert_close(control.vector.norm(), brighter.vector.norm())
    assert torch.equal(control.vector, brighter.random_like(1).vector)
    assert not torch.equal(control.vector, brighter.random_like(2).vector)
    assert (control.generator, control.facts) == (brighter.generator, {"random": 1})


def test_one_row_is_taken_for_all(brighter):
    model = linear_generator().model
    _, condition = conditions(linear_generator(), TEXTS)
    noise = torch.randn(2, 5)
    one = steered(model, tuple(code[:1] for code in condition), noise, brighter, (0.0, 1.0))
    assert_close(one[2:], steered(model, tuple(code[:1] for code in condition), noise[1:], brighter, (0.0, 1.0)))
    both = steered(model, condition, noise[:1], brighter, torch.tensor([1.0]))
    assert_close(both[0] - both[1], torch.full((3, 16, 16), 0.1))
    for codes, own, alphas in (
        (condition, torch.randn(3, 5), (0,)),
        (condition, noise, ()),
        (condition, noise[0], (0,)),
    ):
        with pytest.raises(UserError, match="steering got noise"):
            steered(model, codes, own, brighter, alphas)


@pytest.mark.parametrize("fault", ["missing", "empty", "cut", "foreign", "checkpoint", "shape", "nan", "text"])
def test_wrong_files_are_refused_in_one_line(tmp_path, brighter, fault):
    path = brighter.save(tmp_path / "way.safetensors")
    good = {"kind": "operation", "of": "zoom", "generator": "x:1", "facts": {}}
    if fault == "missing":
        path.unlink()
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif fault == "foreign":
        path.write_bytes(b"a picture, no direction" * 20)
    elif fault == "checkpoint":
        path = save_toy(tmp_path / "toy.safetensors")
    elif fault == "shape":
        tensorfile.write(path, {"vector": torch.zeros(2, 2)}, {"tgim_direction": good})
    elif fault == "nan":
        tensorfile.write(path, {"vector": torch.full((5,), torch.nan)}, {"tgim_direction": good})
    else:
        tensorfile.write(path, {"vector": torch.zeros(5)}, {"tgim_direction": {**good, "of": 3}})
    with pytest.raises(UserError, match="expected a file that tgim steer --save-direction wrote") as raised:
        load_direction(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_equal_directions_give_equal_files_and_weights_tell_generators_apart(tmp_path, brighter):
    first, second = (brighter.save(tmp_path / f"{name}.safetensors").read_bytes() for name in "ab")
    assert first == second
    assert len(first) < 4000
    own, other = linear_generator().model, linear_generator().model
    assert identity(own) == identity(other) == brighter.generator
    other.patterns[0, 0, 0, 0] += 1e-3
    assert identity(other) != identity(own)


def test_what_cannot_be_learned_is_refused():
    generator = linear_generator()
    for refused, what in (
        (lambda: operation(generator, "zoomm", texts=TEXTS), "did you mean 'zoom'"),
        (lambda: operation(generator, "zoom", texts=TEXTS, steps=0, measure=False), "steps is 0"),
        (lambda: operation(generator, "zoom", measure=False), "give some"),
        (lambda: towards(generator, "light", texts=TEXTS, assessor=light(scale=0.0), measure=False), "one score"),
        (lambda: open_assessor("birds"), "without a matching model"),
        (lambda: sheet(generator, Direction(torch.ones(5), "boundary", "x", "y:1"), texts=TEXTS), "learned for y:1"),
    ):
        with pytest.raises(UserError, match=what):
            refused()
    with pytest.raises(TextError):
        towards(generator, "xyzzy", texts=TEXTS, assessor=light(), measure=False)


# Captions, sheets and photographs


def test_default_captions_are_those_whose_words_are_known():
    def generator(words) -> Generator:
        return Generator(Checkpoint(model=model_of("attngan"), vocabulary=words, template="{}"))

    known = type(VOCABULARY).build(["a yellow bird with black wings", "a flower"])
    assert default_captions(generator(known)) == ("a yellow bird with black wings",)
    flowers = type(VOCABULARY).build(["this flower has pink petals"] * 2 + ["a yellow bird with black wings"])
    assert default_captions(generator(flowers)) == ("this flower has pink petals",)
    assert len(default_captions(generator(Alphabet()))) > 1
    with pytest.raises(UserError, match="--text"):
        default_captions(generator(WORDS))


def test_a_sheet_has_rows_of_noises_and_of_the_control(brighter):
    generator = linear_generator()
    drawn = sheet(generator, brighter, texts=TEXTS, n=3, seed=1)
    one = sheet(generator, brighter, texts=TEXTS, n=1, seed=1)
    cell = 64 + 4
    assert drawn.width == one.width == 8 * cell + 4
    assert drawn.height - one.height == 3 * cell  # three rows and two of the control, against one and one
    assert drawn.tobytes() == sheet(generator, brighter, texts=TEXTS, n=3, seed=1).tobytes()


@pytest.mark.slow
def test_a_photograph_gives_its_noise(brighter, drawn_bird):
    generator = linear_generator()
    inverter = Inverter(generator.model, steps=5)
    noise = noise_of(generator, inverter, drawn_bird, TEXTS)
    assert noise.shape == (2, 5)
    assert torch.equal(noise, noise_of(generator, inverter, drawn_bird, TEXTS))
    sheet(generator, brighter, texts=TEXTS, noise=noise)


def test_a_generator_is_the_same_inside_an_encoder():
    alone = checkpoint.load("attngan-birds").model
    inside = checkpoint.load("attngan-encoder-birds").model.text_to_image
    assert inside is not None
    assert identity(alone) == identity(inside)
    with torch.no_grad():
        next(inside.generator.parameters()).add_(1)
    assert identity(alone) != identity(inside)
