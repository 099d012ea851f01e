"""Laws of slicing in arrays: it is what training does in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tgim.images.photo import as_array
from tgim.models.editing import slicing
from tgim.models.editing.tagrid_head import Guide
from tgim.nn.bilateral import apply_affine, slice_grid


@pytest.mark.parametrize(("height", "width"), [(5, 9), (8, 3), (1, 6)])
def test_arrays_are_sliced_as_training_slices(height, width):
    torch.manual_seed(1)
    grid, image, guide = torch.randn(1, 12, 4, 3, 3), torch.rand(1, 3, height, width), torch.rand(1, 1, height, width)
    guide[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    rows, columns = np.nonzero(np.arange(height * width).reshape(height, width) % 3 != 1)
    expected = apply_affine(image, slice_grid(grid, guide))[0].numpy()[:, rows, columns]
    pixels, own = image[0].numpy()[:, rows, columns], guide[0, 0].numpy()[rows, columns]
    found = slicing.sliced(grid[0].numpy(), pixels, rows, columns, own, size=(height, width))
    assert np.allclose(found, expected, atol=2e-6)


@torch.no_grad()
def test_the_guide_is_the_networks():
    guide = Guide()
    torch.nn.init.normal_(guide.correct[2].weight)
    weights = slicing.GuideWeights.of({name: as_array(value) for name, value in guide.state_dict().items()})
    pixels = torch.rand(1, 3, 6, 7) * 2 - 1
    found = slicing.guide_of(pixels[0].flatten(1).numpy(), weights)
    assert np.allclose(found, guide(pixels).flatten().numpy(), atol=1e-6)


def test_a_weaker_edit_costs_its_share_and_is_no_stronger_than_it_was_asked_to_be():
    source = np.random.default_rng(0)
    picture, weights = source.uniform(-1, 1, (3, 16, 16)), slicing.GuideWeights.of(state())
    full, subject = source.normal(size=(12, 4, 8, 8)).astype(np.float32), np.ones((16, 16), np.float32)
    half = slicing.weakened(picture.astype(np.float32), full, full, subject, weights, 0.5)
    assert np.allclose(half, 0.5 * full, atol=1e-3)  # the change is linear in the grid
    least = slicing.weakened(picture.astype(np.float32), full, 0.1 * full, subject, weights, 0.5)
    assert np.allclose(least, 0.1 * full)


@pytest.mark.parametrize("strip", [1, 7, 64])
def test_strips_do_not_show(strip, monkeypatch):
    source, weights = np.random.default_rng(1), slicing.GuideWeights.of(state())
    photo, grid = source.uniform(-1, 1, (3, 90, 60)).astype(np.float32), source.normal(size=(12, 3, 8, 8))
    subject = np.repeat(np.array([[0.0, 1.0]], np.float32), 16, 1).repeat(32, 0)
    whole = slicing.recoloured(photo, grid.astype(np.float32), subject, weights)
    monkeypatch.setattr(slicing, "STRIP", strip * 60)
    assert np.allclose(slicing.recoloured(photo, grid.astype(np.float32), subject, weights), whole, atol=1e-6)
    assert np.array_equal(whole[..., :15], photo[..., :15])
    assert (whole[..., 45:] != photo[..., 45:]).any(0).mean() > 0.95


def state() -> dict[str, np.ndarray]:
    """Weights of a new guide, brightness alone."""
    return {name: as_array(value) for name, value in Guide().state_dict().items()}
