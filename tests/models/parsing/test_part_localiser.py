"""The part localiser learns from what is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support.by_colour import NAMES, SMALL, folder_with_points, saved
from tgim.checkpoints import checkpoint
from tgim.data.views import GUESSED, SUBJECT, UNKNOWN
from tgim.errors import CheckpointError, DataError
from tgim.models.parsing.batches import ViewBatches
from tgim.models.parsing.localiser import PartLocaliser, cell_terms
from tgim.models.parsing.teacher import Teacher
from tgim.training import recipe
from tgim.training import run as training
from tgim.training.dry_run import dry_run


def test_terms_are_means_over_the_cells_that_they_are_about():
    logits = torch.zeros(1, 3, 1, 6, requires_grad=True)
    shifted = logits + torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    cells = torch.tensor([[[0, 1, 2, SUBJECT, GUESSED + 1, UNKNOWN]]])
    logs = torch.tensor([0.0, 1.0, 0.0]).log_softmax(0)
    terms = cell_terms(shifted, cells, guess_weight=0.5)
    assert terms["parts"].item() == pytest.approx(-(logs[1] + logs[2]).item() / 2)
    assert terms["background"].item() == pytest.approx(-logs[0].item())
    assert terms["subject"].item() == pytest.approx(-np.log(1 - logs[0].exp().item()))
    assert terms["guess"].item() == pytest.approx(-logs[1].item() / 2)
    sum(terms.values()).backward()
    assert not logits.grad[..., 5].any()  # where nothing is known


def test_balanced_parts_weigh_the_same_however_many_cells_are_known():
    logits = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 1, 4)
    cells = torch.tensor([[[1, 1, 1, 2]]])
    logs = torch.tensor([0.0, 1.0, 0.0]).log_softmax(0)
    found = [cell_terms(logits, cells, balance=balance)["parts"].item() for balance in (0.0, 1.0)]
    assert found == pytest.approx([-(3 * logs[1] + logs[2]).item() / 4, -(logs[1] + logs[2]).item() / 2])


def recipe_for(root, **model):
    return recipe.parse(
        {
            "model": {"name": "part_localiser", "part_names": ["head", "tail"], **SMALL, **model},
            "data": {"name": "folder", "root": str(root), "captions": "none", "views": {"count": 12, "guess": "none"}},
            "train": {"steps": 3, "batch_size": 4, "device": "cpu", "lr": 0.01},
        }
    )


@pytest.mark.slow
def test_a_run_on_ones_own_points_can_be_stopped_and_resumed(tmp_path):
    given = recipe_for(folder_with_points(tmp_path / "data"))
    whole = checkpoint.load(training.fit(given, out=tmp_path / "whole", progress=False))
    first = recipe.parse({**given.values(), "train": {**given.values()["train"], "steps": 1}})
    training.fit(first, out=tmp_path / "parted", progress=False)
    parted = checkpoint.load(training.fit(given, out=tmp_path / "parted", resume=True, progress=False))
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, parted.model.state_dict()[key]), key
    assert whole.model.parts == NAMES
    assert whole.role == "parsing"


@pytest.mark.slow
def test_maps_are_computed_once_and_kept(tmp_path, monkeypatch):
    given = recipe_for(folder_with_points(tmp_path / "data"))
    training.fit(given, out=tmp_path / "first", progress=False)
    monkeypatch.setattr("tgim.models.parsing.batches._maps", lambda *_: pytest.fail("looked again"))
    training.fit(given, out=tmp_path / "second", progress=False)


@pytest.mark.slow
def test_a_dry_run_tells_what_is_frozen(tmp_path):
    found = dry_run(recipe_for(folder_with_points(tmp_path / "data")))
    assert found.parameters["backbone"][0] == 0 < found.parameters["backbone"][1]
    assert found.parameters["decoder"][1] == 0 < found.parameters["decoder"][0]


@pytest.mark.parametrize(("names", "said"), [(["head"], "'tail'"), (["head", "tail", "foot"], "'foot'")])
def test_parts_that_data_and_model_do_not_share_are_named(names, said, tmp_path):
    with pytest.raises(DataError, match=said):
        training.fit(
            recipe_for(folder_with_points(tmp_path / "data"), part_names=names), out=tmp_path / "run", progress=False
        )


@pytest.mark.slow
def test_a_teacher_must_know_the_same_parts(tmp_path):
    path = saved(tmp_path, background=0.0)
    assert Teacher.load(str(path), NAMES)(np.zeros((30, 40, 3), np.uint8), None).maps.shape[2] == 3
    with pytest.raises(CheckpointError, match="same parts"):
        Teacher.load(str(path), ("background", "petals"))


@pytest.mark.slow
def test_a_teacher_is_learned_from(tmp_path):
    teacher = saved(tmp_path, background=-9.0, head=9.0)
    given = recipe_for(folder_with_points(tmp_path / "data"), teacher=str(teacher))
    model = PartLocaliser(given.model_settings(), vocabulary_size=3)
    from tgim.data import open_dataset

    batches = ViewBatches(
        model, open_dataset(given.data), given.data, batch_size=4, vocabulary=model.vocabulary_for(model.config)
    )
    assert (batches.batch(0).views.cells == GUESSED + 1).any()
