"""Laws of late interaction on frozen maps: what is kept is what is seen, and gradients reach the picture."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close

from support.small import VOCABULARY, batch_of, model_of, settings_of
from tgim.checkpoints import checkpoint
from tgim.data import open_dataset
from tgim.data.config import DataConfig
from tgim.models.efficientnet import STAGES, EfficientNetLite
from tgim.models.matching import frozen_batches
from tgim.models.matching.frozen_batches import MapBatches
from tgim.models.matching.frozen_interaction import MOST, FrozenInteraction, map_widths
from tgim.training import recipe
from tgim.training import run as training

DATA = {"name": "synthetic", "synthetic": {"pool": 40, "pairs": 3}, "captions": {"altered": True}}


def lively(**options) -> FrozenInteraction:
    """A small model whose random backbone lets differences through."""
    model = model_of("frozen_interaction", stirred=False, **options)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return model


def batches_of(model, *, views=1, cache=None, seed=0, **data) -> MapBatches:
    config = DataConfig(**{**DATA, **data}, image_size=model.image_size)
    dataset = open_dataset(config, cache=cache)
    options = {"batch_size": 5, "vocabulary": VOCABULARY, "seed": seed, "cache": cache}
    return MapBatches(model.backbone, dataset, config, views=views, **options)


@pytest.fixture(scope="module")
def model() -> FrozenInteraction:
    return lively().eval()


@pytest.mark.parametrize("side", [32, 64, 96])
def test_regions_are_cells_of_sixteen_pixels_at_any_size(side, model):
    maps = model.see(torch.rand(2, 3, side, side) * 2 - 1)
    fine, coarse = map_widths(model.config)
    assert maps.fine.shape == (2, fine, side // 16, side // 16)
    assert maps.coarse.shape == (2, coarse, side // 32, side // 32)
    for seen, size in zip(model.features(torch.zeros(2, 3, side, side)), (8, 8), strict=True):
        assert seen.regions.shape == (2, size, (side // 16) ** 2)
        assert seen.whole.shape == (2, 16)


@pytest.mark.slow
def test_there_are_never_more_regions_than_are_paid_for(model):
    assert model.see(torch.zeros(1, 3, 224, 224)).fine.shape[-1] == MOST


@pytest.mark.slow
def test_stages_that_are_not_looked_at_are_left_out():
    model = model_of("frozen_interaction", taps=(1, 3, 5), backbone="lite2")
    assert len(model.backbone.stages) == 6 < len(STAGES)
    assert map_widths(model.config) == (24 + 88, 208)
    assert model.embed_images(batch_of(64).image).isfinite().all()


@pytest.mark.parametrize("taps", [(2, 4), (5, 6), (4, 2, 6), (2, 4, 7), (2, 2, 6), ()])
def test_taps_are_of_both_resolutions_and_in_order(taps):
    with pytest.raises(ValidationError, match="taps"):
        FrozenInteraction.Config(taps=taps)


def test_gradients_of_scores_reach_the_picture_and_no_frozen_weight(model):
    batch, member = batch_of(64), model.members[0]
    image = batch.image.clone().requires_grad_()
    member.logits(member.encode_image(image), member.encode_text(batch.text)).sum().backward()
    assert image.grad.flatten(1).abs().sum(1).min() > 0
    assert all(p.grad is None for p in model.backbone.parameters())


@pytest.mark.slow
def test_members_share_one_backbone_and_answer_alike_alone(model):
    image = batch_of(64).image
    for twin in (model, copy.deepcopy(model)):
        for member, seen in zip(twin.members, twin.features(image), strict=True):
            assert_close(member.encode_image(image).whole, seen.whole)
    assert [key for key in model.state_dict() if key.startswith("backbone.stem")] == [
        "backbone.stem.weight",
        "backbone.stem.bias",
    ]
    assert not any("eyes" in key for key in model.state_dict())


def test_pairs_score_as_in_the_table_of_all(model):
    batch = batch_of(64)
    for member in model.members:
        image, text = member.encode_image(batch.image), member.encode_text(batch.text)
        assert_close(member.pair_logits(image, text), member.logits(image, text).diagonal())


@pytest.mark.slow
def test_kept_maps_are_those_of_the_pictures(tmp_path, model):
    batches = batches_of(model, cache=tmp_path)
    batch = batches.batch(3)
    pairs = batch.synthetic
    for found, image in ((batch.maps, batch.image), (pairs.maps, pairs.image), (pairs.target_maps, pairs.target)):
        seen = model.see(image)
        for kept, direct in ((found.fine, seen.fine), (found.coarse, seen.coarse)):
            assert_close(kept, direct, atol=2e-3 * direct.abs().max().item(), rtol=2e-3)
    again = batches_of(model, cache=tmp_path).batch(3)
    assert torch.equal(again.maps.fine, batch.maps.fine)
    assert torch.equal(again.text.ids, batch.text.ids)


@pytest.mark.slow
def test_the_second_view_is_mirrored_and_further_ones_vary(tmp_path, model):
    augment = {"margin": 8, "zoom": [0.7, 1.4]}
    batches = batches_of(model, views=3, cache=tmp_path, augment=augment)
    assert batches.maps.shape == (32, 3)
    image = batches.batch(0).image
    assert image.shape[-1] == 64  # cut out of 72
    rows = batches.rows(0)
    mirrored = model.see(image.flip(-1)).fine.permute(0, 2, 3, 1).numpy()
    assert np.allclose(batches.maps["fine"][rows, 1], mirrored, atol=2e-3 * abs(mirrored).max())
    assert not np.allclose(batches.maps["fine"][:, 2], batches.maps["fine"][:, 0], atol=1e-2)


@pytest.mark.slow
def test_maps_are_made_once_for_equal_pictures_weights_and_settings(tmp_path, monkeypatch):
    model = lively().eval()
    first = batches_of(model, views=3, cache=tmp_path).maps
    with monkeypatch.context() as patch:
        patch.setattr(frozen_batches, "_seen", lambda *_: pytest.fail("looked again"))
        assert np.array_equal(batches_of(model, views=3, cache=tmp_path).maps, first)
    for options in ({"views": 2}, {"views": 3, "seed": 1}, {"views": 3, "augment": {"zoom": [0.5, 2.0]}}):
        batches_of(model, cache=tmp_path, **options)
    with torch.no_grad():
        model.backbone.stem.bias.add_(0.1)
    batches_of(model, views=3, cache=tmp_path)
    assert len(list(tmp_path.glob("maps-*.npy"))) == 3 + 1 + 1 + 1 + 3  # of pictures, synthetic ones and their targets


def test_maps_of_a_batch_are_what_is_learned_from(model):
    batch = batch_of(64)
    maps = model.see(batch.image)
    losses = []
    for given in (batch, type(batch)(torch.zeros(4, 3, 1, 1), batch.text, batch.labels, maps=maps)):
        plain = type(batch)(given.image, given.text, given.labels, maps=given.maps)
        torch.manual_seed(0)
        ((_, terms),) = model.steps(plain)
        losses.append(sum(terms.values()).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_training_on_kept_maps_lowers_the_loss(tmp_path):
    model = lively(word_dropout=0.0, dropout=0.0)
    batches = batches_of(model, views=2, cache=tmp_path)
    optimizer, losses = torch.optim.Adam(model.members.parameters(), 5e-3), []
    for step in range(40):
        ((_, terms),) = model.steps(batches.batch(step))
        losses.append(sum(terms.values()))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.slow
def test_a_run_keeps_its_backbone_in_sixteen_bits(tmp_path, monkeypatch):
    monkeypatch.setenv("TGIM_CACHE", str(tmp_path / "cache"))
    given = {
        "model": {"name": "frozen_interaction", **settings_of("frozen_interaction")},
        "data": DATA,
        "train": {"steps": 2, "batch_size": 4, "device": "cpu", "half": True},
    }
    path = training.fit(recipe.parse(given), out=tmp_path / "run", progress=False)
    assert checkpoint.read_header(path)["tensors"]["backbone.stem.weight"]["dtype"] == "F16"
    assert checkpoint.load(path).model.embed_images(torch.zeros(1, 3, 64, 64)).isfinite().all()


@pytest.mark.slow
def test_a_checkpoint_brings_its_backbone_and_needs_no_package(tmp_path, model, monkeypatch):
    monkeypatch.setattr("tgim.models.efficientnet.weights_file", lambda variant: pytest.fail("looked for the package"))
    path = checkpoint.save(tmp_path / "model.safetensors", model, vocabulary=VOCABULARY)
    other = checkpoint.load(path).model
    image = batch_of(64).image
    assert torch.equal(other.embed_images(image), model.embed_images(image))


def test_a_new_model_takes_the_weights_of_imagenet(monkeypatch):
    taken = []
    monkeypatch.setattr(
        "tgim.models.matching.frozen_interaction.load_pretrained", lambda net, variant: taken.append((net, variant))
    )
    model = model_of("frozen_interaction", pretrained=True)
    model.load_parts()
    assert taken == [(model.backbone, "lite0")]
    assert isinstance(model.backbone, EfficientNetLite)
