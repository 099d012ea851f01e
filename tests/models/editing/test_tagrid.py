"""Laws of TAGrid: the grid against a plain reference, what an edit may touch, what each loss may teach."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from support.small import VOCABULARY, batch_of, model_of, train
from tgim.checkpoints import checkpoint
from tgim.errors import UserError
from tgim.images.matting import subject_mask
from tgim.models.editing.tagrid import (
    Plan,
    TAGrid,
    TAGridConfig,
    Targets,
    apply_affine,
    known_cross_entropy,
    noised_view,
    rmse,
    roughness,
    sample_targets,
    slice_grid,
)
from tgim.models.matching.late_interaction import LateInteraction, LateInteractionConfig, Member
from tgim.text.vocabulary import Tokens, Vocabulary


def photo_of(height: int, width: int, *, count: int = 1) -> Tensor:
    """Smooth colours with some texture, darker in the left half, in [-1, 1]."""
    source = torch.Generator().manual_seed(5)
    smooth = F.interpolate(torch.rand(count, 3, 4, 4, generator=source), (height, width), mode="bicubic")
    photo = 0.7 * smooth - 0.9 + 0.1 * torch.randn(count, 3, height, width, generator=source)
    photo[..., width // 2 :] += 1
    return photo.clamp(-1, 1)


def plan_of(*, count: int = 1, strong: float = 0.3) -> Plan:
    """A random grid, and a subject that fills the right half."""
    source = torch.Generator().manual_seed(6)
    grid = strong * torch.randn(count, 12, 3, 8, 8, generator=source)
    mask = torch.zeros(count, 1, 32, 32)
    mask[..., 16:] = 1
    return Plan(grid, mask)


@pytest.fixture(scope="module")
def model() -> TAGrid:
    return model_of("tagrid").eval()


# The grid


def naive_slice(grid: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """(12, bins, G, G) and (H, W) to (12, H, W): eight neighbours, pixel by pixel."""
    _, bins, rows, columns = grid.shape
    height, width = guide.shape
    result = np.zeros((12, height, width))
    for y in range(height):
        for x in range(width):
            place = guide[y, x] * (bins - 1), (y + 0.5) / height * rows - 0.5, (x + 0.5) / width * columns - 0.5
            for corner in np.ndindex(2, 2, 2):
                index, weight = [], 1.0
                for value, step, size in zip(place, corner, grid.shape[1:], strict=True):
                    low = math.floor(value)
                    index.append(min(max(low + step, 0), size - 1))
                    weight *= (value - low) if step else 1 - (value - low)
                result[:, y, x] += weight * grid[:, index[0], index[1], index[2]]
    return result


@pytest.mark.parametrize(("height", "width"), [(5, 9), (8, 3), (1, 6)])
def test_slicing_is_trilinear(height, width):
    torch.manual_seed(0)
    grid, guide = torch.randn(2, 12, 4, 3, 3), torch.rand(2, 1, height, width)
    guide[0, 0, 0, :3] = torch.tensor([0.0, 1.0, 1 / 3])  # ends, and a centre
    found = slice_grid(grid, guide)
    for i in range(2):
        expected = naive_slice(grid[i].double().numpy(), guide[i, 0].double().numpy())
        assert_close(found[i].double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


def test_an_affine_transform_by_hand():
    pixel = torch.tensor([0.5, -0.25, 1.0]).view(1, 3, 1, 1)
    rows = [1.0, 2.0, 3.0, 4.0, 0.0, -1.0, 0.0, 0.5, 0.2, 0.0, -0.1, 0.0]
    expected = torch.tensor([0.5 - 0.5 + 3 + 4, 0.25 + 0.5, 0.1 - 0.1]).view(1, 3, 1, 1)
    assert_close(apply_affine(pixel, torch.tensor(rows).view(1, 12, 1, 1)), expected)
    image = torch.randn(2, 3, 4, 5)
    assert torch.equal(apply_affine(image, torch.eye(3, 4).view(1, 12, 1, 1).expand(2, 12, 4, 5)), image)


def test_roughness_is_of_neighbours():
    grid = torch.ones(1, 12, 3, 4, 4)
    assert roughness(grid) == 0
    grid[:, :, 1:] += 2  # a step of 2 between the first two of three bins: 4 in one of two differences
    assert roughness(grid).item() == pytest.approx(2)


# Edits


@pytest.mark.slow
@torch.no_grad()
def test_before_training_an_edit_is_the_identity():
    model, batch = model_of("tagrid", stirred=False).eval(), batch_of()
    for image in (batch.image, photo_of(32, 32, count=4)):
        assert_close(model.edit(image, batch.text), image, atol=1e-6, rtol=0)


@pytest.mark.slow
@torch.no_grad()
def test_strength_is_asked_of_the_model_and_nought_changes_nothing(model):
    batch = batch_of()
    image = 0.5 * batch.image
    change = [
        (
            model.recolour(image, model.plan(image, batch.text, strength=s)._replace(subject=torch.ones(4, 1, 32, 32)))
            - image
        )
        for s in (0.0, 0.25, 0.5, 1.0)
    ]
    assert not change[0].any()
    sizes = [c.abs().mean().item() for c in change]
    assert 0 < sizes[1] < sizes[2] < sizes[3]
    assert not torch.allclose(change[2], 0.5 * change[3], atol=1e-4)  # no mere blend


@pytest.mark.slow
@torch.no_grad()
def test_strength_is_the_share_of_the_full_edits_cost(model):
    batch = batch_of()
    image = 0.5 * batch.image
    seen = model.generator.subject(model.features(image))
    cost = [rmse(model._render(image, model.plan(image, batch.text, strength=s).grid, seen), image) for s in (0.5, 1.0)]
    assert (cost[0] <= 0.5 * cost[1] + 1e-3).all()
    assert cost[0].min() > 0.01


@torch.no_grad()
def test_under_the_mask_an_edit_is_what_training_saw(model):
    image, plan = 0.5 * batch_of().image, plan_of(count=4, strong=0.1)
    everywhere = torch.ones(4, 1, 32, 32)
    seen = model._render(image, plan.grid, 50 * everywhere)
    edited = model.recolour(image, Plan(plan.grid, everywhere))
    assert (edited - image).abs().max() > 0.1
    assert_close(edited, seen.clamp(-1, 1), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(150, 110), (32, 32), (20, 70)])
def test_pixels_outside_the_mask_stay_bit_identical(model, height, width):
    photo, plan = photo_of(height, width), plan_of()
    kept = photo.clone()
    edited = model.recolour(photo, plan)
    assert torch.equal(photo, kept)
    assert edited.shape == photo.shape
    assert edited.abs().max() <= 1
    assert torch.equal(edited[..., : width // 4], photo[..., : width // 4])
    outside = torch.from_numpy(subject_mask(photo[0].numpy(), plan.subject[0, 0].numpy())) == 0
    assert torch.equal(torch.where(outside, edited, 0), torch.where(outside, photo, 0))
    changed = (edited != photo)[..., 3 * width // 4 :].any(1).float().mean()
    assert changed > 0.95


@torch.no_grad()
def test_without_a_mask_nothing_changes(model):
    photo, plan = photo_of(70, 50), plan_of()
    assert torch.equal(model.recolour(photo, plan._replace(subject=torch.zeros_like(plan.subject))), photo)


@torch.no_grad()
def test_photographs_of_a_batch_do_not_mix(model):
    photo, plan = photo_of(40, 48, count=2), plan_of(count=2)
    both = model.recolour(photo, plan)
    for i in range(2):
        alone = model.recolour(photo[i : i + 1], Plan(plan.grid[i : i + 1], plan.subject[i : i + 1]))
        assert_close(both[i : i + 1], alone, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_caption_that_fits_better_than_the_references_needs_no_edit(model, monkeypatch):
    table = torch.zeros(64, 3)
    table[:4, 1] = table[:32, 2] = 2.0  # none, 4 and 32 of 64 references fit the three captions better
    monkeypatch.setattr(Member, "logits", lambda self, image, text: table)
    monkeypatch.setattr(Member, "pair_logits", lambda self, image, text: torch.ones(3))
    references, member = model.generator.references, model.matching.members[0]
    assert references.need(member, None, None).tolist() == [1, 1, 1]  # nothing was ever seen
    monkeypatch.setattr(references, "whole", torch.ones(64, 16))
    assert_close(references.need(member, None, None), torch.tensor([0.0, 4 / 64 / 0.1, 1.0]))


@pytest.mark.slow
def test_training_pictures_become_references():
    model, batch = model_of("tagrid", references=6), batch_of()
    list(model.steps(batch))
    code = model.matching.members[0].encode_image(batch.image)
    assert_close(model.generator.references.whole[:4], code.whole)
    assert_close(model.generator.references.regions[:4], code.regions)
    assert not model.generator.references.whole[4:].any()
    list(model.steps(replace(batch, image=batch.image.flip(0))))
    assert_close(model.generator.references.whole[4:], code.whole[:2])


# The mask


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (300, 260), (33, 64), (20, 70), (3, 3), (1, 40), (400, 1), (600, 9)])
def test_a_mask_of_any_size_stays_in_its_range(size):
    image, source = photo_of(*size), torch.Generator().manual_seed(2)
    for guess in (torch.rand(1, 1, 32, 32, generator=source), torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)):
        found = torch.from_numpy(subject_mask(image[0].numpy(), guess[0, 0].numpy()))
        assert found.shape == size
        assert 0 <= found.min() <= found.max() <= 1
        if guess.min() == guess.max():
            assert_close(found, guess.mean().expand_as(found), atol=1e-3, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("side", [128, 320])
def test_the_masks_edge_goes_to_the_photographs(side):
    photo, edge = torch.full((1, 3, side, side), -0.7), side // 2 - 3
    photo[..., edge:] = 0.7  # the photograph's edge is 3 pixels left of the guess's
    guess = torch.zeros(1, 1, 32, 32)
    guess[..., 16:] = 1
    row = torch.from_numpy(subject_mask(photo[0].numpy(), guess[0, 0].numpy())[side // 2])
    assert (row.diff().argmax() + 1).item() == edge
    assert row[edge] - row[edge - 1] > 0.35
    assert (row[:-1] <= row[1:] + 1e-3).all()


def test_unknown_pixels_teach_nothing():
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    target = torch.randint(0, 2, (2, 1, 4, 4)).float()
    target[0, :, :2] = -1
    loss = known_cross_entropy(logits, target)
    known = target >= 0
    p = torch.sigmoid(logits[known])
    expected = -(target[known] * p.log() + (1 - target[known]) * (1 - p).log()).mean()
    assert_close(loss, expected)
    loss.backward()
    assert torch.equal(logits.grad != 0, known)
    nothing = known_cross_entropy(logits, torch.full_like(target, -1))
    assert nothing == 0


@pytest.mark.slow
def test_the_mask_is_taught_by_its_labels_alone():
    model = model_of("tagrid")
    parameters = list(model.generator.subject.parameters())
    *_, (_, terms) = model.steps(batch_of())
    for name, term in terms.items():
        grads = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        taught = any(g is not None and g.any() for g in grads)
        assert taught is (name in ("subject", "synthetic_subject")), name


@pytest.mark.slow
def test_terms_come_with_their_data():
    model, batch = model_of("tagrid"), batch_of()
    *_, (_, terms) = model.steps(type(batch)(batch.image, batch.text, batch.labels))
    always = {"match", "keep", "budget", "own", "own_gate", "range", "smooth", "adversarial"}
    assert terms.keys() == always
    *_, (_, terms) = model.steps(batch)
    assert terms.keys() == always | {
        "subject",
        "synthetic",
        "synthetic_rest",
        "synthetic_gate",
        "synthetic_own",
        "synthetic_own_gate",
        "synthetic_subject",
    }


# The matching model


def test_match_takes_the_own_caption_as_a_negative_but_no_other_that_may_fit(model, monkeypatch):
    torch.manual_seed(0)
    table, extra = torch.randn(4, 4), torch.randn(4)  # row: picture, which is to become the caption before it
    labels = torch.tensor([0, 0, 1, 0])
    local, false = torch.tensor([False, True, False, False]), torch.tensor([False, False, True, False])
    batch = replace(batch_of(), labels=labels)
    monkeypatch.setattr(Member, "logits", lambda self, image, text: table)
    monkeypatch.setattr(Member, "pair_logits", lambda self, image, text: extra)
    loss = model._match(batch.image, Targets(batch.text, batch.text, local, false), batch)
    scale, expected = model.config.match_scale, 0.0
    for i in range(4):
        before = (i - 1) % 4
        wanted = labels[i] if local[i] else labels[before]
        right = scale * float(extra[i] if local[i] else table[i, before])
        row = [scale * float(table[i, j]) for j in range(4) if j in (i, before) or labels[j] != wanted]
        row += [scale * float(extra[i])] if local[i] or false[i] else []
        expected += math.log(sum(map(math.exp, row))) - right
    assert loss.item() == pytest.approx(expected / 4, rel=1e-4)


def test_targets_are_other_captions_or_the_own_one_altered():
    batch = batch_of()
    altered = Tokens(batch.text.ids.clone(), batch.text.mask)
    altered.ids[1, 0] = altered.ids[2, 0] = 7  # the others cannot be altered
    batch = replace(batch, altered=altered)
    others = sample_targets(batch, 0.0)
    assert torch.equal(others.captions.ids, batch.text.ids.roll(1, 0))
    assert others.local.tolist() == [False] * 4
    assert others.false.tolist() == [False, False, True, True]
    assert torch.equal(others.extra.ids, altered.ids.roll(1, 0))
    own = sample_targets(batch, 1.0)
    assert own.local.tolist() == [False, True, True, False]
    assert own.false.tolist() == [False, False, False, True]
    assert torch.equal(own.captions.ids[1:3], altered.ids[1:3])
    assert torch.equal(own.extra.ids[1:3], altered.ids[1:3])
    assert torch.equal(own.captions.ids[0], batch.text.ids[3])
    assert torch.equal(own.captions.mask[1], batch.text.mask[1])
    assert sample_targets(replace(batch, altered=None), 1.0).extra is None


def test_a_noised_view_shows_the_same_picture():
    torch.manual_seed(0)
    image = torch.full((5, 3, 16, 16), 0.25)
    image[..., 8:] = -0.5
    view = noised_view(image)
    assert view.shape == image.shape
    assert not torch.equal(view, image)
    assert -0.7 <= view.min() < view.max() <= 0.45
    assert noised_view(image, size=8).shape == (5, 3, 8, 8)
    mirrored = (view[:, 0, 8, 0] < view[:, 0, 8, -1]).tolist()
    assert True in mirrored
    assert False in mirrored


@pytest.mark.slow
def test_the_matching_model_neither_learns_nor_switches_to_training():
    model = model_of("tagrid").train()
    assert model.training
    assert model.generator.training
    assert not any(part.training for part in model.matching.modules())
    assert not any(p.requires_grad for p in model.matching.parameters())
    before = {key: value.clone() for key, value in model.matching.state_dict().items()}
    train(model, batch_of(), steps=2)
    assert all(torch.equal(value, before[key]) for key, value in model.matching.state_dict().items())  # means too


@pytest.mark.slow
def test_the_matching_checkpoint_gives_words_sizes_and_weights_and_is_then_not_needed(tmp_path):
    matcher = model_of("late_interaction").eval()
    words = Vocabulary([f"w{i}" for i in range(len(VOCABULARY.words))])
    file = checkpoint.save(tmp_path / "matching.safetensors", matcher, vocabulary=words)
    config = TAGridConfig(matching=str(file), width=16, bins=3)
    vocabulary = TAGrid.vocabulary_for(config)
    assert vocabulary.words == words.words
    assert TAGrid.vocabulary_for(TAGridConfig()) is None
    model = TAGrid(config, vocabulary_size=len(vocabulary))
    assert model.config.encoder == matcher.config
    assert model.image_size == 32
    model.load_parts()
    for key, value in matcher.state_dict().items():
        assert torch.equal(model.matching.state_dict()[key], value), key
    torch.nn.init.normal_(model.generator.head.leave[-1].weight, std=0.3)
    batch = batch_of()
    with torch.no_grad():
        expected = model.eval().edit(batch.image, batch.text)
        assert not torch.equal(expected, batch.image)
        saved = checkpoint.save(tmp_path / "tagrid.safetensors", model, vocabulary=vocabulary)
        file.unlink()
        assert torch.equal(checkpoint.load(saved).model.edit(batch.image, batch.text), expected)


def test_a_matching_model_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        TAGrid(TAGridConfig(matching=str(tmp_path / "nowhere.safetensors")), vocabulary_size=9)


def test_a_matching_model_that_is_none_is_refused(tmp_path):
    editor = checkpoint.save(tmp_path / "tagan.safetensors", model_of("tagan"), vocabulary=VOCABULARY)
    with pytest.raises(UserError, match="late_interaction"):
        TAGrid(TAGridConfig(matching=str(editor)), vocabulary_size=len(VOCABULARY))


def test_without_a_matching_checkpoint_sizes_are_the_defaults():
    model = TAGrid(TAGridConfig(width=16), vocabulary_size=9)
    assert model.config.encoder == LateInteractionConfig()
    assert isinstance(model.matching, LateInteraction)
